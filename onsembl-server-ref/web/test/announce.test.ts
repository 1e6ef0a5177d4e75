// The live region: one sentence at a time, at most one in 5 s, the latest of each subject.

import { expect, test } from "vitest";
import { Announcer } from "../src/store/announce.ts";
import { TestClock } from "./clock.ts";

test("sentences are spaced, and replaced while they wait", () => {
  const clock = new TestClock();
  const announcer = new Announcer(clock);
  const said: string[] = [];
  announcer.said.subscribe((sentence) => {
    if (sentence !== "") said.push(sentence);
  });
  announcer.say("a", "a is stale");
  clock.pass(0);
  announcer.say("a", "a is away");
  announcer.say("b", "b asks");
  announcer.say("a", "a is online");
  clock.pass(4_999);
  expect(said).toEqual(["a is stale"]);
  clock.pass(1);
  expect(said).toEqual(["a is stale", "b asks"]);
  clock.pass(5_000);
  expect(said).toEqual(["a is stale", "b asks", "a is online"]);
  clock.pass(60_000);
  expect(said).toHaveLength(3);
});

test("what waits is bounded", () => {
  const clock = new TestClock();
  const announcer = new Announcer(clock);
  const said: string[] = [];
  announcer.said.subscribe((sentence) => sentence !== "" && said.push(sentence));
  for (let n = 0; n < 100; n += 1) announcer.say(`s${n}`, `${n}`);
  clock.pass(60_000);
  expect(said).toEqual(["96", "97", "98", "99"]);
});
