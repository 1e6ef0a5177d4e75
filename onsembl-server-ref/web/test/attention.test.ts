// Which agents come first, and that the order is one.

import fc from "fast-check";
import { expect, test } from "vitest";
import { KINDS, compare, entryOf, faultOf, held, kindOf, type Beside, type Entry } from "../src/store/attention.ts";
import { Board, type Agent } from "../src/store/board.ts";
import type { AgentStatus } from "../src/wire.gen.ts";
import { statusOf } from "./messages.ts";

const NOTHING: Beside = { running: 0, fault: null };

function agent(more: Partial<AgentStatus>): Agent {
  const board = new Board();
  board.apply(statusOf("a", more));
  const found = board.agents.get("a");
  if (found === undefined) throw new Error("no agent");
  return found;
}

test("each kind, by the facts that make it", () => {
  const of = (more: Partial<AgentStatus>, beside: Partial<Beside> = {}) => kindOf(agent(more), { ...NOTHING, ...beside });
  expect(of({})).toBe("idle");
  expect(of({ activity: { state: "waiting" } })).toBe("idle");
  expect(of({ activity: { state: "working" } })).toBe("working");
  expect(of({ activity: { state: "writing" } })).toBe("working");
  expect(of({}, { running: 1 })).toBe("working");
  expect(of({ activity: { state: "asking" } })).toBe("asks");
  // Who is stopped cannot be answered.
  expect(of({ activity: { state: "asking" }, stopped: { stopId: "s", state: "verified" } })).toBe("resting");
  expect(of({ paused: true })).toBe("resting");
  expect(of({ status: "stale" })).toBe("faulty");
  expect(of({ status: "error" })).toBe("faulty");
  expect(of({}, { fault: "x" })).toBe("faulty");
  expect(of({ explanation: { confidence: "high", evidence: { heartbeats_miss: "recorded" } } })).toBe("faulty");
  expect(of({ explanation: { confidence: "high", evidence: { impairment: "not recorded" } }, activity: { state: "working" } })).toBe("faulty");
  for (const status of ["timed-out", "reconnecting", "connecting", "offline"] as const) {
    expect(of({ status })).toBe("away");
    expect(of({ status, activity: { state: "asking" } })).toBe("away");
  }
});

test("an agent that somebody ended is not missed, also when its window is over", () => {
  const offline = (evidence: Record<string, string>) => kindOf(agent({ status: "offline", explanation: { confidence: "high", evidence } }), NOTHING);
  expect(offline({ cause: "agent-stopped" })).toBe("resting");
  expect(offline({ cause: "end-ordered" })).toBe("resting");
  expect(offline({ cause: "resume-window-over", left_by: "end-ordered" })).toBe("resting");
  expect(offline({ cause: "resume-window-over", left_by: "link-ended" })).toBe("away");
});

test("a fault is named", () => {
  expect(faultOf(agent({ status: "stale" }), null)).toBe("silent");
  expect(faultOf(agent({ explanation: { confidence: "high", evidence: { heartbeats_miss: "received" } } }), null)).toBe("heartbeats do not reach the hop received");
  expect(faultOf(agent({}), "the database is full")).toBe("the database is full");
  expect(faultOf(agent({ status: "offline" }), "old")).toBe(null);
});

test("the question that came last comes first", () => {
  const of = (id: string, at: string): Entry => ({ ...entryOf(agent({ activity: { state: "asking", since: at }, since: "2026-01-01T00:00:00Z" }), NOTHING), id });
  const order = [of("a", "2026-11-30T12:00:00Z"), of("b", "2026-11-30T12:05:00Z")].sort(compare);
  expect(order.map(({ id }) => id)).toEqual(["b", "a"]);
});

const entry = fc.record({
  id: fc.string({ minLength: 1, maxLength: 3 }),
  name: fc.string({ maxLength: 2 }),
  kind: fc.constantFrom(...KINDS),
  since: fc.integer({ min: 0, max: 3 }),
});

test("property: the order is total and does not depend on where it began", () => {
  fc.assert(
    fc.property(fc.uniqueArray(entry, { selector: ({ id }) => id, maxLength: 12 }), fc.infiniteStream(fc.nat()), (entries, seed) => {
      const sorted = [...entries].sort(compare);
      const shuffled = [...entries].sort(() => ((seed.next().value ?? 0) % 2 === 0 ? 1 : -1)).sort(compare);
      expect(shuffled).toEqual(sorted);
      for (let n = 1; n < sorted.length; n += 1) {
        const [a, b] = [sorted[n - 1] as Entry, sorted[n] as Entry];
        expect(compare(a, b)).toBeLessThan(0);
        expect(compare(b, a)).toBeGreaterThan(0);
        expect(KINDS.indexOf(a.kind)).toBeLessThanOrEqual(KINDS.indexOf(b.kind));
      }
    }),
  );
});

test("property: while the list is held, what was there keeps its order, nothing is lost and nothing is twice", () => {
  const ids = fc.uniqueArray(fc.integer({ min: 0, max: 20 }).map(String));
  fc.assert(
    fc.property(ids, ids, (before, wanted) => {
      const order = held(before, wanted);
      expect([...order].sort()).toEqual([...wanted].sort());
      const stayed = before.filter((id) => wanted.includes(id));
      expect(order.slice(0, stayed.length)).toEqual(stayed);
      expect(order.slice(stayed.length)).toEqual(wanted.filter((id) => !before.includes(id)));
    }),
  );
});
