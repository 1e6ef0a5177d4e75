// The link against a real WebSocket server: greeting, reasons, silence, and cuts at each message.

import { afterEach, describe, expect, test } from "vitest";
import { Link, Refused, Unanswered, type LinkState } from "../src/link/link.ts";
import { delayBefore } from "../src/link/backoff.ts";
import { Board } from "../src/store/board.ts";
import { TestClock } from "./clock.ts";
import { FakeSocket } from "./messages.ts";
import { TestServer, greet, open, until } from "./server.ts";

const servers: TestServer[] = [];
const links: Link[] = [];

afterEach(async () => {
  for (const link of links.splice(0)) link.stop();
  for (const server of servers.splice(0)) await server.stop();
});

async function serverOf(...args: Parameters<typeof TestServer.start>): Promise<TestServer> {
  const server = await TestServer.start(...args);
  servers.push(server);
  return server;
}

/** A link that dials again at once. */
function linkTo(url: string, more: Partial<ConstructorParameters<typeof Link>[0]> = {}): Link {
  const link = new Link({
    url,
    subscriptions: () => ({ agents: ["*"], commands: ["*"], terminals: false, traces: false }),
    features: ["presence-why", "stop-latch", "output-bytes"],
    open,
    clock: {
      now: () => Date.now(),
      after(ms, run) {
        const handle = setTimeout(run, Math.min(ms, 2000) < 600 ? 3 : ms);
        return () => clearTimeout(handle);
      },
    },
    random: () => 0,
    ...more,
  });
  links.push(link);
  return link;
}

const status = (agentId: string, version: number): Record<string, unknown> => ({
  agentId,
  status: "online",
  since: "2026-11-30T12:00:00.000Z",
  because: `session opened ${version}`,
  presenceVersion: version,
});

describe("the greeting", () => {
  test("says what the page can do and what it wants, and answers probes with an unchanged echo", async () => {
    const server = await serverOf((connection, said) => {
      if (said.type === "DASHBOARD_INIT") {
        greet(connection, said, [{ agentId: "a" }]);
        connection.say("PING", { timestamp: 12.5, sequence: 7 });
      }
    });
    const link = linkTo(server.url);
    let settled = 0;
    link.listen({ settled: () => (settled += 1) });
    link.start();
    await until("settled", () => settled === 1);
    await until("the echo", () => server.connections[0]?.heard.some(({ type }) => type === "PONG") === true);
    const [init, pong] = server.connections[0]?.heard ?? [];
    expect(init?.type).toBe("DASHBOARD_INIT");
    expect(init?.payload).toEqual({
      subscriptions: { agents: ["*"], commands: ["*"], terminals: false, traces: false },
      extensions: { features: ["presence-why", "stop-latch", "output-bytes"] },
    });
    expect(pong?.payload).toEqual({ timestamp: 12.5, sequence: 7 });
    expect(link.has("presence-why")).toBe(true);
    expect(link.has("typing")).toBe(false);
  });

  test("a server that refuses the greeting ends the link with its own words", async () => {
    const server = await serverOf((connection, said) => {
      connection.say("ERROR", { code: "UNAUTHORIZED", message: "the token is for another user", originalMessageId: said.id });
    });
    const link = linkTo(server.url);
    link.start();
    await until("ended", () => link.state.value.is === "ended");
    expect(link.state.value).toMatchObject({ because: "the token is for another user" });
  });

  test("unknown types are left alone, and what cannot be read ends the link with a reason", async () => {
    let met = 0;
    const server = await serverOf((connection, said) => {
      met += 1;
      greet(connection, said, [{ agentId: "a" }]);
      connection.say("SOMETHING_NEW", { x: 1 });
      connection.say("AGENT_STATUS", status("a", 3));
      if (met === 1) connection.sayRaw("not json");
    });
    const link = linkTo(server.url);
    const reasons: string[] = [];
    const seen: string[] = [];
    link.listen({ down: (because) => reasons.push(because), message: ({ type }) => seen.push(type) });
    link.start();
    await until("a second link", () => met === 2 && link.state.value.is === "live");
    expect(reasons).toEqual(["the server sent a text that is not JSON"]);
    expect(seen).toContain("AGENT_STATUS");
    expect(seen).not.toContain("SOMETHING_NEW");
  });
});

