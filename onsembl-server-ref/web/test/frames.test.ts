// Messages as they are read.

import fc from "fast-check";
import { expect, test } from "vitest";
import { Unreadable, chunkOf, fromBase64, readBinary, readText, toBase64, write } from "../src/link/frames.ts";
import { binary } from "./server.ts";

const buffer = (bytes: Uint8Array): ArrayBuffer => bytes.slice().buffer as ArrayBuffer;

test("property: output in a binary message is what was written", () => {
  const of = fc.record({
    command: fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => text.isWellFormed()),
    agent: fc.string({ maxLength: 20 }),
    stream: fc.integer({ min: 0, max: 2 }),
    incarnation: fc.nat(),
    sequence: fc.nat(),
    offset: fc.maxSafeNat(),
    at: fc.integer({ min: -1000, max: 2_000_000_000_000 }),
    bytes: fc.uint8Array({ maxLength: 50 }),
  });
  fc.assert(
    fc.property(of, (wanted) => {
      const read = readBinary(buffer(binary(wanted)));
      expect(read).toMatchObject({
        commandId: wanted.command,
        agentId: wanted.agent,
        stream: ["STDOUT", "STDERR", "TERMINAL"][wanted.stream],
        incarnation: wanted.incarnation,
        sequence: wanted.sequence,
        offset: wanted.offset,
        at: wanted.at,
      });
      expect([...read.bytes]).toEqual([...wanted.bytes]);
    }),
  );
});

test("property: any other bytes are unreadable or output, and never anything else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      try {
        readBinary(buffer(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(Unreadable);
      }
    }),
  );
});

test("texts", () => {
  expect(readText('{"type":"PING","id":"m","timestamp":1,"payload":{"timestamp":5}}')).toEqual({ type: "PING", id: "m", payload: { timestamp: 5 } });
  expect(readText('{"type":"toString","payload":{}}')).toBe(null);
  for (const bad of ["", "1", "null", "[]", '{"payload":{}}', '{"type":"PING"}']) expect(() => readText(bad)).toThrow(Unreadable);
  expect(write("PONG", "m-1", 7, { timestamp: 5 })).toBe('{"type":"PONG","id":"m-1","timestamp":7,"payload":{"timestamp":5}}');
});

test("output as text has a position, or is not taken", () => {
  const of = { commandId: "c", streamType: "STDOUT", content: "é", timestamp: 5, offset: 3, incarnation: 2, sequence: 1, encoding: "utf-8" };
  expect(chunkOf(of)).toMatchObject({ offset: 3, incarnation: 2, stream: "STDOUT" });
  expect([...(chunkOf(of)?.bytes ?? [])]).toEqual([0xc3, 0xa9]);
  const { offset: _, ...without } = of;
  expect(chunkOf(without)).toBe(null);
  expect(() => chunkOf({ ...of, encoding: "base64", content: "*" })).toThrow(Unreadable);
});

test("property: base64 of any length is the same bytes again", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
      expect([...fromBase64(toBase64(bytes))]).toEqual([...bytes]);
    }),
  );
  const long = new Uint8Array(100_000).fill(7);
  expect(fromBase64(toBase64(long))).toEqual(long);
});
