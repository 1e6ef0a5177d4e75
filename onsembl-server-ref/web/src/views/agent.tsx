// One agent: why it is where it is, how it was there, where its heartbeats stop, what it does, and orders to it.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { get, getText, path } from "../api.ts";
import type { AgentWhy, CommandSummary } from "../api-types.ts";
import { age, exact, iso, length, parseTime, when } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { pathOf } from "../router.ts";
import { announcer } from "../store/announce.ts";
import { fleet } from "../store/app.ts";
import { KIND_WORDS, faultOf, kindOf } from "../store/attention.ts";
import { beatsOf, want } from "../store/beats.ts";
import { isInSession, isTerminal, type Agent } from "../store/board.ts";
import { isReadOnly } from "../store/session.ts";
import { ticker } from "../store/ticker.ts";
import { activityWords, factWords, stopWords } from "../store/words.ts";
import { Icon, KindMark } from "../ui/icons.tsx";
import { Copy, Problem, Section, useTitle } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { Strip } from "../ui/strip.tsx";
import { CommandRow, withLive } from "./command-row.tsx";
import { Composer } from "./composer.tsx";
import { Controls } from "./controls.tsx";
import { Finding } from "./finding.tsx";
import { Ladder } from "./ladder.tsx";
import { Timeline } from "./timeline.tsx";

export function AgentView({ id }: { id: string }): JSX.Element {
  const agent = fleet.agent(id).value;
  const isKnown = fleet.isKnown.value;
  useTitle(agent === null ? "Agent" : shown(agent.name, 64));
  const why = useQuery<AgentWhy>(`why ${id}`, (signal) => get<AgentWhy>(path`/api/agents/${id}/why`, signal), 10_000);

  // What is judged depends on the presence: asked again when that changed.
  const version = agent?.presenceVersion ?? 0;
  const before = useRef(version);
  useEffect(() => {
    if (before.current !== version) why.reload();
    before.current = version;
  }, [version]);

  useEffect(() => {
    if (agent !== null && before.current !== 0) announcer.say(id, `${shown(agent.name, 64)} is ${agent.status}: ${shown(agent.because)}`);
  }, [agent?.status]);

  if (agent === null) {
    return (
      <div class="page">
        <h1>{isKnown ? "No such agent" : "Agent"}</h1>
        <p role="status">{isKnown ? "No agent of yours has this id; it may have been deleted." : "Asking the server…"}</p>
        <p>
          <a href="/fleet">To the fleet</a>
        </p>
      </div>
    );
  }
  return (
    <div class="page agent-page">
      <Head agent={agent} />
      <Why agent={agent} why={why.data} error={why.error} reload={why.reload} />
      <Timeline id={id} drops={why.data?.drops ?? null} availability={why.data?.availability ?? null} />
      <div class="columns">
        <div class="column">
          <Composer agent={agent} />
          <Screen agent={agent} />
          <AgentCommands id={id} />
        </div>
        <div class="column">
          <Section title="Heartbeats" id="beats">
            <Beats id={id} />
            <Ladder beats={why.data?.beats ?? null} inSession={isInSession(agent.status)} />
          </Section>
          {!isReadOnly() && <Controls agent={agent} />}
        </div>
      </div>
    </div>
  );
}

function Head({ agent }: { agent: Agent }): JSX.Element {
  const beside = fleet.beside(agent.id);
  const kind = kindOf(agent, beside);
  const terminal = fleet.board.terminalOf(agent.id);
  void fleet.commandRevision.value;
  const facts = [agent.type.toLowerCase(), agent.version, agent.host].filter((fact) => fact !== "").map((fact) => shown(fact, 128));
  return (
    <header class="head">
      <a class="up" href="/fleet">
        <Icon name="back" />
        Fleet
      </a>
      <h1>
        <KindMark kind={kind} />
        <bdi>{shown(agent.name)}</bdi>
        <span class={`pill ${kind}`}>{KIND_WORDS[kind]}</span>
      </h1>
      <p class="facts quiet">
        {facts.map((fact) => (
          <span key={fact}>{fact}</span>
        ))}
        <span class="id">
          <code>{shown(agent.id)}</code>
          <Copy text={agent.id} label="Copy the id of this agent" />
        </span>
      </p>
      {terminal !== null && (
        <a class="button primary" href={pathOf({ view: "terminal", id: terminal, log: false })}>
          <Icon name="terminal" />
          Open its terminal
        </a>
      )}
    </header>
  );
}

