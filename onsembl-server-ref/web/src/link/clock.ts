// Time and timers, so that tests have their own.

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const handle = setTimeout(run, ms);
    return () => clearTimeout(handle);
  },
};
