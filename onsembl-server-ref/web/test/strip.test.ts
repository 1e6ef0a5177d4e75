// The beat strip: what is drawn, and that the words say the same.

import fc from "fast-check";
import { expect, test } from "vitest";
import { describe as inWords, lower, runs, tally, upper, window, type Mark } from "../src/lib/strip.ts";

const cells = fc.string({ unit: fc.constantFrom("b", "u", "d", "-", "?", "z", "h", "x"), maxLength: 80 });
const clock = (at: number): string => `t${at}`;
const span = (ms: number): string => `${ms}ms`;

test("the lanes show directions: above what was heard, below what was seen", () => {
  const of = (lane: (cell: string) => Mark) => [..."bud-?zh!"].map(lane);
  expect(of(upper)).toEqual(["beat", "beat", "missing", "missing", "unknown", "asleep", "beat", "unknown"]);
  expect(of(lower)).toEqual(["beat", "missing", "beat", "missing", "unknown", "asleep", "unknown", "unknown"]);
});

test("property: runs cover every cell once, and neighbours differ", () => {
  fc.assert(
    fc.property(cells, fc.constantFrom(upper, lower), (text, lane) => {
      const found = runs(text, lane);
      let at = 0;
      found.forEach((run, n) => {
        expect(run.from).toBe(at);
        expect(run.length).toBeGreaterThan(0);
        for (let i = run.from; i < run.from + run.length; i += 1) expect(lane(text[i] ?? "?")).toBe(run.mark);
        if (n > 0) expect(found[n - 1]?.mark).not.toBe(run.mark);
        at += run.length;
      });
      expect(at).toBe(text.length);
    }),
  );
});

test("property: a window has its length and ends with the latest cells", () => {
  fc.assert(
    fc.property(cells, fc.integer({ min: 1, max: 90 }), (text, count) => {
      const seen = window(text, count);
      expect(seen).toHaveLength(count);
      const kept = text.slice(-count);
      expect(seen.endsWith(kept)).toBe(true);
      expect(seen.slice(0, count - kept.length)).toBe("?".repeat(count - kept.length));
    }),
  );
});

test("property: the tally counts every cell", () => {
  fc.assert(
    fc.property(cells, (text) => {
      const sum = Object.values(tally(text)).reduce((a, b) => a + b, 0);
      expect(sum).toBe(text.length);
    }),
  );
});

test("the words name what was lost, towards whom, and when last", () => {
  expect(inWords({ intervalMs: 10, from: 100, cells: "b".repeat(60) }, clock, span)).toBe(
    "60 of 60 heartbeats in 600ms arrived in both directions.",
  );
  expect(inWords({ intervalMs: 10, from: 100, cells: "bbubd-?zzb" }, clock, span)).toBe(
    "4 of 7 heartbeats in 100ms arrived in both directions; 1 lost towards the agent, last at t120; 1 lost towards the server, last at t140; " +
      "1 without a sign in either direction, last at t150; asleep for 20ms; 1 not recorded.",
  );
  expect(inWords({ intervalMs: 10, from: 0, cells: "hhb" }, clock, span)).toBe(
    "1 of 3 heartbeats in 30ms arrived in both directions; 2 heard, the other direction is not known.",
  );
  expect(inWords({ intervalMs: 10, from: 0, cells: "???" }, clock, span)).toBe("No heartbeats are recorded.");
});
