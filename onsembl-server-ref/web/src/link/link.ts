// The page's end of /ws/dashboard: greets over each new link, answers probes, notices silence, dials again with a
// reason. What messages mean is decided by its listeners. It keeps nothing to be sent later: a message goes out over a
// live link or not at all.

import { signal, type ReadonlySignal } from "@preact/signals";
import type { DashboardToServer, ErrorReply, Feature, Subscriptions } from "../wire.gen.ts";
import { STABLE_AFTER, delayBefore } from "./backoff.ts";
import { systemClock, type Clock } from "./clock.ts";
import { Unreadable, chunkOf, readBinary, readText, write, type OutputChunk, type ServerMessage } from "./frames.ts";

/** What a browser's WebSocket has of which the page uses. */
export interface Socket {
  binaryType: string;
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type LinkState =
  | { readonly is: "idle" }
  /** A dial or the greeting is in progress. `lost` is why there is none now, if there was one. */
  | { readonly is: "connecting"; readonly since: number; readonly lost: string | null }
  | { readonly is: "live"; readonly since: number }
  /** No link since `since`; the next dial is at `nextTryAt`. */
  | {
      readonly is: "waiting";
      readonly since: number;
      readonly because: string;
      readonly nextTryAt: number;
      readonly attempt: number;
    }
  /** It is not dialled again until somebody signs in. */
  | { readonly is: "ended"; readonly since: number; readonly because: string };

/** Why there is no link, as far as a request over HTTP tells. */
export interface Diagnosis {
  ended: boolean;
  because: string;
}

export interface LinkOptions {
  url: string;
  subscriptions: () => Subscriptions;
  features: readonly Feature[];
  /** Asked after a dial that failed or a link that was cut: browsers hide the status of a refused upgrade. */
  diagnose?: () => Promise<Diagnosis | null>;
  open?: (url: string) => Socket;
  clock?: Clock;
  random?: () => number;
}

export interface Listener {
  /** Greeted: `features` are in force, and everything that is to be watched is to be subscribed again. */
  up?(features: ReadonlySet<Feature>): void;
  message?(message: ServerMessage): void;
  output?(chunk: OutputChunk): void;
  /** The server has sent all that the greeting brings. */
  settled?(): void;
  down?(because: string): void;
}

/** The server refused a message. */
export class Refused extends Error {
  readonly reply: ErrorReply;

  constructor(reply: ErrorReply) {
    super(reply.message || `the server refused it: ${reply.code}`);
    this.reply = reply;
  }

  get code(): string {
    return this.reply.code;
  }
}

/** What was asked got no answer: it may or may not have been done. */
export class Unanswered extends Error {}

/** A server greets at once; one that does not is another program behind the upgrade. */
const GREETING_WITHIN = 10_000;
/** The server sends a PING each 20 s (P-126). */
const SILENT_AFTER = 50_000;
/** How long an answer may take before it counts as lost. */
const ANSWER_WITHIN = 30_000;
/** After a suspension of the page an answer to a probe is due sooner. */
const PROBED_WITHIN = 5_000;

const OPEN = 1;

interface Waiter {
  resolve(message: ServerMessage): void;
  reject(error: Refused | Unanswered): void;
  cancel(): void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #state = signal<LinkState>({ is: "idle" });
  readonly #listeners = new Set<Listener>();
  readonly #waiters = new Map<string, Waiter>();
  readonly #prefix: string;
  #features: ReadonlySet<Feature> = new Set();
  #socket: Socket | null = null;
  #count = 0;
  #attempt = 0;
  #heardAt = 0;
  #offset = 0;
  #downSince: number | null = null;
  #init: string | null = null;
  #redial: (() => void) | null = null;
  #watch: (() => void) | null = null;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#prefix = `page-${Math.floor(this.#random() * 0xffffffff).toString(36)}`;
  }

  get state(): ReadonlySignal<LinkState> {
    return this.#state;
  }

  /** When the server last sent something, by this machine's clock; 0 if never. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** The server's clock less this machine's, ms, as of its latest message that has its time. */
  get clockOffset(): number {
    return this.#offset;
  }

  has(feature: Feature): boolean {
    return this.#features.has(feature);
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Dials, unless it does already or has a link. */
  start(): void {
    const state = this.#state.value;
    if (state.is === "idle" || state.is === "ended") {
      this.#attempt = 0;
      this.#downSince = null;
      this.#dial(null);
    }
  }

  /** Ends the link and dials no more. */
  stop(): void {
    this.#quiet();
    const socket = this.#drop();
    socket?.close(1000, "the page is closed");
    this.#fail("the page ended the link");
    this.#state.value = { is: "idle" };
  }

  /** Dials now if the next attempt is only due later. */
  retryNow(): void {
    const state = this.#state.value;
    if (state.is !== "waiting") return;
    this.#redial?.();
    this.#dial(state.because);
  }

  /** The page was suspended or its network changed: the link may be dead without a sign. */
  probe(): void {
    const state = this.#state.value;
    if (state.is === "waiting") this.retryNow();
    if (state.is !== "live") return;
    const asked = this.#clock.now();
    if (this.send("PING", { timestamp: asked }) === null) return;
    this.#watch?.();
    this.#watch = this.#clock.after(PROBED_WITHIN, () => {
      if (this.#heardAt >= asked) this.#watchSilence();
      else this.#lose(this.#socket, "it did not answer within 5 s of this page waking up", 4100);
    });
  }

