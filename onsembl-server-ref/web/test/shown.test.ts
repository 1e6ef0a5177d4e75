// Texts of peers cannot draw, turn or forge anything.

import fc from "fast-check";
import { expect, test } from "vitest";
import { shown, shownLines } from "../src/lib/shown.ts";

test("the example of the command lines", () => {
  expect(shown("mine\u001b]52;c;cm0gLXJm\u0007\nERROR forged")).toBe("mine\\u{1b}]52;c;cm0gLXJm\\u{7}\\nERROR forged");
});

test("joiners stay where scripts and emoji need them", () => {
  expect(shown("👩\u200d💻")).toBe("👩\u200d💻");
  expect(shown("a\u200db")).toBe("a\\u{200d}b");
  expect(shown("\u200d")).toBe("\\u{200d}");
  expect(shown("ab\u202ecd")).toBe("ab\\u{202e}cd");
  expect(shown("\u{e0041}")).toBe("\\u{e0041}");
});

test("long ones are cut by characters, with an ellipsis", () => {
  expect(shown("abcdef", 3)).toBe("abc…");
  expect(shown("💻💻💻", 3)).toBe("💻💻💻");
  expect(shown("💻💻💻💻", 3)).toBe("💻💻💻…");
});

test("property: nothing unseen is left, and twice is the same", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
      const once = shown(text);
      expect(once).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/);
      expect(shown(once)).toBe(once);
    }),
  );
});

test("lines stay lines where several are shown", () => {
  expect(shownLines("a\tb\nc\u001b[2J")).toBe("a\tb\nc\\u{1b}[2J");
});
