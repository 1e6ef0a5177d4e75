// The board: what messages do to it, in whatever order they come.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Board, isOver } from "../src/store/board.ts";
import { commandOf, listOf, statusOf } from "./messages.ts";

describe("agents", () => {
  test("a list adds and updates and removes none; a status says the rest", () => {
    const board = new Board();
    board.apply(listOf("a", "b"));
    board.apply(statusOf("a", { because: "the agent responds again", presenceVersion: 9, lastPing: "2026-11-30T12:00:00.000Z" }));
    board.apply(listOf("c"));
    expect([...board.agents.keys()]).toEqual(["a", "b", "c"]);
    expect(board.agents.get("a")).toMatchObject({
      name: "name of a",
      because: "the agent responds again",
      presenceVersion: 9,
      heard: Date.parse("2026-11-30T12:00:00.000Z"),
    });
  });

  test("a list does not take back what a status said", () => {
    const board = new Board();
    board.apply(statusOf("a", { status: "stale", presenceVersion: 5 }));
    board.apply(listOf("a"));
    expect(board.agents.get("a")?.status).toBe("stale");
  });

  test("what is absent from a status is over: a stop, a pause, an activity", () => {
    const board = new Board();
    board.apply(
      statusOf("a", {
        paused: true,
        stopped: { stopId: "s", state: "told" },
        activity: { state: "asking" },
        presenceVersion: 3,
      }),
    );
    board.apply(statusOf("a", { presenceVersion: 3 }));
    expect(board.agents.get("a")).toMatchObject({ paused: false, stopped: null, activity: null });
  });

  test("property: the presence shown is that of the greatest version seen, whatever the order", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ id: fc.constantFrom("a", "b"), version: fc.integer({ min: 1, max: 30 }) }), { maxLength: 60 }), (said) => {
        const board = new Board();
        const most = new Map<string, number>();
        for (const { id, version } of said) {
          board.apply(statusOf(id, { presenceVersion: version, because: `v${version}` }));
          most.set(id, Math.max(most.get(id) ?? 0, version));
          expect(board.agents.get(id)?.presenceVersion).toBe(most.get(id));
          expect(board.agents.get(id)?.because).toBe(`v${most.get(id)}`);
        }
      }),
    );
  });

  test("property: a new link removes exactly what it does not tell of, and only at its end", () => {
    const ids = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e"));
    fc.assert(
      fc.property(ids, ids, (before, after) => {
        const board = new Board();
        board.apply(listOf(...before));
        board.begin();
        for (const id of after) board.apply(statusOf(id));
        for (const id of before) expect(board.agents.has(id)).toBe(true);
        board.settleAgents();
        expect([...board.agents.keys()].sort()).toEqual([...after].sort());
      }),
    );
  });

  test("changes are told once", () => {
    const board = new Board();
    board.apply(listOf("a", "b"));
    expect([...board.take().agents]).toEqual(["a", "b"]);
    expect(board.isChanged).toBe(false);
    board.apply(statusOf("b"));
    expect([...board.take().agents]).toEqual(["b"]);
  });
});

describe("commands", () => {
  test("open ones are counted by agent, terminals apart", () => {
    const board = new Board();
    board.apply(commandOf("c1", "queued"));
    board.apply(commandOf("c2", "running", { startedAt: 5 }));
    board.apply(commandOf("terminal-1", "running"));
    board.apply(commandOf("terminal-2", "running"));
    expect(board.openCommands("a")).toBe(2);
    expect(board.terminalOf("a")).toBe("terminal-2");
    board.apply(commandOf("c2", "completed", { exitCode: 0, completedAt: 9 }));
    board.apply(commandOf("terminal-2", "completed"));
    expect(board.openCommands("a")).toBe(1);
    expect(board.terminalOf("a")).toBe("terminal-1");
    expect(board.commands.get("c2")).toMatchObject({ startedAt: 5, completedAt: 9, exitCode: 0 });
  });

  test("those that ended while there was no link are not open for ever", () => {
    const board = new Board();
    board.apply(commandOf("c1", "running"));
    board.apply(commandOf("c2", "running"));
    board.begin();
    board.apply(commandOf("c2", "running"));
    expect(board.openCommands("a")).toBe(2);
    board.settleCommands();
    expect(board.openCommands("a")).toBe(1);
    expect(board.commands.has("c1")).toBe(false);
  });

  test("property: what is remembered is bounded, and no open command is forgotten", () => {
    const phase = fc.constantFrom("queued", "running", "completed", "failed");
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 900 }), phase), { minLength: 600, maxLength: 1400 }), (said) => {
        const board = new Board();
        const last = new Map<string, string>();
        for (const [n, status] of said) {
          board.apply(commandOf(`c${n}`, status));
          last.set(`c${n}`, status);
        }
        const open = [...last].filter(([, status]) => !isOver(status)).map(([id]) => id);
        for (const id of open) expect(board.commands.has(id)).toBe(true);
        expect(board.commands.size).toBeLessThanOrEqual(Math.max(500, open.length));
        expect([...(board.open.get("a") ?? [])].sort()).toEqual(open.sort());
      }),
      { numRuns: 20 },
    );
  });
});
