// One terminal that is watched: joins what is shown, what is typed and when a fresh screen replaces what was missed.
// As `Attach` of the core, for a page: gaps are marked, sizes stand in the stream, and a page that is scrolled up or
// hidden takes no fresh screens. No effects; it is told the time, in milliseconds.

import { type Position, isBefore, Seen } from "./position.ts";
import {
  type KeyboardSaid,
  type KeyboardShown,
  type Refused,
  Typist,
  type TypistSays,
  type Wish,
} from "./typist.ts";

/** A viewer that is further behind gets the screen instead of what it missed: 256 KiB. */
export const BEHIND = 256 * 1024;
/** Between two fresh screens. */
export const FRESH_EVERY = 100;
/** A screen that could not be had is requested again after this long. */
const AGAIN_AFTER = 1_000;
/** The server is told what is shown in steps of 8 KiB, a quarter of what may be on its way (P-398). */
const TOLD_EVERY = 8 * 1024;
/** Sizes that wait for the output before them. */
const MOST_SIZES = 64;

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A screen, as a text that brings a fresh terminal of that size there. */
export interface Drawing {
  /** Everything before it was drawn; null if nothing was written yet. */
  readonly at: Position | null;
  readonly size: Size;
  readonly bytes: Uint8Array;
  /** Whether all output before it is drawn. */
  readonly whole: boolean;
}

/** Bytes of the stream that nobody has. */
export interface Gap {
  readonly at: Position;
  /** Null: unknown, and the last of its run. */
  readonly length: number | null;
  /** The word of the protocol (P-200). */
  readonly because: string;
  /** When it was recorded, in milliseconds since 1970. */
  readonly timestamp: number | null;
}

export type WatchEvent =
  | { readonly kind: "greeted"; readonly typing: boolean; readonly live: boolean }
  | { readonly kind: "lost"; readonly why: string }
  | { readonly kind: "back" }
  | { readonly kind: "watching" }
  | { readonly kind: "not-watching"; readonly why: string }
  | { readonly kind: "output"; readonly at: Position; readonly bytes: Uint8Array }
  | { readonly kind: "gap"; readonly gap: Gap }
  | { readonly kind: "sized"; readonly at: Position; readonly size: Size }
  | { readonly kind: "behind" }
  | { readonly kind: "keyboard"; readonly said: KeyboardSaid }
  | { readonly kind: "refused"; readonly what: Refused | null; readonly why: string }
  | { readonly kind: "ended"; readonly why: string }
  | { readonly kind: "fetched"; readonly drawing: Drawing }
  | { readonly kind: "not-fetched"; readonly why: string }
  | { readonly kind: "typed"; readonly bytes: Uint8Array }
  | { readonly kind: "wants"; readonly wish: Wish }
  /** The person wants the terminal to have this size. */
  | { readonly kind: "resize"; readonly size: Size }
  /** Fresh screens are wanted, or not: the page is scrolled up, or hidden. */
  | { readonly kind: "present"; readonly wanted: boolean }
  /** The person asks for a fresh screen. */
  | { readonly kind: "redraw" }
  | { readonly kind: "wake" };

/** What is to be done, in this order. */
export type WatchAction =
  | { readonly kind: "watch"; readonly from: Position | null }
  | { readonly kind: "unwatch" }
  | { readonly kind: "taken"; readonly at: Position }
  | { readonly kind: "type"; readonly says: TypistSays }
  | { readonly kind: "resize"; readonly size: Size }
  | { readonly kind: "fetch" }
  | { readonly kind: "drop-fetch" }
  /** Show this screen instead of what is shown; `skipped` bytes of output are not shown. */
  | { readonly kind: "draw"; readonly drawing: Drawing; readonly skipped: number }
  | { readonly kind: "show"; readonly bytes: Uint8Array }
  | { readonly kind: "size"; readonly size: Size }
  | { readonly kind: "mark"; readonly gap: Gap }
  | { readonly kind: "notice"; readonly text: string }
  /** Output ends here, for this reason. */
  | { readonly kind: "over"; readonly why: string };

type Fetching = { readonly kind: "idle" } | { readonly kind: "due"; readonly at: number } | { readonly kind: "under-way" };

/** How live what is shown is. */
export type Lane = "live" | "catching-up" | "held-back" | "away" | "over";

