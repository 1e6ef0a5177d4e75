// Messages of the dashboard's wire: JSON envelopes, and output in binary messages (P-461). Pure.

import type { DashboardToServer, ServerToDashboard, StreamType } from "../wire.gen.ts";

/** What only the TypeScript server sends, or what the page has no use for. */
type Passed = "COMMAND_COMPLETE" | "QUEUE_UPDATE" | "TOKEN_REFRESH" | "TRACE_STREAM";
type Read = Exclude<keyof ServerToDashboard, Passed>;

export type ServerMessage = {
  [T in Read]: { type: T; id: string | undefined; payload: ServerToDashboard[T] };
}[Read];

/** Output of one run and stream, from one offset on, whichever form it came in. */
export interface OutputChunk {
  commandId: string;
  agentId: string | undefined;
  incarnation: number;
  stream: StreamType;
  /** Of the last chunk that was joined into it. */
  sequence: number;
  /** Of its first byte. */
  offset: number;
  /** When it was received by the server, ms; null if the server does not say. */
  at: number | null;
  bytes: Uint8Array;
}

/** What cannot be read: the link is closed on it. */
export class Unreadable extends Error {}

const KNOWN: Record<Read, true> = {
  DASHBOARD_CONNECTED: true,
  AGENT_CONNECTED: true,
  AGENT_STATUS: true,
  AGENT_DISCONNECT: true,
  COMMAND_STATUS: true,
  TERMINAL_STREAM: true,
  OUTPUT_GAP: true,
  KEYBOARD_STATE: true,
  TERMINAL_SIZE: true,
  OUTPUT_BEHIND: true,
  EMERGENCY_STOP: true,
  ACK: true,
  ERROR: true,
  PING: true,
  PONG: true,
};

/** Reads a text message; null for a type that this page does not know (P-22). */
export function readText(text: string): ServerMessage | null {
  let envelope: unknown;
  try {
    envelope = JSON.parse(text);
  } catch {
    throw new Unreadable("the server sent a text that is not JSON");
  }
  if (typeof envelope !== "object" || envelope === null) {
    throw new Unreadable("the server sent a text that is not an object");
  }
  const { type, id, payload } = envelope as Record<string, unknown>;
  if (typeof type !== "string") throw new Unreadable("the server sent a message without a type");
  if (!Object.hasOwn(KNOWN, type)) return null;
  if (typeof payload !== "object" || payload === null) {
    throw new Unreadable(`the server sent ${type} without a payload`);
  }
  return { type, id: typeof id === "string" ? id : undefined, payload } as ServerMessage;
}

const STREAMS: readonly StreamType[] = ["STDOUT", "STDERR", "TERMINAL"];
const HEADER = 38;

/** Reads a binary message (P-461). */
export function readBinary(buffer: ArrayBuffer): OutputChunk {
  if (buffer.byteLength < HEADER) throw new Unreadable("a binary message is shorter than its header");
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (kind !== 2) throw new Unreadable(`a binary message is of the unknown kind ${kind}`);
  const stream = STREAMS[view.getUint8(1)];
  if (stream === undefined) throw new Unreadable("a binary message is of an unknown stream");
  const commandBytes = view.getUint16(2);
  const agentBytes = view.getUint16(4);
  const body = HEADER + commandBytes + agentBytes;
  if (buffer.byteLength < body) throw new Unreadable("a binary message is shorter than its ids");
  const text = new TextDecoder("utf-8", { fatal: true });
  try {
    return {
      commandId: text.decode(new Uint8Array(buffer, HEADER, commandBytes)),
      agentId: text.decode(new Uint8Array(buffer, HEADER + commandBytes, agentBytes)),
      stream,
      incarnation: number64(view, 6),
      sequence: number64(view, 14),
      offset: number64(view, 22),
      at: Number(view.getBigInt64(30)),
      bytes: new Uint8Array(buffer, body),
    };
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    throw new Unreadable("an id in a binary message is not UTF-8");
  }
}

function number64(view: DataView, at: number): number {
  const value = view.getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new Unreadable("a number in a binary message is out of range");
  }
  return Number(value);
}

/** The bytes of a TERMINAL_STREAM that came as text; null if it has no position, as from a server without `output-bytes`. */
export function chunkOf(message: ServerToDashboard["TERMINAL_STREAM"]): OutputChunk | null {
  const { commandId, agentId, content, encoding, offset, incarnation, sequence, timestamp } = message;
  if (typeof offset !== "number" || typeof content !== "string") return null;
  return {
    commandId,
    agentId,
    incarnation: incarnation ?? 0,
    stream: message.streamType ?? "STDOUT",
    sequence: sequence ?? 0,
    offset,
    at: timestamp,
    bytes: encoding === "base64" ? fromBase64(content) : new TextEncoder().encode(content),
  };
}

export function fromBase64(text: string): Uint8Array {
  let raw: string;
  try {
    raw = atob(text);
  } catch {
    throw new Unreadable("output is not base64");
  }
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  let raw = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    raw += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(raw);
}

/** Writes a message. */
export function write<T extends keyof DashboardToServer>(
  type: T,
  id: string,
  timestamp: number,
  payload: DashboardToServer[T],
): string {
  return JSON.stringify({ type, id, timestamp, payload });
}
