// The page's clock: one tick a second for everything that shows a time, none while the page is hidden.

import { signal, type ReadonlySignal } from "@preact/signals";

const tick = signal(Date.now());

/** This machine's time, once a second. */
export const ticker: ReadonlySignal<number> = tick;

/** Begins to tick; the result ends it. */
export function startTicking(): () => void {
  let handle: ReturnType<typeof setTimeout> | null = null;
  const run = (): void => {
    const now = Date.now();
    tick.value = now;
    handle = setTimeout(run, 1000 - (now % 1000) + 5);
  };
  const follow = (): void => {
    if (handle !== null) clearTimeout(handle);
    handle = null;
    if (document.visibilityState === "visible") run();
  };
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    document.removeEventListener("visibilitychange", follow);
    if (handle !== null) clearTimeout(handle);
  };
}
