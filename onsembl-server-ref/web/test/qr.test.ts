// QR codes, read back by a reader of its own: format, mask, blocks, text.

import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { qr, qrPath } from "../src/lib/qr.ts";

const BLOCKS: Record<number, number[]> = { 1: [16], 2: [28], 3: [44], 4: [32, 32], 5: [43, 43], 6: [27, 27, 27, 27], 7: [31, 31, 31, 31], 8: [38, 38, 39, 39], 9: [36, 36, 36, 37, 37], 10: [43, 43, 43, 43, 44] };

function readBack(modules: readonly boolean[][]): string {
  const size = modules.length;
  const version = (size - 17) / 4;
  const dark = (x: number, y: number): number => (modules[y]?.[x] === true ? 1 : 0);
  let format = 0;
  for (const x of [0, 1, 2, 3, 4, 5, 7, 8]) format = (format << 1) | dark(x, 8);
  for (const y of [7, 5, 4, 3, 2, 1, 0]) format = (format << 1) | dark(8, y);
  format ^= 0x5412;
  expect(format >> 13).toBe(0);
  const mask = (format >> 10) & 7;
  const flips = (x: number, y: number): boolean =>
    [
      (x + y) % 2,
      y % 2,
      x % 3,
      (x + y) % 3,
      (Math.floor(y / 2) + Math.floor(x / 3)) % 2,
      ((x * y) % 2) + ((x * y) % 3),
      (((x * y) % 2) + ((x * y) % 3)) % 2,
      (((x + y) % 2) + ((x * y) % 3)) % 2,
    ][mask] === 0;
  const centres = version === 1 ? [] : version < 7 ? [6, size - 7] : [6, (size - 1) / 2, size - 7];
  const isFixed = (x: number, y: number): boolean => {
    if (x === 6 || y === 6) return true;
    if ((x < 9 && y < 9) || (x < 9 && y >= size - 8) || (x >= size - 8 && y < 9)) return true;
    if (version >= 7 && ((x >= size - 11 && y < 6) || (y >= size - 11 && x < 6))) return true;
    return centres.some((cx) => centres.some((cy) => !((cx === 6 && cy === 6) || (cx === 6 && cy === size - 7) || (cx === size - 7 && cy === 6)) && Math.abs(x - cx) <= 2 && Math.abs(y - cy) <= 2));
  };
  const bits: number[] = [];
  let up = true;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right -= 1;
    for (let n = 0; n < size; n += 1) {
      const y = up ? size - 1 - n : n;
      for (const x of [right, right - 1]) if (!isFixed(x, y)) bits.push(dark(x, y) ^ (flips(x, y) ? 1 : 0));
    }
    up = !up;
  }
  const sizes = BLOCKS[version] ?? [];
  const total = sizes.reduce((a, b) => a + b, 0);
  const words = Array.from({ length: total }, (_, n) => parseInt(bits.slice(n * 8, n * 8 + 8).join(""), 2));
  const blocks = sizes.map((): number[] => []);
  let at = 0;
  for (let n = 0; n < Math.max(...sizes); n += 1) sizes.forEach((of, b) => n < of && blocks[b]?.push(words[at++] ?? 0));
  const data = blocks.flat().map((word) => word.toString(2).padStart(8, "0")).join("");
  expect(data.slice(0, 4)).toBe("0100");
  const count = version < 10 ? 8 : 16;
  const length = parseInt(data.slice(4, 4 + count), 2);
  const bytes = Uint8Array.from({ length }, (_, n) => parseInt(data.slice(4 + count + n * 8, 12 + count + n * 8), 2));
  return new TextDecoder().decode(bytes);
}

test("property: a text up to 213 bytes is read back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 213 }), (text) => {
      const bytes = new TextEncoder().encode(text).length;
      const code = qr(text);
      if (bytes > 213) expect(code).toBe(null);
      else expect(readBack(code ?? [])).toBe(new TextDecoder().decode(new TextEncoder().encode(text)));
    }),
    { numRuns: 60 },
  );
  for (const length of [1, 14, 15, 26, 62, 106, 122, 152, 180, 181, 213]) {
    const text = "https://h.example/#code=".padEnd(length, "aB1_-").slice(0, length);
    expect(readBack(qr(text) ?? [])).toBe(text);
  }
});

test("the code of a link is the one that readers of others have read", () => {
  const code = qr("https://onsembl.example/#code=0123456789abcdefghijkl");
  const rows = (code ?? []).map((row) => row.map((dark) => (dark ? "#" : ".")).join("")).join("\n");
  expect(createHash("sha256").update(rows).digest("hex")).toMatchInlineSnapshot(`"aeb3c08030fc56749b7da03a19b97ee7019d213b7d94e2d4de0237c34b05c206"`);
  const { d, size } = qrPath(code ?? []);
  expect(size).toBe((code?.length ?? 0) + 8);
  expect(d.startsWith("M4 4h7v1h-7z")).toBe(true);
});
