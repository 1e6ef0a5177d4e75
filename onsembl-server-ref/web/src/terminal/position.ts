// Positions in the output of a terminal, and which part of what arrives is new. No effects, no clock.

/** Everything before it: a run of the program, and a number of bytes of its output. */
export interface Position {
  readonly incarnation: number;
  readonly offset: number;
}

/** Whether `a` is before `b`. */
export function isBefore(a: Position, b: Position): boolean {
  return a.incarnation < b.incarnation || (a.incarnation === b.incarnation && a.offset < b.offset);
}

type Pace =
  /** What comes is shown. */
  | "live"
  /** As `live`, but output sent before the latest subscription may still come, and is dropped. */
  | "joining"
  /** Too much is unshown; a screen replaces it. */
  | "behind"
  /** The link was lost; output resumes where it was, or with a screen. */
  | "away"
  /** Something is missing; a screen replaces it. */
  | "lost";

/** What a viewer has seen: each byte once, and a screen in place of what is missing. As `View` of the core. */
export class Seen {
  #next: Position | null = null;
  #pace: Pace = "live";

  /** The position from which output is missing; null if nothing was written yet. */
  get position(): Position | null {
    return this.#next;
  }

  /** A screen is shown that has everything before `at`. */
  drawn(at: Position | null): void {
    this.#next = at;
    this.#pace = "joining";
  }

  /** The part of `bytes` that is to be shown; null if nothing is. */
  take(at: Position, bytes: Uint8Array): Uint8Array | null {
    if (this.#pace !== "live" && this.#pace !== "joining") return null;
    const next = this.#next ?? at;
    if (at.incarnation < next.incarnation) return null;
    if (at.incarnation > next.incarnation || at.offset > next.offset) {
      this.#lose();
      return null;
    }
    const known = next.offset - at.offset;
    if (known > bytes.length) return null;
    this.#next = { incarnation: at.incarnation, offset: at.offset + bytes.length };
    return bytes.subarray(known);
  }

  /** `length` bytes from `at` on are lost. Whether that is new. */
  gap(at: Position, length: number): boolean {
    const reached =
      this.#pace === "live" ||
      (this.#pace === "joining" && this.#next !== null && !isBefore(this.#next, at));
    if (!reached) return false;
    const end = { incarnation: at.incarnation, offset: at.offset + length };
    const isNew = this.#next === null || !isBefore(end, this.#next);
    if (this.#next === null || isBefore(this.#next, end)) this.#next = end;
    return isNew;
  }

  /** Whether output that is shown as it comes has reached `at`, or will. */
  get isLive(): boolean {
    return this.#pace === "live" || this.#pace === "joining";
  }

  fellBehind(): void {
    this.#pace = "behind";
  }

  get isBehind(): boolean {
    return this.#pace === "behind";
  }

  /** Whether a screen is due because too much was unshown, or the link was lost. */
  get wasBehind(): boolean {
    return this.#pace === "behind" || this.#pace === "away";
  }

  linkLost(): void {
    if (this.#pace === "live" || this.#pace === "joining") this.#pace = "away";
  }

  get isLost(): boolean {
    return this.#pace === "lost";
  }

  /** How many bytes were written between what is shown and a screen. */
  missed(screen: Position | null): number {
    if (this.#next === null || screen === null) return 0;
    if (this.#next.incarnation !== screen.incarnation) return 0;
    return Math.max(0, screen.offset - this.#next.offset);
  }

  /** Whether so little is missing that it is shown as it came. */
  resumes(missed: number, most: number): boolean {
    return this.#pace === "away" && this.#next !== null && missed <= most;
  }

  goOn(): void {
    this.#pace = "joining";
  }

  /** The server sends from where it was asked to: nothing of before comes any more. */
  joined(): void {
    if (this.#pace === "joining") this.#pace = "live";
  }

  #lose(): void {
    if (this.#pace === "live") this.#pace = "lost";
  }
}
