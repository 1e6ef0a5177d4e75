// One command: its life from top to bottom with times and causes, what it waits for, what it shows, and whether every
// byte that it wrote is somewhere.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { errorText, get, getText, path, post } from "../api.ts";
import type { AuditReport, CommandDetail, CommandSummary, CommandWhy } from "../api-types.ts";
import { age, clock, count, exact, iso, parseTime, plural, took, when } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { navigate, pathOf } from "../router.ts";
import { announcer } from "../store/announce.ts";
import { fleet } from "../store/app.ts";
import { isOver, isTerminal } from "../store/board.ts";
import { isReadOnly } from "../store/session.ts";
import { ticker } from "../store/ticker.ts";
import { endWords } from "../store/words.ts";
import { Icon, PhaseMark } from "../ui/icons.tsx";
import { Copy, Problem, Section, useTitle } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { withLive } from "./command-row.tsx";
import { requestOf, send } from "./composer.tsx";

/** Text of a command that is shown at once; the rest on request. */
const SHOWN = 2_000;

export function CommandView({ id }: { id: string }): JSX.Element {
  void fleet.commandRevision.value;
  const live = fleet.board.commands.get(id);
  const detail = useQuery<CommandDetail>(`command ${id}`, (signal) => get(path`/api/commands/${id}`, signal));
  const stored = detail.data;
  const command = stored === null ? null : withLive(stored);
  const isOpen = command !== null && !isOver(command.status);
  const why = useQuery<CommandWhy>(`why command ${id}`, (signal) => get(path`/api/commands/${id}/why`, signal), isOpen ? 5_000 : null);
  useTitle(command === null ? "Command" : shown(command.text, 40) || "Command");

  // The link tells when it moved; the history has the times.
  const moved = live === undefined ? "" : `${live.phase} ${live.because}`;
  const before = useRef(moved);
  useEffect(() => {
    if (before.current === moved) return;
    before.current = moved;
    const handle = setTimeout(() => {
      detail.reload();
      why.reload();
    }, 250);
    if (live !== undefined) announcer.say(id, `The command is ${shown(live.phase)}: ${shown(live.because)}`);
    return () => clearTimeout(handle);
  }, [moved]);

  if (command === null) {
    return (
      <div class="page">
        <h1>Command</h1>
        {detail.error === null ? <p role="status">Asking the server…</p> : <Problem retry={detail.reload}>{detail.error}</Problem>}
        {live !== undefined && (
          <p>
            {shown(live.phase)}: {shown(live.because)}
          </p>
        )}
      </div>
    );
  }
  return (
    <div class="page command-page">
      <Head command={command} adopted={stored?.adopted === true} />
      {detail.error !== null && <Problem retry={detail.reload}>{detail.error}</Problem>}
      <section class={`card why ${command.status}`} aria-label="What it waits for, or what became of it">
        <p class="sentences">{why.data === null ? `${shown(command.status)}: ${shown(command.cause ?? "")}` : shown(why.data.summary)}</p>
        {why.data !== null && why.data.waits_on.length > 0 && (
          <ul class="waits">
            {why.data.waits_on.map((one) => (
              <li key={one.text}>{shown(one.text)}</li>
            ))}
          </ul>
        )}
        {why.data?.action != null && (
          <p class="action">
            <strong>What to do:</strong> {shown(why.data.action)}.
          </p>
        )}
        {(why.data?.gaps ?? []).map((gap) => (
          <p key={gap} class="bad">
            {shown(gap)}
          </p>
        ))}
      </section>
      <div class="columns">
        <div class="column">
          <Output command={command} />
          <Balance command={command} />
        </div>
        <div class="column">
          <Life command={command} history={stored?.history ?? []} />
          <Holds holds={stored?.keyboard ?? []} />
        </div>
      </div>
    </div>
  );
}

