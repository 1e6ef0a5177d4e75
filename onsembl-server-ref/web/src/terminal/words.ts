// What the terminal views say in words. Texts of others are escaped where they are shown, by `shown`.

import { shown } from "../lib/shown.ts";
import { bytes as amount, clock } from "../lib/time.ts";
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

export function skippedWords(bytes: number): string {
  return `${amount(bytes)} skipped here; stored, and in the log`;
}

/** A gap in one line. */
export function gapWords(gap: Gap): string {
  const what = gap.length === null ? "an unknown number of bytes not delivered" : `${amount(gap.length)} not delivered`;
  const when = gap.timestamp === null ? "" : ` at ${clock(gap.timestamp)}`;
  return `${what}${when}: ${CAUSES[gap.because] ?? shown(gap.because)}`;
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
      return "You type. Ctrl ] stops.";
    case "ready":
      return "The keyboard is free; the next key takes it.";
    case "waiting-for-agent":
      return "The agent is away; the keyboard is requested again when it is back.";
    case "no-link":
      return "Not connected; nothing is typed.";
  }
}
