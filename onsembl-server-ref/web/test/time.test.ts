// Words for times and amounts.

import fc from "fast-check";
import { expect, test } from "vitest";
import { age, bytes, clock, count, day, exact, length, parseTime, plural, took, when } from "../src/lib/time.ts";

test("ages are those of the command line", () => {
  const cases: [number, string][] = [
    [-5_000, "0s"],
    [11_600, "11s"],
    [119_999, "119s"],
    [120_000, "2m"],
    [7_199_000, "119m"],
    [7_200_000, "2h"],
    [172_799_000, "47h"],
    [172_800_000, "2d"],
  ];
  for (const [ms, words] of cases) expect(age(ms)).toBe(words);
});

test("lengths have two units at most", () => {
  const cases: [number, string][] = [
    [0, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [65_000, "1 min 5 s"],
    [600_000, "10 min"],
    [3_600_000, "1 h"],
    [11_040_000, "3 h 4 min"],
    [3 * 86_400_000 + 4 * 3_600_000, "3 d 4 h"],
    [14 * 86_400_000, "14 d"],
  ];
  for (const [ms, words] of cases) expect(length(ms)).toBe(words);
});

test("what something took", () => {
  expect([0, 340, 999.6, 4_250, 9_999, 12_000].map(took)).toEqual(["0 ms", "340 ms", "1000 ms", "4.2 s", "9.9 s", "12 s"]);
});

test("property: longer is never said to be shorter", () => {
  const number = (words: string): number => {
    const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
    const [, amount, unit] = /^(\d+)(\w)$/.exec(words) ?? [];
    return Number(amount) * (units[unit ?? ""] ?? Number.NaN);
  };
  fc.assert(
    fc.property(fc.nat(40 * 86_400_000), fc.nat(40 * 86_400_000), (a, b) => {
      if (a <= b) expect(number(age(a))).toBeLessThanOrEqual(number(age(b)));
    }),
  );
});

test("times of day, of the viewer's zone, and everything in the title", () => {
  const at = new Date(2026, 10, 30, 12, 3, 7).getTime();
  expect(clock(at)).toBe("12:03:07");
  expect(day(at)).toBe("2026-11-30");
  expect(when(at, at + 1000)).toBe("12:03:07");
  expect(when(at, at + 86_400_000)).toBe("2026-11-30 12:03");
  expect(exact(at)).toBe(`2026-11-30 12:03:07 (${new Date(at).toISOString()})`);
});

test("what is no time is none", () => {
  expect(parseTime(null)).toBe(null);
  expect(parseTime("yesterday")).toBe(null);
  expect(parseTime("2026-11-30T12:00:00.000Z")).toBe(1_796_040_000_000);
});

test("amounts", () => {
  expect([0, 1, 812, 1024, 4_404_019, 1 << 30].map(bytes)).toEqual(["0 bytes", "1 byte", "812 bytes", "1.0 KiB", "4.2 MiB", "1.0 GiB"]);
  expect(count(4_120_331)).toBe("4,120,331");
  expect([plural(1, "agent"), plural(2000, "agent")]).toEqual(["1 agent", "2,000 agents"]);
});
