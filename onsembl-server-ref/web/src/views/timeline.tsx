// Presence over time: bands that can be stepped through by keyboard, restarts of the server shaded through all of it,
// and below the drops with their verdicts.

import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { get, path } from "../api.ts";
import type { AgentWhy, Drop, PresenceHistory } from "../api-types.ts";
import { bands, percent, ticks, type Band, type Change } from "../lib/timeline.ts";
import { clock, day, exact, iso, length, parseTime, when } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { fleet } from "../store/app.ts";
import { ticker } from "../store/ticker.ts";
import { availabilityWords } from "../store/words.ts";
import { Problem, Section } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { Finding } from "./finding.tsx";

const SPANS = [
  { word: "24 h", days: 1 },
  { word: "7 d", days: 7 },
  { word: "30 d", days: 30 },
] as const;

const DAY = 86_400_000;
const MOST_BANDS = 240;
/** Drops that are listed at once, and on request: as many as the server tells of. */
const FEW_DROPS = 3;
const MOST_DROPS = 64;

export function Timeline({
  id,
  drops,
  availability,
}: {
  id: string;
  drops: readonly Drop[] | null;
  availability: AgentWhy["availability"] | null;
}): JSX.Element {
  const [days, setDays] = useState<1 | 7 | 30>(1);
  const history = useQuery<PresenceHistory>(
    `presence ${id} ${days}`,
    (signal) => get<PresenceHistory>(path`/api/agents/${id}/presence?days=${days}`, signal),
    30_000,
  );
  const words = availability === null ? null : availabilityWords(availability, drops?.length ?? 0);
  return (
    <Section
      title="Presence"
      id="presence"
      aside={
        <div class="spans" role="group" aria-label="How far back">
          {SPANS.map((span) => (
            <button key={span.days} type="button" class="plain" aria-pressed={days === span.days} onClick={() => setDays(span.days)}>
              {span.word}
            </button>
          ))}
        </div>
      }
    >
      {words !== null && <p>{words}</p>}
      {history.error !== null && <Problem retry={history.reload}>{history.error}</Problem>}
      {history.data !== null && <Chart history={history.data} days={days} />}
      {drops !== null && drops.length > 0 && <Drops drops={drops} />}
    </Section>
  );
}

function Chart({ history, days }: { history: PresenceHistory; days: number }): JSX.Element {
  // To the minute: the chart need not move each second.
  const to = Math.floor(fleet.serverNow(ticker.value) / 60_000) * 60_000 + 60_000;
  const from = to - days * DAY;
  const all = useMemo(() => {
    const changes: Change[] = history.changes.map(({ at, state, because }) => ({ at, state, because }));
    return bands(changes, from, to, MOST_BANDS);
  }, [history, from, to]);
  const [chosen, setChosen] = useState<number | null>(null);
  const list = useRef<HTMLUListElement>(null);
  const at = chosen === null ? null : Math.min(chosen, all.length - 1);
  const band = at === null ? undefined : all[at];
  const restarts = history.restarts.filter((restart) => (restart.to ?? to) >= from && restart.from <= to);

  const key = (event: KeyboardEvent): void => {
    const last = all.length - 1;
    const now = at ?? last;
    const next =
      event.key === "ArrowLeft" || event.key === "ArrowUp" ? Math.max(now - (at === null ? 0 : 1), 0)
      : event.key === "ArrowRight" || event.key === "ArrowDown" ? Math.min(now + 1, last)
      : event.key === "Home" ? 0
      : event.key === "End" ? last
      : null;
    if (next === null || last < 0) return;
    event.preventDefault();
    setChosen(next);
  };

  if (all.length === 0) return <p class="quiet">Nothing is recorded of this time.</p>;
  return (
    <div class="timeline">
      <div class="plot">
        {restarts.map((restart) => (
          <span
            key={restart.from}
            class="restart"
            title={`the server restarted at ${exact(restart.from)}`}
            style={{
              insetInlineStart: `${percent(restart.from, from, to)}%`,
              width: `max(3px, ${percent(restart.to ?? to, from, to) - percent(restart.from, from, to)}%)`,
            }}
          />
        ))}
        <ul
          ref={list}
          role="listbox"
          tabIndex={0}
          aria-label="Presence over time; arrow keys step from change to change"
          aria-activedescendant={at === null ? undefined : `band-${at}`}
          aria-orientation="horizontal"
          onKeyDown={key}
        >
          {all.map((one, n) => (
            <li
              key={`${one.from} ${one.state}`}
              id={`band-${n}`}
              role="option"
              aria-selected={n === at}
              aria-label={bandWords(one, to)}
              class={`band-of ${one.state}${one.changes > 1 ? " crowd" : ""}`}
              style={{
                insetInlineStart: `${percent(one.from, from, to)}%`,
                width: `max(2px, ${percent(one.to, from, to) - percent(one.from, from, to)}%)`,
              }}
              onPointerEnter={() => setChosen(n)}
              onClick={() => setChosen(n)}
            />
          ))}
        </ul>
      </div>
      <div class="axis" aria-hidden="true">
        {ticks(from, to).map((tick) => (
          <span key={tick} style={{ insetInlineStart: `${percent(tick, from, to)}%` }}>
            {days === 1 ? clock(tick).slice(0, 5) : day(tick).slice(5)}
          </span>
        ))}
      </div>
      <p class="chosen">
        {band === undefined ? (
          <span class="quiet">
            {restarts.length > 0 ? "Hatched: the server itself restarted. " : ""}Point at a band, or step through them with the arrow keys.
          </span>
        ) : (
          <>
            <b class={`word ${band.state}`}>{band.changes > 1 ? `${band.changes} changes, worst: ${band.state}` : band.state}</b> from{" "}
            <time dateTime={iso(band.from)} title={exact(band.from)}>
              {when(band.from, to)}
            </time>{" "}
            for {length(band.to - band.from)}
            {band.to >= to - 60_000 ? " until now" : ""}: <bdi>{shown(band.because)}</bdi>
          </>
        )}
      </p>
    </div>
  );
}

function bandWords(band: Band, now: number): string {
  const what = band.changes > 1 ? `${band.changes} changes, worst: ${band.state}` : band.state;
  return `${what} from ${when(band.from, now)} for ${length(band.to - band.from)}: ${shown(band.because)}`;
}

/** The latest drops, with what the records of both ends say. */
function Drops({ drops }: { drops: readonly Drop[] }): JSX.Element {
  const now = fleet.serverNow(ticker.value);
  const [isWhole, setWhole] = useState(false);
  const latest = [...drops].reverse().slice(0, isWhole ? MOST_DROPS : FEW_DROPS);
  return (
    <div class="drops">
      <h3>Drops of the last day</h3>
      <ul>
        {latest.map((drop) => {
          const at = parseTime(drop.at);
          const until = parseTime(drop.until);
          return (
            <li key={drop.at}>
              <span class="time">
                {at === null ? drop.at : <time dateTime={iso(at)} title={exact(at)}>{when(at, now)}</time>}{" "}
                <small class="quiet">{at === null ? "" : until === null ? "not back yet" : `back after ${length(until - at)}`}</small>
              </span>
              <Finding of={drop} />
            </li>
          );
        })}
      </ul>
      {drops.length > FEW_DROPS && (
        <button type="button" class="plain" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show fewer" : `Show all ${drops.length}`}
        </button>
      )}
    </div>
  );
}
