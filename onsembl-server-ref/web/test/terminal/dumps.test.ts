// The judge of screens: the server's dumps, cut at each percent of what programs write, in the emulator that the page has.
// A viewer that begins by a dump sees the same as one that saw everything, at the cut and at the end.
//
// The files are written by the test `screen_dumps` of onsembl-transport.

import unicode from "@xterm/addon-unicode11";
import headless, { type Terminal as Headless } from "@xterm/headless";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
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

const write = (to: Headless, what: Uint8Array): Promise<void> => new Promise((done) => to.write(what, done));

/** The first 16 of the 256 colours look like the 16 colours, and are written as either. */
function colour(mode: string, value: number): string {
  return mode === "256" && value < 16 ? `16 ${value}` : `${mode} ${value}`;
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
      const front = cell.isFgDefault() ? "" : colour(cell.isFgRGB() ? "rgb" : cell.getFgColor() < 16 && !cell.isFgRGB() ? "16" : "256", cell.getFgColor());
      const back = cell.isBgDefault() ? "" : colour(cell.isBgRGB() ? "rgb" : cell.getBgColor() < 16 && !cell.isBgRGB() ? "16" : "256", cell.getBgColor());
      const style = [cell.isBold(), cell.isDim(), cell.isItalic(), cell.isUnderline(), cell.isInverse(), cell.isStrikethrough()];
      cells.push(`${text}${cell.getWidth()}${front}${back === "" ? "" : `/${back}`}${style.map((is) => (is ? 1 : 0)).join("")}`);
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
    await write(whole, written);
    const end = seen(whole);
    const along = terminal(file);
    let fed = 0;
    const wrong: string[] = [];
    for (const { at, dump } of file.dumps) {
      await write(along, written.subarray(fed, at));
      fed = at;
      const viewer = terminal(file);
      await write(viewer, bytes(dump));
      const [there, here] = [seen(along), seen(viewer)];
      there.forEach((row, n) => {
        if (row !== here[n]) wrong.push(`at ${at}, row ${n}:\n  ${row}\n  ${here[n]}`);
      });
      await write(viewer, written.subarray(at));
      seen(viewer).forEach((row, n) => {
        if (row !== end[n]) wrong.push(`from ${at} to the end, row ${n}:\n  ${end[n]}\n  ${row}`);
      });
      viewer.dispose();
    }
    expect(file.dumps.length).toBe(99);
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});
