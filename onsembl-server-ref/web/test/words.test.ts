// Sentences in the words of the command line.

import { expect, test } from "vitest";
import { Board, type Agent } from "../src/store/board.ts";
import { activityWords, availabilityWords, becauseWords, endWords, evidenceWords, factWords, human, nextWords, stopWords } from "../src/store/words.ts";
import type { AgentActivity, AgentStatus } from "../src/wire.gen.ts";
import { statusOf } from "./messages.ts";

const NOW = Date.parse("2026-11-30T12:00:40.000Z");
const THEN = "2026-11-30T12:00:00.000Z";

function agent(more: Partial<AgentStatus>): Agent {
  const board = new Board();
  board.apply({ type: "DASHBOARD_CONNECTED", id: undefined, payload: { agents: [{ agentId: "a", name: "coder", type: "CLAUDE", status: "online" }] } });
  board.apply(statusOf("a", more));
  return board.agents.get("a") as Agent;
}

test("activities, as `onsembl agents` has them", () => {
  const of = (more: Partial<AgentActivity>) => activityWords({ state: "working", since: THEN, ...more }, NOW);
  expect(of({})).toBe("working 40s");
  expect(of({ state: "waiting" })).toBe("waiting for a prompt 40s");
  expect(of({ state: "asking" })).toBe("asks something 40s");
  expect(of({ state: "asking", question: { kind: "permission", title: "Allow Bash(rm)?", choices: ["yes", "no"] } })).toBe("asks: Allow Bash(rm)? [yes, no]");
  expect(of({ state: "asking", question: { kind: "attention", title: "" } })).toBe("asks: something");
  expect(of({ state: "writing" })).toBe("writing");
  expect(of({ state: "quiet" })).toBe("quiet for 40s");
  expect(of({ state: "none" })).toBe("not running");
  expect(of({ state: "dreaming\u0007" })).toBe("dreaming\\u{7}");
});

test("facts name their lane", () => {
  expect(factWords({ state: "waiting", fact: "stop", lane: "hook", factAt: THEN }, NOW)).toBe("its turn ended 40s ago, as its hook says");
  expect(factWords({ state: "waiting", fact: "bell", lane: "terminal", factAt: THEN }, NOW)).toBe("it rang its bell 40s ago");
  expect(factWords({ state: "waiting" }, NOW)).toBe(null);
});

test("a stop and a pause come before the cause, and the cause is the server's text", () => {
  expect(becauseWords(agent({ because: "session opened" }))).toBe("session opened");
  expect(becauseWords(agent({ paused: true, because: "session opened" }))).toBe("paused: starts nothing until `control coder resume`; session opened");
  const stopped = { stopId: "s", by: "ann", at: THEN, reason: "runaway", state: "told" };
  expect(becauseWords(agent({ stopped, because: "session opened" }))).toBe(
    `emergency stop by ann at ${THEN} (runaway): notified, but has not answered yet; repeated every 2s; session opened`,
  );
  expect(stopWords("away")).toBe("away; starts nothing when it returns");
});

test("what comes next", () => {
  const of = (nextState: string | undefined, at: string | undefined) =>
    nextWords(agent({ explanation: { confidence: "high", ...(nextState === undefined ? {} : { nextState }), ...(at === undefined ? {} : { nextChangeAt: at }) } }), NOW);
  expect(of("stale", "2026-11-30T12:01:03.000Z")).toBe("stale in 23s, if nothing comes");
  expect(of("stale", THEN)).toBe("stale at any moment, if nothing comes");
  expect(of("reconnecting", undefined)).toBe("reconnecting next, if nothing comes");
  expect(of(undefined, undefined)).toBe(null);
});

test("evidence in the words of `why`", () => {
  expect(evidenceWords({ stage: "resolve", errno: "EAI_AGAIN", dials: 12 })).toBe("dials 12, errno EAI_AGAIN, stage resolve");
  expect(evidenceWords({ idle_timeout_ms: 60_000, times: 9 })).toBe("idle timeout 1m, times 9");
  expect(evidenceWords({ quiet_ms: 60_010, lived_ms: 688_000 })).toBe("lived 688s, quiet 60.0s");
  expect(evidenceWords({ waiting_bytes: 5, heard_at: 0 })).toBe("heard 1970-01-01T00:00:00.000Z, waiting 5 bytes");
  expect([340, 1500, 45_000, 120_000].map(human)).toEqual(["340ms", "1.5s", "45s", "2m"]);
});

test("ends of commands", () => {
  expect(endWords({ phase: "failed", exitCode: 101, signal: null })).toBe("exit code 101");
  expect(endWords({ phase: "failed", exitCode: null, signal: 9 })).toBe("killed by SIGKILL");
  expect(endWords({ phase: "failed", exitCode: null, signal: 63 })).toBe("killed by signal 63");
  expect(endWords({ phase: "running", exitCode: null, signal: null })).toBe(null);
});

test("availability", () => {
  const of = { permille: 987, there_ms: 987_000, missing_ms: 13_000, asleep_ms: 0 };
  expect(availabilityWords(of, 1)).toBe("It was available 98.7 % of 16 min, within the last day, with one drop.");
  expect(availabilityWords({ ...of, permille: 1000, asleep_ms: 60_000 }, 0)).toBe("It was available 100.0 % of 16 min, within the last day, with no drop; asleep for 1 min.");
  expect(availabilityWords({ ...of, permille: null }, 0)).toBe(null);
});
