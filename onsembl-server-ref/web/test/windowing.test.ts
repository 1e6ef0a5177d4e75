// The windowed list: what is on the screen is in the document, and not much more.

import fc from "fast-check";
import { expect, test } from "vitest";
import { MOST_ROWS, besides, visible } from "../src/lib/windowing.ts";

const viewport = fc.record({
  rows: fc.nat(5000),
  rowHeight: fc.integer({ min: 20, max: 150 }),
  listTop: fc.integer({ min: -600_000, max: 2000 }),
  height: fc.integer({ min: 100, max: 2400 }),
});

test("property: every row on the screen is there, and the number is bounded", () => {
  fc.assert(
    fc.property(viewport, (view) => {
      const { from, to } = visible(view);
      expect(from).toBeGreaterThanOrEqual(0);
      expect(to).toBeLessThanOrEqual(view.rows);
      expect(from).toBeLessThanOrEqual(to);
      for (const at of [0, view.height - 1]) {
        const row = Math.floor((at - view.listTop) / view.rowHeight);
        if (row >= 0 && row < view.rows) {
          expect(row).toBeGreaterThanOrEqual(from);
          expect(row).toBeLessThan(to);
        }
      }
      expect(to - from).toBeLessThanOrEqual(Math.max(MOST_ROWS, Math.ceil(view.height / view.rowHeight) + 1));
    }),
    { numRuns: 500 },
  );
});

test("ordinary screens", () => {
  expect(visible({ rows: 2000, rowHeight: 64, listTop: 150, height: 900 })).toEqual({ from: 0, to: 20 });
  expect(visible({ rows: 2000, rowHeight: 64, listTop: -64_000, height: 900 })).toEqual({ from: 992, to: 1023 });
  expect(visible({ rows: 3, rowHeight: 64, listTop: 150, height: 900 })).toEqual({ from: 0, to: 3 });
  expect(visible({ rows: 0, rowHeight: 64, listTop: 0, height: 900 })).toEqual({ from: 0, to: 0 });
  expect(visible({ rows: 9, rowHeight: 0, listTop: 0, height: 900 })).toEqual({ from: 0, to: 0 });
});

test("the row with the focus", () => {
  expect(besides({ from: 10, to: 20 }, 15)).toBe(null);
  expect(besides({ from: 10, to: 20 }, 20)).toBe(20);
  expect(besides({ from: 10, to: 20 }, 3)).toBe(3);
});