function Head({ command, adopted }: { command: CommandSummary; adopted: boolean }): JSX.Element {
  const { command_id: id, agent_id: agentId, status, text } = command;
  const [isWhole, setWhole] = useState(false);
  const name = fleet.agent(agentId).value?.name ?? agentId;
  const end = endWords({ phase: status, exitCode: command.exit_code, signal: command.signal });
  return (
    <header class="head">
      <a class="up" href="/commands">
        <Icon name="back" />
        Commands
      </a>
      <h1>
        <PhaseMark phase={status} />
        {isTerminal(id) ? "Terminal of" : "Command of"}{" "}
        <a href={pathOf({ view: "agent", id: agentId })}>
          <bdi>{shown(name, 128)}</bdi>
        </a>
        <span class={`pill ${status}`}>
          {shown(status)}
          {end !== null && `, ${end}`}
        </span>
      </h1>
      <p class="facts quiet">
        <span class="id">
          <code>{shown(id)}</code>
          <Copy text={id} label="Copy the id of this command" />
        </span>
      </p>
      <Actions command={command} />
      {adopted ? (
        <p class="quiet">Its agent had it and the database did not: its text, and who asked for it, is unknown.</p>
      ) : (
        <div class="text-of">
          <pre tabIndex={0} aria-label="Its text">{shownText(isWhole ? text : text.slice(0, SHOWN))}</pre>
          {text.length > SHOWN && (
            <button type="button" class="plain" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
              {isWhole ? "Show less" : `Show all of it (${plural(text.length, "character")})`}
            </button>
          )}
        </div>
      )}
    </header>
  );
}

function shownText(text: string): string {
  return text
    .split("\n")
    .map((line) => shown(line, 100_000))
    .join("\n");
}

function Actions({ command }: { command: CommandSummary }): JSX.Element | null {
  const { command_id: id, agent_id: agentId, status, text } = command;
  const [said, setSaid] = useState<{ of: "cancel" | "again"; text: string; isBad: boolean } | null>(null);
  if (isReadOnly()) return null;
  const isOpen = !isOver(status);
  const isSecret = text === "[secret]";

  const cancel = async (force: boolean): Promise<void> => {
    setSaid({ of: "cancel", text: "asking…", isBad: false });
    try {
      await post(path`/api/commands/${id}/cancel`, { force });
      setSaid({ of: "cancel", text: `the cancellation was sent at ${clock(Date.now())}; the end is confirmed below`, isBad: false });
    } catch (error) {
      setSaid({ of: "cancel", text: `not cancelled: ${errorText(error)}`, isBad: true });
    }
  };
  const again = async (): Promise<void> => {
    const request = requestOf(agentId, text, {});
    setSaid({ of: "again", text: "asking…", isBad: false });
    const { state, because } = await send(request);
    if (state === "stored") {
      announcer.say("again", "It runs again as a new command.");
      navigate(pathOf({ view: "command", id: request.commandId }));
    } else {
      setSaid({ of: "again", text: `${state === "refused" ? "refused" : "no answer"}: ${shown(because)}`, isBad: true });
    }
  };

  return (
    <div class="orders">
      {isOpen && (
        <button type="button" onClick={() => void cancel(false)} disabled={status === "cancelling"}>
          {isTerminal(id) ? "End the terminal" : "Cancel"}
        </button>
      )}
      {isOpen && (
        <button type="button" class="plain bad" title="Without grace: its processes are killed at once" onClick={() => void cancel(true)}>
          Kill now
        </button>
      )}
      {!isTerminal(id) && !isSecret && command.adopted !== true && (
        <button type="button" title="As a new command with an id of its own; this one stays as it is" onClick={() => void again()}>
          Run again
        </button>
      )}
      {said !== null && (
        <span role="status" class={said.isBad ? "bad" : "quiet"}>
          {said.text}
        </span>
      )}
    </div>
  );
}

/** Its life, from top to bottom. */
function Life({ command, history }: { command: CommandSummary; history: CommandDetail["history"] }): JSX.Element {
  const now = fleet.serverNow(ticker.value);
  const last = history.at(-1);
  // What the link told may not be stored yet.
  const steps = last !== undefined && last.status === command.status ? history : [...history, { at: command.updated_at, status: command.status, cause: command.cause }];
  const asked = parseTime(command.created_at);
  return (
    <Section title="Its life" id="life">
      <ol class="life">
        {steps.map((step, n) => {
          const at = parseTime(step.at);
          const before = n === 0 ? null : parseTime(steps[n - 1]?.at);
          const isLast = n === steps.length - 1;
          return (
            <li key={`${step.at} ${step.status} ${n}`} class={`${step.status}${isLast ? " last" : ""}`}>
              <PhaseMark phase={step.status} />
              <div>
                <b>{n === 0 && step.status === "pending" ? "asked for" : shown(step.status)}</b>{" "}
                {at !== null && (
                  <time dateTime={iso(at)} title={exact(at)}>
                    {when(at, now)}
                  </time>
                )}
                {before !== null && at !== null && <small class="quiet"> +{took(at - before)}</small>}
                {step.cause !== null && step.cause !== "" && <small class="cause quiet">{shown(step.cause)}</small>}
              </div>
            </li>
          );
        })}
      </ol>
      {!isOver(command.status) && asked !== null && <p class="quiet">open for {age(now - asked)}</p>}
    </Section>
  );
}

