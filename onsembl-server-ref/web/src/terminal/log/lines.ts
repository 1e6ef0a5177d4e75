// Bytes of streams as lines of text with colours. Colours are kept; whatever else acts on a terminal is left out, a
// carriage return begins the line anew, and a backspace takes the character before it. No effects.

import type { StreamType } from "../../wire.gen.ts";
import type { LogRecord } from "./source.ts";

/** Characters of one line; the rest is another line. */
const LONGEST = 8 * 1024;
/** Pieces of different colours in a line; the rest has the last one. */
const MOST_SPANS = 400;

/** How a text looks. Colours are numbers of the palette, or `#rrggbb`. */
export interface Look {
  readonly foreground: number | string | null;
  readonly background: number | string | null;
  readonly bold: boolean;
  readonly faint: boolean;
  readonly italic: boolean;
  readonly underline: boolean;
  readonly inverse: boolean;
  readonly strike: boolean;
}

export const PLAIN: Look = {
  foreground: null,
  background: null,
  bold: false,
  faint: false,
  italic: false,
  underline: false,
  inverse: false,
  strike: false,
};

export interface Span {
  readonly text: string;
  readonly look: Look;
}

export interface TextLine {
  readonly kind: "text";
  readonly incarnation: number;
  readonly stream: StreamType;
  /** Of its first byte. */
  readonly offset: number;
  readonly at: number | null;
  readonly text: string;
  readonly spans: readonly Span[];
}

export interface GapLine {
  readonly kind: "gap";
  readonly incarnation: number;
  readonly stream: StreamType;
  readonly offset: number;
  readonly at: number | null;
  readonly length: number | null;
  readonly because: string;
}

export type Line = TextLine | GapLine;

/** One stream of one run. */
class Assembler {
  readonly #decoder = new TextDecoder();
  #state: "text" | "escape" | "control" | "string" | "string-escape" | "short" = "text";
  #parameters = "";
  #look: Look = PLAIN;
  #text = "";
  #spans: { text: string; look: Look }[] = [];
  #start: { offset: number; at: number | null } | null = null;
  #returned = false;

  constructor(
    readonly incarnation: number,
    readonly stream: StreamType,
  ) {}

  /** Another one that is in the middle of the same line. */
  copy(): Assembler {
    const copy = new Assembler(this.incarnation, this.stream);
    copy.#state = this.#state;
    copy.#parameters = this.#parameters;
    copy.#look = this.#look;
    copy.#text = this.#text;
    copy.#spans = this.#spans.map((span) => ({ ...span }));
    copy.#start = this.#start;
    copy.#returned = this.#returned;
    return copy;
  }

  /** The lines that end in these bytes. */
  read(offset: number, at: number | null, bytes: Uint8Array, out: Line[]): void {
    let from = 0;
    // Offsets are those of bytes: each line is decoded by itself.
    for (let end = bytes.indexOf(10); ; end = bytes.indexOf(10, from)) {
      const to = end < 0 ? bytes.length : end;
      if (to > from || end >= 0) this.#start ??= { offset: offset + from, at };
      this.#take(this.#decoder.decode(bytes.subarray(from, to), { stream: true }), offset + from, at, out);
      if (end < 0) return;
      this.#end(out);
      from = end + 1;
    }
  }

  /** What has not ended, as a line, without forgetting it. */
  peek(): TextLine | null {
    return this.#start === null || this.#text === "" ? null : this.#line(this.#start);
  }

