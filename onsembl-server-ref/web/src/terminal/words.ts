// What the terminal views say in words. Texts of others are escaped where they are shown, by `shown`.

import { shown } from "./guard.ts";
import type { KeyboardShown } from "./typist.ts";
import type { Gap, Lane } from "./watch.ts";

const CAUSES: Readonly<Record<string, string>> = {
  "spool-full": "the spool of the agent was full",
  "spool-failed": "the agent could not write its spool",
  "agent-died": "the agent ended without storing it",
  stopped: "an emergency stop discarded it",
  "never-came": "it never arrived",
  "not-storable": "the database refused it",
  retention: "it was deleted by retention",
  background: "a process that outlived its command held the stream open",
};

/** A number of bytes for people. */
export function byteWords(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  for (const [unit, size] of [["kB", 1e3], ["MB", 1e6], ["GB", 1e9]] as const) {
    const value = bytes / size;
    if (value < 999.5) return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
  }
  return `${Math.round(bytes / 1e12)} TB`;
}

export function skippedWords(bytes: number): string {
  return `${byteWords(bytes)} skipped here; stored, and in the log`;
}

/** A gap in one line. */
export function gapWords(gap: Gap): string {
  const what = gap.length === null ? "an unknown number of bytes not delivered" : `${byteWords(gap.length)} not delivered`;
  const when = gap.timestamp === null ? "" : ` at ${clock(gap.timestamp)}`;
  return `${what}${when}: ${CAUSES[gap.because] ?? shown(gap.because)}`;
}

/** A time of the day in the viewer's zone. */
export function clock(millis: number): string {
  return new Date(millis).toLocaleTimeString(undefined, { hour12: false });
}

/** What the page is doing with the terminal, in one or two words. */
export function laneWords(lane: Lane): string {
  switch (lane) {
    case "live":
      return "live";
    case "catching-up":
      return "catching up";
    case "held-back":
      return "held back";
    case "away":
      return "not connected";
    case "over":
      return "ended";
  }
}

/** Who has the keyboard, in one sentence. */
export function keyboardWords({ mode, other }: KeyboardShown): string {
  const name = other === null ? "" : shown(other.name || "another viewer", 60);
  const since = other?.since == null ? "" : ` since ${clock(other.since)}`;
  switch (mode) {
    case "off":
      return other === null ? "Typing is off." : `${name} types${since}. Typing is off here.`;
    case "held-by-other":
      return `${name} types${since}. Typing is off here.`;
    case "asking":
      return "Asking for the keyboard …";
    case "on":
      return "You type.";
    case "ready":
      return "The keyboard is free; the next key takes it.";
    case "waiting-for-agent":
      return "The agent is away; the keyboard is requested again when it is back.";
    case "no-link":
      return "Not connected; nothing is typed.";
  }
}
