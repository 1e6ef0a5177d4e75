// Cursors: each byte once and in order, whatever is cut, joined or repeated.

import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { Link } from "../src/link/link.ts";
import { OutputFeed, type OutputPosition, type WatchFrom } from "../src/link/output.ts";
import type { OutputChunk } from "../src/link/frames.ts";
import { TestServer, binary, greet, open, until, type Connection, type Said } from "./server.ts";

/** What a server has stored of a command: chunks of two streams in the order in which they came. */
interface Record_ {
  incarnation: number;
  stream: "STDOUT" | "STDERR";
  sequence: number;
  offset: number;
  bytes: Uint8Array;
  /** Bytes that are declared missing; null if it is unknown how many. */
  gap?: number | null;
}

interface Piece {
  stream: 0 | 1;
  size: number;
  /** A chunk, a gap, a gap of unknown length, or the start of another run. */
  is: "chunk" | "gap" | "open" | "run";
}

function log(pieces: readonly Piece[]): Record_[] {
  let next = { STDOUT: 0, STDERR: 0 };
  let incarnation = 1;
  return pieces.map(({ stream: n, size, is }, at): Record_ => {
    // Behind an open end nothing of its run comes.
    if (is === "run" || pieces[at - 1]?.is === "open") {
      incarnation += 1;
      next = { STDOUT: 0, STDERR: 0 };
    }
    const stream = n === 0 ? "STDOUT" : "STDERR";
    const base = { incarnation, stream, sequence: at + 1, offset: next[stream] } as const;
    if (is === "open") return { ...base, bytes: new Uint8Array(0), gap: null };
    next[stream] += size;
    if (is === "gap") return { ...base, bytes: new Uint8Array(0), gap: size };
    return { ...base, bytes: Uint8Array.from({ length: size }, (_, i) => byteAt(incarnation, base.offset + i)) };
  });
}

function byteAt(incarnation: number, offset: number): number {
  return (offset + incarnation * 17) % 251;
}

const NUMBER = { STDOUT: 0, STDERR: 1 } as const;

function sayRecord(connection: Connection, record: Record_, asText: boolean): void {
  const { incarnation, stream, sequence, offset, bytes, gap } = record;
  const of = { commandId: "c", agentId: "a", incarnation, streamType: stream, sequence, offset };
  if (gap !== undefined) {
    connection.say("OUTPUT_GAP", { ...of, ...(gap === null ? {} : { length: gap }), because: "spool-full" });
  } else if (asText) {
    connection.say("TERMINAL_STREAM", { ...of, content: Buffer.from(bytes).toString("base64"), encoding: "base64", timestamp: 5 });
  } else {
    connection.sayBytes(binary({ command: "c", agent: "a", stream: NUMBER[stream], incarnation, sequence, offset, at: 5, bytes }));
  }
}

/**
 * Where a server begins (protocol/output/follower.rs): with the last record of the stream that begins at the position or
 * before it, else with the first of its run; with the first of all if no position is said.
 */
function replayed(records: readonly Record_[], replay: { incarnation?: number; streamType?: string; offset: number } | undefined): Record_[] {
  if (replay === undefined || replay.incarnation === undefined) return [...records];
  const stream = replay.streamType ?? "STDOUT";
  const first = records.findLastIndex(
    (record) => record.incarnation === replay.incarnation && record.stream === stream && record.offset <= replay.offset,
  );
  const ofRun = records.findIndex((record) => record.incarnation === replay.incarnation);
  return records.slice(Math.max(first < 0 ? ofRun : first, 0));
}

/** Takes what a viewer is shown, and compares it with what is stored. */
class Shown {
  readonly told: string[] = [];
  readonly holes: OutputPosition[] = [];
  readonly faults: string[] = [];