  /** Sends a message; its id, or null if there is no live link. */
  send<T extends keyof DashboardToServer>(type: T, payload: DashboardToServer[T]): string | null {
    if (this.#state.value.is !== "live" && type !== "DASHBOARD_INIT") return null;
    const socket = this.#socket;
    if (socket === null || socket.readyState !== OPEN) return null;
    this.#count += 1;
    const id = `${this.#prefix}-${this.#count}`;
    socket.send(write(type, id, this.#clock.now(), payload));
    return id;
  }

  /**
   * Sends a message and calls one of the two with the answer to it, before any later message is told of.
   *
   * `failed` gets `Refused` when the server refuses it, and `Unanswered` when there is no answer: then it may have
   * been done.
   */
  request<T extends keyof DashboardToServer>(
    type: T,
    payload: DashboardToServer[T],
    done: (message: ServerMessage) => void,
    failed: (error: Refused | Unanswered) => void,
  ): void {
    const id = this.send(type, payload);
    if (id === null) {
      failed(new Unanswered("there is no connection to the server; nothing was sent"));
      return;
    }
    const cancel = this.#clock.after(ANSWER_WITHIN, () => {
      this.#waiters.delete(id);
      failed(new Unanswered("the server did not answer within 30 s; it may have been done"));
    });
    this.#waiters.set(id, { resolve: done, reject: failed, cancel });
  }

  /** The same as a promise. */
  ask<T extends keyof DashboardToServer>(type: T, payload: DashboardToServer[T]): Promise<ServerMessage> {
    return new Promise((resolve, reject) => this.request(type, payload, resolve, reject));
  }

  #dial(lost: string | null): void {
    this.#redial = null;
    const now = this.#clock.now();
    this.#state.value = { is: "connecting", since: this.#downSince ?? now, lost };
    let socket: Socket;
    try {
      socket = (this.#options.open ?? ((url) => new WebSocket(url) as unknown as Socket))(this.#options.url);
    } catch (error) {
      this.#retry(error instanceof Error ? error.message : "the browser refused to connect");
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const dialled = this.#clock.after(GREETING_WITHIN, () => {
      this.#lose(socket, "it did not greet within 10 s", 4102);
    });
    this.#watch = dialled;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.#init = this.send("DASHBOARD_INIT", {
        subscriptions: this.#options.subscriptions(),
        extensions: { features: [...this.#options.features] },
      });
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#receive(socket, event.data);
    };
    socket.onerror = () => {};
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#lose(socket, closeText(event.code, event.reason));
    };
  }

  #receive(socket: Socket, data: unknown): void {
    this.#heardAt = this.#clock.now();
    try {
      if (typeof data === "string") {
        const message = readText(data);
        if (message !== null) this.#take(message);
      } else if (data instanceof ArrayBuffer) {
        this.#tell((listener) => listener.output?.(readBinary(data)));
      }
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      this.#lose(socket, error.message, 1002);
    }
  }

  #take(message: ServerMessage): void {
    switch (message.type) {
      case "DASHBOARD_CONNECTED": {
        const { extensions, timestamp } = message.payload;
        if (typeof timestamp === "number") this.#offset = timestamp - this.#heardAt;
        if (this.#state.value.is !== "live") this.#greeted(extensions?.features ?? []);
        break;
      }
      case "PING":
        this.send("PONG", message.payload);
        break;
      case "ACK":
        this.#answer(message.payload.messageId, message);
        if (this.#init !== null && message.payload.messageId === this.#init) {
          this.#init = null;
          this.#tell((listener) => listener.message?.(message));
          this.#tell((listener) => listener.settled?.());
          return;
        }
        break;
      case "KEYBOARD_STATE":
        this.#answer(message.payload.messageId, message);
        break;
      case "ERROR":
        this.#refuse(message.payload);
        break;
      case "TERMINAL_STREAM": {
        const chunk = chunkOf(message.payload);
        if (chunk !== null) this.#tell((listener) => listener.output?.(chunk));
        return;
      }
      case "AGENT_CONNECTED":
      case "AGENT_STATUS":
      case "AGENT_DISCONNECT":
      case "COMMAND_STATUS":
      case "OUTPUT_GAP":
      case "TERMINAL_SIZE":
      case "OUTPUT_BEHIND":
      case "EMERGENCY_STOP":
      case "PONG":
        break;
    }
    this.#tell((listener) => listener.message?.(message));
  }

  #greeted(features: readonly Feature[]): void {
    const offered = new Set(this.#options.features);
    this.#features = new Set(features.filter((feature) => offered.has(feature)));
    this.#downSince = null;
    this.#state.value = { is: "live", since: this.#clock.now() };
    this.#watchSilence();
    this.#tell((listener) => listener.up?.(this.#features));
  }

  #watchSilence(): void {
    this.#watch?.();
    const socket = this.#socket;
    const left = this.#heardAt + SILENT_AFTER - this.#clock.now();
    this.#watch = this.#clock.after(Math.max(left, 0), () => {
      if (this.#clock.now() - this.#heardAt < SILENT_AFTER) this.#watchSilence();
      else this.#lose(socket, "no frame from it for 50 s", 4100);
    });
  }

  #answer(id: string | undefined, message: ServerMessage): void {
    const waiter = id === undefined ? undefined : this.#waiters.get(id);
    if (waiter === undefined || id === undefined) return;
    this.#waiters.delete(id);
    waiter.cancel();
    waiter.resolve(message);
  }

  #refuse(reply: ErrorReply): void {
    const id = reply.originalMessageId;
    if (id !== undefined && id === this.#init) {
      this.#end(reply.message || `the server refused this page: ${reply.code}`);
      return;
    }
    const waiter = id === undefined ? undefined : this.#waiters.get(id);
    if (waiter === undefined || id === undefined) return;
    this.#waiters.delete(id);
    waiter.cancel();
    waiter.reject(new Refused(reply));
  }

  /** The link is over. `code` is that of the page's own close. */
  #lose(socket: Socket | null, because: string, code?: number): void {
    if (socket === null || this.#socket !== socket) return;
    const state = this.#state.value;
    const now = this.#clock.now();
    this.#drop();
    if (code !== undefined) socket.close(code >= 3000 ? code : 1000, because);
    if (state.is === "live") {
      if (now - state.since >= STABLE_AFTER) this.#attempt = 0;
      this.#downSince = now;
    } else {
      this.#downSince ??= now;
    }
    this.#fail(because);
    this.#retry(because);
    this.#explain(because);
  }

  #retry(because: string): void {
    const now = this.#clock.now();
    const delay = delayBefore(this.#attempt, this.#random());
    const since = (this.#downSince ??= now);
    this.#state.value = { is: "waiting", since, because, nextTryAt: now + delay, attempt: this.#attempt };
    this.#attempt += 1;
    this.#redial = this.#clock.after(delay, () => this.#dial(because));
  }

  /** Browsers do not show why an upgrade was refused; a request over HTTP does. */
  #explain(because: string): void {
    const { diagnose } = this.#options;
    if (diagnose === undefined) return;
    diagnose().then(
      (found) => {
        const state = this.#state.value;
        if (found === null || (state.is !== "waiting" && state.is !== "connecting")) return;
        if (found.ended) this.#end(found.because);
        else if (state.is === "waiting" && state.because === because) {
          this.#state.value = { ...state, because: found.because };
        }
      },
      () => {},
    );
  }

  #end(because: string): void {
    this.#quiet();
    const socket = this.#drop();
    socket?.close(1000, "signed out");
    this.#fail(because);
    this.#state.value = { is: "ended", since: this.#downSince ?? this.#clock.now(), because };
  }

  #drop(): Socket | null {
    const socket = this.#socket;
    this.#socket = null;
    this.#watch?.();
    this.#watch = null;
    this.#init = null;
    return socket;
  }

  #quiet(): void {
    this.#redial?.();
    this.#redial = null;
  }

  #fail(because: string): void {
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    for (const waiter of waiters) {
      waiter.cancel();
      waiter.reject(new Unanswered("the connection was lost before the server answered; it may have been done"));
    }
    this.#tell((listener) => listener.down?.(because));
  }

  #tell(what: (listener: Listener) => void): void {
    for (const listener of [...this.#listeners]) what(listener);
  }
}

/** A close, in words. */
export function closeText(code: number, reason: string): string {
  if (reason !== "") return `the server closed the connection: ${reason} (${code})`;
  switch (code) {
    case 1001:
      return "the server is shutting down (1001)";
    case 1006:
      return "the connection broke without a close frame (1006)";
    case 1013:
      return "the server asked to try later (1013)";
    case 4100:
      return "the server heard nothing from this page (4100)";
    case 4105:
      return "the sign-in has expired (4105)";
    case 4201:
      return "the sign-in was revoked (4201)";
    default:
      return `the connection ended (${code})`;
  }
}
