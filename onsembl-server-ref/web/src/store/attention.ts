// Which agents need somebody, in which order, and why. Pure.

import { evidenceText, isInSession, type Agent } from "./board.ts";

/** In the order of the list. */
export const KINDS = ["asks", "faulty", "away", "working", "idle", "resting"] as const;

export type Kind = (typeof KINDS)[number];

/** What each is called. */
export const KIND_WORDS: Readonly<Record<Kind, string>> = {
  asks: "asks you",
  faulty: "faulty",
  away: "away",
  working: "working",
  idle: "idle",
  resting: "stopped or paused",
};

/** Causes after which nobody expects an agent: somebody ended it. */
const ENDED_BY_SOMEBODY: ReadonlySet<string> = new Set(["agent-stopped", "end-ordered", "evicted"]);

/** What else is known of an agent beside its status. */
export interface Beside {
  /** Open commands without terminals. */
  running: number;
  /** A fault that the server found though it is in session: its cause. */
  fault: string | null;
}

/** What an agent is in the list. */
export function kindOf(agent: Agent, beside: Beside): Kind {
  const held = agent.stopped !== null || agent.paused;
  if (isInSession(agent.status)) {
    if (agent.activity?.state === "asking" && !held) return "asks";
    if (faultOf(agent, beside.fault) !== null) return "faulty";
    if (held) return "resting";
    return isWorking(agent, beside) ? "working" : "idle";
  }
  const { evidence } = agent.why ?? {};
  const cause = evidenceText(evidence, "left_by") ?? evidenceText(evidence, "cause");
  if (cause !== null && ENDED_BY_SOMEBODY.has(cause)) return "resting";
  return "away";
}

/** What is wrong with an agent that is in session, in a few words. */
export function faultOf(agent: Agent, fault: string | null): string | null {
  if (agent.status === "error") return "cannot continue";
  if (agent.status === "stale") return "silent";
  if (!isInSession(agent.status)) return null;
  const { evidence } = agent.why ?? {};
  const hop = evidenceText(evidence, "heartbeats_miss");
  if (hop !== null) return `heartbeats do not reach the hop ${hop}`;
  return evidenceText(evidence, "impairment") ?? evidenceText(evidence, "store") ?? fault;
}

function isWorking(agent: Agent, beside: Beside): boolean {
  const state = agent.activity?.state;
  return state === "working" || state === "writing" || beside.running > 0;
}

/** What an entry is ordered by. */
export interface Entry {
  readonly id: string;
  readonly name: string;
  readonly kind: Kind;
  /** When it last changed, ms. */
  readonly since: number;
}

export function entryOf(agent: Agent, beside: Beside): Entry {
  const kind = kindOf(agent, beside);
  const asked = kind === "asks" ? Date.parse(agent.activity?.since ?? "") : Number.NaN;
  return { id: agent.id, name: agent.name, kind, since: Number.isNaN(asked) ? agent.since ?? 0 : asked };
}

const RANK: Readonly<Record<Kind, number>> = { asks: 0, faulty: 1, away: 2, working: 3, idle: 4, resting: 5 };

/** A total order: kinds, then what changed last, then names, then ids. */
export function compare(a: Entry, b: Entry): number {
  return RANK[a.kind] - RANK[b.kind] || b.since - a.since || text(a.name, b.name) || text(a.id, b.id);
}

function text(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * The order while somebody points at the list: what was there keeps its place, what is gone goes, what is new comes
 * last.
 */
export function held(before: readonly string[], wanted: readonly string[]): string[] {
  const now = new Set(wanted);
  const had = new Set(before);
  return [...before.filter((id) => now.has(id)), ...wanted.filter((id) => !had.has(id))];
}
