// What the server says of a terminal, as events of the watch, and what the watch wants as messages. Nothing is decided
// here, and nothing is sent.

import { type OutputChunk, type ServerMessage, toBase64 } from "../link/frames.ts";
import type { DashboardToServer, ErrorReply, KeyboardState, OutputGap } from "../wire.gen.ts";
import type { Position } from "./position.ts";
import type { Refused, TypistSays } from "./typist.ts";
import type { WatchEvent } from "./watch.ts";

/** A message to the server, without its envelope. */
export type ToSay = { [T in keyof DashboardToServer]: { type: T; payload: DashboardToServer[T] } }[keyof DashboardToServer];

/** What was asked for last, to know an answer by. */
export interface Asked {
  watch: string | null;
  keyboard: string | null;
}

/** The message for a watch of a terminal from a position on; null: from its beginning. */
export function watchFrom(commandId: string, from: Position | null): ToSay {
  const replay = { ...(from === null ? {} : { incarnation: from.incarnation }), streamType: "TERMINAL" as const, offset: from?.offset ?? 0 };
  return { type: "DASHBOARD_SUBSCRIBE", payload: { type: "command", id: commandId, replay, view: "live" } };
}

/** The message of a typist. `name`: what others are told of who types. */
export function typed(commandId: string, name: string, says: TypistSays): ToSay {
  switch (says.kind) {
    case "take":
      return { type: "KEYBOARD_TAKE", payload: { commandId, name, mode: says.over ? "over" : "if-free" } };
    case "input":
      return {
        type: "TERMINAL_INPUT",
        payload: { commandId, holder: says.holder as never, sequence: says.sequence, bytes: toBase64(says.bytes) },
      };
    case "release":
      return { type: "KEYBOARD_RELEASE", payload: { commandId, holder: says.holder as never } };
  }
}

/** Output, for the watch of this terminal; null for what does not concern it. */
export function output(chunk: OutputChunk, terminal: string): WatchEvent | null {
  if (chunk.commandId !== terminal || chunk.stream !== "TERMINAL") return null;
  return { kind: "output", at: { incarnation: chunk.incarnation, offset: chunk.offset }, bytes: chunk.bytes };
}

/** What a message is for the watch of this terminal; null for what does not concern it. */
export function event(heard: ServerMessage, terminal: string, asked: Asked): WatchEvent | null {
  switch (heard.type) {
    case "OUTPUT_GAP":
      return heard.payload.commandId === terminal ? gap(heard.payload) : null;
    case "TERMINAL_SIZE": {
      const { commandId, incarnation, offset, size } = heard.payload;
      return commandId === terminal ? { kind: "sized", at: { incarnation, offset }, size } : null;
    }
    case "OUTPUT_BEHIND":
      return heard.payload.commandId === terminal ? { kind: "behind" } : null;
    case "KEYBOARD_STATE":
      return heard.payload.commandId === terminal ? keyboard(heard.payload, asked) : null;
    case "COMMAND_STATUS": {
      const { commandId, status, because } = heard.payload;
      if (commandId !== terminal || !isOver(status)) return null;
      return { kind: "ended", why: because ?? status };
    }
    case "ACK":
      return asked.watch !== null && heard.payload.messageId === asked.watch ? { kind: "watching" } : null;
    case "ERROR":
      return refused(heard.payload, terminal, asked);
    case "DASHBOARD_CONNECTED":
    case "TERMINAL_STREAM":
    case "AGENT_CONNECTED":
    case "AGENT_STATUS":
    case "AGENT_DISCONNECT":
    case "EMERGENCY_STOP":
    case "PING":
    case "PONG":
      return null;
  }
}

/** Whether a command of this status has ended. */
export function isOver(status: string): boolean {
  return ["completed", "failed", "cancelled", "lost", "unknown"].includes(status);
}

function gap(of: OutputGap): WatchEvent | null {
  if (of.streamType !== "TERMINAL") return null;
  const at = { incarnation: of.incarnation, offset: of.offset };
  return {
    kind: "gap",
    gap: { at, length: of.length ?? null, because: of.because, timestamp: of.timestamp ?? null },
  };
}

function keyboard(of: KeyboardState, asked: Asked): WatchEvent {
  return {
    kind: "keyboard",
    said: {
      answersWish: asked.keyboard !== null && of.messageId === asked.keyboard,
      holder: of.holder === undefined || of.holder === null ? null : String(of.holder),
      name: of.name ?? "",
      since: typeof of.since === "number" ? of.since : null,
      taken: of.taken ?? 0,
      because: of.because ?? "",
    },
  };
}

function refused(error: ErrorReply, terminal: string, asked: Asked): WatchEvent | null {
  const why = error.message ?? error.code;
  const about = error.originalMessageId;
  if (asked.watch !== null && about === asked.watch) return { kind: "not-watching", why };
  if (asked.keyboard !== null && about === asked.keyboard) {
    const what: Refused =
      error.code === "KEYBOARD_HELD" ? "wish-while-held" : error.code === "AGENT_OFFLINE" ? "wish-while-away" : "wish";
    return { kind: "refused", what, why };
  }
  if (error.context?.commandId === terminal) {
    const forNow = error.code === "QUEUE_FULL" || error.code === "INVALID_MESSAGE";
    return { kind: "refused", what: forNow ? "input-for-now" : "input", why };
  }
  return { kind: "refused", what: null, why };
}
