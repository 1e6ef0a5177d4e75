// What happened to many agents at once: silences, restarts and drains with the curve of arrivals back, and faults of
// the server itself.

import type { JSX } from "preact";
import { get } from "../api.ts";
import type { FleetWhy, Incident } from "../api-types.ts";
import { count, exact, iso, length, parseTime, plural, took, when } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { pathOf } from "../router.ts";
import { fleet } from "../store/app.ts";
import { ticker } from "../store/ticker.ts";
import { Problem, Section, useTitle } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { CAUSES } from "../wire.gen.ts";
import { Finding } from "./finding.tsx";

const WORDS: Readonly<Record<string, string>> = {
  "server-restarted": "The server restarted",
  "mass-silence": "Many agents fell silent at once",
  drain: "The server was drained",
  "own-fault": "The server itself had a fault",
};

export function IncidentsView(): JSX.Element {
  useTitle("Incidents");
  const incidents = useQuery<{ incidents: Incident[] }>("incidents", (signal) => get("/api/incidents?limit=100", signal), 30_000);
  const why = useQuery<FleetWhy>("why all", (signal) => get("/api/why", signal), 30_000);
  const listed = [...(incidents.data?.incidents ?? [])].sort((a, b) => b.from - a.from);
  return (
    <div class="page incidents">
      <h1>Incidents</h1>
      {incidents.error !== null && <Problem retry={incidents.reload}>{incidents.error}</Problem>}
      {incidents.data === null ? (
        incidents.error === null && <p class="quiet" role="status">Asking the server…</p>
      ) : listed.length === 0 ? (
        <p class="quiet">None is recorded. What happens to one agent alone is on its own page.</p>
      ) : (
        <ol class="incident-list">
          {listed.map((incident) => (
            <li key={`${incident.kind} ${incident.from}`}>
              <One incident={incident} />
            </li>
          ))}
        </ol>
      )}
      {why.data !== null && <Unwell why={why.data} />}
    </div>
  );
}

function One({ incident }: { incident: Incident }): JSX.Element {
  const { kind, from, to, agents, back, missing, curve, because } = incident;
  const now = fleet.serverNow(ticker.value);
  return (
    <article class={`card incident ${kind}`}>
      <div class="said">
        <h2>{WORDS[kind] ?? shown(kind)}</h2>
        <p class="quiet">
          <time dateTime={iso(from)} title={exact(from)}>
            {when(from, now)}
          </time>
          {to === null ? ", still in progress" : `, for ${length(to - from)}`}
          {agents > 0 && `; ${plural(agents, "agent")}, ${count(back)} back`}
        </p>
        <p>{shown(because)}</p>
        {missing.length > 0 && (
          <p>
            <strong class="bad">Not back:</strong>{" "}
            {missing.map((id, n) => (
              <span key={id}>
                {n > 0 && ", "}
                <a href={pathOf({ view: "agent", id })}>
                  <bdi>{shown(fleet.board.agents.get(id)?.name ?? id, 64)}</bdi>
                </a>
              </span>
            ))}
            {agents - back > missing.length && ` and ${agents - back - missing.length} more`}
          </p>
        )}
      </div>
      {curve.length > 1 && agents > 0 && <Curve curve={curve} agents={agents} back={back} />}
    </article>
  );
}

const WIDTH = 300;
const HEIGHT = 90;

/** How many agents were back after how long. */
function Curve({ curve, agents, back }: { curve: readonly [number, number][]; agents: number; back: number }): JSX.Element {
  const last = curve.at(-1)?.[0] ?? 0;
  const x = (ms: number): number => (last === 0 ? 0 : (ms / last) * WIDTH * 0.92);
  const y = (many: number): number => HEIGHT - (many / Math.max(agents, 1)) * HEIGHT;
  let line = "";
  for (const [ms, many] of curve) line += line === "" ? `M${x(ms)} ${y(many)}` : `H${x(ms)}V${y(many)}`;
  line += `H${WIDTH}`;
  const half = curve.find(([, many]) => many * 2 >= back);
  const text = `${count(back)} of ${count(agents)} back within ${took(last)}${half === undefined ? "" : `, half of them within ${took(half[0])}`}`;
  return (
    <figure class="curve">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text}>
        <path class="goal" d={`M0 .5H${WIDTH}`} />
        <path class="area" d={`${line}V${HEIGHT}H0Z`} />
        <path class="line" d={line} />
      </svg>
      <figcaption class="quiet">{text}</figcaption>
    </figure>
  );
}

/** Agents that are away or unwell now, with a verdict each. */
function Unwell({ why }: { why: FleetWhy }): JSX.Element {
  const now = fleet.serverNow(ticker.value);
  return (
    <Section title="Away or unwell now" id="unwell">
      <p>
        {why.well} of {plural(why.total, "agent")} {why.total === 1 ? "is" : "are"} healthy.
      </p>
      {why.agents.length > 0 && (
        <ul class="rows unwell">
          {why.agents.map((agent) => {
            const since = parseTime(agent.since);
            const action = CAUSES[agent.cause]?.action;
            return (
              <li key={agent.agent_id}>
                <div class="what">
                  <span>
                    <a href={pathOf({ view: "agent", id: agent.agent_id })}>
                      <bdi>{shown(agent.name, 128)}</bdi>
                    </a>{" "}
                    is {shown(agent.state)} since {since === null ? shown(agent.since) : when(since, now)}: {shown(agent.because)}
                  </span>
                  <small>
                    <Finding of={agent} />
                    {action !== undefined && <> What to do: {action}.</>}
                  </small>
                </div>
              </li>
            );
          })}
        </ul>
      )}
      {why.not_listed > 0 && <p class="quiet">{plural(why.not_listed, "more agent")} are not listed.</p>}
    </Section>
  );
}
