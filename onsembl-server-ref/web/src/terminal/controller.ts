// Performs one watched terminal: hands what the server and the person say to `Watch`, does what it wants, and publishes
// what the view shows. The only place here that has timers and requests.

import { signal } from "@preact/signals";
import { fromBase64 } from "../link/frames.ts";
import type { Link } from "../link/link.ts";
import { Flow } from "./flow.ts";
import { type Asked, event, output, type ToSay, typed, watchFrom } from "./messages.ts";
import { Pane, type PaneEvents } from "./pane.ts";
import { problem } from "./request.ts";
import type { KeyboardShown, Wish } from "./typist.ts";
import { type Drawing, type Gap, type Lane, type Size, Watch, type WatchAction, type WatchEvent } from "./watch.ts";

/** Lines below a page that is scrolled up, beyond which nothing more is shown: the rest of what is kept is below it. */
const MOST_BELOW = 1_500;
/** Gaps and skipped parts that are listed. */
const MOST_LISTED = 100;
/** How long a notice is shown. */
const NOTICE = 8_000;
/** A screen has to be there within this many milliseconds. */
const SCREEN_WITHIN = 20_000;
/** An agent whose terminal ended is asked this often whether it has another one, in milliseconds. */
const NEXT_EVERY = 3_000;

/** A part of the output that is not shown here. */
export type Missing =
  | { readonly kind: "gap"; readonly gap: Gap; readonly at: number }
  | { readonly kind: "skipped"; readonly bytes: number; readonly offset: number; readonly at: number };

/** Something that a person is asked. */
export type Question =
  | { readonly kind: "paste"; readonly text: string }
  | { readonly kind: "link"; readonly address: string }
  | { readonly kind: "copy"; readonly text: string };

/** What a server answers a request for a screen. */
interface ScreenDump {
  readonly command_id: string;
  readonly incarnation: number | null;
  readonly offset: number;
  readonly columns: number;
  readonly rows: number;
  readonly whole: boolean;
  readonly dump: string;
}

/** What it needs of the page. */
export interface Surroundings {
  readonly terminal: string;
  /** Its agent, if that is known. */
  readonly agent: string | null;
  /** What others are told of who types. */
  readonly name: string;
  /** The link for output, which this one has for itself. */
  readonly link: Link;
  /** A request of the page, with its credentials. */
  fetch(path: string, signal: AbortSignal): Promise<Response>;
}

/** One terminal on the page. */
export class Controller {
  /** The agent of the terminal, once it is known. */
  readonly agent = signal<string | null>(null);
  readonly lane = signal<Lane>("away");
  /** Why there is no screen, or why the terminal ended. */
  readonly why = signal("");
  readonly keyboard = signal<KeyboardShown>({ mode: "off", other: null });
  readonly size = signal<Size | null>(null);
  readonly whole = signal(true);
  readonly title = signal("");
  readonly below = signal(0);
  readonly missing = signal<readonly Missing[]>([]);
  readonly notice = signal("");
  readonly pointed = signal<string | null>(null);
  readonly question = signal<Question | null>(null);
  /** How often the terminal was left by its key. */
  readonly left = signal(0);
  /** Whether programs may copy to the clipboard without asking. */
  readonly copies = signal<"ask" | "allow">("ask");
  /** Another terminal of the agent, after this one ended. */
  readonly next = signal<string | null>(null);
  /** Position up to which everything is shown; for tests and permalinks. */
  readonly offset = signal<number | null>(null);

  readonly #around: Surroundings;
  readonly #watch = new Watch();
  readonly #flow: Flow;
  readonly #pane: Pane;
  readonly #asked: Asked = { watch: null, keyboard: null };
  readonly #stop: (() => void)[] = [];
  #fetch: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #noticeTimer: ReturnType<typeof setTimeout> | undefined;
  #nextTimer: ReturnType<typeof setTimeout> | undefined;
  #queue: WatchEvent[] = [];
  #busy: "no" | "yes" = "no";
  #closed = false;

