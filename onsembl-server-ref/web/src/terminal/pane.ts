// The emulator in the page: xterm.js with its addons, under the content security policy of the server. It shows what it
// is told to and reports what a person does; it decides nothing about the terminal that is watched.

import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebglAddon } from "@xterm/addon-webgl";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { type ITheme, Terminal } from "@xterm/xterm";
import { WholeCharacters } from "./characters.ts";
import type { Sink } from "./flow.ts";
import { guard, isFocusReport, webAddress } from "./guard.ts";
import { constructedStyles } from "./stylesheets.ts";
import type { Drawing, Gap, Size } from "./watch.ts";
import { gapWords, skippedWords } from "./words.ts";

/** Lines that scrolled out and are kept; older ones are in the log view. */
const SCROLLBACK = 2_000;
/** The font size that is wanted, and the smallest one that the terminal is scaled to; in CSS pixels. */
const FONT = 13;
const SMALLEST_FONT = 8;
/** Marks of gaps that are kept. */
const MOST_MARKS = 100;
const FONTS = 'ui-monospace, "Cascadia Mono", "Source Code Pro", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** What a person does in it, and what a program wants. */
export interface PaneEvents {
  /** Keys, as the bytes that the program gets. */
  typed(bytes: Uint8Array): void;
  /** A text is to be pasted; it is typed by `paste`. */
  pasted(text: string): void;
  /** Lines that are below what is shown; 0 at the end. */
  scrolled(below: number): void;
  /** A link is to be followed, or pointed at, or not any more. */
  link(address: string | null, follow: boolean): void;
  copy(text: string): void;
  title(text: string): void;
  bell(): void;
  /** The key that stops typing was pressed: it is the one of `onsembl attach`. */
  left(): void;
}

export interface PaneOptions {
  readonly size: Size;
  readonly screenReader: boolean;
}

/** One emulator. */
export class Pane implements Sink {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  readonly #characters = new WholeCharacters();
  readonly #events: PaneEvents;
  readonly #frame: HTMLElement;
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");
  readonly #themes: MutationObserver;
  readonly #observer: ResizeObserver;
  #marks: { dispose(): void }[] = [];
  #below = 0;

