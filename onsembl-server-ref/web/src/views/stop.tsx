// The emergency stop: one button, receipts counting up, what absent agents mean, and a release that needs a number typed.

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { errorText, post } from "../api.ts";
import type { StopReport } from "../api-types.ts";
import { exact, iso, parseTime, plural, when } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { pathOf, place } from "../router.ts";
import { announcer } from "../store/announce.ts";
import { fleet, fleetLink } from "../store/app.ts";
import type { Agent } from "../store/board.ts";
import { isReadOnly } from "../store/session.ts";
import { ticker } from "../store/ticker.ts";
import { stopWords } from "../store/words.ts";
import { AgentSelect } from "../ui/agent-select.tsx";
import { Problem, Section, useTitle } from "../ui/parts.tsx";

/** The three receipts, in order: who has a later one has the earlier ones too. */
const RECEIPTS = [
  { state: "received", title: "Received", text: "It is written down there: nothing starts any more, also not after a restart." },
  { state: "acted", title: "Acted", text: "Every process was killed." },
  { state: "verified", title: "Verified", text: "No process was seen alive afterwards." },
] as const;

const RANK: Readonly<Record<string, number>> = { received: 0, acted: 1, verified: 2 };

/** Names that a list shows; the rest is counted. */
const MOST_NAMES = 40;

export function StopView(): JSX.Element {
  const stop = fleet.stop.value;
  useTitle("Stop");
  return (
    <div class="page stop-page">
      <h1>Emergency stop</h1>
      {stop === null ? (
        <p class="lead">
          Kills everything that agents run, and starts nothing until it is released. Agents that are away are stopped before
          they can run anything.
        </p>
      ) : (
        <Receipts />
      )}
      <StopForm inForce={stop !== null} />
    </div>
  );
}

function StopForm({ inForce }: { inForce: boolean }): JSX.Element {
  const chosen = place.value.query.get("agent") ?? "";
  const [scope, setScope] = useState(chosen);
  const [reason, setReason] = useState("");
  const [isAsking, setAsking] = useState(false);
  const [report, setReport] = useState<StopReport | null>(null);
  const [error, setError] = useState<string | null>(null);
  const button = useRef<HTMLButtonElement>(null);
  const readOnly = isReadOnly();

  useLayoutEffect(() => {
    // Enter stops: that is how the keyboard reaches it from everywhere. Before it is drawn, so that a quick Enter is not lost.
    button.current?.focus();
  }, []);

  const order = async (): Promise<void> => {
    setAsking(true);
    setError(null);
    try {
      const body = { ...(scope === "" ? { all: true } : { agent: scope }), ...(reason.trim() === "" ? {} : { reason: reason.trim() }) };
      const done = await post<StopReport>("/api/stop", body);
      setReport(done);
      announcer.say("stop", `The stop is in force for ${plural(done.agents.length, "agent")}.`);
    } catch (failed) {
      setError(errorText(failed));
    } finally {
      setAsking(false);
    }
  };

  const name = scope === "" ? null : shown(fleet.board.agents.get(scope)?.name ?? scope);
  return (
    <section class="card stop-form" aria-label={inForce ? "Another stop" : "Stop"}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void order();
        }}
      >
        <div class="field">
          <label for="scope">Whom</label>
          <AgentSelect id="scope" value={scope} all="all agents, also those that come later" disabled={readOnly} onChange={setScope} />
        </div>
        <div class="field">
          <label for="reason">Why (optional; everybody sees it)</label>
          <input
            id="reason"
            type="text"
            maxLength={240}
            autocomplete="off"
            value={reason}
            disabled={readOnly}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </div>
        <button ref={button} type="submit" class="danger huge" disabled={readOnly || isAsking}>
          {isAsking ? "Stopping…" : name === null ? "Stop all agents" : `Stop ${name}`}
        </button>
        {readOnly && <p class="quiet">This session is read-only and cannot stop anything.</p>}
      </form>
      {error !== null && <Problem retry={() => void order()}>The stop was not confirmed: {error}</Problem>}
      {report !== null && (
        <p role="status">
          Stop <code>{report.stop_id}</code> is stored and in force for {plural(report.agents.length, "agent")};{" "}
          {plural(report.commands, "command")} cancelled.
        </p>
      )}
    </section>
  );
}

