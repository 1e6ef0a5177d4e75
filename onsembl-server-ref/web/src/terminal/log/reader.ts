// The part of a log that is on the page: a contiguous window of lines, which grows at either end and is bounded, and a
// search through all of it. The only place of the log view that makes requests.

import { signal } from "@preact/signals";
import type { StreamType } from "../../wire.gen.ts";
import { type Line, Lines, type TextLine } from "./lines.ts";
import { atOffset, type Cursor, earlierBy, type End, type LogRecord, nearEnd, type Source } from "./source.ts";

/** Lines that are kept on the page; beyond, those at the other end go. */
export const MOST_LINES = 20_000;
/** Bytes that are read at once. */
const READ = 256 * 1024;
/** Records that are read at once before the window, at first and at most: some have a few bytes, some 32 KiB. */
const RECORDS = 8;
const MOST_RECORDS = 64 * 1024;
/** Lines of a block, or a few more. */
const BLOCK = 1_000;
/** Between two turns of the page, while output is read or followed, in milliseconds. */
const TURN = 100;

/** A place in the output, as a permalink names it. */
export interface Place {
  readonly incarnation: number | null;
  readonly stream: StreamType | null;
  readonly offset: number;
}

export type Search =
  | { readonly state: "none" }
  | { readonly state: "running"; readonly words: string; readonly bytes: number }
  | { readonly state: "found"; readonly words: string; readonly at: Place }
  | { readonly state: "not-found"; readonly words: string; readonly bytes: number };

/** Lines of consecutive records. */
interface Block {
  /** The record before its first one. */
  readonly before: Cursor | null;
  /** Lines that had not ended there. */
  state: Lines;
  readonly lines: Line[];
}

/** The window. */
export class LogReader {
  readonly lines = signal<readonly Line[]>([]);
  /** Lines that have not ended. */
  readonly rest = signal<readonly Line[]>([]);
  readonly busy = signal<"no" | "opening" | "earlier" | "later">("no");
  readonly why = signal("");
  readonly atStart = signal(false);
  readonly atEnd = signal(false);
  readonly end = signal<End | null>(null);
  readonly search = signal<Search>({ state: "none" });
  /** The line that is to be shown: of a permalink, or found. */
  readonly wanted = signal<Place | null>(null);
  /** Lines that were put in front of, or taken from the front of, those that were there, since the page was drawn. */
  shifted = 0;

  readonly #source: Source;
  #blocks: Block[] = [];
  #tail = new Lines();
  #last: Cursor | null = null;
  #records = RECORDS;
  #work = new AbortController();
  #earlier = new AbortController();
  #searching = new AbortController();

  constructor(source: Source) {
    this.#source = source;
  }

