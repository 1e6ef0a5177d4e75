// Many agents over the agents' protocol, without programs: what a fleet costs the page must not depend on what a fleet
// costs this machine.

import { randomUUID } from "node:crypto";
import WebSocket from "ws";

interface Fake {
  readonly socket: WebSocket;
  readonly name: string;
  sequence: number;
  seen: { sequence: number; at: number } | null;
  isIn: boolean;
  works: boolean;
}

export class FakeFleet {
  readonly #agents: Fake[] = [];
  readonly #timers: ReturnType<typeof setInterval>[] = [];

  /** Connects so many agents, some at a time. */
  static async connect(address: string, token: string, count: number): Promise<FakeFleet> {
    const fleet = new FakeFleet();
    for (let from = 0; from < count; from += 50) {
      const some = Array.from({ length: Math.min(50, count - from) }, (_, n) => fleet.#dial(address, token, `fake-${String(from + n).padStart(4, "0")}`));
      await Promise.all(some);
    }
    return fleet;
  }

  get size(): number {
    return this.#agents.filter((agent) => agent.isIn).length;
  }

  /** Each agent beats once in so many milliseconds, spread over them. */
  beat(interval: number): void {
    this.#spread(interval, (agent) => {
      agent.sequence += 1;
      const seen = agent.seen === null ? {} : { seen: { sequence: agent.seen.sequence, ageMs: Date.now() - agent.seen.at } };
      say(agent.socket, "AGENT_HEARTBEAT", {
        healthMetrics: { cpuUsage: 1, memoryUsage: 20, uptime: 60, commandsProcessed: 0, activeCommands: 0 },
        sequence: agent.sequence,
        ...seen,
      });
    });
  }

  /** So many agents a second change what their program does. */
  change(perSecond: number): void {
    this.#spread((this.#agents.length / perSecond) * 1_000, (agent) => {
      agent.works = !agent.works;
      const now = new Date().toISOString();
      const activity = agent.works
        ? { state: "working", since: now, fact: "prompt", lane: "hook", factAt: now }
        : { state: "waiting", since: now, fact: "stop", lane: "hook", factAt: now };
      say(agent.socket, "AGENT_ACTIVITY", { ...activity, at: now });
    });
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const { socket } of this.#agents) socket.terminate();
  }

  #spread(interval: number, act: (agent: Fake) => void): void {
    let next = 0;
    const began = Date.now();
    let done = 0;
    this.#timers.push(
      setInterval(() => {
        const due = Math.floor(((Date.now() - began) / interval) * this.#agents.length);
        for (; done < due; done += 1) {
          const agent = this.#agents[next % this.#agents.length];
          next += 1;
          if (agent?.isIn === true) act(agent);
        }
      }, 20),
    );
  }

  #dial(address: string, token: string, name: string): Promise<void> {
    const socket = new WebSocket(`${address.replace("http", "ws")}/ws/agent`, { headers: { Authorization: `Bearer ${token}` }, perMessageDeflate: false });
    const agent: Fake = { socket, name, sequence: 0, seen: null, isIn: false, works: false };
    this.#agents.push(agent);
    return new Promise((done, failed) => {
      socket.on("error", failed);
      socket.on("close", (code, reason) => {
        if (!agent.isIn) failed(new Error(`${name}: ${code} ${reason.toString()}`));
        agent.isIn = false;
      });
      socket.on("open", () => {
        say(socket, "AGENT_CONNECT", {
          agentId: name,
          name,
          agentType: "CUSTOM",
          version: "0.0.0",
          hostMachine: "a-host",
          capabilities: { maxTokens: 0, supportsInterrupt: true, supportsTrace: false },
          extensions: { features: ["heartbeats", "activity"], agentKey: name, instance: randomUUID() },
        });
      });
      socket.on("message", (data) => {
        const { type, payload } = JSON.parse(data.toString()) as { type: string; payload: { sequence?: number; timestamp?: number; agentId?: string } };
        if (type === "ACK" && !agent.isIn) {
          agent.isIn = true;
          done();
        } else if (type === "SERVER_HEARTBEAT" && payload.sequence !== undefined) {
          agent.seen = { sequence: payload.sequence, at: Date.now() };
        } else if (type === "PING") {
          say(socket, "PONG", payload);
        }
      });
    });
  }
}

let ids = 0;

function say(socket: WebSocket, type: string, payload: object): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  ids += 1;
  socket.send(JSON.stringify({ type, id: `f-${ids}`, timestamp: Date.now(), payload }));
}