  constructor(frame: HTMLElement, around: Surroundings, screenReader: boolean) {
    this.#around = around;
    this.agent.value = around.agent;
    this.#pane = new Pane(frame, this.#paneEvents(), { size: { columns: 80, rows: 24 }, screenReader });
    this.#flow = new Flow(this.#pane, () => this.#on({ kind: "wake" }));
    document.addEventListener("visibilitychange", this.#onVisibility);
    this.#useLink();
    this.#on({ kind: "wake" });
  }

  close(): void {
    this.#on({ kind: "wants", wish: "look" });
    this.#closed = true;
    document.removeEventListener("visibilitychange", this.#onVisibility);
    for (const timer of [this.#timer, this.#noticeTimer, this.#nextTimer]) clearTimeout(timer);
    for (const stop of this.#stop) stop();
    this.#fetch?.abort();
    this.#flow.close();
    this.#pane.dispose();
  }

  // What the view does.

  wants(wish: Wish): void {
    this.#on({ kind: "wants", wish });
    if (wish !== "look") this.#pane.focus();
  }

  /** Types bytes, as keys of the key bar do. Nothing without the keyboard. */
  type(text: string): void {
    this.#on({ kind: "typed", bytes: new TextEncoder().encode(text) });
  }

  /** Whether arrow keys are sent as a program in application mode expects. */
  get applicationCursor(): boolean {
    return this.#pane.applicationCursor;
  }

  /** Asks about a text with several lines, and pastes any other. */
  paste(text: string): void {
    if (/[\r\n]/.test(text)) this.question.value = { kind: "paste", text };
    else this.#pane.paste(text);
  }

  get takesPastes(): boolean {
    return this.#pane.takesPastes;
  }

  answer(yes: boolean): void {
    const question = this.question.value;
    this.question.value = null;
    if (question === null || !yes) return;
    switch (question.kind) {
      case "paste":
        this.#pane.paste(question.text);
        this.#pane.focus();
        return;
      case "link":
        window.open(question.address, "_blank", "noopener,noreferrer");
        return;
      case "copy":
        this.#copy(question.text);
        return;
    }
  }

  toEnd(): void {
    this.#pane.toEnd();
  }

  redraw(): void {
    this.#on({ kind: "redraw" });
  }

  find(text: string, direction: "next" | "previous"): boolean {
    return this.#pane.find(text, direction);
  }

  /** Asks for the terminal to get the size that there is room for. */
  takeSize(): void {
    const size = this.#pane.room();
    if (size !== null) this.#on({ kind: "resize", size });
  }

  set screenReader(on: boolean) {
    this.#pane.screenReader = on;
  }

  focus(): void {
    this.#pane.focus();
  }

  say(text: string): void {
    this.notice.value = text;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => {
      this.notice.value = "";
    }, NOTICE);
  }

  // What happens.

  /** Takes an event; one that comes of what another one did waits for its end. */
  #on(happened: WatchEvent): void {
    if (this.#closed) return;
    this.#queue.push(happened);
    if (this.#busy === "yes") return;
    this.#busy = "yes";
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        for (const action of this.#watch.handle(next, this.#flow.unshown, performance.now())) this.#do(action);
      }
    } finally {
      this.#busy = "no";
    }
    this.#publish();
    this.#arm();
  }

  #do(action: WatchAction): void {
    const id = this.#around.terminal;
    switch (action.kind) {
      case "watch":
        this.#asked.watch = this.#send(watchFrom(id, action.from));
        return;
      case "unwatch":
        this.#send({ type: "DASHBOARD_UNSUBSCRIBE", payload: { type: "command", id } });
        return;
      case "taken":
        this.#send({ type: "OUTPUT_TAKEN", payload: { commandId: id, ...action.at } });
        return;
      case "type": {
        const sent = this.#send(typed(id, this.#around.name, action.says));
        if (action.says.kind === "take") this.#asked.keyboard = sent;
        return;
      }
      case "resize":
        this.#resize(action.size);
        return;
      case "fetch":
        void this.#fetchScreen();
        return;
      case "drop-fetch":
        this.#fetch?.abort();
        return;
      case "draw":
        this.whole.value = action.drawing.whole;
        if (action.skipped > 0) {
          const offset = (action.drawing.at?.offset ?? 0) - action.skipped;
          this.#miss({ kind: "skipped", bytes: action.skipped, offset, at: Date.now() });
        }
        this.#flow.draw(action.drawing, action.skipped);
        return;
      case "show":
        this.#flow.show(action.bytes);
        return;
      case "size":
        this.#flow.size(action.size);
        return;
      case "mark":
        this.#miss({ kind: "gap", gap: action.gap, at: Date.now() });
        this.#flow.mark(action.gap);
        return;
      case "notice":
        this.say(action.text);
        return;
      case "over":
        this.why.value = action.why;
        this.#around.link.stop();
        this.#lookForNext();
        return;
    }
  }

  /** Consecutive parts that were skipped are one. */
  #miss(part: Missing): void {
    const listed = [...this.missing.value];
    const last = listed.at(-1);
    if (part.kind === "skipped" && last?.kind === "skipped" && part.at - last.at < 2_000) {
      listed[listed.length - 1] = { ...last, bytes: last.bytes + part.bytes, at: part.at };
    } else {
      listed.push(part);
    }
    this.missing.value = listed.slice(-MOST_LISTED);
  }

  #publish(): void {
    const keyboard = this.#watch.keyboard;
    const before = this.keyboard.value;
    if (keyboard.mode !== before.mode || keyboard.other?.name !== before.other?.name || keyboard.other?.since !== before.other?.since) {
      this.keyboard.value = keyboard;
      this.#pane.typing = keyboard.mode === "on" || keyboard.mode === "ready" || keyboard.mode === "asking";
    }
    this.lane.value = this.#watch.lane;
    this.size.value = this.#watch.size;
    this.offset.value = this.#watch.position === null ? null : this.#watch.position.offset - this.#flow.unshown;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const deadline = this.#watch.deadline;
    if (deadline === null || this.#closed) return;
    this.#timer = setTimeout(() => this.#on({ kind: "wake" }), Math.max(0, deadline - performance.now()));
  }

  #send(say: ToSay): string | null {
    return this.#around.link.send(say.type, say.payload);
  }

  #useLink(): void {
    const { link, terminal } = this.#around;
    let was = false;
    this.#stop.push(
      link.listen({
        up: (features) => {
          if (was) this.#on({ kind: "back" });
          was = true;
          this.#on({ kind: "greeted", typing: features.has("typing"), live: features.has("live-view") });
        },
        down: (why) => this.#on({ kind: "lost", why }),
        output: (chunk) => {
          this.agent.value ??= chunk.agentId ?? null;
          const happened = output(chunk, terminal);
          if (happened !== null) this.#on(happened);
        },
        message: (message) => {
          if (message.type === "KEYBOARD_STATE") this.agent.value ??= message.payload.agentId ?? null;
          const happened = event(message, terminal, this.#asked);
          if (happened !== null) this.#on(happened);
        },
      }),
      () => link.stop(),
    );
    link.start();
  }

