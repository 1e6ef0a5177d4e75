// The beat strip: the upper half has heartbeats of the agent heard here, the lower half ours that it has seen. As SVG,
// so that it is sharp at any zoom and follows the colours of the page, also forced ones.

import type { JSX } from "preact";
import { clock, length } from "../lib/time.ts";
import { describe, lower, runs, upper, window, type Beats, type Mark, type Run } from "../lib/strip.ts";

/** Cells in a row. */
export const CELLS = 60;
const LANE = 7;
const GAP = 1;
const MARKS: readonly Mark[] = ["beat", "missing", "unknown", "asleep"];

export function Strip({ beats, label }: { beats: Beats | null; label?: string }): JSX.Element {
  const cells = window(beats?.cells ?? "", CELLS);
  const upperRuns = runs(cells, upper);
  const lowerRuns = runs(cells, lower);
  const text = beats === null ? "Heartbeats: not loaded yet." : describe(beats, clock, length);
  return (
    <svg
      class="strip"
      viewBox={`0 0 ${CELLS * 3} ${2 * LANE + GAP}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label === undefined ? text : `${label}: ${text}`}
    >
      <title>{text}</title>
      {MARKS.map((mark) => {
        const d = area(upperRuns, mark, 0) + area(lowerRuns, mark, LANE + GAP);
        return d === "" ? null : <path key={mark} class={mark} d={d} />;
      })}
    </svg>
  );
}

/** Runs of one mark as one path. Single beats stay apart, so that they can be counted. */
function area(of: readonly Run[], mark: Mark, top: number): string {
  let d = "";
  for (const run of of) {
    if (run.mark !== mark) continue;
    if (mark === "asleep" || mark === "unknown") {
      const y = mark === "asleep" ? top : top + LANE / 2 - 0.5;
      const height = mark === "asleep" ? LANE : 1;
      d += `M${run.from * 3} ${y}h${run.length * 3}v${height}h${-run.length * 3}z`;
      continue;
    }
    for (let at = run.from; at < run.from + run.length; at += 1) {
      // A missing beat is a low, wide mark: it differs by shape too.
      d += mark === "beat" ? `M${at * 3 + 0.5} ${top}h2v${LANE}h-2z` : `M${at * 3} ${top + 2}h3v${LANE - 4}h-3z`;
    }
  }
  return d;
}
