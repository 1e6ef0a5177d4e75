// What of a program's output does not act in a browser: queries, which have one answerer already (P-390), the clipboard,
// and links to anything but the web. Registered as handlers of the emulator's parser, so it sees what the emulator sees.

import type { IDisposable, IParser } from "@xterm/xterm";

/** What a program wants beyond its screen. */
export interface Wants {
  /** It wants this text on the clipboard. */
  copy(text: string): void;
}

/** A text that a program puts on the clipboard, at most, in characters of base64. */
const MOST_COPIED = 1 << 20;

/** Programs ask for these, and the emulator would answer as if somebody typed. */
const QUERIES = [
  { final: "c" },
  { prefix: ">", final: "c" },
  { prefix: "=", final: "c" },
  { final: "n" },
  { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" },
  { prefix: "?", intermediates: "$", final: "p" },
  { prefix: ">", final: "q" },
  { prefix: "?", final: "u" },
  { final: "x" },
  { intermediates: "*", final: "y" },
] as const;

/** Colours: of the palette, of the text, of the background, of the cursor. */
const COLOURS = [4, 10, 11, 12, 13, 14, 15, 16, 17, 19];

/** Guards one terminal. */
export function guard(parser: IParser, wants: Wants): IDisposable {
  const handled = [
    ...QUERIES.map((id) => parser.registerCsiHandler(id, () => true)),
    // Reports and changes of the window. What keeps and restores the title acts on nothing but the title.
    parser.registerCsiHandler({ final: "t" }, (params) => params[0] !== 22 && params[0] !== 23),
    ...COLOURS.map((number) => parser.registerOscHandler(number, asksForColour)),
    parser.registerOscHandler(52, (data) => {
      const text = copied(data);
      if (text !== null) wants.copy(text);
      return true;
    }),
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => true),
    parser.registerDcsHandler({ intermediates: "+", final: "q" }, () => true),
  ];
  return { dispose: () => handled.forEach((handler) => handler.dispose()) };
}

/** Whether a colour is asked for, and not set. */
export function asksForColour(data: string): boolean {
  return data.split(";").some((part) => part.startsWith("?"));
}

/** The text that `OSC 52` puts on the clipboard; null if it asks for the clipboard, empties it, or is no text. */
export function copied(data: string): string | null {
  const encoded = data.slice(data.indexOf(";") + 1);
  if (encoded === "" || encoded === "?" || encoded.length > MOST_COPIED) return null;
  try {
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** What the emulator sends by itself when it gets or loses the focus. */
export function isFocusReport(data: string): boolean {
  return data === "\x1b[I" || data === "\x1b[O";
}

/** The address of a link in output, if it is one of the web; as it is shown before it is followed. */
export function webAddress(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
}
