// A watched terminal against a model of a server: whatever is lost, repeated or late, what is shown at the end is a
// screen and every byte behind it, once.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Position } from "../../src/terminal/position.ts";
import { BEHIND, type Drawing, FRESH_EVERY, Watch, type WatchAction, type WatchEvent } from "../../src/terminal/watch.ts";

const SIZE = { columns: 80, rows: 24 };
const at = (offset: number, incarnation = 1): Position => ({ incarnation, offset });
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function screen(offset: number | null, incarnation = 1): Drawing {
  return { at: offset === null ? null : at(offset, incarnation), size: SIZE, bytes: text("screen"), whole: true };
}

/** A watch that has been greeted and shows the screen at this offset. */
function live(offset: number, features: { typing?: boolean; live?: boolean } = {}): Watch {
  const watch = new Watch();
  watch.handle({ kind: "wake" }, 0, 0);
  watch.handle({ kind: "greeted", typing: features.typing ?? true, live: features.live ?? true }, 0, 0);
  watch.handle({ kind: "fetched", drawing: screen(offset) }, 0, 0);
  watch.handle({ kind: "watching" }, 0, 0);
  return watch;
}

const kinds = (actions: WatchAction[]): string[] => actions.map((action) => action.kind);
const shown = (actions: WatchAction[]): string =>
  actions.map((action) => (action.kind === "show" ? new TextDecoder().decode(action.bytes) : "")).join("");

describe("the beginning", () => {
  test("a screen is fetched at once, and output is asked for behind it", () => {
    const watch = new Watch();
    expect(kinds(watch.handle({ kind: "wake" }, 0, 0))).toEqual(["fetch"]);
    expect(watch.handle({ kind: "greeted", typing: true, live: true }, 0, 5)).toEqual([]);
    expect(watch.handle({ kind: "fetched", drawing: screen(40) }, 0, 9)).toMatchObject([
      { kind: "draw", skipped: 0 },
      { kind: "watch", from: at(40) },
    ]);
    expect(watch.lane).toBe("live");
  });

  test("a screen that is there before the link is drawn, and watched from when there is one", () => {
    const watch = new Watch();
    watch.handle({ kind: "wake" }, 0, 0);
    expect(kinds(watch.handle({ kind: "fetched", drawing: screen(40) }, 0, 1))).toEqual(["draw"]);
    expect(watch.handle({ kind: "greeted", typing: true, live: true }, 0, 2)).toEqual([{ kind: "watch", from: at(40) }]);
  });

  test("a screen that cannot be had is asked for again", () => {
    const watch = new Watch();
    watch.handle({ kind: "wake" }, 0, 0);
    expect(watch.handle({ kind: "not-fetched", why: "429" }, 0, 10)).toEqual([]);
    expect(watch.deadline).toBe(1010);
    expect(kinds(watch.handle({ kind: "wake" }, 0, 1010))).toEqual(["fetch"]);
  });
});

describe("output", () => {
  test("each byte is shown once, and what was on its way before the subscription is not", () => {
    const watch = live(10);
    expect(shown(watch.handle({ kind: "output", at: at(8), bytes: text("abcd") }, 0, 1))).toBe("cd");
    expect(shown(watch.handle({ kind: "output", at: at(8), bytes: text("abcd") }, 0, 1))).toBe("");
    expect(shown(watch.handle({ kind: "output", at: at(12), bytes: text("e") }, 0, 1))).toBe("e");
  });

  test("a hole, or another run, asks for a screen and shows nothing before it is there", () => {
    for (const wrong of [at(20), at(0, 2)]) {
      const watch = live(10);
      expect(kinds(watch.handle({ kind: "output", at: wrong, bytes: text("x") }, 0, 1))).toEqual(["fetch"]);
      expect(shown(watch.handle({ kind: "output", at: at(10), bytes: text("y") }, 0, 1))).toBe("");
      expect(kinds(watch.handle({ kind: "fetched", drawing: screen(30, wrong.incarnation) }, 0, 2))).toEqual(["draw", "watch"]);
    }
  });

  test("a gap is marked once, and output goes on behind it", () => {
    const watch = live(10);
    const gap: WatchEvent = { kind: "gap", gap: { at: at(10), length: 5, because: "spool-full", timestamp: 7 } };
    expect(kinds(watch.handle(gap, 0, 1))).toEqual(["mark"]);
    expect(shown(watch.handle({ kind: "output", at: at(15), bytes: text("z") }, 0, 1))).toBe("z");
    expect(kinds(watch.handle(gap, 0, 1))).toEqual([]);
  });

  test("a size applies between the bytes where it stands, early, in time or late", () => {
    const size = { columns: 100, rows: 30 };
    const output: WatchEvent = { kind: "output", at: at(10), bytes: text("abcd") };
    const early = live(10);
    expect(early.handle({ kind: "sized", at: at(12), size }, 0, 1)).toEqual([]);
    expect(kinds(early.handle(output, 0, 1))).toEqual(["show", "size", "show"]);
    const late = live(10);
    late.handle(output, 0, 1);
    expect(late.handle({ kind: "sized", at: at(12), size }, 0, 1)).toEqual([{ kind: "size", size }]);
    expect(late.handle({ kind: "sized", at: at(11), size: SIZE }, 0, 1)).toEqual([]);
    const old = live(10);
    expect(old.handle({ kind: "sized", at: at(2), size }, 0, 1)).toEqual([]);
  });

  test("the server is told what is shown, in steps", () => {
    const watch = live(0);
    const piece = new Uint8Array(8 * 1024);
    expect(kinds(watch.handle({ kind: "output", at: at(0), bytes: piece }, 0, 1))).toEqual(["show"]);
    expect(watch.handle({ kind: "wake" }, 0, 2)).toEqual([{ kind: "taken", at: at(8 * 1024) }]);
    expect(watch.handle({ kind: "wake" }, 0, 3)).toEqual([]);
  });
});