/** The two sentences of `why`, what is wrong now, and what to do. */
function Why({
  agent,
  why,
  error,
  reload,
}: {
  agent: Agent;
  why: AgentWhy | null;
  error: string | null;
  reload: () => void;
}): JSX.Element {
  const now = fleet.serverNow(ticker.value);
  const next = parseTime(agent.why?.nextChangeAt);
  const beside = fleet.beside(agent.id);
  const fault = faultOf(agent, beside.fault);
  const trouble = why?.beats.trouble ?? null;
  const open = why?.drops.at(-1);
  const isTold = trouble !== null || [why?.pattern, open?.until === null ? open : null].some((told) => told != null && told.cause === why?.now?.cause);
  return (
    <section class={`card why ${kindOf(agent, beside)}`} aria-label="Why it is where it is">
      <p class="sentences">
        It is <strong class="word">{shown(agent.status)}</strong>
        {agent.since !== null && (
          <>
            {" "}
            since{" "}
            <time dateTime={iso(agent.since)} title={exact(agent.since)}>
              {when(agent.since, now)}
            </time>{" "}
            ({length(now - agent.since)})
          </>
        )}
        : <bdi>{shown(agent.because)}</bdi>
        {agent.why !== null && <> (confidence {shown(agent.why.confidence)})</>}.{" "}
        {agent.why?.nextState === undefined ? (
          "It stays so until it connects."
        ) : (
          <>
            If nothing happens, it is {shown(agent.why.nextState)}{" "}
            {next === null ? (
              "next"
            ) : (
              <>
                at{" "}
                <time dateTime={iso(next)} title={exact(next)}>
                  {when(next, now)}
                </time>
                {next > now && <> (in {age(next - now)})</>}
              </>
            )}
            .
          </>
        )}
      </p>
      {agent.paused && <p>It is paused: it starts nothing until it is resumed.</p>}
      {agent.stopped !== null && (
        <p class="bad">
          Emergency stop by {shown(agent.stopped.by ?? "")} ({shown(agent.stopped.reason ?? "")}): {stopWords(agent.stopped.state)}.
        </p>
      )}
      {agent.activity !== null && (
        <p>
          Its program: <strong class={agent.activity.state === "asking" ? "asking" : undefined}>{activityWords(agent.activity, now)}</strong>
          {factWords(agent.activity, now) !== null && <span class="quiet"> ({factWords(agent.activity, now)})</span>}
          {agent.activity.state === "asking" && agent.activity.commandId !== undefined && isTerminal(agent.activity.commandId) && (
            <>
              {" "}
              <a href={pathOf({ view: "terminal", id: agent.activity.commandId, log: false })}>Answer in its terminal</a>
            </>
          )}
        </p>
      )}
      {trouble !== null && (
        <p>
          <strong class="bad">Heartbeats do not reach the hop {trouble.hop}</strong> since {timeText(trouble.since, now)}: {trouble.cause}{" "}
          (confidence {trouble.confidence}): {shown(trouble.text)}
        </p>
      )}
      {why?.now != null && !isTold && (
        <p>
          Now: <Finding of={why.now} />
        </p>
      )}
      {why?.pattern != null && (
        <p>
          Pattern: <Finding of={why.pattern} />
        </p>
      )}
      {why === null && fault !== null && <p class="bad">{shown(fault)}</p>}
      {why?.action != null && (
        <p class="action">
          <strong>What to do:</strong> {shown(why.action)}.
        </p>
      )}
      {error !== null && <Problem retry={reload}>{error}</Problem>}
    </section>
  );
}

function timeText(text: string, now: number): string {
  const at = parseTime(text);
  return at === null ? text : when(at, now);
}

function Beats({ id }: { id: string }): JSX.Element {
  const tick = ticker.value;
  useEffect(() => want(id, tick), [id, tick]);
  const beats = beatsOf(id).value;
  return (
    <figure class="beats-figure">
      <Strip beats={beats} />
      <figcaption class="quiet">
        {beats === null ? (
          "Not loaded yet."
        ) : (
          <>
            <span>{length(beats.cells.length * beats.intervalMs)} ago</span>
            <span>above: heard from the agent; below: ours that it has seen</span>
            <span>now</span>
          </>
        )}
      </figcaption>
    </figure>
  );
}

/** What its terminal, or its latest command, shows now. */
function Screen({ agent }: { agent: Agent }): JSX.Element | null {
  const terminal = fleet.board.terminalOf(agent.id);
  const screen = useQuery<string>(
    `screen ${agent.id}`,
    (signal) => getText(path`/api/agents/${agent.id}/screen?format=text`, signal),
    isInSession(agent.status) ? 5_000 : 30_000,
  );
  if (screen.data === null || screen.data.trim() === "") return null;
  const lines = screen.data.replace(/\s+$/, "").split("\n");
  return (
    <Section
      title={terminal === null ? "Latest output" : "Its screen"}
      id="screen"
      aside={
        terminal !== null && (
          <a href={pathOf({ view: "terminal", id: terminal, log: false })}>Open the terminal</a>
        )
      }
    >
      <pre class="screen" tabIndex={0} aria-label="What it shows now">
        {lines.slice(-24).map((line) => `${shown(line, 400)}\n`).join("")}
      </pre>
    </Section>
  );
}

function AgentCommands({ id }: { id: string }): JSX.Element {
  const revision = fleet.commandRevision.value;
  const list = useQuery<{ commands: CommandSummary[] }>(
    `commands of ${id}`,
    (signal) => get(path`/api/commands?limit=12&agent=${id}`, signal),
    30_000,
  );
  const known = new Set(list.data?.commands.map((command) => command.command_id));
  const isNew = [...(fleet.board.open.get(id) ?? [])].some((command) => !isTerminal(command) && !known.has(command));
  useEffect(() => {
    if (!isNew || list.data === null) return;
    const handle = setTimeout(list.reload, 300);
    return () => clearTimeout(handle);
  }, [isNew, revision]);
  const commands = (list.data?.commands ?? []).map(withLive);
  return (
    <Section title="Commands" id="commands" aside={<a href={`/commands?agent=${encodeURIComponent(id)}`}>All of them</a>}>
      {list.error !== null && <Problem retry={list.reload}>{list.error}</Problem>}
      {commands.length === 0 ? (
        <p class="quiet">{list.data === null ? (list.error === null ? "Asking the server…" : "") : "Nothing was asked of it yet."}</p>
      ) : (
        <ul class="rows">
          {commands.map((command) => (
            <CommandRow key={command.command_id} command={command} withAgent={false} />
          ))}
        </ul>
      )}
    </Section>
  );
}