  /** Opens it in `frame`, whose width decides the size of the font. */
  constructor(frame: HTMLElement, events: PaneEvents, options: PaneOptions) {
    constructedStyles(document);
    this.#events = events;
    this.#frame = frame;
    const { columns, rows } = options.size;
    this.#terminal = new Terminal({
      cols: columns,
      rows,
      scrollback: SCROLLBACK,
      fontFamily: FONTS,
      fontSize: FONT,
      cursorBlink: false,
      screenReaderMode: options.screenReader,
      minimumContrastRatio: 4.5,
      // The width of characters of Unicode 11, which programs reckon with, and marks of gaps.
      allowProposedApi: true,
      disableStdin: true,
      logLevel: "off",
      theme: isDark(frame) ? DARK : LIGHT,
      linkHandler: {
        allowNonHttpProtocols: false,
        activate: (event, text) => this.#follow(event, text),
        hover: (_event, text) => events.link(webAddress(text), false),
        leave: () => events.link(null, false),
      },
    });
    this.#addons();
    guard(this.#terminal.parser, { copy: (text) => events.copy(text) });
    this.#terminal.open(frame);
    this.#useGraphics();
    this.#listen();
    this.#observer = new ResizeObserver(() => this.#scale());
    this.#observer.observe(frame);
    // Somebody may prefer another scheme than the system has.
    this.#themes = new MutationObserver(this.#onTheme);
    this.#themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    this.#scale();
  }

  dispose(): void {
    this.#observer.disconnect();
    this.#dark.removeEventListener("change", this.#onTheme);
    this.#themes.disconnect();
    this.#frame.removeEventListener("paste", this.#onPaste, true);
    this.#terminal.dispose();
  }

  // What is shown.

  write(bytes: Uint8Array, done: () => void): void {
    this.#terminal.write(this.#characters.take(bytes), done);
  }

  /** The reset stands in the same write as the screen, so that nothing is drawn between them. */
  draw(drawing: Drawing, skipped: number, done: () => void): void {
    this.size(drawing.size);
    this.#forgetMarks();
    const before = skipped > 0 ? rule(skippedWords(skipped), drawing.size) : "";
    const start = new TextEncoder().encode(`\x1bc${before}`);
    const bytes = new Uint8Array(start.length + drawing.bytes.length);
    bytes.set(start);
    bytes.set(drawing.bytes, start.length);
    this.#characters.clear();
    this.#terminal.write(this.#characters.take(bytes), done);
  }

  size({ columns, rows }: Size): void {
    if (this.#terminal.cols === columns && this.#terminal.rows === rows) return;
    this.#terminal.resize(columns, rows);
    this.#scale();
  }

  /** A ruled line over the row where the output goes on. A program that draws over the whole screen has none. */
  mark(gap: Gap): void {
    const marker = this.#terminal.registerMarker(0);
    if (marker === undefined) return;
    const decoration = this.#terminal.registerDecoration({ marker, width: this.#terminal.cols, layer: "top" });
    if (decoration === undefined) return;
    const words = gapWords(gap);
    decoration.onRender((element) => {
      element.classList.add("terminal-gap");
      element.title = words;
      element.dataset["words"] = words;
    });
    this.#marks.push(decoration);
    while (this.#marks.length > MOST_MARKS) this.#marks.shift()?.dispose();
  }

  // What a person does.

  set typing(on: boolean) {
    this.#terminal.options.disableStdin = !on;
    this.#terminal.options.cursorBlink = on && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (on) this.#terminal.focus();
  }

  set screenReader(on: boolean) {
    this.#terminal.options.screenReaderMode = on;
  }

  /** Types a text, in the brackets of a paste if the program wants them. */
  paste(text: string): void {
    this.#terminal.paste(text);
  }

  /** Whether a text with lines is one piece for the program. */
  get takesPastes(): boolean {
    return this.#terminal.modes.bracketedPasteMode;
  }

  /** Whether arrow keys are sent as a program in application mode expects. */
  get applicationCursor(): boolean {
    return this.#terminal.modes.applicationCursorKeysMode;
  }

  toEnd(): void {
    this.#terminal.scrollToBottom();
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** How many columns and rows there is room for, at the wanted size of the font. */
  room(): Size | null {
    const size = this.#terminal.options.fontSize ?? FONT;
    this.#terminal.options.fontSize = FONT;
    const room = this.#fit.proposeDimensions();
    this.#terminal.options.fontSize = size;
    if (room === undefined || !(room.cols > 0) || !(room.rows > 0)) return null;
    return { columns: Math.min(1_000, Math.max(20, room.cols)), rows: Math.min(1_000, Math.max(5, room.rows)) };
  }

  /** Looks for a text in what is shown and what scrolled out. Whether it was found. */
  find(text: string, direction: "next" | "previous"): boolean {
    if (text === "") {
      this.#search.clearDecorations();
      return false;
    }
    const options = { decorations: { matchOverviewRuler: "#b08800", activeMatchColorOverviewRuler: "#d29922", matchBackground: "#6e5500", activeMatchBackground: "#a37000" } };
    return direction === "next" ? this.#search.findNext(text, options) : this.#search.findPrevious(text, options);
  }

  /** What is selected. */
  get selection(): string {
    return this.#terminal.getSelection();
  }

  #addons(): void {
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(this.#search);
    this.#terminal.loadAddon(new Unicode11Addon());
    this.#terminal.unicode.activeVersion = "11";
    this.#terminal.loadAddon(
      new WebLinksAddon((event, text) => this.#follow(event, text), {
        hover: (_event, text) => this.#events.link(webAddress(text), false),
        leave: () => this.#events.link(null, false),
      }),
    );
  }

  #follow(event: MouseEvent, text: string): void {
    event.preventDefault();
    const address = webAddress(text);
    if (address !== null) this.#events.link(address, true);
  }

  /** Draws by graphics hardware where there is some: by software the document is twice as fast. */
  #useGraphics(): void {
    if (!hasGraphics()) return;
    try {
      const graphics = new WebglAddon();
      graphics.onContextLoss(() => graphics.dispose());
      this.#terminal.loadAddon(graphics);
    } catch {
      // The terminal draws by the document then.
    }
  }

  #listen(): void {
    const encoder = new TextEncoder();
    this.#terminal.onData((data) => {
      if (!isFocusReport(data)) this.#events.typed(encoder.encode(data));
    });
    this.#terminal.onBinary((data) => this.#events.typed(Uint8Array.from(data, (byte) => byte.charCodeAt(0))));
    this.#terminal.onTitleChange((title) => this.#events.title(title));
    this.#terminal.onBell(() => this.#events.bell());
    this.#terminal.onScroll(() => this.#tellScrolled());
    this.#terminal.onWriteParsed(() => this.#tellScrolled());
    this.#frame.addEventListener("paste", this.#onPaste, true);
    this.#dark.addEventListener("change", this.#onTheme);
    // Keys that the page needs in any case, and those of the browser while nothing is typed.
    this.#terminal.attachCustomKeyEventHandler((event) => {
      if (event.ctrlKey && event.shiftKey && (event.key === "." || event.key === ">")) return false;
      if (event.ctrlKey && !event.shiftKey && !event.altKey && event.key === "]") {
        event.preventDefault();
        if (event.type === "keydown") this.#events.left();
        return false;
      }
      return this.#terminal.options.disableStdin !== true;
    });
  }

  readonly #onPaste = (event: ClipboardEvent): void => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    event.preventDefault();
    event.stopImmediatePropagation();
    if (text !== "") this.#events.pasted(text);
  };

  readonly #onTheme = (): void => {
    this.#terminal.options.theme = isDark(this.#frame) ? DARK : LIGHT;
  };

  #tellScrolled(): void {
    const { baseY, viewportY } = this.#terminal.buffer.active;
    const below = baseY - viewportY;
    if (below === this.#below) return;
    this.#below = below;
    this.#events.scrolled(below);
  }

  /** Scales the font so that all columns fit, if it is not too small to be read then; else the frame scrolls. */
  #scale(): void {
    const width = this.#frame.clientWidth;
    const screen = this.#frame.querySelector<HTMLElement>(".xterm-screen");
    if (width === 0 || screen === null || screen.offsetWidth === 0) return;
    const now = this.#terminal.options.fontSize ?? FONT;
    const perColumn = screen.offsetWidth / this.#terminal.cols / now;
    const fits = Math.floor(((width - 16) / (this.#terminal.cols * perColumn)) * 2) / 2;
    const wanted = Math.min(FONT, Math.max(SMALLEST_FONT, fits));
    if (wanted !== now) this.#terminal.options.fontSize = wanted;
  }

  #forgetMarks(): void {
    for (const mark of this.#marks) mark.dispose();
    this.#marks = [];
  }
}

/** A line of its own in what scrolled out, above a fresh screen. */
function rule(words: string, { columns, rows }: Size): string {
  const text = ` ${words} `;
  const line = text.length + 4 > columns ? text.slice(0, columns) : `──${text}${"─".repeat(columns - text.length - 2)}`;
  return `\x1b[2m${line}\x1b[0m${"\r\n".repeat(rows)}\x1b[H`;
}

/** Whether the browser draws by hardware. */
function hasGraphics(): boolean {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;
  const info = context.getExtension("WEBGL_debug_renderer_info");
  const renderer = info === null ? "" : String(context.getParameter(info.UNMASKED_RENDERER_WEBGL));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|software|basic render/i.test(renderer);
}

/** Whether the ground of an element is dark, whatever made it so. */
function isDark(element: HTMLElement): boolean {
  const [red = 255, green = 255, blue = 255] = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
  return red + green + blue < 384;
}

const DARK: ITheme = {
  background: "#0d1117",
  foreground: "#e6edf3",
  cursor: "#e6edf3",
  selectionBackground: "#1f4a7a",
  black: "#484f58",
  red: "#ff7b72",
  green: "#3fb950",
  yellow: "#d29922",
  blue: "#58a6ff",
  magenta: "#bc8cff",
  cyan: "#39c5cf",
  white: "#b1bac4",
  brightBlack: "#6e7681",
  brightRed: "#ffa198",
  brightGreen: "#56d364",
  brightYellow: "#e3b341",
  brightBlue: "#79c0ff",
  brightMagenta: "#d2a8ff",
  brightCyan: "#56d4dd",
  brightWhite: "#ffffff",
};

const LIGHT: ITheme = {
  background: "#ffffff",
  foreground: "#1f2328",
  cursor: "#1f2328",
  selectionBackground: "#b6d7ff",
  black: "#24292f",
  red: "#cf222e",
  green: "#116329",
  yellow: "#4d2d00",
  blue: "#0969da",
  magenta: "#8250df",
  cyan: "#1b7c83",
  white: "#6e7781",
  brightBlack: "#57606a",
  brightRed: "#a40e26",
  brightGreen: "#1a7f37",
  brightYellow: "#633c01",
  brightBlue: "#218bff",
  brightMagenta: "#a475f9",
  brightCyan: "#3192aa",
  brightWhite: "#8c959f",
};
