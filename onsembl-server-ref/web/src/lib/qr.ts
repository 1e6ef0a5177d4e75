// A QR code of a link (ISO/IEC 18004): byte mode, level M, versions 1 to 10, which hold 213 bytes. Pure.

/** By version, from 1: codewords of correction in a block, and the data codewords of each block. */
const BLOCKS: readonly (readonly [number, readonly number[]])[] = [
  [10, [16]],
  [16, [28]],
  [26, [44]],
  [18, [32, 32]],
  [24, [43, 43]],
  [16, [27, 27, 27, 27]],
  [18, [31, 31, 31, 31]],
  [22, [38, 38, 39, 39]],
  [22, [36, 36, 36, 37, 37]],
  [26, [43, 43, 43, 43, 44]],
];

/** By version, from 1: where alignment patterns are, beside row and column 6. */
const ALIGNED: readonly (readonly number[])[] = [[], [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46], [28, 50]];

const EXP = new Uint8Array(255);
const LOG = new Uint8Array(256);
for (let power = 0, value = 1; power < 255; power += 1) {
  EXP[power] = value;
  LOG[value] = power;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : (EXP[((LOG[a] ?? 0) + (LOG[b] ?? 0)) % 255] ?? 0));

/** The Reed-Solomon remainder of `data`, of `count` codewords. */
function correction(data: readonly number[], count: number): number[] {
  let generator = [1];
  for (let power = 0; power < count; power += 1) {
    const next = [...generator, 0];
    generator.forEach((factor, at) => {
      next[at + 1] = (next[at + 1] ?? 0) ^ times(factor, EXP[power] ?? 0);
    });
    generator = next;
  }
  const rest = [...data, ...new Array<number>(count).fill(0)];
  for (let at = 0; at < data.length; at += 1) {
    const lead = rest[at] ?? 0;
    generator.forEach((factor, n) => {
      rest[at + n] = (rest[at + n] ?? 0) ^ times(factor, lead);
    });
  }
  return rest.slice(data.length);
}

function codewords(bytes: Uint8Array, version: number): number[] {
  const [count, sizes] = BLOCKS[version - 1] ?? [0, []];
  const capacity = sizes.reduce((sum, size) => sum + size, 0);
  let bits = "0100" + bytes.length.toString(2).padStart(version < 10 ? 8 : 16, "0");
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  bits += "0".repeat(Math.min(4, capacity * 8 - bits.length));
  bits += "0".repeat((8 - (bits.length % 8)) % 8);
  const data: number[] = [];
  for (let at = 0; at < bits.length; at += 8) data.push(parseInt(bits.slice(at, at + 8), 2));
  for (let pad = 0xec; data.length < capacity; pad ^= 0xec ^ 0x11) data.push(pad);
  let at = 0;
  const blocks = sizes.map((size) => data.slice(at, (at += size)));
  const corrections = blocks.map((block) => correction(block, count));
  const joined: number[] = [];
  for (const parts of [blocks, corrections]) {
    const longest = Math.max(...parts.map((part) => part.length));
    for (let n = 0; n < longest; n += 1) for (const part of parts) if (n < part.length) joined.push(part[n] ?? 0);
  }
  return joined;
}

/** `value` with the remainder of a BCH code behind it. */
function withRemainder(value: number, generator: number, bits: number): number {
  let rest = value << bits;
  for (let at = 31 - Math.clz32(rest); at >= bits; at = 31 - Math.clz32(rest)) rest ^= generator << (at - bits);
  return (value << bits) | rest;
}

const MASKS: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** The modules of the code of this text, dark ones true; null if it is too long. */
export function qr(text: string): boolean[][] | null {
  const bytes = new TextEncoder().encode(text);
  const version = 1 + BLOCKS.findIndex(([, sizes], n) => bytes.length + (n < 9 ? 2 : 3) <= sizes.reduce((sum, size) => sum + size, 0));
  if (version === 0) return null;
  const words = codewords(bytes, version);
  let best: boolean[][] | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (let mask = 0; mask < MASKS.length; mask += 1) {
    const modules = drawn(version, words, mask);
    const cost = penalty(modules);
    if (cost < least) {
      least = cost;
      best = modules;
    }
  }
  return best;
}