  #resize(size: Size): void {
    const agentId = this.agent.value;
    if (agentId === null) {
      this.say("it is not known yet which agent has this terminal; nothing was done");
      return;
    }
    this.#send({ type: "AGENT_CONTROL", payload: { agentId, action: "RESIZE", size, reason: "page" } });
  }

  async #fetchScreen(): Promise<void> {
    this.#fetch?.abort();
    const request = new AbortController();
    this.#fetch = request;
    const timer = setTimeout(() => request.abort(), SCREEN_WITHIN);
    try {
      const dump = await this.#screen(request.signal);
      this.#on({ kind: "fetched", drawing: drawing(dump) });
    } catch (error) {
      if (request !== this.#fetch) return;
      if (this.lane.value !== "over") this.why.value = error instanceof Error ? error.message : String(error);
      this.#on({ kind: "not-fetched", why: this.why.value });
    } finally {
      clearTimeout(timer);
    }
  }

  async #screen(signal: AbortSignal): Promise<ScreenDump> {
    const path = `/api/commands/${encodeURIComponent(this.#around.terminal)}/screen`;
    const answer = await this.#around.fetch(`${path}?format=dump`, signal);
    if (!answer.ok) throw new Error(await problem(answer));
    return (await answer.json()) as ScreenDump;
  }

  /** After its end: whether the agent has opened another terminal. */
  #lookForNext(): void {
    const look = async (): Promise<void> => {
      const id = this.agent.value;
      try {
        if (id !== null) {
          const path = `/api/agents/${encodeURIComponent(id)}/screen?format=dump`;
          const answer = await this.#around.fetch(path, AbortSignal.timeout(SCREEN_WITHIN));
          const latest = answer.ok ? ((await answer.json()) as ScreenDump).command_id : "";
          if (latest.startsWith("terminal-") && latest > this.#around.terminal) {
            this.next.value = latest;
            return;
          }
        }
      } catch {
        // It is asked again.
      }
      if (!this.#closed) this.#nextTimer = setTimeout(() => void look(), NEXT_EVERY);
    };
    void look();
  }

  #paneEvents(): PaneEvents {
    return {
      typed: (bytes) => this.#on({ kind: "typed", bytes }),
      pasted: (text) => {
        if (this.#watch.keyboard.mode === "on" || this.#watch.keyboard.mode === "ready") this.paste(text);
        else this.say("typing is off: nothing was pasted");
      },
      scrolled: (below) => this.#onScrolled(below),
      link: (address, follow) => {
        if (follow && address !== null) this.question.value = { kind: "link", address };
        else this.pointed.value = address;
      },
      copy: (text) => {
        if (this.copies.value === "allow") this.#copy(text);
        else this.question.value ??= { kind: "copy", text };
      },
      title: (text) => {
        this.title.value = text;
      },
      bell: () => this.say("the program rang the bell"),
      left: () => {
        this.wants("look");
        this.left.value += 1;
      },
    };
  }

  #onScrolled(below: number): void {
    this.below.value = below;
    if (below > MOST_BELOW) this.#flow.pause();
    else if (below === 0) this.#flow.resume();
    this.#presence();
  }

  readonly #onVisibility = (): void => {
    this.#presence();
    if (!document.hidden) this.#around.link.probe();
  };

  #presence(): void {
    this.#on({ kind: "present", wanted: this.below.value === 0 && !document.hidden });
  }

  #copy(text: string): void {
    const copying: Promise<void> | undefined = navigator.clipboard?.writeText(text);
    if (copying === undefined) this.say("this page is not on a secure address, so nothing can be copied");
    else copying.then(() => this.say(`copied ${text.length} characters`), () => this.say("the browser refused to copy"));
  }
}

function drawing(dump: ScreenDump): Drawing {
  const { incarnation, offset, columns, rows, whole } = dump;
  return {
    at: incarnation === null ? null : { incarnation, offset },
    size: { columns, rows },
    bytes: fromBase64(dump.dump),
    whole,
  };
}
