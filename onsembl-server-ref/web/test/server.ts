// A server of the dashboard's wire for tests: says what it is told to, over real WebSockets, and cuts where it is told to.

import { WebSocketServer, type WebSocket as ServerSocket } from "ws";
import { WebSocket } from "ws";
import type { AddressInfo } from "node:net";
import type { Socket } from "../src/link/link.ts";

export interface Said {
  type: string;
  id: string;
  payload: Record<string, unknown>;
}

export class Connection {
  readonly heard: Said[] = [];
  readonly #socket: ServerSocket;
  #count = 0;
  #sent = 0;
  /** After so many messages the connection is cut, without a close frame. */
  cutAfter = Number.POSITIVE_INFINITY;

  constructor(socket: ServerSocket) {
    this.#socket = socket;
  }

  say(type: string, payload: unknown): void {
    this.#count += 1;
    this.#put(JSON.stringify({ type, id: `s-${this.#count}`, timestamp: 1, payload }));
  }

  sayBytes(bytes: Uint8Array): void {
    this.#put(bytes);
  }

  sayRaw(text: string): void {
    this.#put(text);
  }

  #put(data: string | Uint8Array): void {
    if (this.#sent >= this.cutAfter) {
      this.#socket.terminate();
      return;
    }
    this.#sent += 1;
    this.#socket.send(data);
    if (this.#sent >= this.cutAfter) {
      // What was written still arrives; the end comes behind it.
      setTimeout(() => this.#socket.terminate(), 2);
    }
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  cut(): void {
    this.#socket.terminate();
  }
}

export class TestServer {
  readonly connections: Connection[] = [];
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer) {
    this.#server = server;
  }

  /** `hear` is called with each message of a client; `meet` when one connects. */
  static async start(
    hear: (connection: Connection, said: Said) => void,
    meet: (connection: Connection) => void = () => {},
  ): Promise<TestServer> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    const test = new TestServer(server);
    server.on("connection", (socket) => {
      const connection = new Connection(socket);
      test.connections.push(connection);
      meet(connection);
      socket.on("message", (data) => {
        const said = JSON.parse(String(data)) as Said;
        connection.heard.push(said);
        hear(connection, said);
      });
      socket.on("error", () => {});
    });
    await new Promise<void>((resolve) => server.once("listening", () => resolve()));
    return test;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/ws/dashboard`;
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** A browser's WebSocket, as far as the page uses one. */
export function open(url: string): Socket {
  return new WebSocket(url) as unknown as Socket;
}

/** Waits until this holds. */
export async function until(what: string, holds: () => boolean, within = 5_000): Promise<void> {
  const end = Date.now() + within;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The first messages of a server that knows these agents. */
export function greet(connection: Connection, init: Said, agents: readonly { agentId: string; [field: string]: unknown }[], statuses: readonly unknown[] = []): void {
  const features = (init.payload["extensions"] as { features: string[] }).features;
  connection.say("DASHBOARD_CONNECTED", {
    agents: agents.map((agent) => ({ name: agent.agentId, type: "CUSTOM", status: "online", ...agent })),
    timestamp: Date.now(),
    extensions: { features, serverInstance: "i-1" },
  });
  for (const status of statuses) connection.say("AGENT_STATUS", status);
  connection.say("ACK", { messageId: init.id, success: true, subscriptions: init.payload["subscriptions"] });
}

/** A binary message of output (P-461). */
export function binary(of: {
  command: string;
  agent: string;
  stream: number;
  incarnation: number;
  sequence: number;
  offset: number;
  at: number;
  bytes: Uint8Array;
}): Uint8Array {
  const command = new TextEncoder().encode(of.command);
  const agent = new TextEncoder().encode(of.agent);
  const message = new Uint8Array(38 + command.length + agent.length + of.bytes.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, 2);
  view.setUint8(1, of.stream);
  view.setUint16(2, command.length);
  view.setUint16(4, agent.length);
  view.setBigUint64(6, BigInt(of.incarnation));
  view.setBigUint64(14, BigInt(of.sequence));
  view.setBigUint64(22, BigInt(of.offset));
  view.setBigInt64(30, BigInt(of.at));
  message.set(command, 38);
  message.set(agent, 38 + command.length);
  message.set(of.bytes, 38 + command.length + agent.length);
  return message;
}
