// Output reaches the emulator in order, one write at a time, with what belongs between two bytes exactly there.

import { expect, test } from "vitest";
import { Flow, type Frames, type Sink } from "../../src/terminal/flow.ts";

/** A sink that takes so long for each byte, and frames of 16 ms, in virtual time. */
function rig(perByte: number) {
  const log: string[] = [];
  const writes: { length: number; took: number }[] = [];
  const due: { at: number; run: () => void }[] = [];
  let now = 0;
  let inFlight = 0;
  const after = (ms: number, run: () => void) => due.push({ at: now + ms, run });
  const sink: Sink = {
    write(bytes, done) {
      inFlight += 1;
      expect(inFlight).toBe(1);
      log.push(new TextDecoder().decode(bytes));
      const took = bytes.length * perByte;
      writes.push({ length: bytes.length, took });
      after(took, () => {
        inFlight -= 1;
        done();
      });
    },
    draw(_drawing, skipped, done) {
      log.push(`<draw ${skipped}>`);
      after(1, done);
    },
    size: ({ columns, rows }) => log.push(`<${columns}x${rows}>`),
    mark: (gap) => log.push(`<gap ${gap.length}>`),
  };
  const frames: Frames = { now: () => now, next: (run) => after(16 - (now % 16), run) };
  const flow = new Flow(sink, () => {}, frames);
  const run = (): void => {
    for (let next = 0; due.length > 0 && next < 100_000; next += 1) {
      due.sort((a, b) => a.at - b.at);
      const first = due.shift();
      if (first === undefined) return;
      now = Math.max(now, first.at);
      first.run();
    }
  };
  return { flow, log, writes, run, time: () => now };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const drawing = { at: null, size: { columns: 80, rows: 24 }, bytes: new Uint8Array(), whole: true };

test("small pieces are joined, and sizes and marks stand where they stood", () => {
  const { flow, log, run } = rig(0.0001);
  flow.show(bytes("ab"));
  flow.show(bytes("c"));
  flow.size({ columns: 100, rows: 30 });
  flow.show(bytes("d"));
  flow.mark({ at: { incarnation: 1, offset: 4 }, length: 7, because: "stopped", timestamp: null });
  flow.show(bytes("e"));
  expect(flow.unshown).toBe(5);
  run();
  expect(log).toEqual(["abc", "<100x30>", "d", "<gap 7>", "e"]);
  expect(flow.unshown).toBe(0);
});

test("a screen takes the place of what was not shown yet, and keeps the marks", () => {
  const { flow, log, run } = rig(0.0001);
  flow.show(bytes("old"));
  flow.mark({ at: { incarnation: 1, offset: 3 }, length: 1, because: "stopped", timestamp: null });
  flow.draw(drawing, 9);
  flow.show(bytes("new"));
  run();
  expect(log).toEqual(["<gap 1>", "<draw 9>", "new"]);
});

test("a write has 64 KiB at most, and less where the machine is slow", () => {
  const fast = rig(0.00001);
  fast.flow.show(new Uint8Array(1 << 20));
  fast.run();
  expect(Math.max(...fast.writes.map((write) => write.length))).toBe(64 * 1024);
  const slow = rig(0.002);
  slow.flow.show(new Uint8Array(1 << 20));
  slow.run();
  // The first one learns it.
  expect(Math.max(...slow.writes.slice(5).map((write) => write.took))).toBeLessThanOrEqual(10);
  expect(slow.flow.unshown).toBe(0);
});

test("what is paused is shown when it goes on, and nothing before", () => {
  const { flow, log, run } = rig(0.0001);
  flow.pause();
  flow.show(bytes("a"));
  run();
  expect([log, flow.unshown]).toEqual([[], 1]);
  flow.resume();
  run();
  expect(log).toEqual(["a"]);
  flow.show(bytes("b"));
  flow.pause();
  run();
  expect(log).toEqual(["a"]);
  flow.resume();
  run();
  expect(log).toEqual(["a", "b"]);
});
