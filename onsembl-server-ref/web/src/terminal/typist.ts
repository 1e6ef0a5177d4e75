// What is typed on this page, on its way to a terminal: who holds the keyboard, what was sent and is not known to have
// arrived, what is sent again. As `Typist` of the core (P-400 to P-407). No effects; it is told the time, in milliseconds.

/** Bytes of one message; the server accepts twice as many. */
const PIECE = 8 * 1024;
/** Bytes and messages on their way; the server accepts 64 KiB and 64. */
const UNDER_WAY = 32 * 1024;
const UNDER_WAY_PIECES = 32;
/** Bytes that may wait. More of a paste is refused. */
export const WAITING = 1024 * 1024;
/** After this long something that was refused for now is sent again. */
const AGAIN_AFTER = 300;
/** The server has this long to name the holder; then a key asks again. */
const ANSWERED_WITHIN = 10_000;
/** After a refusal because the agent is away the keyboard is requested again this much later. */
const ASKED_AGAIN_AFTER = 1_000;

/** What the person wants. */
export type Wish = "look" | "type" | "take-over";

/** A message to the server. */
export type TypistSays =
  | { readonly kind: "take"; readonly over: boolean }
  | { readonly kind: "input"; readonly holder: string; readonly sequence: number; readonly bytes: Uint8Array }
  | { readonly kind: "release"; readonly holder: string };

/** The server says who holds the keyboard. */
export interface KeyboardSaid {
  /** Whether it answers the latest request for the keyboard. */
  readonly answersWish: boolean;
  readonly holder: string | null;
  /** The holder in its own words. */
  readonly name: string;
  /** Milliseconds since 1970; null if unknown. */
  readonly since: number | null;
  /** All input up to this number is in the terminal. */
  readonly taken: number;
  /** Why the previous hold ended, or what became of an input. */
  readonly because: string;
}

/** What a refusal of the server is about. */
export type Refused = "wish-while-held" | "wish-while-away" | "wish" | "input-for-now" | "input";

interface Held {
  readonly kind: "held";
  readonly holder: string;
  next: number;
  underWay: { sequence: number; bytes: Uint8Array }[];
  bytes: number;
  againAt: number | null;
}

type State =
  /** No link. */
  | { readonly kind: "away" }
  /** It is taken when something is typed. */
  | { readonly kind: "free" }
  /** Another one holds it, or this person only looks. */
  | { readonly kind: "watching" }
  | { readonly kind: "asked"; readonly until: number; readonly again: boolean }
  /** The agent is away; the keyboard is requested again then. */
  | { readonly kind: "later"; readonly at: number }
  | Held;

/** What the page shows of the keyboard. */
export interface KeyboardShown {
  readonly mode: "off" | "asking" | "on" | "ready" | "waiting-for-agent" | "no-link" | "held-by-other";
  /** The other holder, if another one has it. */
  readonly other: { readonly name: string; readonly since: number | null } | null;
}

/** The person at this page. */
export class Typist {
  #wish: Wish = "look";
  #state: State = { kind: "away" };
  #types = false;
  /** The latest hold of this page, which may outlive its link at the server. */
  #last: string | null = null;
  #seen: { holder: string; name: string; since: number | null } | null = null;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #messages: TypistSays[] = [];
  #notice: string | null = null;
  #doubtful = 0;

  /** There is a link to a server, which may know typing. */
  connected(types: boolean, now: number): void {
    this.#types = types;
    this.#begin(now);
  }

  /** The person wants something else. */
  wants(wish: Wish, now: number): void {
    this.#wish = wish;
    if (wish === "look") {
      this.#release();
    } else if (this.#state.kind !== "away" && (this.#state.kind !== "held" || wish === "take-over")) {
      this.#begin(now);
    }
  }

