// What a view asks the API for: kept while it is asked for again, so that nothing is cleared before its replacement.

import { useEffect, useRef, useState } from "preact/hooks";
import { errorText } from "../api.ts";
import { fleetLink } from "../store/app.ts";

export interface Query<T> {
  readonly data: T | null;
  /** Why the latest request failed; the data is older then. */
  readonly error: string | null;
  /** When the data came, ms. */
  readonly at: number | null;
  readonly isLoading: boolean;
  readonly reload: () => void;
}

interface Answer {
  readonly data: unknown;
  readonly at: number;
}

/** Answers of views that were left, for going back to them. */
const CACHED = 48;
const cache = new Map<string, Answer>();

function remember(key: string, answer: Answer): void {
  cache.delete(key);
  cache.set(key, answer);
  const oldest = cache.size > CACHED ? cache.keys().next().value : undefined;
  if (oldest !== undefined) cache.delete(oldest);
}

/** Forgets what was answered under keys that begin so. */
export function forget(prefix: string): void {
  for (const key of [...cache.keys()]) if (key.startsWith(prefix)) cache.delete(key);
}

/**
 * Asks by `load` now, when `key` changes, when the link is back, and each `every` ms while the page is seen. A null
 * key asks for nothing.
 */
export function useQuery<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  every: number | null = null,
): Query<T> {
  const [state, setState] = useState<{ key: string | null; answer: Answer | null; error: string | null; isLoading: boolean }>(
    () => ({ key, answer: key === null ? null : (cache.get(key) ?? null), error: null, isLoading: key !== null }),
  );
  const loader = useRef(load);
  loader.current = load;
  const asking = useRef<AbortController | null>(null);
  const ask = useRef<() => void>(() => {});

  useEffect(() => {
    if (key === null) return;
    let handle: ReturnType<typeof setTimeout> | null = null;
    const run = (): void => {
      asking.current?.abort();
      if (handle !== null) clearTimeout(handle);
      const controller = new AbortController();
      asking.current = controller;
      loader.current(controller.signal).then(
        (data) => {
          if (controller.signal.aborted) return;
          const answer = { data, at: Date.now() };
          remember(key, answer);
          setState({ key, answer, error: null, isLoading: false });
          plan();
        },
        (error: unknown) => {
          if (controller.signal.aborted) return;
          setState((before) => ({
            key,
            answer: before.key === key ? before.answer : null,
            error: errorText(error),
            isLoading: false,
          }));
          plan();
        },
      );
    };
    const plan = (): void => {
      if (every === null) return;
      handle = setTimeout(() => {
        if (document.visibilityState === "visible") run();
        else plan();
      }, every);
    };
    ask.current = run;
    setState((before) =>
      before.key === key ? { ...before, isLoading: true } : { key, answer: cache.get(key) ?? null, error: null, isLoading: true },
    );
    run();
    const unlisten = fleetLink.listen({ settled: run });
    return () => {
      unlisten();
      asking.current?.abort();
      if (handle !== null) clearTimeout(handle);
    };
  }, [key, every]);

  const current = state.key === key ? state : { answer: key === null ? null : (cache.get(key) ?? null), error: null, isLoading: true };
  return {
    data: (current.answer?.data ?? null) as T | null,
    error: current.error,
    at: current.answer?.at ?? null,
    isLoading: current.isLoading,
    reload: () => ask.current(),
  };
}
