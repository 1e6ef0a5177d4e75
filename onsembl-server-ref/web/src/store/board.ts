// What the server said of agents and commands: a reducer over the messages of the fleet's link. Pure: no signal, no
// clock, no network. Nothing is removed before what replaces it is complete.

import type { ServerMessage } from "../link/frames.ts";
import type {
  AgentActivity,
  AgentStatus,
  AgentStopped,
  CommandPhase,
  CommandStatus,
  Evidence,
  HealthMetrics,
  PresenceStatus,
  PresenceWhy,
} from "../wire.gen.ts";
import { parseTime } from "../lib/time.ts";

/** An agent as it was last told of. A new object with each change. */
export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly version: string;
  readonly host: string;
  readonly status: PresenceStatus;
  /** Since when the status holds, ms; null if unknown. */
  readonly since: number | null;
  /** Why, in the server's words. */
  readonly because: string;
  /** Of two statuses the one with the greater version holds (P-62). */
  readonly presenceVersion: number;
  /** When a frame of it last came, ms. */
  readonly heard: number | null;
  readonly paused: boolean;
  readonly stopped: AgentStopped | null;
  readonly why: PresenceWhy | null;
  readonly activity: AgentActivity | null;
  readonly metrics: HealthMetrics | null;
  /** Legacy word for whether something runs. */
  readonly processing: boolean;
}

/** A command as far as the link tells of it; its text is the API's. */
export interface Command {
  readonly id: string;
  readonly agentId: string | null;
  readonly phase: CommandPhase;
  readonly because: string;
  readonly error: string | null;
  readonly exitCode: number | null;
  readonly signal: number | null;
  readonly startedAt: number | null;
  readonly completedAt: number | null;
}

/** What changed since the last `take`. */
export interface Changes {
  readonly agents: ReadonlySet<string>;
  readonly commands: ReadonlySet<string>;
}

/** Ended commands that are remembered; the API has all of them. */
const ENDED_KEPT = 500;

export class Board {
  readonly agents = new Map<string, Agent>();
  readonly commands = new Map<string, Command>();
  /** Of each agent the commands that are not over, terminals included. */
  readonly open = new Map<string, Set<string>>();
  #changedAgents = new Set<string>();
  #changedCommands = new Set<string>();
  #seenAgents: Set<string> | null = null;
  #seenCommands: Set<string> | null = null;

  /** A new link: what it does not tell of any more is gone once it has told of everything. */
  begin(): void {
    this.#seenAgents = new Set();
    this.#seenCommands = new Set();
  }

  /** The new link has told of every agent. */
  settleAgents(): void {
    const seen = this.#seenAgents;
    if (seen === null) return;
    this.#seenAgents = null;
    for (const id of [...this.agents.keys()]) if (!seen.has(id)) this.removeAgent(id);
  }

  /** The new link has had time to tell of every open command: others have ended meanwhile, and are the API's to tell. */
  settleCommands(): void {
    const seen = this.#seenCommands;
    if (seen === null) return;
    this.#seenCommands = null;
    for (const command of [...this.commands.values()]) {
      if (!seen.has(command.id) && !isOver(command.phase)) this.#removeCommand(command);
    }
  }

  removeAgent(id: string): void {
    if (!this.agents.delete(id)) return;
    this.#changedAgents.add(id);
  }

