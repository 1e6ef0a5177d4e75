// The real programs in a temporary folder: a server on a free port, agents, the command line. All of them end with the
// scenario.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The folder of the programs. */
const BIN = process.env["ONSEMBL_BIN"] ?? "";

/** What is missing for the scenarios; null if nothing is. */
export function missing(): string | null {
  if (BIN === "") return "ONSEMBL_BIN does not name the folder of onsembl, onsembl-server and onsembl-agent";
  const absent = ["onsembl", "onsembl-server", "onsembl-agent"].filter((name) => !existsSync(join(BIN, name)));
  return absent.length === 0 ? null : `${absent.join(", ")} is missing in ${BIN}`;
}

/** The interval of heartbeats in the scenarios, in seconds. */
export const INTERVAL = 1;

/** Waits until it is true; fails with what it was last. */
export async function until<T>(
  what: string,
  holds: () => T | Promise<T>,
  within = 20_000,
): Promise<Exclude<T, false | null | undefined | "" | 0>> {
  const end = Date.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const value = await holds();
      if (value) return value as Exclude<T, false | null | undefined | "" | 0>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${within} ms; last: ${String(last)}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** A program that runs, and what it says. */
export class Program {
  readonly #process: ChildProcess;
  said = "";
  complained = "";
  #exited: Promise<number | null>;

  constructor(name: string, args: readonly string[], environment: Record<string, string> = {}) {
    this.#process = spawn(join(BIN, name), args, {
      env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir(), TERM: "xterm-256color", LANG: "C.UTF-8", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#process.stdout?.on("data", (data: Buffer) => (this.said = (this.said + data.toString()).slice(-65_536)));
    this.#process.stderr?.on("data", (data: Buffer) => (this.complained = (this.complained + data.toString()).slice(-65_536)));
    this.#exited = new Promise((done) => this.#process.on("exit", (code) => done(code)));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) process.kill(this.pid, signal);
  }

  /** Ends it, with all processes of its group. */
  async kill(): Promise<void> {
    if (this.isRunning) {
      try {
        process.kill(-this.pid, "SIGKILL");
      } catch {
        this.#process.kill("SIGKILL");
      }
    }
    await this.#exited;
  }

  async stop(): Promise<void> {
    this.signal("SIGCONT");
    this.signal("SIGTERM");
    const ended = await Promise.race([this.#exited.then(() => true), pause(10_000).then(() => false)]);
    if (!ended) await this.kill();
  }
}

export interface ServerOptions {
  /** Between heartbeats, in seconds. */
  readonly interval?: number;
}

/** A place with a server. */
export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), "onsembl-page-"));
  readonly data = join(this.folder, "data");
  #server: Program | null = null;
  #agents: Program[] = [];
  #tokens = new Map<string, string>();
  address = "";

  get server(): Program {
    if (this.#server === null) throw new Error("there is no server");
    return this.#server;
  }

  get port(): number {
    return Number(new URL(this.address).port);
  }

  /** Starts the server; again on its port, if it had one. */
  async serve(options: ServerOptions = {}): Promise<void> {
    const { interval = INTERVAL } = options;
    const listen = `127.0.0.1:${this.address === "" ? 0 : this.port}`;
    const times = ["--heartbeat-interval", `${interval}s`, "--stale-after", `${interval * 1_500}ms`, "--timeout-after", `${interval * 3}s`, "--resume-window", "20s"];
    this.#server = new Program("onsembl-server", ["serve", "--data", this.data, "--listen", listen, ...times]);
    const server = this.#server;
    const line = await until("the server says its address", () => {
      if (!server.isRunning) throw new Error(server.complained);
      return /(?:https?:\/\/)?(127\.0\.0\.1:\d+)/.exec(server.said)?.[1];
    });
    this.address = `http://${line}`;
    await until("the server accepts connections", () => reachable(this.port));
  }

  /** Ends the server and starts it again. */
  async restart(options: ServerOptions): Promise<void> {
    await this.server.stop();
    await this.serve(options);
  }

  /** A token, once for each user and kind. */
  token(user: string, kind: "dashboard" | "agent" = "dashboard"): string {
    const name = `${user}-${kind}`;
    let token = this.#tokens.get(name);
    if (token === undefined) {
      const file = join(this.folder, `${name}.token`);
      execFileSync(join(BIN, "onsembl-server"), ["token", "--data", this.data, "--user", user, "--kind", kind, "--out", file], { stdio: "ignore" });
      token = readFileSync(file, "utf8").trim();
      this.#tokens.set(name, token);
    }
    return token;
  }

  /** Starts an agent of a user. `url`: where it dials, if not the server itself. */
  agent(name: string, options: { user?: string; url?: string; arguments?: readonly string[]; program?: readonly string[] } = {}): Program {
    const user = options.user ?? "ann";
    this.token(user, "agent");
    const state = join(this.folder, `state-${user}-${name}`);
    mkdirSync(state, { recursive: true });
    const program = new Program(
      "onsembl-agent",
      [
        "run",
        "--server",
        options.url ?? this.address,
        "--token-file",
        join(this.folder, `${user}-agent.token`),
        "--name",
        name,
        "--state-dir",
        state,
        ...(options.arguments ?? []),
        ...(options.program === undefined ? [] : ["--", ...options.program]),
      ],
      { HOME: this.folder },
    );
    this.#agents.push(program);
    return program;
  }

  /** Runs the command line as a user, and returns what it prints. */
  onsembl(args: readonly string[], user = "ann"): string {
    return execFileSync(join(BIN, "onsembl"), args, {
      env: { PATH: process.env["PATH"] ?? "", HOME: this.folder, ONSEMBL_SERVER: this.address, ONSEMBL_TOKEN: this.token(user) },
      encoding: "utf8",
      timeout: 60_000,
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Asks the API as a user. */
  async api<T>(path: string, user = "ann", init: RequestInit = {}): Promise<T> {
    const answer = await fetch(`${this.address}${path}`, {
      ...init,
      headers: { Authorization: `Bearer ${this.token(user)}`, "Content-Type": "application/json", ...init.headers },
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  /** The agents of a user, by name. */
  async agents(user = "ann"): Promise<Map<string, AgentOfApi>> {
    const { agents } = await this.api<{ agents: AgentOfApi[] }>("/api/agents", user);
    return new Map(agents.map((agent) => [agent.name, agent]));
  }

  /** Waits until an agent has a status; its row. */
  async status(name: string, status: string, user = "ann"): Promise<AgentOfApi> {
    return until(`${name} is ${status}`, async () => {
      const agent = (await this.agents(user)).get(name);
      return agent?.status === status ? agent : null;
    });
  }

  /** The terminal of an agent, once it shows a text. */
  async terminal(name: string, shows: string): Promise<string> {
    const { agent_id } = await this.status(name, "online");
    return until(`the terminal of ${name} shows ${shows}`, async () => {
      const screen = await this.api<{ command_id: string; rows: { text: string }[] }>(`/api/agents/${agent_id}/screen`);
      return screen.rows.some((row) => row.text.includes(shows)) ? screen.command_id : null;
    });
  }

  /** A file in the folder of the site; its path. */
  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o755 });
    return path;
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    await this.#server?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface AgentOfApi {
  readonly agent_id: string;
  readonly name: string;
  readonly status: string;
  readonly since: string;
  readonly because: string;
}

async function reachable(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.on("error", () => done(false));
  });
}