function Receipts(): JSX.Element | null {
  const stop = fleet.stop.value;
  // Changes with each receipt.
  if (stop === null) return null;
  const agents = fleet.stoppedAgents();
  const at = parseTime(stop.at);
  const stage = (agent: Agent): number => RANK[agent.stopped?.state ?? ""] ?? -1;
  const without = agents.filter((agent) => stage(agent) < 0);
  return (
    <>
      <p class="lead">
        In force {stop.all ? "for all agents, also those that come later," : `for ${plural(stop.agents, "agent")},`} since{" "}
        {at === null ? "an unknown time" : <time dateTime={iso(at)} title={exact(at)}>{when(at, ticker.value)}</time>}, by{" "}
        {shown(stop.by)} ({shown(stop.reason)}).
        {fleetLink.state.value.is !== "live" && " What is shown is as of when the connection was lost."}
      </p>
      <div class="receipts">
        {RECEIPTS.map(({ state, title, text }, rank) => {
          const have = agents.filter((agent) => stage(agent) >= rank);
          const last = agents.filter((agent) => stage(agent) === rank);
          const isWhole = have.length === agents.length;
          return (
            <section key={state} class={`card receipt ${isWhole ? "whole" : ""}`} aria-labelledby={`receipt-${state}`}>
              <h2 id={`receipt-${state}`}>{title}</h2>
              <p class="sum">
                <strong>{have.length}</strong> of {agents.length}
              </p>
              <progress max={agents.length} value={have.length} aria-label={`${title}: ${have.length} of ${agents.length}`} />
              <p class="quiet">{text}</p>
              {rank < 2 && last.length > 0 && (
                <Names agents={last} title={`No further yet: ${stopWords(state)}`} />
              )}
            </section>
          );
        })}
      </div>
      {without.length > 0 && (
        <Section title={`${plural(without.length, "agent")} without a receipt`} id="without">
          {(["told", "away", "not-confirmed"] as const).map((state) => {
            const of = without.filter((agent) => agent.stopped?.state === state);
            return of.length === 0 ? null : <Names key={state} agents={of} title={stopWords(state)} withReason={state === "away"} />;
          })}
        </Section>
      )}
      <Release agents={agents} all={stop.all} />
    </>
  );
}

function Names({ agents, title, withReason }: { agents: readonly Agent[]; title: string; withReason?: boolean }): JSX.Element {
  const listed = agents.slice(0, MOST_NAMES);
  return (
    <div class="names">
      <h3>{title}</h3>
      <ul>
        {listed.map((agent) => (
          <li key={agent.id}>
            <a href={pathOf({ view: "agent", id: agent.id })}>
              <bdi>{shown(agent.name, 128)}</bdi>
            </a>
            {withReason === true && (
              <small class="quiet">
                {" "}
                {shown(agent.status)}: {shown(agent.because)}
              </small>
            )}
          </li>
        ))}
        {agents.length > listed.length && <li class="quiet">and {agents.length - listed.length} more</li>}
      </ul>
    </div>
  );
}

function Release({ agents, all }: { agents: readonly Agent[]; all: boolean }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [isAsking, setAsking] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const readOnly = isReadOnly();
  const wanted = String(agents.length);
  const isRight = typed.trim() === wanted;
  const unverified = agents.filter((agent) => agent.stopped?.state !== "verified").length;

  const release = async (): Promise<void> => {
    setAsking(true);
    setError(null);
    try {
      if (all) await post("/api/release", { all: true });
      else for (const agent of agents) await post("/api/release", { agent: agent.id });
      setTyped("");
      announcer.say("stop", "The stop is released.");
    } catch (failed) {
      setError(errorText(failed));
    } finally {
      setAsking(false);
    }
  };

  return (
    <Section title="Release" id="release">
      <form
        class="release"
        onSubmit={(event) => {
          event.preventDefault();
          if (isRight) void release();
        }}
      >
        <p>
          Lets {plural(agents.length, "agent")} start commands again.
          {unverified > 0 && ` ${plural(unverified, "agent")} did not verify yet: something may still run there.`}
        </p>
        <div class="field">
          <label for="release-count">
            Type the number of stopped agents, <strong>{wanted}</strong>, to release
          </label>
          <input
            id="release-count"
            type="text"
            inputMode="numeric"
            autocomplete="off"
            value={typed}
            disabled={readOnly}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </div>
        <button type="submit" disabled={!isRight || isAsking || readOnly}>
          {isAsking ? "Releasing…" : "Release"}
        </button>
      </form>
      {error !== null && <Problem>{error}</Problem>}
    </Section>
  );
}
