// What is typed arrives once and in order, or is known not to have.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KeyboardSaid, Typist, type TypistSays, WAITING } from "../../src/terminal/typist.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function said(changes: Partial<KeyboardSaid> = {}): KeyboardSaid {
  return { answersWish: false, holder: null, name: "", since: null, taken: 0, because: "", ...changes };
}

function messages(typist: Typist): TypistSays[] {
  const all: TypistSays[] = [];
  for (let says = typist.nextMessage(); says !== null; says = typist.nextMessage()) all.push(says);
  return all;
}

function typing(): Typist {
  const typist = new Typist();
  typist.connected(true, 0);
  typist.wants("type", 0);
  expect(messages(typist)).toEqual([{ kind: "take", over: false }]);
  typist.onState(said({ answersWish: true, holder: "h-1" }));
  expect(typist.shown.mode).toBe("on");
  return typist;
}

describe("typing", () => {
  test("is off until it is asked for", () => {
    const typist = new Typist();
    typist.connected(true, 0);
    expect(typist.typed(bytes("x"), 0)).toBe(false);
    expect([typist.shown.mode, messages(typist), typist.deadline]).toEqual(["off", [], null]);
  });

  test("is sent under the hold, numbered, and given up when it is not wanted any more", () => {
    const typist = typing();
    typist.typed(bytes("a"), 0);
    typist.typed(bytes("b"), 0);
    expect(messages(typist)).toMatchObject([
      { kind: "input", holder: "h-1", sequence: 1 },
      { kind: "input", holder: "h-1", sequence: 2 },
    ]);
    typist.onState(said({ holder: "h-1", taken: 2 }));
    typist.wants("look", 0);
    expect(messages(typist)).toEqual([{ kind: "release", holder: "h-1" }]);
    expect(typist.takeNotice()).toBeNull();
    expect(typist.shown.mode).toBe("off");
  });

  test("says who types, and takes the keyboard over only when told to", () => {
    const typist = new Typist();
    typist.connected(true, 0);
    typist.onState(said({ holder: "h-9", name: "ann", since: 5 }));
    expect(typist.shown).toEqual({ mode: "off", other: { holder: "h-9", name: "ann", since: 5 } });
    typist.wants("type", 0);
    messages(typist);
    typist.onRefused("wish-while-held", "ann types", 0);
    expect([typist.shown.mode, typist.takeNotice()]).toEqual(["held-by-other", "ann types"]);
    typist.wants("take-over", 0);
    expect(messages(typist)).toEqual([{ kind: "take", over: true }]);
    typist.onState(said({ answersWish: true, holder: "h-10", name: "me" }));
    expect(typist.shown).toEqual({ mode: "on", other: null });
    // Whoever takes it back keeps it.
    typist.onState(said({ holder: "h-11", name: "ann" }));
    expect(typist.shown.mode).toBe("held-by-other");
    expect(messages(typist)).toEqual([]);
  });

  test("what was on its way when the link was lost is in doubt, and is not typed again", () => {
    const typist = typing();
    typist.typed(bytes("abc"), 0);
    messages(typist);
    typist.linkLost();
    expect(typist.takeNotice()).toBe("whether the last 3 bytes of input arrived is unknown");
    expect(typist.typed(bytes("d"), 0)).toBe(false);
    typist.connected(true, 10);
    expect(messages(typist)).toEqual([{ kind: "take", over: false }]);
    // The server still knows the hold of the link before.
    typist.onState(said({ holder: "h-1" }));
    typist.onRefused("wish-while-held", "held", 10);
    expect(messages(typist)).toEqual([{ kind: "take", over: true }]);
  });

  test("a refusal for now is sent again with all behind it; another one ends the hold", () => {
    const typist = typing();
    typist.typed(bytes("a"), 0);
    typist.typed(bytes("b"), 0);
    const sent = messages(typist);
    expect(typist.onRefused("input-for-now", "full", 0)).toBe(true);
    typist.onTime(typist.deadline ?? 0);
    expect(messages(typist)).toEqual(sent);
    expect(typist.onRefused("input", "stopped", 0)).toBe(true);
    expect(typist.shown.mode).toBe("ready");
  });

  test("an agent that is away is asked again each second, and a server that does not answer is given up", () => {
    const typist = new Typist();
    typist.connected(true, 0);
    typist.wants("type", 0);
    messages(typist);
    typist.onRefused("wish-while-away", "away", 100);
    expect([typist.shown.mode, typist.deadline]).toEqual(["waiting-for-agent", 1_100]);
    typist.onTime(1_100);
    expect(messages(typist)).toEqual([{ kind: "take", over: false }]);
    typist.onTime(typist.deadline ?? 0);
    expect(typist.shown.mode).toBe("ready");
    expect(typist.takeNotice()).toContain("nothing was typed");
  });

  test("a server without typing is said to be one", () => {
    const typist = new Typist();
    typist.connected(false, 0);
    typist.wants("type", 0);
    expect(typist.takeNotice()).toContain("does not support");
    expect(typist.shown.mode).toBe("off");
  });

  test("more than a megabyte of a paste is refused as a whole", () => {
    const typist = typing();
    expect(typist.typed(new Uint8Array(WAITING + 1), 0)).toBe(false);
    expect(messages(typist)).toEqual([]);
  });
});

test("a paste arrives whole and in order, whatever the pace of the program", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 5 }), (pieces, pace) => {
      const typist = typing();
      let sent = 0;
      for (const length of pieces) {
        typist.typed(Uint8Array.from({ length }, (_, n) => (sent + n) % 251), 0);
        sent += length;
      }
      const arrived: Uint8Array[] = [];
      const waiting: TypistSays[] = [];
      for (let round = 0; round < 1_000; round += 1) {
        waiting.push(...messages(typist));
        const some = waiting.splice(0, pace);
        if (some.length === 0) break;
        for (const says of some) if (says.kind === "input") arrived.push(says.bytes);
        const last = some.at(-1);
        if (last?.kind === "input") typist.onState(said({ holder: "h-1", taken: last.sequence }));
      }
      const all = Buffer.concat(arrived);
      expect(all.length).toBe(sent);
      expect(all.findIndex((byte, n) => byte !== n % 251)).toBe(-1);
    }),
    { numRuns: 30 },
  );
});
