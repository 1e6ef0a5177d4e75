// Heartbeats hop by hop: how many got to each, and the first one that they do not get to.

import type { JSX } from "preact";
import type { Hops, WhyBeats } from "../api-types.ts";
import { age, count, parseTime } from "../lib/time.ts";
import { fleet } from "../store/app.ts";
import { ticker } from "../store/ticker.ts";

const HOPS = ["due", "made", "queued", "written", "received", "handled", "recorded", "answered", "answer-received"] as const;

/** Of the server's heartbeats none is recorded. */
const HOPS_OF_SERVER = HOPS.filter((hop) => hop !== "recorded");

const WORDS: Readonly<Record<string, string>> = {
  due: "due",
  made: "made by the sender",
  queued: "in its queue",
  written: "written to the connection",
  received: "off the connection at the other end",
  handled: "handled there",
  recorded: "in the database",
  answered: "answered",
  "answer-received": "answer received",
};

export function Ladder({ beats, inSession }: { beats: WhyBeats | null; inSession: boolean }): JSX.Element | null {
  if (beats === null) return null;
  const { agent_heartbeats: ofAgent, server_heartbeats: ofServer, trouble, ways } = beats;
  if (ofAgent === undefined || ofServer === undefined) {
    return (
      <p class="quiet">
        {inSession
          ? "This agent does not number its heartbeats, so their hops are not known."
          : "It is not in session: there is no link on which heartbeats could be followed."}
      </p>
    );
  }
  const now = fleet.serverNow(ticker.value);
  const heard = parseTime(beats.i_hear_you);
  const seen = parseTime(beats.you_hear_me);
  return (
    <>
      <dl class="directions">
        <div class={ways === "to-server-lost" ? "bad" : ""}>
          <dt>Agent to server</dt>
          <dd>
            {ways === "to-server-lost" ? "lost; " : ""}
            {heard === null ? "nothing was heard yet" : `heard ${age(now - heard)} ago`}
          </dd>
        </div>
        <div class={ways === "to-agent-lost" ? "bad" : ""}>
          <dt>Server to agent</dt>
          <dd>
            {ways === "to-agent-lost" ? "lost; " : ""}
            {seen === null ? "not confirmed yet" : `confirmed ${age(now - seen)} ago`}
          </dd>
        </div>
        {beats.round_trip_ms != null && (
          <div>
            <dt>Round trip</dt>
            <dd>{beats.round_trip_ms} ms</dd>
          </div>
        )}
      </dl>
      <div class="ladders">
        <Rungs title="The agent's heartbeats" of={HOPS} hops={ofAgent} stops={trouble?.hop ?? null} missed={missedOf(beats, "agent")} />
        <Rungs title="The server's heartbeats" of={HOPS_OF_SERVER} hops={ofServer} stops={null} missed={missedOf(beats, "server")} />
      </div>
    </>
  );
}

function missedOf(beats: WhyBeats, of: string): ReadonlyMap<string, number> {
  return new Map((beats.missed ?? []).filter((missed) => missed.of === of).map(({ hop, sequence }) => [hop, sequence]));
}

function Rungs({
  title,
  of: wanted,
  hops,
  stops,
  missed,
}: {
  title: string;
  of: readonly string[];
  hops: Hops;
  stops: string | null;
  missed: ReadonlyMap<string, number>;
}): JSX.Element {
  let isPast = false;
  return (
    <div class="ladder">
      <h3>{title}</h3>
      <ol>
        {wanted.map((hop) => {
          const reached = hops[hop];
          const isStop = hop === stops;
          if (isStop) isPast = true;
          const of = isStop ? "stop" : isPast ? "past" : reached === undefined ? "unseen-hop" : "there";
          const last = missed.get(hop);
          return (
            <li key={hop} class={of}>
              <span class="rung" aria-hidden="true">
                {isStop ? "✕" : ""}
              </span>
              <span class="hop" title={WORDS[hop]}>
                {hop}
              </span>
              <span class="reached">
                {reached === undefined ? <span class="quiet" title="not seen from this end">–</span> : count(reached)}
                {isStop && <strong> stops here</strong>}
                {!isStop && last !== undefined && <small class="quiet">missed: no. {count(last)}</small>}
              </span>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
