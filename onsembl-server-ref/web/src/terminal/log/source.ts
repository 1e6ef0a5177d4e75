// Stored output as records, from `GET /api/commands/{id}/output`: read as a stream, from any record on, and found by its
// offset. Records are numbered over all streams of a run, so one is found by bisection, without reading what is before it.

import { fromBase64 } from "../../link/frames.ts";
import type { OutputGap, StreamType, TerminalStream } from "../../wire.gen.ts";
import { problem } from "../request.ts";

/** A position between two records: behind this one. */
export interface Cursor {
  readonly incarnation: number;
  readonly sequence: number;
}

interface Where extends Cursor {
  readonly stream: StreamType;
  readonly offset: number;
  /** When it was stored, in milliseconds since 1970. */
  readonly at: number | null;
}

export type LogRecord =
  | (Where & { readonly kind: "bytes"; readonly bytes: Uint8Array })
  | (Where & { readonly kind: "gap"; readonly length: number | null; readonly because: string });

/** How a command is at the end of what was read. */
export interface End {
  readonly status: string;
  readonly ended: boolean;
}

export type Read = LogRecord | ({ readonly kind: "end" } & End);

export interface ReadOptions {
  readonly after: Cursor | null;
  /** Waits for what comes. */
  readonly follow?: boolean;
}

/** Where records come from. */
export interface Source {
  read(options: ReadOptions, signal: AbortSignal): AsyncIterable<Read>;
}

/** More than any record has. */
const LAST = Number.MAX_SAFE_INTEGER;
/** Runs of one command that are looked through. */
const MOST_RUNS = 64;

/** The stored output of one command. `fetch` is a request of the page. */
export function stored(commandId: string, fetch: (path: string, signal: AbortSignal) => Promise<Response>): Source {
  return {
    async *read({ after, follow = false }, signal) {
      const query = new URLSearchParams();
      if (after !== null) query.set("after", `${after.incarnation}.${after.sequence}`);
      if (follow) query.set("follow", "true");
      const answer = await fetch(`/api/commands/${encodeURIComponent(commandId)}/output?${query}`, signal);
      if (!answer.ok || answer.body === null) throw new Error(await problem(answer));
      for await (const line of lines(answer.body)) {
        const read = record(line);
        if (read !== null) yield read;
      }
    },
  };
}

/** The lines of a stream of text. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      let from = 0;
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", from)) {
        if (end > from) yield rest.slice(from, end);
        from = end + 1;
      }
      rest = rest.slice(from);
      if (done) return;
    }
  } finally {
    // Whoever has enough ends the request.
    await reader.cancel().catch(() => {});
  }
}

/** A line of the answer; null for one of a later version. */
export function record(line: string): Read | null {
  const { output, gap, end } = JSON.parse(line) as {
    output?: TerminalStream;
    gap?: OutputGap;
    end?: { status: string; ended_at: string | null };
  };
  if (output !== undefined) {
    return {
      kind: "bytes",
      incarnation: output.incarnation ?? 0,
      sequence: output.sequence ?? 0,
      stream: output.streamType ?? "STDOUT",
      offset: output.offset ?? 0,
      at: output.timestamp,
      bytes: output.encoding === "base64" ? fromBase64(output.content) : new TextEncoder().encode(output.content),
    };
  }
  if (gap !== undefined) {
    return {
      kind: "gap",
      incarnation: gap.incarnation,
      sequence: gap.sequence,
      stream: gap.streamType,
      offset: gap.offset,
      at: gap.timestamp ?? null,
      length: gap.length ?? null,
      because: gap.because,
    };
  }
  return end === undefined ? null : { kind: "end", status: end.status, ended: end.ended_at !== null };
}

/** The first record behind a position; null if there is none. */
export async function firstBehind(source: Source, after: Cursor | null, signal: AbortSignal): Promise<LogRecord | null> {
  for await (const read of source.read({ after }, signal)) return read.kind === "end" ? null : read;
  return null;
}

/**
 * The lowest number of one run behind which the next record `isEnough`, or behind which there is none. It must be false
 * up to some record, and true from there on.
 */
async function bisect(
  source: Source,
  incarnation: number,
  isEnough: (found: LogRecord | null) => boolean,
  signal: AbortSignal,
): Promise<number> {
  const enough = async (sequence: number): Promise<boolean> => {
    const found = await firstBehind(source, { incarnation, sequence }, signal);
    return isEnough(found === null || found.incarnation !== incarnation ? null : found);
  };
  let [low, high] = [0, 1];
  while (!(await enough(high))) {
    low = high;
    high *= 4;
  }
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (await enough(middle)) high = middle;
    else low = middle;
  }
  return (await enough(low)) ? low : high;
}

/** A position some records before the end; null if there is no output. */
export async function nearEnd(source: Source, records: number, signal: AbortSignal): Promise<Cursor | null> {
  const run = await lastRun(source, signal);
  if (run === null) return null;
  const end = await bisect(source, run.incarnation, (found) => found === null, signal);
  return earlierBy({ incarnation: run.incarnation, sequence: end }, records);
}

/** A position that many records before another one, in the same run; null for the beginning of a run. */
export function earlierBy({ incarnation, sequence }: Cursor, records: number): Cursor | null {
  return sequence <= records ? null : { incarnation, sequence: sequence - records };
}

/** The position before the record that has this offset of a stream; of its last run if none is given. */
export async function atOffset(
  source: Source,
  place: { readonly incarnation: number | null; readonly stream: StreamType | null; readonly offset: number },
  signal: AbortSignal,
): Promise<Cursor | null> {
  const incarnation = place.incarnation ?? (await lastRun(source, signal))?.incarnation ?? null;
  if (incarnation === null) return null;
  const isPast = (found: LogRecord | null): boolean => {
    if (found === null) return true;
    // A record of another stream says nothing; those are few in a row, so the nearest one before is good enough.
    if (place.stream !== null && found.stream !== place.stream) return false;
    return found.offset > place.offset;
  };
  const behind = await bisect(source, incarnation, isPast, signal);
  return behind <= 1 ? { incarnation, sequence: 0 } : { incarnation, sequence: behind - 1 };
}

/** The first record of the last run. */
async function lastRun(source: Source, signal: AbortSignal): Promise<LogRecord | null> {
  let last = await firstBehind(source, null, signal);
  for (let runs = 0; last !== null && runs < MOST_RUNS; runs += 1) {
    const next = await firstBehind(source, { incarnation: last.incarnation, sequence: LAST }, signal);
    if (next === null) return last;
    last = next;
  }
  return last;
}
