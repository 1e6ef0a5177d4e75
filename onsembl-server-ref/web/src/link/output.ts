// Output of commands over a link of its own: cursors, so that a viewer sees each byte once and in order, however often
// the link is lost. A fleet's link cannot carry it: who watches all agents and terminals gets the output of all (P-123).

import type {
  ErrorReply,
  KeyboardState,
  OutputBehind,
  OutputGap,
  StreamType,
  Subscription,
  TerminalSized,
  ViewMode,
} from "../wire.gen.ts";
import type { OutputChunk, ServerMessage } from "./frames.ts";
import { Refused, type Link } from "./link.ts";

/** A position in the output of a command. */
export interface OutputPosition {
  incarnation: number;
  stream: StreamType;
  offset: number;
}

/** From where on output is wanted. */
export type WatchFrom = "now" | "start" | OutputPosition;

export interface Viewer {
  /** Bytes, each once and in order of their stream. */
  output(chunk: OutputChunk): void;
  gap?(gap: OutputGap): void;
  size?(size: TerminalSized): void;
  /** So much is missing that the present is to be shown: nothing more comes before `rewatch`. */
  behind?(behind: OutputBehind): void;
  keyboard?(state: KeyboardState): void;
  /** The subscription was refused. */
  refused?(reply: ErrorReply): void;
  /** Bytes that the server neither sent nor declared missing: a fault, shown as such. */
  hole?(from: OutputPosition, until: number): void;
  /** There is a link again, and the watch continues at its cursor. */
  resumed?(): void;
}

/** How often a hole is asked for again before it is shown. */
const ASK_AGAIN = 1;

export class OutputFeed {
  readonly link: Link;
  readonly #watches = new Map<string, Set<OutputWatch>>();

  constructor(link: Link) {
    this.link = link;
    link.listen({
      up: () => this.#each((watch) => watch.resubscribe(true)),
      output: (chunk) => this.#of(chunk.commandId, (watch) => watch.onOutput(chunk)),
      message: (message) => this.#route(message),
    });
  }

  /** Watches a command. The link is dialled if it is not yet. */
  watch(commandId: string, from: WatchFrom, view: ViewMode, viewer: Viewer): OutputWatch {
    const watch = new OutputWatch(this, commandId, from, view, viewer);
    const watches = this.#watches.get(commandId) ?? new Set();
    this.#watches.set(commandId, watches.add(watch));
    this.link.start();
    watch.resubscribe(false);
    return watch;
  }

  /** Of `OutputWatch` only. */
  forget(watch: OutputWatch): void {
    const watches = this.#watches.get(watch.commandId);
    if (watches === undefined || !watches.delete(watch)) return;
    if (watches.size > 0) return;
    this.#watches.delete(watch.commandId);
    this.link.send("DASHBOARD_UNSUBSCRIBE", { type: "command", id: watch.commandId });
    if (this.#watches.size === 0) this.link.stop();
  }

  #route(message: ServerMessage): void {
    switch (message.type) {
      case "OUTPUT_GAP":
        this.#of(message.payload.commandId, (watch) => watch.onGap(message.payload));
        break;
      case "TERMINAL_SIZE":
        this.#of(message.payload.commandId, (watch) => watch.viewer.size?.(message.payload));
        break;
      case "OUTPUT_BEHIND":
        this.#of(message.payload.commandId, (watch) => watch.viewer.behind?.(message.payload));
        break;
      case "KEYBOARD_STATE":
        this.#of(message.payload.commandId, (watch) => watch.viewer.keyboard?.(message.payload));
        break;
      default:
        break;
    }
  }