describe("requests", () => {
  test("are answered by ACK or refused by ERROR, each to its own asker", async () => {
    const server = await serverOf((connection, said) => {
      if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
      if (said.type === "COMMAND_CANCEL") connection.say("ACK", { messageId: said.id, success: true, commandId: said.payload["commandId"] });
      if (said.type === "STOP_RELEASE") {
        connection.say("ERROR", { code: "READ_ONLY", message: "this session may only look", originalMessageId: said.id });
      }
    });
    const link = linkTo(server.url);
    link.start();
    await until("live", () => link.state.value.is === "live");
    const [done, refused] = await Promise.allSettled([
      link.ask("COMMAND_CANCEL", { commandId: "c", force: false }),
      link.ask("STOP_RELEASE", { all: true }),
    ]);
    expect(done).toMatchObject({ status: "fulfilled", value: { type: "ACK", payload: { commandId: "c" } } });
    const error: unknown = refused.status === "rejected" ? refused.reason : null;
    expect(error).toBeInstanceOf(Refused);
    expect((error as Refused).code).toBe("READ_ONLY");
    expect((error as Refused).message).toBe("this session may only look");
  });

  test("whose link is lost are said to be unanswered, and without a link nothing is sent", async () => {
    const server = await serverOf((connection, said) => {
      if (said.type === "DASHBOARD_INIT") greet(connection, said, []);
      else connection.cut();
    });
    const link = linkTo(server.url);
    await expect(link.ask("COMMAND_CANCEL", { commandId: "c", force: false })).rejects.toBeInstanceOf(Unanswered);
    link.start();
    await until("live", () => link.state.value.is === "live");
    await expect(link.ask("COMMAND_CANCEL", { commandId: "c", force: false })).rejects.toThrow(/may have been done/);
  });
});

describe("a lost link", () => {
  test("has a reason, a time since when, and a next try; it is dialled again", async () => {
    let met = 0;
    const server = await serverOf((connection, said) => {
      met += 1;
      greet(connection, said, [{ agentId: "a" }]);
      if (met === 1) setTimeout(() => connection.close(1001, "shutting down"), 5);
    });
    const link = linkTo(server.url);
    const states: LinkState[] = [];
    link.state.subscribe((state) => states.push(state));
    link.start();
    await until("a second link", () => met === 2 && link.state.value.is === "live");
    const waiting = states.find((state) => state.is === "waiting");
    expect(waiting).toMatchObject({ because: "the server closed the connection: shutting down (1001)", attempt: 0 });
    if (waiting?.is === "waiting") expect(waiting.nextTryAt).toBeGreaterThanOrEqual(waiting.since);
    const again = states.filter((state) => state.is === "connecting")[1];
    expect(again).toMatchObject({ lost: "the server closed the connection: shutting down (1001)" });
  });

  test("is explained by a request over HTTP, and ends when nobody is signed in", async () => {
    const server = await serverOf((connection) => connection.cut());
    const link = linkTo(server.url, { diagnose: async () => ({ ended: true, because: "the session was revoked" }) });
    link.start();
    await until("ended", () => link.state.value.is === "ended");
    expect(link.state.value).toMatchObject({ because: "the session was revoked" });
  });

  test("a cut at each message of a conversation loses no agent and repeats no older presence", async () => {
    const agents = ["a", "b", "c"];
    // Greeting, three statuses, ACK, and six changes.
    for (let cut = 1; cut <= 11; cut += 1) {
      let met = 0;
      const server = await serverOf(
        (connection, said) => {
          if (said.type !== "DASHBOARD_INIT") return;
          greet(connection, said, agents.map((agentId) => ({ agentId })), agents.map((id) => status(id, met)));
          for (let n = 0; n < 6; n += 1) connection.say("AGENT_STATUS", status(agents[n % 3] ?? "a", 10 + n));
        },
        (connection) => {
          met += 1;
          if (met === 1) connection.cutAfter = cut;
        },
      );
      const link = linkTo(server.url);
      const board = new Board();
      const sizes: number[] = [];
      let settled = 0;
      link.listen({
        up: () => board.begin(),
        message: (message) => {
          board.apply(message);
          sizes.push(board.agents.size);
        },
        settled: () => {
          board.settleAgents();
          settled += 1;
          sizes.push(board.agents.size);
        },
      });
      link.start();
      await until(`all of it, cut ${cut}`, () => met >= 2 && settled >= 1 && [...board.agents.values()].every(({ presenceVersion }) => presenceVersion >= 13));
      expect([...board.agents.keys()].sort()).toEqual(agents);
      // Nothing that was on the screen went away for a moment.
      expect(Math.min(...sizes)).toBe(3);
      expect(board.agents.get("a")?.because).toBe("session opened 13");
      link.stop();
      await server.stop();
    }
  });

  test("what the server does not know any more goes when the new list is complete, and not before", async () => {
    let met = 0;
    const gone: number[] = [];
    const server = await serverOf((connection, said) => {
      met += 1;
      const agents = met === 1 ? ["a", "b"] : ["b"];
      greet(connection, said, agents.map((agentId) => ({ agentId })), agents.map((id) => status(id, met)));
      if (met === 1) setTimeout(() => connection.cut(), 5);
    });
    const link = linkTo(server.url);
    const board = new Board();
    link.listen({
      up: () => board.begin(),
      message: (message) => {
        board.apply(message);
        if (met === 2) gone.push(board.agents.size);
      },
      settled: () => board.settleAgents(),
    });
    link.start();
    await until("the second list", () => met === 2 && board.agents.size === 1);
    expect(gone.every((size) => size === 2)).toBe(true);
    expect([...board.agents.keys()]).toEqual(["b"]);
  });
});

