// When to dial again: growing windows with a random point in each. Pure.

/** The window of each attempt, ms; the last one repeats. A person waits, so it is short. */
const WINDOWS = [500, 1000, 2000, 4000, 5000, 8000, 10_000] as const;

/** How long a link must have lasted for the windows to begin anew, ms. */
export const STABLE_AFTER = 10_000;

/** How long to wait before attempt `attempt`, from 0; `random` is in [0, 1). */
export function delayBefore(attempt: number, random: number): number {
  const window = WINDOWS[Math.min(Math.max(attempt, 0), WINDOWS.length - 1)] ?? 10_000;
  return Math.round(window / 2 + (window / 2) * random);
}