  #of(commandId: string, what: (watch: OutputWatch) => void): void {
    for (const watch of [...(this.#watches.get(commandId) ?? [])]) what(watch);
  }

  #each(what: (watch: OutputWatch) => void): void {
    for (const watches of [...this.#watches.values()]) for (const watch of [...watches]) what(watch);
  }
}

/** One viewer's watch of a command. */
export class OutputWatch {
  readonly commandId: string;
  readonly viewer: Viewer;
  readonly #feed: OutputFeed;
  #from: WatchFrom;
  #view: ViewMode;
  /** The latest run, and of it the next offset of each stream, and streams whose open end was told. */
  #run: number | null = null;
  #next = new Map<StreamType, number>();
  #openEnds = new Set<StreamType>();
  /** Where the last record began: a position from which nothing of any stream is missing (P-207). */
  #last: OutputPosition | null = null;
  #asked = 0;
  /** A subscription from a position is on its way: what comes before its answer comes again behind it. */
  #muted: symbol | null = null;
  #closed = false;

  constructor(feed: OutputFeed, commandId: string, from: WatchFrom, view: ViewMode, viewer: Viewer) {
    this.#feed = feed;
    this.commandId = commandId;
    this.viewer = viewer;
    this.#view = view;
    this.#from = from;
    this.#seed(from);
  }

  /** From where a new link continues. */
  get position(): WatchFrom {
    return this.#last ?? this.#from;
  }

  /** Everything before this offset of the terminal is shown (P-398). */
  taken(incarnation: number, offset: number): void {
    this.#feed.link.send("OUTPUT_TAKEN", { commandId: this.commandId, incarnation, offset });
  }

  /** Watches from another position: behind a screen that was fetched meanwhile. */
  rewatch(from: WatchFrom, view: ViewMode = this.#view): void {
    this.#from = from;
    this.#view = view;
    this.#last = null;
    this.#asked = 0;
    this.#seed(from);
    this.resubscribe(false);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#feed.forget(this);
  }

  /** Of `OutputFeed` only. */
  resubscribe(again: boolean): void {
    if (this.#closed || this.#feed.link.state.value.is !== "live") return;
    const subscription: Subscription = { type: "command", id: this.commandId };
    const { position } = this;
    if (position === "start") subscription.replay = { offset: 0 };
    else if (position !== "now") {
      const { incarnation, stream, offset } = position;
      subscription.replay = { incarnation, streamType: stream, offset };
    }
    if (this.#view === "live" && this.#feed.link.has("live-view")) subscription.view = "live";
    const asked = Symbol();
    this.#muted = subscription.replay === undefined ? null : asked;
    this.#feed.link.request(
      "DASHBOARD_SUBSCRIBE",
      subscription,
      () => {
        if (this.#muted === asked) this.#muted = null;
        if (again && !this.#closed) this.viewer.resumed?.();
      },
      (error) => {
        if (this.#muted === asked) this.#muted = null;
        if (error instanceof Refused && !this.#closed) this.viewer.refused?.(error.reply);
      },
    );
  }

  /** Of `OutputFeed` only. */
  onOutput(chunk: OutputChunk): void {
    const { incarnation, stream, offset, bytes } = chunk;
    if (!this.#enters(incarnation)) return;
    const next = this.#next.get(stream);
    const end = offset + bytes.length;
    const at = { incarnation, stream, offset };
    if (next !== undefined && end <= next) {
      this.#last = at;
      return;
    }
    if (next !== undefined && offset > next) {
      const from = { incarnation, stream, offset: next };
      if (this.#asked < ASK_AGAIN) {
        this.#asked += 1;
        this.#last = from;
        this.resubscribe(false);
        return;
      }
      this.viewer.hole?.(from, offset);
    }
    this.#asked = 0;
    this.#next.set(stream, end);
    this.#openEnds.delete(stream);
    this.#last = at;
    const known = next === undefined ? 0 : Math.max(next - offset, 0);
    this.viewer.output(known === 0 ? chunk : { ...chunk, offset: next ?? offset, bytes: bytes.subarray(known) });
  }

  /** Of `OutputFeed` only. */
  onGap(gap: OutputGap): void {
    const { incarnation, streamType: stream, offset, length } = gap;
    if (!this.#enters(incarnation)) return;
    this.#last = { incarnation, stream, offset };
    if (length === undefined) {
      if (this.#openEnds.has(stream)) return;
      this.#openEnds.add(stream);
    } else {
      const next = this.#next.get(stream) ?? 0;
      if (offset + length <= next) return;
      this.#next.set(stream, offset + length);
      this.#openEnds.delete(stream);
      if (offset < next) {
        this.viewer.gap?.({ ...gap, offset: next, length: offset + length - next });
        return;
      }
    }
    this.viewer.gap?.(gap);
  }

  /** Whether a record is one to look at. One of an earlier run was told already. */
  #enters(incarnation: number): boolean {
    if (this.#closed || this.#muted !== null) return false;
    if (this.#run !== null && incarnation < this.#run) return false;
    if (incarnation !== this.#run) {
      // The position to begin at is of a run too.
      if (this.#run !== null) this.#next.clear();
      this.#openEnds.clear();
      this.#run = incarnation;
    }
    return true;
  }

  #seed(from: WatchFrom): void {
    this.#run = null;
    this.#next.clear();
    this.#openEnds.clear();
    if (typeof from === "string") return;
    this.#run = from.incarnation;
    this.#next.set(from.stream, from.offset);
  }
}
