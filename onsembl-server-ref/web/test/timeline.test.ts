// Presence over time: bands without overlap, bounded in number.

import fc from "fast-check";
import { expect, test } from "vitest";
import { bands, percent, ticks } from "../src/lib/timeline.ts";

const state = fc.constantFrom("online", "stale", "timed-out", "offline", "reconnecting");
const changes = fc.array(fc.record({ at: fc.integer({ min: -500, max: 1500 }), state, because: fc.constant("x") }), { maxLength: 200 });

test("property: bands are in order, do not overlap, lie within, and are bounded", () => {
  fc.assert(
    fc.property(changes, fc.integer({ min: 5, max: 60 }), (said, most) => {
      const found = bands(said, 0, 1000, most);
      found.forEach((band, n) => {
        expect(band.from).toBeGreaterThanOrEqual(0);
        expect(band.to).toBeLessThanOrEqual(1000);
        expect(band.to).toBeGreaterThan(band.from);
        const before = found[n - 1];
        if (before !== undefined) expect(band.from).toBe(before.to);
      });
      // Short ones join, so there is at most one more for each that is long.
      expect(found.length).toBeLessThanOrEqual(2 * most + 2);
    }),
  );
});

test("what was before the window reaches into it, and what is unknown has no band", () => {
  const said = [
    { at: -50, state: "online", because: "a" },
    { at: 40, state: "offline", because: "b" },
    { at: 60, state: "offline", because: "c" },
    { at: 70, state: "online", because: "d" },
  ];
  expect(bands(said, 0, 100, 10)).toEqual([
    { from: 0, to: 40, state: "online", because: "a", changes: 1 },
    { from: 40, to: 70, state: "offline", because: "b", changes: 1 },
    { from: 70, to: 100, state: "online", because: "d", changes: 1 },
  ]);
  expect(bands(said.slice(1), 0, 100, 10)[0]?.from).toBe(40);
  expect(bands([], 0, 100, 10)).toEqual([]);
  expect(bands(said, 100, 100, 10)).toEqual([]);
});

test("a crowd is one band that says so, by its worst state", () => {
  const said = Array.from({ length: 100 }, (_, n) => ({ at: n, state: n % 2 === 0 ? "online" : "stale", because: `${n}` }));
  said.push({ at: 100, state: "online", because: "end" });
  const found = bands(said, 0, 1000, 10);
  expect(found).toHaveLength(2);
  expect(found[0]).toMatchObject({ from: 0, to: 100, state: "stale", changes: 100 });
});

test("places and labels", () => {
  expect([percent(50, 0, 200), percent(-1, 0, 10), percent(11, 0, 10), percent(1, 5, 5)]).toEqual([25, 0, 100, 0]);
  const from = new Date(2026, 10, 30, 2, 30).getTime();
  for (const days of [1, 7, 30]) {
    const found = ticks(from, from + days * 86_400_000);
    expect(found.length).toBeGreaterThanOrEqual(5);
    expect(found.length).toBeLessThanOrEqual(9);
    for (const at of found) expect(new Date(at).getMinutes()).toBe(0);
  }
});