  close(): void {
    for (const work of [this.#work, this.#earlier, this.#searching]) work.abort();
  }

  /** Opens it at a place; null for the end, which is followed. */
  async open(place: Place | null): Promise<void> {
    const { signal } = this.#begin("opening");
    await this.#guarded(signal, async () => {
      const from = place === null ? await nearEnd(this.#source, this.#records, signal) : await this.#above(place, signal);
      this.#clear(from);
      this.wanted.value = place;
      await this.#readOn(place === null ? "end" : "some", signal);
    });
  }

  /** Opens it at the beginning. */
  async openStart(): Promise<void> {
    const { signal } = this.#begin("opening");
    await this.#guarded(signal, async () => {
      this.#clear(null);
      await this.#readOn("some", signal);
    });
  }

  /** Reads what is before the window. */
  async earlier(): Promise<void> {
    const first = this.#blocks[0];
    if (this.busy.value !== "no" || first === undefined || this.atStart.value) return;
    this.busy.value = "earlier";
    this.#earlier = new AbortController();
    const { signal } = this.#earlier;
    await this.#guarded(signal, async () => {
      const from = first.before === null ? null : earlierBy(first.before, this.#records);
      const lines = new Lines();
      const { blocks, bytes } = await this.#read(from, first.before, lines, signal);
      if (signal.aborted || this.#blocks[0] !== first) return;
      if (bytes < READ / 4) this.#records = Math.min(MOST_RECORDS, this.#records * 4);
      else if (bytes > READ * 2) this.#records = Math.max(1, Math.floor(this.#records / 4));
      if (from === null || blocks.length === 0) this.atStart.value = true;
      if (blocks.length === 0) return;
      joinFirst(first, lines.rest());
      first.state = lines;
      this.#blocks.unshift(...blocks);
      this.shifted += blocks.reduce((sum, block) => sum + block.lines.length, 0);
      this.#bound("end");
      this.#publish();
    });
  }

  /** Reads what is behind the window; follows it if that is the end of a command that still runs. */
  async later(): Promise<void> {
    if (this.busy.value !== "no" || this.atEnd.value) return;
    const { signal } = this.#begin("later");
    await this.#guarded(signal, () => this.#readOn("some", signal));
  }

  /** Looks for words behind a place, and again from the beginning. */
  async find(words: string, behind: Place | null): Promise<void> {
    this.#searching.abort();
    this.#searching = new AbortController();
    const { signal } = this.#searching;
    if (words === "") {
      this.search.value = { state: "none" };
      return;
    }
    this.search.value = { state: "running", words, bytes: 0 };
    try {
      const from = behind === null ? null : await this.#above(behind, signal);
      const found =
        (await this.#scan(words, from, behind, signal)) ?? (behind === null ? null : await this.#scan(words, null, null, signal));
      if (signal.aborted) return;
      const { search } = this;
      if (found === null) {
        const bytes = search.value.state === "running" ? search.value.bytes : 0;
        search.value = { state: "not-found", words, bytes };
        return;
      }
      search.value = { state: "found", words, at: found };
      if (this.#has(found)) this.wanted.value = found;
      else await this.open(found);
    } catch (error) {
      if (signal.aborted) return;
      this.search.value = { state: "none" };
      this.why.value = said(error);
    }
  }

  stopSearch(): void {
    this.#searching.abort();
    this.search.value = { state: "none" };
  }

  /** All bytes of one stream, of all runs. `progress` is called with their number. */
  async bytes(stream: StreamType, progress: (bytes: number) => void, signal: AbortSignal): Promise<Blob> {
    const parts: BlobPart[] = [];
    let count = 0;
    for await (const read of this.#source.read({ after: null }, signal)) {
      if (read.kind !== "bytes" || read.stream !== stream) continue;
      parts.push(read.bytes as Uint8Array<ArrayBuffer>);
      count += read.bytes.length;
      progress(count);
      // What is in a blob is not held by the page.
      if (parts.length >= 512) parts.splice(0, parts.length, new Blob(parts));
    }
    return new Blob(parts, { type: "application/octet-stream" });
  }

  #has(place: Place): boolean {
    return this.lines.value.some((line) => isAt(line, place));
  }

  #begin(busy: "opening" | "later"): AbortController {
    this.#work.abort();
    this.#earlier.abort();
    this.#work = new AbortController();
    this.busy.value = busy;
    return this.#work;
  }

  async #guarded(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      if (!signal.aborted) this.why.value = "";
    } catch (error) {
      if (!signal.aborted) this.why.value = said(error);
    } finally {
      if (!signal.aborted) this.busy.value = "no";
    }
  }

  #clear(from: Cursor | null): void {
    this.#blocks = [];
    this.#tail = new Lines();
    this.#last = from;
    this.shifted = 0;
    this.atStart.value = from === null;
    this.atEnd.value = false;
    this.end.value = null;
  }

  /** A position some records before a place. */
  async #above(place: Place, signal: AbortSignal): Promise<Cursor | null> {
    const at = await atOffset(this.#source, place, signal);
    return at === null ? null : earlierBy(at, this.#records);
  }

  /** Reads behind the window: a while, or up to the end, and then what comes. */
  async #readOn(until: "some" | "end", signal: AbortSignal): Promise<void> {
    let bytes = 0;
    let drawn = performance.now();
    for await (const read of this.#source.read({ after: this.#last }, signal)) {
      if (signal.aborted) return;
      if (read.kind === "end") {
        this.end.value = read;
        this.atEnd.value = true;
        break;
      }
      this.#append(read);
      bytes += read.kind === "bytes" ? read.bytes.length : 0;
      if (until === "some" && bytes >= READ) break;
      if (bytes >= READ && performance.now() - drawn > TURN) {
        this.#publish();
        drawn = performance.now();
      }
    }
    this.#publish();
    this.busy.value = "no";
    if (this.end.value?.ended === false) await this.#follow(signal);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let drawn = performance.now();
    let due: ReturnType<typeof setTimeout> | undefined;
    const draw = (): void => {
      clearTimeout(due);
      due = undefined;
      drawn = performance.now();
      this.#publish();
    };
    try {
      for await (const read of this.#source.read({ after: this.#last, follow: true }, signal)) {
        if (signal.aborted) return;
        if (read.kind === "end") {
          this.end.value = read;
          break;
        }
        this.#append(read);
        if (performance.now() - drawn > TURN) draw();
        else due ??= setTimeout(draw, TURN);
      }
      draw();
    } finally {
      clearTimeout(due);
    }
  }

  #append(read: LogRecord): void {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.lines.length >= BLOCK) {
      block = { before: this.#last, state: this.#tail.copy(), lines: [] };
      this.#blocks.push(block);
    }
    block.lines.push(...this.#tail.read(read));
    this.#last = read;
  }

  /** The records from one position up to another. */
  async #read(
    from: Cursor | null,
    until: Cursor | null,
    lines: Lines,
    signal: AbortSignal,
  ): Promise<{ blocks: Block[]; bytes: number }> {
    const blocks: Block[] = [];
    let [bytes, last] = [0, from];
    for await (const read of this.#source.read({ after: from }, signal)) {
      if (read.kind === "end" || (until !== null && isBehind(read, until))) break;
      let block = blocks.at(-1);
      if (block === undefined || block.lines.length >= BLOCK) {
        block = { before: last, state: lines.copy(), lines: [] };
        blocks.push(block);
      }
      block.lines.push(...lines.read(read));
      bytes += read.kind === "bytes" ? read.bytes.length : 0;
      last = read;
    }
    return { blocks, bytes };
  }

  /** Takes blocks away at one end. */
  #bound(at: "start" | "end"): void {
    let count = this.#blocks.reduce((sum, block) => sum + block.lines.length, 0);
    while (count > MOST_LINES && this.#blocks.length > 1) {
      const gone = at === "start" ? this.#blocks.shift() : this.#blocks.pop();
      if (gone === undefined) return;
      count -= gone.lines.length;
      if (at === "start") {
        this.shifted -= gone.lines.length;
        this.atStart.value = false;
      } else {
        // What is behind is read again from there.
        this.#work.abort();
        this.#last = gone.before;
        this.#tail = gone.state.copy();
        this.atEnd.value = false;
      }
    }
  }

  #publish(): void {
    if (this.busy.value !== "earlier") this.#bound("start");
    this.lines.value = this.#blocks.flatMap((block) => block.lines);
    this.rest.value = this.atEnd.value ? this.#tail.rest() : [];
  }

  async #scan(words: string, from: Cursor | null, behind: Place | null, signal: AbortSignal): Promise<Place | null> {
    const wanted = words.toLowerCase();
    const lines = new Lines();
    let [bytes, told] = [0, performance.now()];
    const match = (line: Line): boolean =>
      line.kind === "text" && (behind === null || isPast(line, behind)) && line.text.toLowerCase().includes(wanted);
    for await (const read of this.#source.read({ after: from }, signal)) {
      if (signal.aborted) return null;
      if (read.kind === "end") break;
      const found = lines.read(read).find(match);
      if (found !== undefined) return placeOf(found);
      bytes += read.kind === "bytes" ? read.bytes.length : 0;
      if (performance.now() - told > TURN) {
        told = performance.now();
        this.search.value = { state: "running", words, bytes };
      }
    }
    this.search.value = { state: "running", words, bytes };
    const last = lines.rest().find(match);
    return last === undefined ? null : placeOf(last);
  }
}

