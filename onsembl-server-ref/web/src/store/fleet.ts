// The fleet as signals: the board's changes, gathered to animation frames, with the order of the list and its counts.

import { batch, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { Link } from "../link/link.ts";
import type { StopProgress } from "../wire.gen.ts";
import { Board, isInSession, isTerminal, type Agent, type Command } from "./board.ts";
import { KINDS, compare, entryOf, type Beside, type Entry, type Kind } from "./attention.ts";
import type { Scheduler } from "./frames.ts";

export type Counts = Readonly<Record<Kind, number>>;

/** Emergency stops in force, in sum. */
export interface StopSummary {
  /** Agents that one is in force for. */
  readonly agents: number;
  readonly byState: Readonly<Partial<Record<StopProgress, number>>>;
  /** Whether one is for all agents, also those that come. */
  readonly all: boolean;
  readonly by: string;
  readonly at: string | null;
  readonly reason: string;
}

/** Rows change at once; their order at most this often, ms: nobody reads a list that moves faster. */
const SORT_EVERY = 400;

/** After a greeting the statuses of open commands come behind those of agents, without an end mark. */
const COMMANDS_SETTLE = 5_000;

export class Fleet {
  readonly board = new Board();
  readonly #link: Link;
  readonly #scheduler: Scheduler;
  readonly #signals = new Map<string, Signal<Agent | null>>();
  readonly #entries = new Map<string, Entry>();
  readonly #stopped = new Set<string>();
  #faults: ReadonlyMap<string, string> = new Map();
  readonly #order = signal<readonly string[]>([]);
  readonly #counts = signal<Counts>(noCounts());
  readonly #inSession = signal(0);
  readonly #commands = signal(0);
  readonly #stop = signal<StopSummary | null>(null);
  readonly #known = signal(false);
  #settle: ReturnType<typeof setTimeout> | null = null;
  #isMoved = false;
  #sortedAt = Number.NEGATIVE_INFINITY;
  #sorting: ReturnType<typeof setTimeout> | null = null;

  constructor(link: Link, scheduler: Scheduler) {
    this.#link = link;
    this.#scheduler = scheduler;
    link.listen({
      up: () => this.board.begin(),
      message: (message) => {
        this.board.apply(message);
        if (this.board.isChanged) this.#soon();
      },
      settled: () => {
        this.board.settleAgents();
        this.#known.value = true;
        if (this.#settle !== null) clearTimeout(this.#settle);
        this.#settle = setTimeout(() => {
          this.board.settleCommands();
          this.#soon();
        }, COMMANDS_SETTLE);
        this.#soon();
      },
      down: () => {
        if (this.#settle !== null) clearTimeout(this.#settle);
      },
    });
  }

  /** Ids of agents, what needs attention first. */
  get order(): ReadonlySignal<readonly string[]> {
    return this.#order;
  }

  get counts(): ReadonlySignal<Counts> {
    return this.#counts;
  }

  get inSession(): ReadonlySignal<number> {
    return this.#inSession;
  }

  /** Changes whenever a command did. */
  get commandRevision(): ReadonlySignal<number> {
    return this.#commands;
  }

  get stop(): ReadonlySignal<StopSummary | null> {
    return this.#stop;
  }

  /** Whether all agents are known: before that an empty list means nothing. */
  get isKnown(): ReadonlySignal<boolean> {
    return this.#known;
  }

  agent(id: string): ReadonlySignal<Agent | null> {
    let found = this.#signals.get(id);
    if (found === undefined) {
      found = signal(this.board.agents.get(id) ?? null);
      this.#signals.set(id, found);
    }
    return found;
  }

  entry(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  beside(id: string): Beside {
    return { running: this.board.openCommands(id), fault: this.#faults.get(id) ?? null };
  }

  /** Commands of an agent as the link tells of them, the latest first. */
  commandsOf(agent: string): Command[] {
    return [...this.board.commands.values()].filter((command) => command.agentId === agent).reverse();
  }

  /** Agents with an emergency stop in force. */
  stoppedAgents(): Agent[] {
    return [...this.#stopped].flatMap((id) => this.board.agents.get(id) ?? []);
  }

  /** What the server found wrong with agents that are in session. */
  setFaults(faults: ReadonlyMap<string, string>): void {
    const changed = new Set([...faults.keys(), ...this.#faults.keys()]);
    this.#faults = faults;
    for (const id of changed) if (this.#reckon(id)) this.#isMoved = true;
    this.#soon();
  }

  /** An agent was deleted by this page; the link does not tell. */
  forget(id: string): void {
    this.board.removeAgent(id);
    this.#soon();
  }

  #soon(): void {
    this.#scheduler.soon(() => this.#flush());
  }

  #flush(): void {
    const { agents, commands } = this.board.take();
    batch(() => {
      for (const id of agents) {
        if (this.#reckon(id)) this.#isMoved = true;
        const agent = this.board.agents.get(id) ?? null;
        const watched = this.#signals.get(id);
        if (watched !== undefined) watched.value = agent;
        if (agent?.stopped) this.#stopped.add(id);
        else this.#stopped.delete(id);
      }
      if (commands.size > 0) this.#commands.value += 1;
      if (agents.size > 0) {
        this.#stop.value = this.#summary();
        let inSession = 0;
        for (const agent of this.board.agents.values()) if (isInSession(agent.status)) inSession += 1;
        this.#inSession.value = inSession;
      }
      this.#sortIfDue();
    });
  }

  #sortIfDue(): void {
    if (!this.#isMoved || this.#sorting !== null) return;
    const wait = this.#sortedAt + SORT_EVERY - performance.now();
    if (wait > 0) {
      this.#sorting = setTimeout(() => {
        this.#sorting = null;
        this.#soon();
      }, wait);
      return;
    }
    this.#isMoved = false;
    this.#sortedAt = performance.now();
    this.#sort();
  }

  /** Whether its place in the list may be another one. */
  #reckon(id: string): boolean {
    const before = this.#entries.get(id);
    const agent = this.board.agents.get(id);
    if (agent === undefined) return this.#entries.delete(id);
    const entry = entryOf(agent, this.beside(id));
    if (
      before !== undefined &&
      before.kind === entry.kind &&
      before.since === entry.since &&
      before.name === entry.name
    ) {
      return false;
    }
    this.#entries.set(id, entry);
    return true;
  }

  #sort(): void {
    const entries = [...this.#entries.values()].sort(compare);
    const counts = noCounts();
    for (const { kind } of entries) counts[kind] += 1;
    const order = entries.map(({ id }) => id);
    if (!same(order, this.#order.peek())) this.#order.value = order;
    if (KINDS.some((kind) => counts[kind] !== this.#counts.peek()[kind])) this.#counts.value = counts;
  }

  #summary(): StopSummary | null {
    const stopped = this.stoppedAgents();
    const first = stopped.find((agent) => agent.stopped?.all === true) ?? stopped[0];
    if (first?.stopped == null) return null;
    const byState: Partial<Record<StopProgress, number>> = {};
    for (const { stopped: stop } of stopped) {
      if (stop !== null) byState[stop.state] = (byState[stop.state] ?? 0) + 1;
    }
    const { by, at, reason, all } = first.stopped;
    return { agents: stopped.length, byState, all: all === true, by: by ?? "", at: at ?? null, reason: reason ?? "" };
  }

  /** The time of the server, as far as its link told; it stands still while there is no link. */
  serverNow(now: number): number {
    const state = this.#link.state.value;
    const at = state.is === "live" ? now : Math.max(this.#link.heardAt, 0) || now;
    return at + this.#link.clockOffset;
  }
}

function noCounts(): Record<Kind, number> {
  return { asks: 0, faulty: 0, away: 0, working: 0, idle: 0, resting: 0 };
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id, at) => id === b[at]);
}

/** Whether an id may be shown among the commands that people asked for. */
export function isAsked(command: Command): boolean {
  return !isTerminal(command.id);
}
