// The judge of screens: the server's dumps, cut at each percent of what programs write, in the emulator that the page has.
// A viewer that begins by a dump sees the same as one that saw everything, at the cut and at the end.
//
// The files are written by the test `screen_dumps` of onsembl-transport.

import unicode from "@xterm/addon-unicode11";
import headless, { type Terminal as Headless } from "@xterm/headless";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { WholeCharacters } from "../../src/terminal/characters.ts";
import { guard } from "../../src/terminal/guard.ts";

const FOLDER = new URL("../dumps/", import.meta.url);

interface File {
  readonly columns: number;
  readonly rows: number;
  /** Bytes as the characters from U+0000 to U+00FF. */
  readonly written: string;
  readonly dumps: readonly { readonly at: number; readonly dump: string }[];
}

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function terminal({ columns, rows }: File): Headless {
  const terminal = new headless.Terminal({ cols: columns, rows, scrollback: 0, allowProposedApi: true });
  terminal.loadAddon(new unicode.Unicode11Addon());
  terminal.unicode.activeVersion = "11";
  guard(terminal.parser as never, { copy: () => {} });
  return terminal;
}

/** Writes as the page does. */
function writer(to: Headless): (what: Uint8Array) => Promise<void> {
  const characters = new WholeCharacters();
  return (what) => new Promise((done) => to.write(characters.take(what), done));
}

/** The first 16 of the 256 colours look like the 16 colours, and are written as either. */
function colour(isDefault: boolean, isRgb: boolean, value: number): string {
  return isDefault ? "" : `${isRgb ? "rgb" : "palette"} ${value.toString(16)}`;
}

/** All that a viewer sees, row by row, and what decides how it goes on. */
function seen(of: Headless): string[] {
  const buffer = of.buffer.active;
  const lines: string[] = [];
  for (let row = 0; row < of.rows; row += 1) {
    const line = buffer.getLine(buffer.baseY + row);
    const cells: string[] = [];
    for (let column = 0; column < of.cols; column += 1) {
      const cell = line?.getCell(column);
      if (cell === undefined) continue;
      const text = cell.getChars() || " ";
      const [inverse, underline, strike] = [cell.isInverse() !== 0, cell.isUnderline() !== 0, cell.isStrikethrough() !== 0];
      const front = colour(cell.isFgDefault(), cell.isFgRGB(), cell.getFgColor());
      const back = colour(cell.isBgDefault(), cell.isBgRGB(), cell.getBgColor());
      // Of a blank only the ground is seen. What is bold and faint at once is only one of them for the server.
      const isBlank = text === " " && !inverse && !underline && !strike;
      const weight = cell.isBold() !== 0 ? "bold" : cell.isDim() !== 0 ? "faint" : "";
      const style = isBlank ? [] : [front, weight, cell.isItalic() !== 0 ? "italic" : "", inverse ? "inverse" : "", underline ? "underline" : "", strike ? "strike" : ""];
      cells.push([text, cell.getWidth(), back, ...style].join(" "));
    }
    lines.push(cells.join("|"));
  }
  const { applicationCursorKeysMode, applicationKeypadMode, bracketedPasteMode, insertMode, mouseTrackingMode, originMode, wraparoundMode } = of.modes;
  return [
    ...lines,
    `cursor ${buffer.cursorX},${buffer.cursorY} ${buffer.type}`,
    JSON.stringify({ applicationCursorKeysMode, applicationKeypadMode, bracketedPasteMode, insertMode, mouseTrackingMode, originMode, wraparoundMode }),
  ];
}

test("a character is shown wherever the output is cut", async () => {
  const text = new TextEncoder().encode("a…b—é🚀日\u{10ffff}c");
  for (let cut = 0; cut <= text.length; cut += 1) {
    const one = new headless.Terminal({ cols: 20, rows: 2, allowProposedApi: true });
    const write = writer(one);
    for (const part of [text.subarray(0, cut), text.subarray(cut), new Uint8Array([0xe2, 0x80]), new Uint8Array([0xa6])]) await write(part);
    expect(one.buffer.active.getLine(0)?.translateToString(true)).toBe("a…b—é🚀日\u{10ffff}c…");
  }
  // What is no text is not held back for ever.
  const characters = new WholeCharacters();
  for (const bytes of [[0x80, 0x80, 0x80, 0x80], [0xff], [0xc3, 0x28], [0xf8]]) expect(characters.take(Uint8Array.from(bytes)).length).toBe(bytes.length);
});

const names = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

test("there are dumps in the manner of all six programs", () => {
  for (const name of ["claude", "codex", "gemini", "vim", "htop", "cargo"]) {
    expect(names.some((file) => file.startsWith(name) || file.startsWith(`like-${name}`)), name).toBe(true);
  }
});

describe.each(names)("%s", (name) => {
  const file = JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as File;
  const written = bytes(file.written);

  test("a viewer that begins by a dump sees what is there, and goes on as if it had seen everything", async () => {
    const whole = terminal(file);
    await writer(whole)(written);
    const end = seen(whole);
    const along = terminal(file);
    const goOn = writer(along);
    let fed = 0;
    const wrong: string[] = [];
    for (const { at, dump } of file.dumps) {
      await goOn(written.subarray(fed, at));
      fed = at;
      const viewer = terminal(file);
      const write = writer(viewer);
      await write(bytes(dump));
      const [there, here] = [seen(along), seen(viewer)];
      there.forEach((row, n) => {
        if (row !== here[n]) wrong.push(`at ${at}, row ${n}:\n  ${row}\n  ${here[n]}`);
      });
      await write(written.subarray(at));
      seen(viewer).forEach((row, n) => {
        if (row !== end[n]) wrong.push(`from ${at} to the end, row ${n}:\n  ${end[n]}\n  ${row}`);
      });
      viewer.dispose();
    }
    expect(file.dumps.length).toBe(99);
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});
