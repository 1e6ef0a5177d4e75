// Work gathered to the next animation frame, or to a timer while the page is hidden: browsers draw no frames then.

export interface Scheduler {
  /** Runs once, soon; calls before that are one. */
  soon(run: () => void): void;
}

const HIDDEN_EVERY = 250;

export function frames(): Scheduler {
  let planned: (() => void) | null = null;
  const go = (): void => {
    const run = planned;
    planned = null;
    run?.();
  };
  return {
    soon(run) {
      if (planned !== null) {
        planned = run;
        return;
      }
      planned = run;
      if (document.visibilityState === "visible") {
        // A page that is covered draws no frames although it counts as visible.
        const late = setTimeout(() => {
          cancelAnimationFrame(frame);
          go();
        }, HIDDEN_EVERY);
        const frame = requestAnimationFrame(() => {
          clearTimeout(late);
          go();
        });
      } else {
        setTimeout(go, HIDDEN_EVERY);
      }
    },
  };
}
