// Messages of a server, and a socket that tests drive.

import type { ServerMessage } from "../src/link/frames.ts";
import type { Socket } from "../src/link/link.ts";
import type { AgentStatus, CommandStatus } from "../src/wire.gen.ts";

export function statusOf(agentId: string, more: Partial<AgentStatus> = {}): ServerMessage {
  return {
    type: "AGENT_STATUS",
    id: undefined,
    payload: { agentId, status: "online", because: "session opened", presenceVersion: 1, ...more },
  };
}

export function commandOf(commandId: string, status: string, more: Partial<CommandStatus> = {}): ServerMessage {
  return { type: "COMMAND_STATUS", id: undefined, payload: { commandId, agentId: "a", status, ...more } };
}

export function listOf(...ids: string[]): ServerMessage {
  return {
    type: "DASHBOARD_CONNECTED",
    id: undefined,
    payload: { agents: ids.map((agentId) => ({ agentId, name: `name of ${agentId}`, type: "CUSTOM", status: "online" })) },
  };
}

/** A socket that tests drive. */
export class FakeSocket implements Socket {
  binaryType = "";
  readyState = 1;
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  readonly sent: { type: string; id: string }[] = [];
  closed: number | null = null;

  send(data: string): void {
    this.sent.push(JSON.parse(data) as { type: string; id: string });
  }

  close(code?: number): void {
    this.closed = code ?? 1000;
    this.readyState = 3;
  }

  open(): void {
    (this.onopen as (() => void) | null)?.();
  }

  hear(type: string, payload: unknown): void {
    this.onmessage?.({ data: JSON.stringify({ type, id: "s", timestamp: 1, payload }) });
  }
}
