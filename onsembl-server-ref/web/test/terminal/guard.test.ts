// What a program writes does not answer, copy or lead anywhere by itself, in the emulator that the page has.

import headless from "@xterm/headless";
import { describe, expect, test } from "vitest";
import { asksForColour, copied, guard, isFocusReport, webAddress } from "../../src/terminal/guard.ts";

const { Terminal } = headless;

async function answers(written: string, isGuarded: boolean): Promise<{ sent: string; copies: string[]; title: string }> {
  const terminal = new Terminal({ cols: 80, rows: 24, allowProposedApi: true });
  const copies: string[] = [];
  let [sent, title] = ["", ""];
  terminal.onData((data) => (sent += data));
  terminal.onTitleChange((text) => (title = text));
  if (isGuarded) guard(terminal.parser as never, { copy: (text) => copies.push(text) });
  await new Promise<void>((done) => terminal.write(written, done));
  terminal.dispose();
  return { sent, copies, title };
}

const QUERIES = [
  "\x1b[c",
  "\x1b[0c",
  "\x1b[>c",
  "\x1b[=c",
  "\x1b[5n",
  "\x1b[6n",
  "\x1b[?6n",
  "\x1b[?996n",
  "\x1b[>q",
  "\x1b[?u",
  "\x1b[?2026$p",
  "\x1b[4$p",
  "\x1b[14t",
  "\x1b[18t",
  "\x1b[21t",
  "\x1b]10;?\x07",
  "\x1b]11;?\x1b\\",
  "\x1b]4;1;?\x07",
  "\x1b]52;c;?\x07",
  "\x1bP+q544e\x1b\\",
  "\x1bP$qm\x1b\\",
  "\x1bZ",
  "\x05",
];

describe("queries", () => {
  for (const query of QUERIES) {
    test(`${JSON.stringify(query)} is not answered`, async () => {
      expect((await answers(query, true)).sent).toBe("");
    });
  }

  test("would be answered without the guard", async () => {
    const without = await Promise.all(QUERIES.map(async (query) => (await answers(query, false)).sent));
    expect(without.filter((sent) => sent !== "").length).toBeGreaterThan(6);
  });

  test("what is no query acts as before", async () => {
    expect((await answers("\x1b]2;a title\x07", true)).title).toBe("a title");
    expect(asksForColour("1;?")).toBe(true);
    expect(asksForColour("1;rgb:00/00/00")).toBe(false);
    expect([isFocusReport("\x1b[I"), isFocusReport("\x1b[A")]).toEqual([true, false]);
  });
});

test("a copy of a program is only reported, and is a text", async () => {
  const { copies, sent } = await answers("\x1b]52;c;aGVsbG8=\x07\x1b]52;c;/w==\x07\x1b]52;c;!!\x07\x1b]52;c;\x07", true);
  expect([copies, sent]).toEqual([["hello"], ""]);
  expect(copied(`c;${"A".repeat((1 << 20) + 4)}`)).toBeNull();
});

test("only addresses of the web are links, and are shown whole", () => {
  expect(webAddress("https://example.com/a?b#c")).toBe("https://example.com/a?b#c");
  for (const other of ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "ftp://x", "//x", "x", ""]) {
    expect(webAddress(other)).toBeNull();
  }
  // What looks like another host is shown as it is resolved.
  expect(webAddress("https://exаmple.com/")).toBe("https://xn--exmple-4nf.com/");
});
