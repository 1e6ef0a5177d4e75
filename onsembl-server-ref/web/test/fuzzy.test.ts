// The palette finds what a person means.

import fc from "fast-check";
import { expect, test } from "vitest";
import { best, score } from "../src/lib/fuzzy.ts";

const NAMES = ["coder-for-payments", "reviewer", "build-7", "ios-build", "Settings", "Rows: compact", "Sign out"];
const find = (query: string): string[] => best(query, NAMES, (name) => name, 5);

test("the beginning of a name before the beginning of a word before the middle before scattered letters", () => {
  expect(find("build")).toEqual(["build-7", "ios-build"]);
  expect(find("pay")[0]).toBe("coder-for-payments");
  expect(find("cfp")).toEqual(["coder-for-payments"]);
  expect(find("SET")[0]).toBe("Settings");
  expect(find("compact rows")).toEqual(["Rows: compact"]);
  expect(find("zzz")).toEqual([]);
  expect(find("  ")).toEqual(NAMES.slice(0, 5));
});

test("property: what is found has every letter, and the whole text finds itself first", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 30 }), (query, text) => {
      const found = score(query, text);
      if (found === null) return;
      for (const letter of query.toLowerCase().replace(/\s/g, "")) expect(text.toLowerCase()).toContain(letter);
    }),
  );
  for (const name of NAMES) expect(find(name)[0]).toBe(name);
});
