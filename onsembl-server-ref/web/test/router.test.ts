// Every view has an address, and back.

import fc from "fast-check";
import { expect, test } from "vitest";
import { codeIn, safeNext } from "../src/lib/sign-in.ts";
import { browserOf, spaced } from "../src/lib/names.ts";
import { pathOf, read, type Route } from "../src/router.ts";

test("addresses", () => {
  expect(read("/")).toEqual({ view: "fleet" });
  expect(read("/fleet/")).toEqual({ view: "fleet" });
  expect(read("/agents/a%2Fb")).toEqual({ view: "agent", id: "a/b" });
  expect(read("/terminals/t/log")).toEqual({ view: "terminal", id: "t", log: true });
  expect(read("/agents/%E0%A4%A")).toMatchObject({ view: "nowhere" });
  expect(read("/agents")).toMatchObject({ view: "nowhere" });
  expect(read("/commands/x/y")).toMatchObject({ view: "nowhere" });
});

test("property: a path of a view is that view", () => {
  const id = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text.isWellFormed?.() ?? true);
  const route: fc.Arbitrary<Route> = fc.oneof(
    fc.constantFrom<Route>({ view: "fleet" }, { view: "commands" }, { view: "stop" }, { view: "incidents" }, { view: "settings" }, { view: "sign-in" }),
    id.map((text): Route => ({ view: "agent", id: text })),
    id.map((text): Route => ({ view: "command", id: text })),
    fc.tuple(id, fc.boolean()).map(([text, log]): Route => ({ view: "terminal", id: text, log })),
  );
  fc.assert(
    fc.property(route, (of) => {
      expect(read(pathOf(of))).toEqual(of);
    }),
  );
});

test("a code in the fragment, and nothing else", () => {
  expect(codeIn("code=abc_-1")).toBe("abc_-1");
  expect(codeIn("x=1&code=abc")).toBe("abc");
  expect(codeIn("main")).toBe(null);
  expect(codeIn("code=")).toBe(null);
});

test("signing in leads to a view of this page only", () => {
  expect(safeNext("/agents/a?x=1")).toBe("/agents/a?x=1");
  for (const bad of [null, "", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/sign-in?next=/sign-in"]) {
    expect(safeNext(bad)).toBe("/fleet");
  }
});

test("names", () => {
  expect(browserOf("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36")).toBe("Chrome on Linux");
  expect(browserOf("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0")).toBe("Firefox on macOS");
  expect(browserOf("curl/8")).toBe("a browser");
  expect(browserOf(null)).toBe("an unknown browser");
  expect(spaced("output_days")).toBe("Output days");
  expect(spaced("historyMaxAgeMs")).toBe("History max age");
});