function Output({ command }: { command: CommandSummary }): JSX.Element {
  const { command_id: id } = command;
  const screen = useQuery<string>(
    `screen of ${id}`,
    (signal) => getText(path`/api/commands/${id}/screen?format=text`, signal),
    isOver(command.status) ? null : 3_000,
  );
  const text = (screen.data ?? "").replace(/\s+$/, "");
  const live = isTerminal(id) && !isOver(command.status);
  return (
    <Section
      title="Output"
      id="output"
      aside={
        <span class="links">
          {live && <a href={pathOf({ view: "terminal", id, log: false })}>Open the terminal</a>}
          <a href={pathOf({ view: "terminal", id, log: true })}>All of it, with search</a>
        </span>
      }
    >
      {text === "" ? (
        <p class="quiet">{screen.data === null && screen.error === null ? "Asking the server…" : "It has written nothing that is stored."}</p>
      ) : (
        <pre class="screen" tabIndex={0} aria-label="The end of its output">
          {text
            .split("\n")
            .slice(-24)
            .map((line) => `${shown(line, 400)}\n`)
            .join("")}
        </pre>
      )}
    </Section>
  );
}

/** Where every byte is that it wrote: asked of its agent, so on request only. */
function Balance({ command }: { command: CommandSummary }): JSX.Element {
  const [report, setReport] = useState<AuditReport | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [isAsking, setAsking] = useState(false);
  const ask = async (): Promise<void> => {
    setAsking(true);
    setError(null);
    try {
      setReport(await get<AuditReport>(path`/api/agents/${command.agent_id}/audit`));
    } catch (failed) {
      setError(errorText(failed));
    } finally {
      setAsking(false);
    }
  };
  const streams = report?.streams.filter((stream) => stream.command_id === command.command_id) ?? [];
  return (
    <Section
      title="Audit of its output"
      id="balance"
      aside={
        <button type="button" disabled={isAsking} onClick={() => void ask()}>
          {isAsking ? "Asking its agent…" : report === null ? "Audit" : "Audit again"}
        </button>
      }
    >
      {error !== null && <Problem>{error}</Problem>}
      {report === null && error === null && <p class="quiet">Compares what the agent holds with what is stored here, byte for byte.</p>}
      {report !== null && !report.agent_heard && (
        <p class="bad">Its agent did not say what it holds{report.because === null ? "" : `: ${shown(report.because)}`}. What is not stored is unknown.</p>
      )}
      {report !== null && streams.length === 0 && <p class="quiet">No stream of this command is known to either end.</p>}
      {streams.map((stream) => (
        <p key={`${stream.incarnation} ${stream.stream}`} class={stream.unaccounted > 0 ? "bad" : undefined}>
          <b>{shown(stream.stream)}</b>: {count(stream.produced)} bytes written = {count(stream.delivered)} stored
          {stream.spooled > 0 && ` + ${count(stream.spooled)} at the agent`}
          {stream.gaps > 0 && ` + ${count(stream.gaps)} declared lost`}
          {stream.unaccounted > 0 ? ` + ${count(stream.unaccounted)} unaccounted for` : ""}
          {stream.open_gap !== null && `; it ends with a gap of unknown length: ${shown(stream.open_gap)}`}
        </p>
      ))}
    </Section>
  );
}

/** Who held the keyboard of a terminal: how much was typed, and never what. */
function Holds({ holds }: { holds: NonNullable<CommandDetail["keyboard"]> }): JSX.Element | null {
  if (holds.length === 0) return null;
  const now = fleet.serverNow(ticker.value);
  const at = (text: string | null | undefined): string => {
    const time = parseTime(text);
    return time === null ? "" : when(time, now);
  };
  return (
    <Section title="Who typed" id="holds">
      <ul class="rows">
        {holds.map((hold) => (
          <li key={hold.since}>
            <div class="what">
              <b>{shown(hold.name) || "somebody"}</b>
              <small class="quiet">
                {at(hold.since)} – {hold.ended_at === null ? (hold.ended_by === undefined ? "now" : `no later than ${at(hold.ended_by)}`) : at(hold.ended_at)};{" "}
                {plural(hold.bytes, "byte")}
                {hold.unconfirmed > 0 && `, of which ${count(hold.unconfirmed)} are not confirmed`}
                {hold.because !== null && `; ${shown(hold.because)}`}
              </small>
            </div>
          </li>
        ))}
      </ul>
    </Section>
  );
}