  #begin(now: number): void {
    switch (this.#wish) {
      case "look":
        this.#state = { kind: "watching" };
        return;
      case "type":
      case "take-over": {
        if (!this.#types) {
          this.#state = { kind: "watching" };
          this.#forgetWaiting();
          this.#notice = "this server does not support remote typing; view only";
          return;
        }
        const over = this.#wish === "take-over";
        // Once: whoever takes it back later keeps it.
        this.#wish = "type";
        this.#ask(over, false, now);
      }
    }
  }

  /** The link is lost, and the hold with it. Input on its way may have arrived, so it is not sent again. */
  linkLost(): void {
    this.#dropHold();
    this.#seen = null;
    this.#messages = [];
    this.#state = { kind: "away" };
  }

  /** Something is typed. Whether it is on its way. */
  typed(bytes: Uint8Array, now: number): boolean {
    const state = this.#state.kind;
    if (state === "away" || state === "watching") return false;
    if (this.#waitingBytes + bytes.length > WAITING) {
      this.#notice = `the program does not read its input; ${bytes.length} bytes were dropped`;
      return false;
    }
    if (state === "free" || state === "later") this.#ask(false, false, now);
    this.#waitingBytes += bytes.length;
    this.#waiting.push(bytes);
    this.#fill();
    return true;
  }

  get holds(): boolean {
    return this.#state.kind === "held";
  }

  get shown(): KeyboardShown {
    const own = this.#state.kind === "held" ? this.#state.holder : null;
    const other = this.#seen !== null && this.#seen.holder !== own ? this.#seen : null;
    return { mode: this.#mode(other !== null), other };
  }

  #mode(isHeldByOther: boolean): KeyboardShown["mode"] {
    switch (this.#state.kind) {
      case "away":
        return this.#wish === "look" ? "off" : "no-link";
      case "free":
        return "ready";
      case "asked":
        return "asking";
      case "later":
        return "waiting-for-agent";
      case "held":
        return "on";
      case "watching":
        return this.#wish !== "look" && isHeldByOther ? "held-by-other" : "off";
    }
  }

  /** The server says who holds the keyboard. */
  onState(said: KeyboardSaid): void {
    const { holder, name, since } = said;
    this.#seen = holder === null ? null : { holder, name, since };
    if (said.because !== "") this.#notice = said.because;
    const state = this.#state;
    if (state.kind === "asked") {
      if (!said.answersWish || holder === null) return;
      this.#last = holder;
      this.#notice = null;
      this.#state = { kind: "held", holder, next: 1, underWay: [], bytes: 0, againAt: null };
      this.#fill();
    } else if (state.kind === "held" && state.holder === holder) {
      while (state.underWay[0] !== undefined && state.underWay[0].sequence <= said.taken) {
        state.bytes -= state.underWay.shift()?.bytes.length ?? 0;
      }
      this.#fill();
    } else if (state.kind === "held") {
      this.#dropHold();
      if (holder === null) {
        this.#state = { kind: "free" };
      } else {
        this.#notice = `${name || "another viewer"} took over the keyboard; view only`;
        this.#state = { kind: "watching" };
      }
    } else if (state.kind === "watching" && holder === null && this.#wish !== "look" && this.#types) {
      this.#state = { kind: "free" };
    }
  }

  /** The server refuses something. Whether it was of this person. */
  onRefused(what: Refused, why: string, now: number): boolean {
    const state = this.#state;
    if (state.kind === "asked") {
      switch (what) {
        case "wish-while-held":
          // The link before this one may not have ended yet for the server.
          if (this.#last !== null && this.#seen?.holder === this.#last) {
            this.#last = null;
            this.#ask(true, false, now);
          } else {
            this.#giveUp({ kind: "watching" }, why);
          }
          return true;
        case "wish-while-away": {
          const later: State = { kind: "later", at: now + ASKED_AGAIN_AFTER };
          if (!state.again || this.#waiting.length > 0) this.#giveUp(later, why);
          else this.#state = later;
          return true;
        }
        case "wish":
          this.#giveUp({ kind: "free" }, why);
          return true;
        case "input-for-now":
        case "input":
          return false;
      }
    }
    if (state.kind !== "held") return false;
    switch (what) {
      case "input-for-now":
        // Everything behind the refused number is refused too, and sent again with it.
        state.againAt ??= now + AGAIN_AFTER;
        return true;
      case "input":
        this.#dropHold();
        this.#giveUp({ kind: "free" }, why);
        return true;
      case "wish":
      case "wish-while-held":
      case "wish-while-away":
        return false;
    }
  }

  /** When to call `onTime`; null for never. */
  get deadline(): number | null {
    switch (this.#state.kind) {
      case "held":
        return this.#state.againAt;
      case "asked":
        return this.#state.until;
      case "later":
        return this.#state.at;
      case "away":
      case "free":
      case "watching":
        return null;
    }
  }

  onTime(now: number): void {
    const due = this.deadline;
    if (due === null || due > now) return;
    switch (this.#state.kind) {
      case "held": {
        const { holder, underWay } = this.#state;
        this.#state.againAt = null;
        for (const { sequence, bytes } of underWay) {
          this.#messages.push({ kind: "input", holder, sequence, bytes });
        }
        return;
      }
      case "later":
        this.#ask(false, true, now);
        return;
      case "asked":
        this.#giveUp(
          { kind: "free" },
          "the server did not say who holds the keyboard; nothing was typed, and the next key asks again",
        );
        return;
      case "away":
      case "free":
      case "watching":
        return;
    }
  }

  nextMessage(): TypistSays | null {
    return this.#messages.shift() ?? null;
  }

  /** What there is to tell the person. */
  takeNotice(): string | null {
    const [notice, doubtful] = [this.#notice, this.#doubtful];
    this.#notice = null;
    this.#doubtful = 0;
    if (doubtful === 0) return notice;
    const before = notice === null ? "" : `${notice}; `;
    return `${before}whether the last ${doubtful} bytes of input arrived is unknown`;
  }

  #ask(over: boolean, again: boolean, now: number): void {
    this.#state = { kind: "asked", until: now + ANSWERED_WITHIN, again };
    this.#messages.push({ kind: "take", over });
  }

  #release(): void {
    if (this.#state.kind === "held") {
      this.#messages.push({ kind: "release", holder: this.#state.holder });
      this.#dropHold();
    }
    this.#forgetWaiting();
    if (this.#state.kind !== "away") this.#state = { kind: "watching" };
  }

  #giveUp(to: State, why: string): void {
    this.#state = to;
    this.#notice = why;
    this.#forgetWaiting();
  }

  #dropHold(): void {
    if (this.#state.kind === "held") this.#doubtful += this.#state.bytes;
    this.#forgetWaiting();
  }

  /** What was not sent is not typed: the screen has changed meanwhile. */
  #forgetWaiting(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #fill(): void {
    const held = this.#state;
    if (held.kind !== "held") return;
    while (held.bytes < UNDER_WAY && held.underWay.length < UNDER_WAY_PIECES) {
      const front = this.#waiting[0];
      if (front === undefined) return;
      const bytes = front.subarray(0, PIECE);
      if (bytes.length === front.length) this.#waiting.shift();
      else this.#waiting[0] = front.subarray(PIECE);
      this.#waitingBytes -= bytes.length;
      const sequence = held.next;
      held.next += 1;
      held.bytes += bytes.length;
      held.underWay.push({ sequence, bytes });
      this.#messages.push({ kind: "input", holder: held.holder, sequence, bytes });
    }
  }
}