describe("two lanes", () => {
  test("who is told to be behind takes a screen after a tenth of a second, and what was skipped is counted", () => {
    const watch = live(10);
    expect(watch.handle({ kind: "behind" }, 0, 50)).toEqual([]);
    expect(watch.lane).toBe("catching-up");
    expect(watch.deadline).toBe(50 + FRESH_EVERY);
    expect(kinds(watch.handle({ kind: "wake" }, 0, 150))).toEqual(["fetch"]);
    expect(watch.handle({ kind: "fetched", drawing: screen(5_000) }, 0, 160)).toMatchObject([
      { kind: "draw", skipped: 4_990 },
      { kind: "watch", from: at(5_000) },
    ]);
  });

  test("no screen is fetched before all that was sent is shown", () => {
    const watch = live(10);
    watch.handle({ kind: "behind" }, 0, 0);
    expect(watch.handle({ kind: "wake" }, 100, 200)).toEqual([]);
    expect(watch.deadline).toBeNull();
    expect(kinds(watch.handle({ kind: "wake" }, 0, 300))).toEqual(["fetch"]);
  });

  test("a page that cannot show fast enough stops the output by itself", () => {
    const watch = live(0, { live: false });
    expect(kinds(watch.handle({ kind: "output", at: at(0), bytes: new Uint8Array(BEHIND) }, 1, 0))).toEqual(["show", "unwatch"]);
  });

  test("a page that is scrolled up or hidden takes no screens, and one as soon as it wants the present", () => {
    const watch = live(10);
    watch.handle({ kind: "present", wanted: false }, 0, 0);
    watch.handle({ kind: "behind" }, 0, 0);
    expect(watch.handle({ kind: "wake" }, 0, 10_000)).toEqual([]);
    expect(watch.lane).toBe("held-back");
    expect(kinds(watch.handle({ kind: "present", wanted: true }, 0, 20_000))).toEqual(["fetch"]);
  });
});

describe("a lost link", () => {
  test("little is shown as it came, much by a screen", () => {
    for (const [missed, expected] of [[BEHIND, ["watch"]], [BEHIND + 1, ["draw", "watch"]]] as const) {
      const watch = live(10);
      watch.handle({ kind: "lost", why: "cut" }, 0, 0);
      expect(watch.lane).toBe("away");
      expect(kinds(watch.handle({ kind: "back" }, 0, 100))).toEqual(["fetch"]);
      watch.handle({ kind: "greeted", typing: true, live: true }, 0, 100);
      expect(kinds(watch.handle({ kind: "fetched", drawing: screen(10 + missed) }, 0, 110))).toEqual(expected);
    }
  });

  test("an end is told once, and the screen that was due is fetched then", () => {
    const watch = live(10);
    watch.handle({ kind: "behind" }, 0, 0);
    expect(kinds(watch.handle({ kind: "ended", why: "exit code 0" }, 0, 10))).toEqual(["over", "fetch"]);
    expect(watch.handle({ kind: "ended", why: "exit code 0" }, 0, 10)).toEqual([]);
    expect(kinds(watch.handle({ kind: "fetched", drawing: screen(99) }, 0, 210))).toEqual(["draw"]);
    expect(watch.lane).toBe("over");
  });
});

