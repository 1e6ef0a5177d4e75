// The beat strip: what a cell means, where runs of cells are drawn, and the same in words. Pure.

/** A cell: one interval of heartbeats (GET /api/agents/ID/beats). */
export type Cell = "b" | "u" | "d" | "-" | "?" | "z" | "h";

export interface Beats {
  /** Length of a cell, ms. */
  readonly intervalMs: number;
  /** When the first cell begins, ms. */
  readonly from: number;
  readonly cells: string;
}

/** What is drawn of a cell in each of the two lanes. */
export type Mark = "beat" | "missing" | "unknown" | "asleep";

/** The upper lane has heartbeats of the agent that were heard here. */
export function upper(cell: string): Mark {
  switch (cell) {
    case "b":
    case "u":
    case "h":
      return "beat";
    case "d":
    case "-":
      return "missing";
    case "z":
      return "asleep";
    default:
      return "unknown";
  }
}

/** The lower lane has our heartbeats that the agent has seen. */
export function lower(cell: string): Mark {
  switch (cell) {
    case "b":
    case "d":
      return "beat";
    case "u":
    case "-":
      return "missing";
    case "z":
      return "asleep";
    default:
      return "unknown";
  }
}

export interface Run {
  readonly mark: Mark;
  readonly from: number;
  readonly length: number;
}

/** Neighbours that are alike, as one. */
export function runs(cells: string, lane: (cell: string) => Mark): Run[] {
  const found: Run[] = [];
  for (let at = 0; at < cells.length; at += 1) {
    const mark = lane(cells[at] ?? "?");
    const last = found.at(-1);
    if (last !== undefined && last.mark === mark) found[found.length - 1] = { ...last, length: last.length + 1 };
    else found.push({ mark, from: at, length: 1 });
  }
  return found;
}

/** The last `count` cells; what is not there is not recorded. */
export function window(cells: string, count: number): string {
  return cells.length >= count ? cells.slice(cells.length - count) : "?".repeat(count - cells.length) + cells;
}

export interface Tally {
  readonly both: number;
  /** Heard from the agent; whether ours are seen is not known. */
  readonly heard: number;
  /** Only heard from the agent: ours were lost on the way to it. */
  readonly lostToAgent: number;
  /** Only ours were seen: the agent's were lost on the way to the server. */
  readonly lostToServer: number;
  readonly silent: number;
  readonly asleep: number;
  readonly unknown: number;
}

export function tally(cells: string): Tally {
  const count = { both: 0, heard: 0, lostToAgent: 0, lostToServer: 0, silent: 0, asleep: 0, unknown: 0 };
  for (const cell of cells) {
    if (cell === "b") count.both += 1;
    else if (cell === "h") count.heard += 1;
    else if (cell === "u") count.lostToAgent += 1;
    else if (cell === "d") count.lostToServer += 1;
    else if (cell === "-") count.silent += 1;
    else if (cell === "z") count.asleep += 1;
    else count.unknown += 1;
  }
  return count;
}

/** The strip in words: `58 of 60 heartbeats in 30 min; 2 lost towards the agent, last at 11:40`. */
export function describe(beats: Beats, clock: (at: number) => string, span: (ms: number) => string): string {
  const { cells, from, intervalMs } = beats;
  const sum = tally(cells);
  const recorded = cells.length - sum.unknown - sum.asleep;
  if (recorded === 0 && sum.asleep === 0) return "No heartbeats are recorded.";
  const last = (kind: string): string => clock(from + cells.lastIndexOf(kind) * intervalMs);
  const parts: string[] = [];
  if (sum.heard > 0) parts.push(`${sum.heard} heard, the other direction is not known`);
  if (sum.lostToAgent > 0) parts.push(`${sum.lostToAgent} lost towards the agent, last at ${last("u")}`);
  if (sum.lostToServer > 0) parts.push(`${sum.lostToServer} lost towards the server, last at ${last("d")}`);
  if (sum.silent > 0) parts.push(`${sum.silent} without a sign in either direction, last at ${last("-")}`);
  if (sum.asleep > 0) parts.push(`asleep for ${span(sum.asleep * intervalMs)}`);
  if (sum.unknown > 0) parts.push(`${sum.unknown} not recorded`);
  const head = `${sum.both} of ${recorded} heartbeats in ${span(cells.length * intervalMs)} arrived in both directions`;
  return parts.length === 0 ? `${head}.` : `${head}; ${parts.join("; ")}.`;
}