  #take(text: string, offset: number, at: number | null, out: Line[]): void {
    let from = 0;
    while (from < text.length) {
      if (this.#state === "text") {
        const to = plainUntil(text, from);
        if (to > from) {
          this.#print(text.slice(from, to), offset, at, out);
          from = to;
          continue;
        }
      }
      this.#act(text.charAt(from));
      from += 1;
    }
  }

  /** A control character, or a part of a sequence. */
  #act(character: string): void {
    switch (this.#state) {
      case "text":
        if (character === "\x1b") this.#state = "escape";
        else if (character === "\r") this.#returned = true;
        else if (character === "\b") this.#drop();
        return;
      case "escape":
        this.#parameters = "";
        this.#state =
          character === "[" ? "control" : "]P_^X".includes(character) ? "string" : "()*+-./#% ".includes(character) ? "short" : "text";
        return;
      case "short":
        this.#state = "text";
        return;
      case "control":
        if (character >= "@" && character <= "~") {
          if (character === "m") this.#look = styled(this.#look, this.#parameters);
          this.#state = "text";
        } else if (this.#parameters.length < 256) {
          this.#parameters += character;
        }
        return;
      case "string":
        if (character === "\x07") this.#state = "text";
        else if (character === "\x1b") this.#state = "string-escape";
        return;
      case "string-escape":
        this.#state = character === "\\" ? "text" : "string";
        return;
    }
  }

  #print(text: string, offset: number, at: number | null, out: Line[]): void {
    if (this.#returned) {
      // What follows is written over the line.
      [this.#returned, this.#text, this.#spans] = [false, "", []];
    }
    for (let from = 0; from < text.length; ) {
      const part = text.slice(from, from + LONGEST - this.#text.length);
      const last = this.#spans.at(-1);
      if (last !== undefined && (last.look === this.#look || this.#spans.length >= MOST_SPANS)) last.text += part;
      else this.#spans.push({ text: part, look: this.#look });
      this.#text += part;
      from += part.length;
      if (this.#text.length >= LONGEST) {
        this.#end(out);
        this.#start = { offset, at };
      }
    }
  }

  #drop(): void {
    const last = this.#spans.at(-1);
    if (last === undefined) return;
    const characters = [...last.text];
    const dropped = characters.pop() ?? "";
    last.text = characters.join("");
    if (last.text === "") this.#spans.pop();
    this.#text = this.#text.slice(0, this.#text.length - dropped.length);
  }

  #end(out: Line[]): void {
    if (this.#start !== null) out.push(this.#line(this.#start));
    [this.#start, this.#text, this.#spans, this.#returned] = [null, "", [], false];
  }

  #line({ offset, at }: { offset: number; at: number | null }): TextLine {
    const { incarnation, stream } = this;
    return { kind: "text", incarnation, stream, offset, at, text: this.#text, spans: this.#spans.map((span) => ({ ...span })) };
  }
}

/** Records of a command, as lines. */
export class Lines {
  readonly #assemblers = new Map<string, Assembler>();

  /** The lines that end with this record. */
  read(record: LogRecord): Line[] {
    const out: Line[] = [];
    const { incarnation, stream, offset, at } = record;
    if (record.kind === "gap") {
      const { length, because } = record;
      out.push({ kind: "gap", incarnation, stream, offset, at, length, because });
      return out;
    }
    const key = `${incarnation} ${stream}`;
    let assembler = this.#assemblers.get(key);
    if (assembler === undefined) {
      assembler = new Assembler(incarnation, stream);
      this.#assemblers.set(key, assembler);
    }
    assembler.read(offset, at, record.bytes, out);
    return out;
  }

  /** Another one that goes on from here. A character that a record cuts, which only bytes that are no text do, is lost. */
  copy(): Lines {
    const copy = new Lines();
    for (const [key, assembler] of this.#assemblers) copy.#assemblers.set(key, assembler.copy());
    return copy;
  }

  /** What has not ended yet. */
  rest(): TextLine[] {
    return [...this.#assemblers.values()].map((one) => one.peek()).filter((line) => line !== null);
  }
}

/** Where the next character is that is not printed as it is; a tab is. */
function plainUntil(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if ((code < 32 && code !== 9) || (code >= 0x7f && code < 0xa0)) return at;
  }
  return text.length;
}

/** A look after `CSI parameters m`. */
export function styled(look: Look, parameters: string): Look {
  if (/[^0-9;:]/.test(parameters)) return look;
  const numbers = parameters.split(/[;:]/).map((part) => (part === "" ? 0 : Number(part)));
  let now = look;
  for (let at = 0; at < numbers.length; at += 1) {
    const number = numbers[at] ?? 0;
    if (number === 38 || number === 48) {
      const [colour, used] = extended(numbers.slice(at + 1));
      at += used;
      if (colour !== null) now = number === 38 ? { ...now, foreground: colour } : { ...now, background: colour };
      continue;
    }
    now = simple(now, number);
  }
  return now;
}

function extended(numbers: readonly number[]): [number | string | null, number] {
  const [kind, a = 0, b = 0, c = 0] = numbers;
  if (kind === 5) return [a <= 255 ? a : null, 2];
  if (kind !== 2) return [null, numbers.length];
  const hex = [a, b, c].map((part) => Math.min(255, part).toString(16).padStart(2, "0"));
  return [`#${hex.join("")}`, 4];
}

function simple(look: Look, number: number): Look {
  if (number >= 30 && number <= 37) return { ...look, foreground: number - 30 };
  if (number >= 40 && number <= 47) return { ...look, background: number - 40 };
  if (number >= 90 && number <= 97) return { ...look, foreground: number - 82 };
  if (number >= 100 && number <= 107) return { ...look, background: number - 92 };
  switch (number) {
    case 0:
      return PLAIN;
    case 1:
      return { ...look, bold: true };
    case 2:
      return { ...look, faint: true };
    case 3:
      return { ...look, italic: true };
    case 4:
      return { ...look, underline: true };
    case 7:
      return { ...look, inverse: true };
    case 9:
      return { ...look, strike: true };
    case 22:
      return { ...look, bold: false, faint: false };
    case 23:
      return { ...look, italic: false };
    case 24:
      return { ...look, underline: false };
    case 27:
      return { ...look, inverse: false };
    case 29:
      return { ...look, strike: false };
    case 39:
      return { ...look, foreground: null };
    case 49:
      return { ...look, background: null };
    default:
      return look;
  }
}

/** A colour of the palette beyond its first 16, as CSS. */
export function paletteColour(index: number): string {
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const cube = index - 16;
  const level = (part: number): number => (part === 0 ? 0 : 55 + part * 40);
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
}