  /** Takes a message in. Messages about other things are left alone. */
  apply(message: ServerMessage): void {
    switch (message.type) {
      case "DASHBOARD_CONNECTED":
        for (const summary of message.payload.agents) {
          const { agentId: id, name, type, version, status, lastHeartbeat, metrics } = summary;
          const known = this.agents.get(id);
          // Its status says more, and comes behind it.
          this.#put({
            ...(known ?? blank(id)),
            name,
            type,
            version: version ?? known?.version ?? "",
            status: known?.status ?? status,
            heard: latest(known?.heard ?? null, parseTime(lastHeartbeat)),
            metrics: metrics ?? known?.metrics ?? null,
          });
        }
        break;
      case "AGENT_CONNECTED": {
        const { agentId: id, agentName, agentType, version, hostMachine } = message.payload;
        const known = this.agents.get(id) ?? blank(id);
        this.#put({
          ...known,
          name: agentName ?? known.name,
          type: agentType,
          version: version ?? known.version,
          host: hostMachine ?? known.host,
        });
        break;
      }
      case "AGENT_STATUS":
        this.#status(message.payload);
        break;
      case "COMMAND_STATUS":
        this.#command(message.payload);
        break;
      default:
        break;
    }
  }

  /** What changed since the last call. */
  take(): Changes {
    const changes = { agents: this.#changedAgents, commands: this.#changedCommands };
    this.#changedAgents = new Set();
    this.#changedCommands = new Set();
    return changes;
  }

  get isChanged(): boolean {
    return this.#changedAgents.size > 0 || this.#changedCommands.size > 0;
  }

  /** Commands of an agent that run or wait, without its terminals. */
  openCommands(agent: string): number {
    let count = 0;
    for (const id of this.open.get(agent) ?? []) if (!isTerminal(id)) count += 1;
    return count;
  }

  /** The latest open terminal of an agent. */
  terminalOf(agent: string): string | null {
    let last: string | null = null;
    for (const id of this.open.get(agent) ?? []) {
      if (isTerminal(id) && (last === null || id > last)) last = id;
    }
    return last;
  }

  #put(agent: Agent): void {
    this.agents.set(agent.id, agent);
    this.#changedAgents.add(agent.id);
    this.#seenAgents?.add(agent.id);
  }

  #status(status: AgentStatus): void {
    const known = this.agents.get(status.agentId) ?? blank(status.agentId);
    const version = status.presenceVersion ?? known.presenceVersion;
    const heard = latest(known.heard, parseTime(status.lastPing));
    if (version < known.presenceVersion) {
      if (heard !== known.heard) this.#put({ ...known, heard });
      this.#seenAgents?.add(known.id);
      return;
    }
    this.#put({
      ...known,
      status: status.status,
      since: parseTime(status.since) ?? known.since,
      because: status.because ?? "",
      presenceVersion: version,
      heard,
      paused: status.paused ?? false,
      stopped: status.stopped ?? null,
      why: status.explanation ?? null,
      activity: status.activity ?? null,
      metrics: status.healthMetrics ?? known.metrics,
      processing: status.activityState === "PROCESSING",
    });
  }

  #command(status: CommandStatus): void {
    const known = this.commands.get(status.commandId);
    const command: Command = {
      id: status.commandId,
      agentId: status.agentId ?? known?.agentId ?? null,
      phase: status.status,
      because: status.because ?? "",
      error: status.error ?? null,
      exitCode: status.exitCode ?? null,
      signal: status.signal ?? null,
      startedAt: status.startedAt ?? known?.startedAt ?? null,
      completedAt: status.completedAt ?? known?.completedAt ?? null,
    };
    this.#seenCommands?.add(command.id);
    // The latest is the last: that is the order in which they are forgotten.
    this.commands.delete(command.id);
    this.commands.set(command.id, command);
    this.#changedCommands.add(command.id);
    this.#index(command);
    this.#forget();
  }

  #index(command: Command): void {
    if (command.agentId === null) return;
    const open = this.open.get(command.agentId) ?? new Set();
    const had = open.has(command.id);
    if (isOver(command.phase)) open.delete(command.id);
    else open.add(command.id);
    if (open.size > 0) this.open.set(command.agentId, open);
    else this.open.delete(command.agentId);
    if (had !== open.has(command.id)) this.#changedAgents.add(command.agentId);
  }

  #removeCommand(command: Command): void {
    this.commands.delete(command.id);
    this.#changedCommands.add(command.id);
    this.#index({ ...command, phase: "unknown" });
  }

  #forget(): void {
    let over = this.commands.size - ENDED_KEPT;
    if (over <= 0) return;
    for (const command of this.commands.values()) {
      if (over <= 0) break;
      if (!isOver(command.phase)) continue;
      this.commands.delete(command.id);
      over -= 1;
    }
  }
}

function blank(id: string): Agent {
  return {
    id,
    name: id,
    type: "",
    version: "",
    host: "",
    status: "offline",
    since: null,
    because: "",
    presenceVersion: 0,
    heard: null,
    paused: false,
    stopped: null,
    why: null,
    activity: null,
    metrics: null,
    processing: false,
  };
}

function latest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}

/** Whether nothing more becomes of a command. */
export function isOver(phase: CommandPhase): boolean {
  switch (phase) {
    case "completed":
    case "failed":
    case "cancelled":
    case "lost":
    case "unknown":
      return true;
    default:
      return false;
  }
}

/** Whether a command is a terminal that its agent opened (P-221). */
export function isTerminal(commandId: string): boolean {
  return commandId.startsWith("terminal-");
}

/** Whether an agent is in session. */
export function isInSession(status: PresenceStatus): boolean {
  return status === "online" || status === "stale" || status === "error";
}

/** One value of the evidence, as a text. */
export function evidenceText(evidence: Evidence | undefined, name: string): string | null {
  const value = evidence?.[name];
  return typeof value === "string" ? value : null;
}