/** The line in which a block begins is whole once what is before it is known, if it was not known before. */
function joinFirst({ lines, state }: Block, rest: readonly TextLine[]): void {
  const part = lines[0];
  if (part?.kind !== "text" || state.rest().some((line) => line.stream === part.stream)) return;
  const start = rest.find((line) => line.stream === part.stream);
  if (start === undefined) return;
  lines[0] = { ...start, text: start.text + part.text, spans: [...start.spans, ...part.spans] };
}

export function placeOf(line: Line): Place {
  const { incarnation, stream, offset } = line;
  return { incarnation, stream, offset };
}

/** Whether a place is in a line, as far as its beginning tells. */
export function isAt(line: Line, place: Place): boolean {
  return (
    line.offset === place.offset &&
    (place.stream === null || line.stream === place.stream) &&
    (place.incarnation === null || line.incarnation === place.incarnation)
  );
}

/** The line that has a place: the last one that does not begin behind it. */
export function lineOf(lines: readonly Line[], place: Place): number {
  let found = -1;
  lines.forEach((line, n) => {
    if (place.stream !== null && line.stream !== place.stream) return;
    if (place.incarnation !== null && line.incarnation !== place.incarnation) return;
    if (line.offset <= place.offset) found = n;
  });
  return found;
}

/** The fragment of a permalink. */
export function fragment(place: Place): string {
  const parts = [`offset=${place.offset}`];
  if (place.stream !== null) parts.push(`stream=${place.stream.toLowerCase()}`);
  if (place.incarnation !== null) parts.push(`run=${place.incarnation}`);
  return parts.join("&");
}

/** The place of a fragment; null if it has none. */
export function fromFragment(hash: string): Place | null {
  const parameters = new URLSearchParams(hash);
  const number = (name: string): number | null => {
    const text = parameters.get(name);
    return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
  };
  const offset = number("offset");
  if (offset === null) return null;
  const stream = parameters.get("stream")?.toUpperCase() ?? null;
  return { offset, incarnation: number("run"), stream };
}

function isBehind(record: Cursor, cursor: Cursor): boolean {
  if (record.incarnation !== cursor.incarnation) return record.incarnation > cursor.incarnation;
  return record.sequence > cursor.sequence;
}

function isPast(line: Line, place: Place): boolean {
  if (place.incarnation !== null && line.incarnation !== place.incarnation) return line.incarnation > place.incarnation;
  if (place.stream !== null && line.stream !== place.stream) return true;
  return line.offset > place.offset;
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
