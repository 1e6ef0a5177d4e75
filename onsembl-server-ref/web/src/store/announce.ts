// What a screen reader is told of by itself: one sentence at a time, at most one in 5 s, the latest of each subject.

import { signal, type ReadonlySignal } from "@preact/signals";
import { systemClock, type Clock } from "../link/clock.ts";

/** Between two sentences, ms. */
const EVERY = 5_000;
/** Subjects that wait at most; the oldest goes. */
const MOST = 4;

export class Announcer {
  readonly #clock: Clock;
  readonly #said = signal("");
  readonly #waiting = new Map<string, string>();
  #last = Number.NEGATIVE_INFINITY;
  #planned = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** The sentence of the live region. */
  get said(): ReadonlySignal<string> {
    return this.#said;
  }

  /** Says this of a subject; replaces what waits to be said of it. */
  say(subject: string, sentence: string): void {
    this.#waiting.delete(subject);
    this.#waiting.set(subject, sentence);
    if (this.#waiting.size > MOST) {
      const oldest = this.#waiting.keys().next().value;
      if (oldest !== undefined) this.#waiting.delete(oldest);
    }
    this.#plan();
  }

  #plan(): void {
    if (this.#planned || this.#waiting.size === 0) return;
    this.#planned = true;
    const wait = Math.max(this.#last + EVERY - this.#clock.now(), 0);
    this.#clock.after(wait, () => {
      this.#planned = false;
      const next = this.#waiting.entries().next().value;
      if (next === undefined) return;
      this.#waiting.delete(next[0]);
      this.#last = this.#clock.now();
      this.#said.value = next[1];
      this.#plan();
    });
  }
}

export const announcer = new Announcer();