  viewer() {
    return {
      output: ({ incarnation, stream, offset, bytes }: OutputChunk) => {
        bytes.forEach((byte, at) => {
          if (byte !== byteAt(incarnation, offset + at)) this.faults.push(`byte ${offset + at} of ${stream}`);
          this.told.push(`${incarnation} ${stream} ${offset + at}`);
        });
      },
      gap: ({ incarnation, streamType, offset, length }: { incarnation: number; streamType: string; offset: number; length?: number }) => {
        if (length === undefined) this.told.push(`${incarnation} ${streamType} open`);
        else for (let at = 0; at < length; at += 1) this.told.push(`${incarnation} ${streamType} ${offset + at}`);
      },
      hole: (from: OutputPosition) => this.holes.push(from),
    };
  }
}

/** All that is to be told of a log. An open end that is repeated without anything behind it is told once. */
function whole(records: readonly Record_[]): string[] {
  const told: string[] = [];
  const open = new Set<string>();
  for (const { incarnation, stream, offset, bytes, gap } of records) {
    const key = `${incarnation} ${stream}`;
    if (gap === null) {
      if (!open.has(key)) told.push(`${key} open`);
      open.add(key);
      continue;
    }
    open.delete(key);
    for (let at = 0; at < (gap ?? bytes.length); at += 1) told.push(`${key} ${offset + at}`);
  }
  return told;
}

const servers: TestServer[] = [];
const links: Link[] = [];

afterEach(async () => {
  for (const link of links.splice(0)) link.stop();
  for (const server of servers.splice(0)) await server.stop();
});

function feedTo(url: string): OutputFeed {
  const link = new Link({
    url,
    subscriptions: () => ({ terminals: true, traces: false }),
    features: ["output-bytes", "output-binary", "output-spool", "output-replay", "live-view"],
    open,
    clock: {
      now: () => Date.now(),
      after(ms, run) {
        const handle = setTimeout(run, ms < 12_000 && ms !== 10_000 ? 2 : ms);
        return () => clearTimeout(handle);
      },
    },
    random: () => 0,
  });
  links.push(link);
  return new OutputFeed(link);
}

async function runs(records: readonly Record_[], cuts: readonly number[], from: WatchFrom = "start"): Promise<Shown> {
  let met = 0;
  const server = await TestServer.start(
    (connection: Connection, said: Said) => {
      if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
      if (said.type === "DASHBOARD_SUBSCRIBE") {
        connection.say("ACK", { messageId: said.id, success: true, subscriptions: {} });
        const replay = said.payload["replay"] as { incarnation?: number; streamType?: string; offset: number } | undefined;
        for (const record of replayed(records, replay)) sayRecord(connection, record, record.sequence % 3 === 0);
      }
    },
    (connection) => {
      connection.cutAfter = cuts[met] ?? Number.POSITIVE_INFINITY;
      met += 1;
    },
  );
  servers.push(server);
  const feed = feedTo(server.url);
  const seen = new Shown();
  const watch = feed.watch("c", from, "whole", seen.viewer());
  const wanted = whole(records);
  await until("all of it", () => seen.told.length >= wanted.length, 1_500);
  // What comes too often comes at once.
  await new Promise((resolve) => setTimeout(resolve, 3));
  expect(seen.told).toEqual(wanted);
  watch.close();
  await server.stop();
  return seen;
}

test("a cut at each message: no hole, no repetition, each gap once", async () => {
  const records = log([
    { stream: 0, size: 10, is: "chunk" },
    { stream: 1, size: 3, is: "chunk" },
    { stream: 0, size: 7, is: "gap" },
    { stream: 0, size: 20, is: "chunk" },
    { stream: 1, size: 1, is: "open" },
    { stream: 0, size: 5, is: "run" },
    { stream: 1, size: 2, is: "chunk" },
  ]);
  // The greeting, its ACK, the ACK of the subscription, seven records.
  for (let cut = 1; cut <= 10; cut += 1) {
    const seen = await runs(records, [cut]);
    expect(seen.faults, `cut ${cut}`).toEqual([]);
    expect(seen.holes).toEqual([]);
  }
});

