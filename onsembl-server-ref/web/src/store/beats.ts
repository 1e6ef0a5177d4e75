// Heartbeat strips of the agents on the screen: asked for a few at a time, kept for about an interval.

import { signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { ApiError, get, path } from "../api.ts";
import type { Beats } from "../lib/strip.ts";

/** Requests at a time. */
const AT_ONCE = 4;
/** Strips that are kept. */
const KEPT = 400;
/** Between two requests for one agent, ms. */
const SOONEST = 5_000;
const LATEST = 30_000;
const CELLS = 60;

interface Entry {
  readonly beats: Signal<Beats | null>;
  asked: number;
  wanted: boolean;
}

const entries = new Map<string, Entry>();
const queue: string[] = [];
let running = 0;
let minutes = 30;
/** An earlier server has none. */
let absentUntil = 0;

/** The strip of an agent; it is asked for when that is due. */
export function beatsOf(id: string): ReadonlySignal<Beats | null> {
  return entryOf(id).beats;
}

function entryOf(id: string): Entry {
  let entry = entries.get(id);
  if (entry === undefined) {
    entry = { beats: signal(null), asked: 0, wanted: false };
    if (entries.size >= KEPT) {
      const oldest = entries.keys().next().value;
      if (oldest !== undefined) entries.delete(oldest);
    }
    entries.set(id, entry);
  }
  return entry;
}

/** An agent is on the screen. */
export function want(id: string, now: number): void {
  const entry = entryOf(id);
  const interval = entry.beats.peek()?.intervalMs ?? LATEST;
  const due = entry.asked + Math.min(Math.max(interval / 2, SOONEST), LATEST);
  if (entry.wanted || now < due || now < absentUntil) return;
  entry.wanted = true;
  queue.push(id);
  pump();
}

/** An agent is not on the screen any more. */
export function unwant(id: string): void {
  const at = queue.indexOf(id);
  if (at < 0) return;
  queue.splice(at, 1);
  const entry = entries.get(id);
  if (entry !== undefined) entry.wanted = false;
}

function pump(): void {
  while (running < AT_ONCE) {
    const id = queue.shift();
    if (id === undefined) return;
    running += 1;
    void ask(id).finally(() => {
      running -= 1;
      pump();
    });
  }
}

async function ask(id: string): Promise<void> {
  const entry = entryOf(id);
  try {
    const beats = await get<Beats>(path`/api/agents/${id}/beats?minutes=${minutes}`);
    const needed = Math.max(Math.ceil((beats.intervalMs * CELLS) / 60_000), 1);
    minutes = Math.min(needed, 24 * 60);
    const extra = beats.cells.length - CELLS;
    entry.beats.value =
      extra > 0 ? { ...beats, from: beats.from + extra * beats.intervalMs, cells: beats.cells.slice(extra) } : beats;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) absentUntil = Date.now() + 60_000;
  } finally {
    entry.asked = Date.now();
    entry.wanted = false;
  }
}
