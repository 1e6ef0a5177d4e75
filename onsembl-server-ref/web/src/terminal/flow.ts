// The way of output into the terminal emulator: one write at a time, as much in a frame as fits into its budget, and
// what belongs between two bytes (a size, a mark, a screen) exactly there. No decision about what is shown is made here.

import type { Drawing, Gap, Size } from "./watch.ts";

/** Bytes of one write at most. */
const MOST = 64 * 1024;
/** Bytes of one write at least, however slow the machine. */
const LEAST = 4 * 1024;
/** Milliseconds of a frame that output may take. */
const BUDGET = 8;
/** A page that is not drawn has no frames; then it is continued after this many milliseconds. */
const WITHOUT_FRAMES = 250;

/** What shows output. */
export interface Sink {
  /** Interprets bytes, and calls back when that is done. */
  write(bytes: Uint8Array, done: () => void): void;
  draw(drawing: Drawing, skipped: number, done: () => void): void;
  size(size: Size): void;
  mark(gap: Gap): void;
}

/** Time and frames, replaced in tests. */
export interface Frames {
  now(): number;
  /** Calls back before the next frame is drawn, or after `within` milliseconds. */
  next(callback: () => void, within: number): void;
}

export const frames: Frames = {
  now: () => performance.now(),
  next(callback, within) {
    let done = false;
    const once = (): void => {
      if (done) return;
      done = true;
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      callback();
    };
    const frame = requestAnimationFrame(once);
    const timer = setTimeout(once, within);
  },
};

type Item =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "draw"; readonly drawing: Drawing; readonly skipped: number }
  | { readonly kind: "size"; readonly size: Size }
  | { readonly kind: "mark"; readonly gap: Gap };

/** One queue into one terminal. */
export class Flow {
  readonly #sink: Sink;
  readonly #frames: Frames;
  readonly #progress: () => void;
  #items: Item[] = [];
  #unshown = 0;
  #piece = MOST;
  #state: "idle" | "frame" | "writing" | "paused" | "closed" = "idle";
  #pauseWanted = false;
  #frameBegan = 0;

  /** `progress` is called whenever something was shown. */
  constructor(sink: Sink, progress: () => void, over: Frames = frames) {
    this.#sink = sink;
    this.#frames = over;
    this.#progress = progress;
  }

  /** Bytes that were to be shown and are not yet. */
  get unshown(): number {
    return this.#unshown;
  }

  show(bytes: Uint8Array): void {
    this.#unshown += bytes.length;
    this.#push({ kind: "bytes", bytes });
  }

  size(size: Size): void {
    this.#push({ kind: "size", size });
  }

  mark(gap: Gap): void {
    this.#push({ kind: "mark", gap });
  }

  /** Shows a screen instead of everything before it, also of what was not shown yet. */
  draw(drawing: Drawing, skipped: number): void {
    this.#items = this.#items.filter((item) => item.kind === "mark");
    this.#unshown = 0;
    // A person who is scrolled up keeps what is there until it is replaced by that very screen.
    this.#push({ kind: "draw", drawing, skipped });
  }

  /** Shows nothing until `resume`. */
  pause(): void {
    this.#pauseWanted = true;
    if (this.#state === "idle") this.#state = "paused";
  }

  resume(): void {
    this.#pauseWanted = false;
    if (this.#state !== "paused") return;
    this.#state = "idle";
    this.#schedule();
  }

  close(): void {
    this.#state = "closed";
    this.#items = [];
    this.#unshown = 0;
  }

  #push(item: Item): void {
    if (this.#state === "closed") return;
    this.#items.push(item);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#state !== "idle" || this.#items.length === 0) return;
    this.#state = "frame";
    this.#frames.next(() => {
      if (this.#state !== "frame") return;
      this.#frameBegan = this.#frames.now();
      this.#step();
    }, WITHOUT_FRAMES);
  }

  /** Shows what may be shown at once, up to the next write. */
  #step(): void {
    for (;;) {
      if (this.#pauseWanted) {
        this.#state = "paused";
        return;
      }
      const item = this.#items[0];
      if (item === undefined) {
        this.#state = "idle";
        return;
      }
      switch (item.kind) {
        case "size":
          this.#items.shift();
          this.#sink.size(item.size);
          continue;
        case "mark":
          this.#items.shift();
          this.#sink.mark(item.gap);
          continue;
        case "draw":
          this.#items.shift();
          this.#write(0, (done) => this.#sink.draw(item.drawing, item.skipped, done));
          return;
        case "bytes": {
          const bytes = this.#gather();
          this.#write(bytes.length, (done) => this.#sink.write(bytes, done));
          return;
        }
      }
    }
  }

  /** The next bytes, of several small pieces if there are. */
  #gather(): Uint8Array {
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < this.#piece) {
      const item = this.#items[0];
      if (item === undefined || item.kind !== "bytes") break;
      const part = item.bytes.subarray(0, this.#piece - length);
      if (part.length === item.bytes.length) this.#items.shift();
      else this.#items[0] = { kind: "bytes", bytes: item.bytes.subarray(part.length) };
      parts.push(part);
      length += part.length;
    }
    if (parts.length === 1 && parts[0] !== undefined) return parts[0];
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  #write(length: number, write: (done: () => void) => void): void {
    this.#state = "writing";
    const began = this.#frames.now();
    write(() => {
      if (this.#state !== "writing") return;
      const now = this.#frames.now();
      this.#adapt(length, now - began);
      this.#unshown = Math.max(0, this.#unshown - length);
      if (now - this.#frameBegan < BUDGET) {
        this.#step();
      } else {
        this.#state = "idle";
        this.#schedule();
      }
      this.#progress();
    });
  }

  #adapt(length: number, took: number): void {
    if (took > BUDGET) this.#piece = Math.max(LEAST, Math.floor(this.#piece / 2));
    else if (took < BUDGET / 2 && length === this.#piece) this.#piece = Math.min(MOST, this.#piece * 2);
  }
}
