// The fleet as signals: gathered changes, the order, counts, stops.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Link } from "../src/link/link.ts";
import { Fleet } from "../src/store/fleet.ts";
import { FakeSocket } from "./messages.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function begin(): { fleet: Fleet; socket: FakeSocket; frame: () => void; link: Link } {
  const socket = new FakeSocket();
  const link = new Link({ url: "ws://x", subscriptions: () => ({ terminals: false, traces: false }), features: [], open: () => socket });
  let planned: (() => void) | null = null;
  const fleet = new Fleet(link, {
    soon: (run) => {
      planned = run;
    },
  });
  link.start();
  socket.open();
  const frame = (): void => {
    const run = planned;
    planned = null;
    run?.();
  };
  return { fleet, socket, frame, link };
}

function greet(socket: FakeSocket, ids: readonly string[]): void {
  socket.hear("DASHBOARD_CONNECTED", {
    agents: ids.map((agentId) => ({ agentId, name: agentId, type: "CUSTOM", status: "online" })),
    timestamp: Date.now() + 5_000,
    extensions: { features: [] },
  });
  socket.hear("ACK", { messageId: socket.sent[0]?.id, success: true });
}

const status = (agentId: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  agentId,
  status: "online",
  since: "2026-11-30T12:00:00.000Z",
  because: "session opened",
  presenceVersion: 1,
  ...more,
});

test("a frame has all changes since the last one, in one step", () => {
  const { fleet, socket, frame } = begin();
  greet(socket, ["a", "b"]);
  expect(fleet.order.value).toEqual([]);
  frame();
  expect(fleet.order.value).toEqual(["a", "b"]);
  expect(fleet.isKnown.value).toBe(true);
  const seen: unknown[] = [];
  fleet.agent("b").subscribe((agent) => seen.push(agent?.presenceVersion));
  for (let version = 1; version <= 50; version += 1) socket.hear("AGENT_STATUS", status("b", { presenceVersion: version }));
  frame();
  expect(seen).toEqual([0, 50]);
});

test("what needs somebody comes first, at most every 400 ms", () => {
  const { fleet, socket, frame } = begin();
  greet(socket, ["a", "b", "c"]);
  frame();
  socket.hear("AGENT_STATUS", status("c", { activity: { state: "asking" } }));
  frame();
  expect(fleet.order.value).toEqual(["a", "b", "c"]);
  vi.advanceTimersByTime(400);
  frame();
  expect(fleet.order.value).toEqual(["c", "a", "b"]);
  expect(fleet.counts.value).toMatchObject({ asks: 1, idle: 2 });
});

test("faults that the server found move an agent, and are taken back", () => {
  const { fleet, socket, frame } = begin();
  greet(socket, ["a", "b"]);
  frame();
  vi.advanceTimersByTime(400);
  fleet.setFaults(new Map([["b", "the database is full"]]));
  frame();
  expect(fleet.order.value).toEqual(["b", "a"]);
  vi.advanceTimersByTime(400);
  fleet.setFaults(new Map());
  frame();
  expect(fleet.order.value).toEqual(["a", "b"]);
});

test("stops are summed up by how far agents are", () => {
  const { fleet, socket, frame } = begin();
  greet(socket, ["a", "b", "c"]);
  const stopped = (state: string): Record<string, unknown> => ({ stopped: { stopId: "s", all: true, by: "ann", reason: "x", state }, presenceVersion: 2 });
  socket.hear("AGENT_STATUS", status("a", stopped("told")));
  socket.hear("AGENT_STATUS", status("b", stopped("verified")));
  frame();
  expect(fleet.stop.value).toMatchObject({ agents: 2, all: true, by: "ann", byState: { told: 1, verified: 1 } });
  socket.hear("AGENT_STATUS", status("a", stopped("verified")));
  frame();
  expect(fleet.stop.value?.byState).toEqual({ verified: 2 });
  for (const id of ["a", "b"]) socket.hear("AGENT_STATUS", status(id, { presenceVersion: 3 }));
  frame();
  expect(fleet.stop.value).toBe(null);
});

test("the server's time goes on while there is a link, and stands still without one", () => {
  const { fleet, socket, link } = begin();
  greet(socket, ["a"]);
  const now = Date.now();
  expect(fleet.serverNow(now + 1_000)).toBe(now + 6_000);
  vi.advanceTimersByTime(60_000);
  expect(link.state.value.is).not.toBe("live");
  expect(fleet.serverNow(Date.now())).toBe(now + 5_000);
});

test("2,000 agents at 200 changes a second cost a small part of a frame", () => {
  const { fleet, socket, frame } = begin();
  const ids = Array.from({ length: 2000 }, (_, n) => `agent-${n}`);
  greet(socket, ids);
  frame();
  vi.useRealTimers();
  let worst = 0;
  for (let round = 0; round < 30; round += 1) {
    const began = performance.now();
    for (let n = 0; n < 20; n += 1) {
      const id = ids[(round * 67 + n * 13) % ids.length] ?? "";
      socket.hear("AGENT_STATUS", status(id, { presenceVersion: round + 2, activity: { state: round % 2 === 0 ? "working" : "asking" } }));
    }
    frame();
    if (round > 2) worst = Math.max(worst, performance.now() - began);
  }
  expect(fleet.order.value).toHaveLength(2000);
  // A frame gap of 200 ms is the limit; machines under test are slow.
  expect(worst).toBeLessThan(100);
});