/** One watched terminal. */
export class Watch {
  readonly #seen = new Seen();
  readonly #typist = new Typist();
  #fetching: Fetching = { kind: "due", at: 0 };
  #link: "none" | "up" | "over" = "none";
  #wantsPresent = true;
  /** What the server was told to be shown; null if it does not want to know. */
  #told: { at: Position | null } | null = null;
  #sizes: { at: Position; size: Size }[] = [];
  #size: Size | null = null;
  #hasScreen = false;
  #unshown = 0;
  #actions: WatchAction[] = [];

  get keyboard(): KeyboardShown {
    return this.#typist.shown;
  }

  get lane(): Lane {
    if (this.#link === "over") return "over";
    if (this.#link === "none") return "away";
    if (this.#seen.isLive && this.#hasScreen) return "live";
    return this.#wantsPresent ? "catching-up" : "held-back";
  }

  get position(): Position | null {
    return this.#seen.position;
  }

  get size(): Size | null {
    return this.#size;
  }

  /** Takes one event, and returns what to do. `unshown`: bytes that were to be shown and are not yet. */
  handle(event: WatchEvent, unshown: number, now: number): WatchAction[] {
    this.#unshown = unshown;
    this.#take(event, now);
    this.#onTime(now);
    this.#tellShown();
    this.#say();
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  /** When to send `wake`, if nothing else happens first; null for never. */
  get deadline(): number | null {
    const typist = this.#typist.deadline;
    const fetch = this.#mayFetch && this.#fetching.kind === "due" ? this.#fetching.at : null;
    if (typist === null || fetch === null) return typist ?? fetch;
    return Math.min(typist, fetch);
  }

  #take(event: WatchEvent, now: number): void {
    switch (event.kind) {
      case "greeted":
        this.#link = "up";
        this.#told = event.live ? { at: null } : null;
        this.#typist.connected(event.typing, now);
        if (this.#hasScreen && this.#seen.isLive) this.#watch();
        return;
      case "lost":
        if (this.#link === "over") return;
        this.#link = "none";
        this.#typist.linkLost();
        this.#seen.linkLost();
        this.#told = null;
        if (this.#fetching.kind === "under-way" && this.#hasScreen) {
          this.#actions.push({ kind: "drop-fetch" });
          this.#fetching = { kind: "idle" };
        }
        return;
      case "back":
        this.#refresh(now);
        return;
      case "watching":
        this.#seen.joined();
        return;
      case "not-watching":
      case "ended":
        if (this.#link === "over") return;
        this.#link = "over";
        this.#typist.linkLost();
        this.#actions.push({ kind: "over", why: event.why });
        // What was written last may be missing.
        if (!this.#seen.isLive) this.#refresh(now);
        return;
      case "output":
        this.#onOutput(event.at, event.bytes, now);
        return;
      case "gap":
        if (this.#seen.gap(event.gap.at, event.gap.length ?? 0)) {
          this.#actions.push({ kind: "mark", gap: event.gap });
        }
        return;
      case "sized":
        this.#onSized(event.at, event.size);
        return;
      case "behind":
        this.#fallBehind(now);
        return;
      case "keyboard":
        this.#typist.onState(event.said);
        return;
      case "refused":
        if (event.what === null || !this.#typist.onRefused(event.what, event.why, now)) {
          this.#actions.push({ kind: "notice", text: event.why });
        }
        return;
      case "fetched":
        this.#onFetched(event.drawing);
        return;
      case "not-fetched":
        if (this.#fetching.kind !== "under-way") return;
        this.#fetching = { kind: "idle" };
        this.#refresh(now + AGAIN_AFTER);
        return;
      case "typed":
        this.#typist.typed(event.bytes, now);
        return;
      case "wants":
        this.#typist.wants(event.wish, now);
        return;
      case "resize":
        this.#actions.push({ kind: "resize", size: event.size });
        return;
      case "present":
        this.#wantsPresent = event.wanted;
        return;
      case "redraw":
        this.#refresh(now);
        return;
      case "wake":
        return;
    }
  }

  get #mayFetch(): boolean {
    // What is not shown yet would be thrown away by a screen, or shown behind it.
    return this.#unshown === 0 && (this.#wantsPresent || !this.#hasScreen);
  }

  #onTime(now: number): void {
    this.#typist.onTime(now);
    if (this.#fetching.kind === "due" && this.#fetching.at <= now && this.#mayFetch) {
      this.#fetching = { kind: "under-way" };
      this.#actions.push({ kind: "fetch" });
    }
  }

  #onOutput(at: Position, bytes: Uint8Array, now: number): void {
    const fresh = this.#seen.take(at, bytes);
    if (fresh === null) {
      if (this.#seen.isLost) this.#refresh(now);
      return;
    }
    if (fresh.length === 0) return;
    const end = at.offset + bytes.length;
    this.#show({ incarnation: at.incarnation, offset: end - fresh.length }, fresh);
    this.#unshown += fresh.length;
    if (this.#unshown > BEHIND) {
      this.#actions.push({ kind: "unwatch" });
      this.#fallBehind(now);
    }
  }

  /** Shows output, with the sizes where they stand in it. */
  #show(from: Position, bytes: Uint8Array): void {
    let [start, rest] = [from.offset, bytes];
    while (this.#sizes[0] !== undefined) {
      const { at, size } = this.#sizes[0];
      if (at.incarnation > from.incarnation || at.offset > start + rest.length) break;
      this.#sizes.shift();
      const before = Math.max(0, at.offset - start);
      if (before > 0) this.#actions.push({ kind: "show", bytes: rest.subarray(0, before) });
      [start, rest] = [start + before, rest.subarray(before)];
      this.#resized(size);
    }
    if (rest.length > 0) this.#actions.push({ kind: "show", bytes: rest });
  }

  /** A size stands at a position: it may come before or behind the bytes there, and again (P-392). */
  #onSized(at: Position, size: Size): void {
    const next = this.#seen.position;
    if (!this.#hasScreen || !this.#seen.isLive) return;
    const waiting = this.#sizes.findIndex((known) => known.at.incarnation === at.incarnation && known.at.offset === at.offset);
    if (next !== null && isBefore(next, at)) {
      if (waiting >= 0) this.#sizes[waiting] = { at, size };
      else if (this.#sizes.length < MOST_SIZES) {
        this.#sizes.push({ at, size });
        this.#sizes.sort((a, b) => (isBefore(a.at, b.at) ? -1 : 1));
      }
    } else if (next === null || this.#sizedAt === null || !isBefore(at, this.#sizedAt)) {
      this.#sizedAt = at;
      this.#resized(size);
    }
  }

  /** Where the size that is in force stands, as far as known. */
  #sizedAt: Position | null = null;

  #resized(size: Size): void {
    if (this.#size !== null && this.#size.columns === size.columns && this.#size.rows === size.rows) return;
    this.#size = size;
    this.#actions.push({ kind: "size", size });
  }

  #fallBehind(now: number): void {
    this.#seen.fellBehind();
    this.#refresh(now + FRESH_EVERY);
  }

  #onFetched(drawing: Drawing): void {
    if (this.#fetching.kind !== "under-way") return;
    this.#fetching = { kind: "idle" };
    const missed = this.#seen.missed(drawing.at);
    if (this.#hasScreen && this.#seen.resumes(missed, BEHIND)) {
      this.#seen.goOn();
    } else {
      const skipped = this.#hasScreen && this.#seen.wasBehind ? missed : 0;
      this.#seen.drawn(drawing.at);
      this.#size = drawing.size;
      this.#sizes = [];
      this.#sizedAt = drawing.at;
      this.#hasScreen = true;
      this.#actions.push({ kind: "draw", drawing, skipped });
    }
    this.#watch();
  }

  #watch(): void {
    if (this.#link !== "up") return;
    if (this.#told !== null) this.#told = { at: this.#seen.position };
    this.#actions.push({ kind: "watch", from: this.#seen.position });
  }

  /** Tells the server what is shown, if that is so much more than it was told. */
  #tellShown(): void {
    const next = this.#seen.position;
    if (this.#told === null || next === null || this.#link !== "up") return;
    const shown = Math.max(0, next.offset - this.#unshown);
    const known = this.#told.at?.incarnation === next.incarnation ? this.#told.at.offset : 0;
    if (shown - known >= TOLD_EVERY) {
      const at = { incarnation: next.incarnation, offset: shown };
      this.#told = { at };
      this.#actions.push({ kind: "taken", at });
    }
  }

  #refresh(at: number): void {
    switch (this.#fetching.kind) {
      case "idle":
        this.#fetching = { kind: "due", at };
        return;
      case "due":
        this.#fetching = { kind: "due", at: Math.min(this.#fetching.at, at) };
        return;
      case "under-way":
        return;
    }
  }

  #say(): void {
    for (let says = this.#typist.nextMessage(); says !== null; says = this.#typist.nextMessage()) {
      this.#actions.push({ kind: "type", says });
    }
    const notice = this.#typist.takeNotice();
    if (notice !== null) this.#actions.push({ kind: "notice", text: notice });
  }
}