describe("waiting", () => {
  function driven(): { link: Link; clock: TestClock; sockets: FakeSocket[]; up: () => FakeSocket } {
    const clock = new TestClock();
    const sockets: FakeSocket[] = [];
    const link = new Link({
      url: "ws://x",
      subscriptions: () => ({ terminals: false, traces: false }),
      features: [],
      clock,
      random: () => 0.5,
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
    });
    const up = (): FakeSocket => {
      const socket = sockets.at(-1);
      if (socket === undefined) throw new Error("no dial");
      socket.open();
      socket.hear("DASHBOARD_CONNECTED", { agents: [], extensions: { features: [] } });
      return socket;
    };
    link.start();
    return { link, clock, sockets, up };
  }

  test("a server that does not greet within 10 s is left", () => {
    const { link, clock, sockets } = driven();
    sockets[0]?.open();
    clock.pass(9_999);
    expect(link.state.value.is).toBe("connecting");
    clock.pass(1);
    expect(link.state.value).toMatchObject({ is: "waiting", because: "it did not greet within 10 s" });
    expect(sockets[0]?.closed).toBe(4102);
  });

  test("50 s without a frame are a silence; any frame ends the wait", () => {
    const { link, clock, up } = driven();
    const socket = up();
    for (let n = 0; n < 10; n += 1) {
      clock.pass(20_000);
      socket.hear("PING", { timestamp: n });
    }
    expect(link.state.value.is).toBe("live");
    clock.pass(49_999);
    expect(link.state.value.is).toBe("live");
    clock.pass(1);
    expect(link.state.value).toMatchObject({ is: "waiting", because: "no frame from it for 50 s" });
  });

  test("a page that wakes up asks, and leaves a dead link after 5 s", () => {
    const { link, clock, up } = driven();
    const socket = up();
    clock.pass(1000);
    link.probe();
    expect(socket.sent.at(-1)?.type).toBe("PING");
    socket.hear("PONG", {});
    clock.pass(10_000);
    expect(link.state.value.is).toBe("live");
    link.probe();
    clock.pass(5_000);
    expect(link.state.value).toMatchObject({ is: "waiting", because: "it did not answer within 5 s of this page waking up" });
  });

  test("windows grow, begin anew after a stable link, and `try now` does not wait", () => {
    const { link, clock, sockets, up } = driven();
    const delays: number[] = [];
    const fail = (): void => {
      sockets.at(-1)?.onclose?.({ code: 1006, reason: "" });
      const state = link.state.value;
      if (state.is === "waiting") delays.push(state.nextTryAt - clock.now());
    };
    for (let n = 0; n < 8; n += 1) {
      fail();
      clock.pass(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([375, 750, 1500, 3000, 3750, 6000, 7500, 7500]);
    const since = link.state.value.is === "connecting" ? link.state.value.since : 0;
    expect(since).toBe(1_000_000);
    up();
    clock.pass(10_000);
    fail();
    expect(delays.at(-1)).toBe(375);
    const dials = sockets.length;
    link.retryNow();
    expect(sockets.length).toBe(dials + 1);
    clock.pass(60_000 - 1);
    expect(sockets.length).toBeGreaterThan(dials);
  });

  test("an answer that does not come within 30 s is none", async () => {
    const { link, clock, up } = driven();
    const socket = up();
    const asked = link.ask("COMMAND_CANCEL", { commandId: "c", force: false });
    const failed = expect(asked).rejects.toThrow(/did not answer within 30 s/);
    clock.pass(20_000);
    socket.hear("PING", {});
    clock.pass(10_000);
    await failed;
  });
});

test("a delay is at least half its window and less than it", () => {
  expect(delayBefore(0, 0)).toBe(250);
  expect(delayBefore(0, 0.999)).toBeLessThanOrEqual(500);
  expect(delayBefore(99, 0)).toBe(5000);
  expect(delayBefore(-1, 0)).toBe(250);
});
