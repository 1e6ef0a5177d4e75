// Sentences about agents and commands, in the words of the command line. What the server says (`because`) is passed on
// as it comes. Pure.

import type { AgentActivity, Question, StopProgress } from "../wire.gen.ts";
import { age, count, length, parseTime } from "../lib/time.ts";
import type { AgentWhy } from "../api-types.ts";
import { shown } from "../lib/shown.ts";
import type { Agent, Command } from "./board.ts";

/** A question: `Allow Bash(rm)? [yes, no]`. */
export function questionWords(question: Question): string {
  const title = question.title || "something";
  const choices = question.choices ?? [];
  return choices.length === 0 ? shown(title) : `${shown(title)} [${choices.map((choice) => shown(choice)).join(", ")}]`;
}

/** What a program does: `waiting for a prompt 40s`, `asks: Allow Bash(rm)? [yes, no]`. */
export function activityWords(activity: AgentActivity, now: number): string {
  const lasts = age(now - (parseTime(activity.since) ?? now));
  switch (activity.state) {
    case "working":
      return `working ${lasts}`;
    case "waiting":
      return `waiting for a prompt ${lasts}`;
    case "asking":
      return activity.question === undefined ? `asks something ${lasts}` : `asks: ${questionWords(activity.question)}`;
    case "writing":
      return "writing";
    case "quiet":
      return `quiet for ${lasts}`;
    case "none":
      return "not running";
    default:
      return shown(activity.state);
  }
}

const FACTS: Readonly<Record<string, string>> = {
  started: "it was started",
  "session-start": "its session began",
  "session-end": "its session ended",
  prompt: "it took a prompt",
  tool: "it used a tool",
  notification: "it called for attention",
  permission: "it asked for a permission",
  stop: "its turn ended",
  bell: "it rang its bell",
  "terminal-notification": "it showed a notification",
  "prompt-start": "it showed its prompt",
  "command-start": "it began a command",
  "command-end": "it ended a command",
  input: "something was typed",
  output: "it wrote",
  reads: "it reads its terminal, seen",
};

/** The fact on which an activity rests: `its turn ended 40s ago, as its hook says`. */
export function factWords(activity: AgentActivity, now: number): string | null {
  if (activity.fact === undefined) return null;
  const ago = age(now - (parseTime(activity.factAt) ?? now));
  const fact = FACTS[activity.fact];
  if (fact === undefined) return `${shown(activity.fact)} ${ago} ago`;
  const by = activity.lane === "hook" ? ", as its hook says" : activity.lane === "stream" ? ", as its output says" : "";
  return `${fact} ${ago} ago${by}`;
}

/** How far an agent is with a stop. */
export function stopWords(state: StopProgress): string {
  switch (state) {
    case "verified":
      return "everything killed; verified";
    case "acted":
      return "everything killed, but some process is, or may be, still running; checked every 2s";
    case "received":
      return "starts nothing; kill pending";
    case "told":
      return "notified, but has not answered yet; repeated every 2s";
    case "not-confirmed":
      return "notified, but this agent cannot confirm";
    case "away":
      return "away; starts nothing when it returns";
    default:
      return shown(state);
  }
}

/** Why an agent is where it is, and what else keeps it from working: as `onsembl agents` has it. */
export function becauseWords(agent: Agent): string {
  let because = shown(agent.because);
  if (agent.paused) {
    because = `paused: starts nothing until \`control ${shown(agent.name)} resume\`; ${because}`;
  }
  if (agent.stopped !== null) {
    const { by, at, reason, state } = agent.stopped;
    because = `emergency stop by ${shown(by ?? "")} at ${at ?? "an unknown time"} (${shown(reason ?? "")}): ${stopWords(state)}; ${because}`;
  }
  return because;
}

/** What comes next if nothing but time happens. `now` is the server's. */
export function nextWords(agent: Agent, now: number): string | null {
  const { nextState, nextChangeAt } = agent.why ?? {};
  if (nextState === undefined) return null;
  const at = parseTime(nextChangeAt);
  if (at === null) return `${nextState} next, if nothing comes`;
  const left = at - now;
  return left <= 0 ? `${nextState} at any moment, if nothing comes` : `${nextState} in ${age(left)}, if nothing comes`;
}

/** How a command ended: `exit code 0`, `killed by SIGKILL`. */
export function endWords(command: Pick<Command, "phase" | "exitCode" | "signal">): string | null {
  if (command.signal !== null) return `killed by ${SIGNALS[command.signal] ?? `signal ${command.signal}`}`;
  if (command.exitCode !== null) return `exit code ${command.exitCode}`;
  return null;
}

const SIGNALS: Readonly<Record<number, string>> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  4: "SIGILL",
  6: "SIGABRT",
  8: "SIGFPE",
  9: "SIGKILL",
  11: "SIGSEGV",
  13: "SIGPIPE",
  14: "SIGALRM",
  15: "SIGTERM",
};

/** Evidence in a line, as the command line has it: `dials 12, errno EAI_AGAIN, silence 60s`. */
export function evidenceWords(evidence: Readonly<Record<string, unknown>>): string {
  return Object.keys(evidence)
    .sort()
    .map((name) => fact(name, evidence[name]))
    .join(", ");
}

function fact(name: string, value: unknown): string {
  const words = (text: string): string => text.replaceAll("_", " ");
  if (typeof value !== "number") return `${words(name)} ${shown(String(value))}`;
  if (name.endsWith("_ms")) return `${words(name.slice(0, -3))} ${human(value)}`;
  if (name.endsWith("_bytes")) return `${words(name.slice(0, -6))} ${value} bytes`;
  if (name.endsWith("_at")) return `${words(name.slice(0, -3))} ${new Date(value).toISOString()}`;
  return `${words(name)} ${value}`;
}

/** A length of time as the server's texts have it: `340ms`, `1.5s`, `2m`. */
export function human(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  if (ms >= 60_000 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  if (ms % 1000 === 0) return `${ms / 1000}s`;
  return `${Math.floor(ms / 1000)}.${Math.floor((ms % 1000) / 100)}s`;
}

/** Availability in a sentence. */
export function availabilityWords(of: AgentWhy["availability"], drops: number): string | null {
  if (of.permille === null) return null;
  const observed = of.there_ms + of.missing_ms;
  const fell = drops === 0 ? "no drop" : drops === 1 ? "one drop" : `${count(drops)} drops`;
  const slept = of.asleep_ms > 0 ? `; asleep for ${length(of.asleep_ms)}` : "";
  return `It was available ${Math.floor(of.permille / 10)}.${of.permille % 10} % of ${length(observed)}, within the last day, with ${fell}${slept}.`;
}