function drawn(version: number, words: readonly number[], mask: number): boolean[][] {
  const size = 17 + 4 * version;
  const modules: (boolean | null)[][] = Array.from({ length: size }, () => new Array<boolean | null>(size).fill(null));
  const set = (x: number, y: number, dark: boolean): void => {
    const row = modules[y];
    if (row !== undefined && x >= 0 && x < size) row[x] = dark;
  };
  const rings = (x: number, y: number, radius: number, light: readonly number[]): void => {
    for (let dy = -radius; dy <= radius; dy += 1) {
      for (let dx = -radius; dx <= radius; dx += 1) set(x + dx, y + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
    }
  };
  const last = size - 7;
  for (let n = 8; n < size - 8; n += 1) {
    set(n, 6, n % 2 === 0);
    set(6, n, n % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) rings(x, y, 4, [2, 4]);
  const places = [6, ...(ALIGNED[version - 1] ?? [])];
  for (const x of version === 1 ? [] : places) {
    for (const y of places) {
      const atFinder = (x === 6 && y === 6) || (x === 6 && y === last) || (x === last && y === 6);
      if (!atFinder) rings(x, y, 2, [1]);
    }
  }
  // Level M is 00.
  const format = withRemainder(mask, 0x537, 10) ^ 0x5412;
  for (let n = 0; n < 15; n += 1) {
    const dark = ((format >> n) & 1) === 1;
    set(8, n < 6 ? n : n < 8 ? n + 1 : size - 15 + n, dark);
    set(n < 8 ? size - 1 - n : n < 9 ? 7 : 14 - n, 8, dark);
  }
  set(8, size - 8, true);
  const marked = withRemainder(version, 0x1f25, 12);
  for (let n = 0; version >= 7 && n < 18; n += 1) {
    const dark = ((marked >> n) & 1) === 1;
    set(size - 11 + (n % 3), Math.floor(n / 3), dark);
    set(Math.floor(n / 3), size - 11 + (n % 3), dark);
  }
  const masked = MASKS[mask];
  let bit = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let n = 0; n < size; n += 1) {
      const y = up ? size - 1 - n : n;
      for (const x of [right, right - 1]) {
        if (modules[y]?.[x] !== null) continue;
        const dark = (((words[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
        set(x, y, dark !== (masked?.(x, y) ?? false));
        bit += 1;
      }
    }
  }
  return modules.map((row) => row.map((dark) => dark === true));
}

/** How hard it is to read: long runs of one colour, and squares of it. */
function penalty(modules: readonly boolean[][]): number {
  const size = modules.length;
  const at = (x: number, y: number): boolean => modules[y]?.[x] === true;
  let sum = 0;
  for (const of of [at, (x: number, y: number) => at(y, x)]) {
    for (let y = 0; y < size; y += 1) {
      for (let x = 1, run = 1; x <= size; x += 1) {
        if (x < size && of(x, y) === of(x - 1, y)) run += 1;
        else {
          if (run >= 5) sum += run - 2;
          run = 1;
        }
      }
    }
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) {
      if (at(x, y) === at(x - 1, y) && at(x, y) === at(x, y - 1) && at(x, y) === at(x - 1, y - 1)) sum += 3;
    }
  }
  return sum;
}

/** It as one path in units of a module, with the quiet zone of 4 around it. */
export function qrPath(modules: readonly boolean[][]): { d: string; size: number } {
  let d = "";
  modules.forEach((row, y) => {
    for (let x = 0; x < row.length; x += 1) {
      if (row[x] !== true) continue;
      let to = x;
      while (row[to] === true) to += 1;
      d += `M${x + 4} ${y + 4}h${to - x}v1h${x - to}z`;
      x = to;
    }
  });
  return { d, size: modules.length + 8 };
}