test("random logs of several runs, cut up to four times", async () => {
  const piece = fc.record({
    stream: fc.constantFrom<0 | 1>(0, 1),
    size: fc.integer({ min: 1, max: 40 }),
    is: fc.constantFrom<Piece["is"]>("chunk", "chunk", "chunk", "gap", "open", "run"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 14 }), { maxLength: 4 }), async (pieces, cuts) => {
      const seen = await runs(log(pieces), cuts);
      expect(seen.faults).toEqual([]);
      expect(seen.holes).toEqual([]);
    }),
    { numRuns: Number(process.env["RUNS"] ?? 40) },
  );
}, 60_000);

test("a watch begins at a position and takes nothing before it", async () => {
  const records = log([
    { stream: 0, size: 10, is: "chunk" },
    { stream: 0, size: 10, is: "chunk" },
  ]);
  let seen: OutputChunk[] = [];
  const server = await TestServer.start((connection, said) => {
    if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
    if (said.type === "DASHBOARD_SUBSCRIBE") {
      // In flight from an earlier subscription, before the answer to this one.
      sayRecord(connection, records[0] as Record_, false);
      connection.say("ACK", { messageId: said.id, success: true });
      for (const record of replayed(records, said.payload["replay"] as { incarnation: number; offset: number })) sayRecord(connection, record, false);
    }
  });
  servers.push(server);
  const feed = feedTo(server.url);
  const watch = feed.watch("c", { incarnation: 1, stream: "STDOUT", offset: 4 }, "live", { output: (chunk) => seen.push(chunk) });
  await until("both", () => seen.length === 2);
  expect(seen.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([
    [4, 6],
    [10, 10],
  ]);
  expect(server.connections[0]?.heard.find(({ type }) => type === "DASHBOARD_SUBSCRIBE")?.payload).toEqual({
    type: "command",
    id: "c",
    replay: { incarnation: 1, streamType: "STDOUT", offset: 4 },
    view: "live",
  });
  seen = [];
  watch.taken(1, 20);
  watch.rewatch({ incarnation: 1, stream: "STDOUT", offset: 15 });
  await until("the rest", () => seen.length === 1);
  expect(seen.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([[15, 5]]);
  const taken = server.connections[0]?.heard.find(({ type }) => type === "OUTPUT_TAKEN");
  expect(taken?.payload).toEqual({ commandId: "c", incarnation: 1, offset: 20 });
  watch.close();
  await until("given up", () => server.connections[0]?.heard.some(({ type }) => type === "DASHBOARD_UNSUBSCRIBE") === true);
});

test("bytes that a server leaves out without a word are asked for again, and then shown as a hole", async () => {
  let asked = 0;
  const server = await TestServer.start((connection, said) => {
    if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
    if (said.type === "DASHBOARD_SUBSCRIBE") {
      asked += 1;
      connection.say("ACK", { messageId: said.id, success: true });
      const of = (offset: number, size: number, sequence: number): Record_ => ({ incarnation: 1, stream: "STDOUT", sequence, offset, bytes: new Uint8Array(size) });
      if (asked === 1) sayRecord(connection, of(0, 5, 1), false);
      sayRecord(connection, of(9, 5, 2), false);
    }
  });
  servers.push(server);
  const feed = feedTo(server.url);
  const holes: unknown[] = [];
  const parts: number[] = [];
  feed.watch("c", "start", "whole", { output: ({ offset }) => parts.push(offset), hole: (from, to) => holes.push([from.offset, to]) });
  await until("a hole", () => holes.length === 1);
  expect(holes).toEqual([[5, 9]]);
  expect(parts).toEqual([0, 9]);
  expect(asked).toBe(2);
});

test("a refused subscription is told of", async () => {
  const server = await TestServer.start((connection, said) => {
    if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
    if (said.type === "DASHBOARD_SUBSCRIBE") {
      connection.say("ERROR", { code: "COMMAND_NOT_FOUND", message: "no such command", originalMessageId: said.id, context: { commandId: "c" } });
    }
  });
  servers.push(server);
  const refused: string[] = [];
  feedTo(server.url).watch("c", "start", "whole", { output: () => {}, refused: (reply) => refused.push(reply.code) });
  await until("refused", () => refused.length === 1);
  expect(refused).toEqual(["COMMAND_NOT_FOUND"]);
});