/** A server with an endless output, of which byte n is n modulo 251, and a viewer of it. */
class World {
  readonly watch = new Watch();
  written = 0;
  /** What is shown: the screen up to an offset, and bytes behind it. */
  base = 0;
  bytes: number[] = [];
  now = 0;
  /** From where the server sends on, and what was sent and not received. */
  cursor: number | null = null;
  wire: WatchEvent[] = [];
  linked = false;
  fetching: number | null = null;

  do(event: WatchEvent): void {
    for (const action of this.watch.handle(event, 0, this.now)) {
      switch (action.kind) {
        case "fetch":
          this.fetching = 0;
          break;
        case "drop-fetch":
          this.fetching = null;
          break;
        case "watch":
          if (this.linked) {
            this.cursor = action.from?.offset ?? 0;
            this.wire.push({ kind: "watching" });
          }
          break;
        case "unwatch":
          this.cursor = null;
          break;
        case "draw":
          this.base = action.drawing.at?.offset ?? 0;
          this.bytes = [];
          break;
        case "show":
          this.bytes.push(...action.bytes);
          break;
        default:
          break;
      }
    }
  }

  step(what: Step): void {
    this.now += 20;
    switch (what.kind) {
      case "write":
        this.written += what.bytes;
        break;
      case "send": {
        if (!this.linked || this.cursor === null || this.cursor >= this.written) break;
        // A server may begin earlier than it was asked to (P-207).
        const from = Math.max(0, this.cursor - what.earlier);
        const end = Math.min(this.written, this.cursor + what.bytes);
        this.wire.push({ kind: "output", at: at(from), bytes: Uint8Array.from({ length: end - from }, (_, n) => (from + n) % 251) });
        this.cursor = end;
        break;
      }
      case "receive": {
        const next = this.wire.shift();
        if (next !== undefined) this.do(next);
        break;
      }
      case "behind":
        if (this.linked && this.cursor !== null) {
          this.wire.push({ kind: "behind" });
          this.cursor = null;
        }
        break;
      case "fetched":
        if (this.fetching === null) break;
        this.fetching = null;
        this.do(what.fails ? { kind: "not-fetched", why: "busy" } : { kind: "fetched", drawing: screen(this.written) });
        break;
      case "cut":
        if (!this.linked) break;
        this.linked = false;
        this.wire = [];
        this.cursor = null;
        this.do({ kind: "lost", why: "cut" });
        break;
      case "link":
        this.link();
        break;
      case "wake":
        this.now += 2_000;
        this.do({ kind: "wake" });
        break;
      case "present":
        this.do({ kind: "present", wanted: what.wanted });
        break;
    }
  }

  #again = false;

  link(): void {
    if (this.linked) return;
    this.linked = true;
    if (this.#again) this.do({ kind: "back" });
    this.#again = true;
    this.do({ kind: "greeted", typing: false, live: true });
  }

  settle(): void {
    this.link();
    this.step({ kind: "present", wanted: true });
    for (let round = 0; round < 20; round += 1) {
      this.step({ kind: "wake" });
      this.step({ kind: "fetched", fails: false });
      this.step({ kind: "send", bytes: 1 << 20, earlier: 0 });
      while (this.wire.length > 0) this.step({ kind: "receive" });
    }
  }
}

type Step =
  | { kind: "write"; bytes: number }
  | { kind: "send"; bytes: number; earlier: number }
  | { kind: "receive" | "behind" | "cut" | "link" | "wake" }
  | { kind: "fetched"; fails: boolean }
  | { kind: "present"; wanted: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), bytes: fc.integer({ min: 1, max: 300 }) }),
  fc.record({ kind: fc.constant("send" as const), bytes: fc.integer({ min: 1, max: 200 }), earlier: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ kind: fc.constant("receive" as const) }),
  fc.record({ kind: fc.constantFrom("behind" as const, "cut" as const, "link" as const, "wake" as const, "receive" as const) }),
  fc.record({ kind: fc.constant("fetched" as const), fails: fc.boolean() }),
  fc.record({ kind: fc.constant("present" as const), wanted: fc.boolean() }),
);

test("whatever happens on the way, the end is a screen and every byte behind it, once", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const world = new World();
      world.do({ kind: "wake" });
      for (const one of steps) {
        world.step(one);
        // At any time: nothing is shown twice, and nothing is left out.
        world.bytes.forEach((byte, n) => expect(byte).toBe((world.base + n) % 251));
      }
      world.settle();
      expect(world.base + world.bytes.length).toBe(world.written);
      expect(world.watch.lane).toBe("live");
    }),
    { numRuns: 500 },
  );
});
