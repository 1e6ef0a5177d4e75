// The log view's reading: any part of the output by its offset, in a window that has no hole, without reading the rest.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Line, Lines, PLAIN, styled } from "../../src/terminal/log/lines.ts";
import { fragment, fromFragment, lineOf, LogReader, MOST_LINES } from "../../src/terminal/log/reader.ts";
import { atOffset, type LogRecord, nearEnd, type Read, record, type Source } from "../../src/terminal/log/source.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function chunk(text: string, offset: number, sequence: number, stream = "TERMINAL", incarnation = 7): LogRecord {
  return { kind: "bytes", incarnation, sequence, stream, offset, at: 1_000, bytes: bytes(text) };
}

/** A source that has these records, and counts what is read. */
function source(records: readonly LogRecord[]): Source & { reads: number; given: number } {
  return {
    reads: 0,
    given: 0,
    async *read({ after }): AsyncIterable<Read> {
      this.reads += 1;
      for (const one of records) {
        const isBehind =
          after === null ||
          one.incarnation > after.incarnation ||
          (one.incarnation === after.incarnation && one.sequence > after.sequence);
        if (!isBehind) continue;
        this.given += 1;
        yield one;
      }
      yield { kind: "end", status: "completed", ended: true };
    },
  };
}

/** Numbered lines, in records of so many bytes. */
function numbered(lines: number, size: number, stream = "TERMINAL"): LogRecord[] {
  const text = Array.from({ length: lines }, (_, n) => `line ${n}\n`).join("");
  const records: LogRecord[] = [];
  for (let at = 0; at < text.length; at += size) {
    records.push(chunk(text.slice(at, at + size), at, records.length + 1, stream));
  }
  return records;
}

const texts = (lines: readonly Line[]): string[] => lines.map((line) => (line.kind === "text" ? line.text : "gap"));

describe("lines", () => {
  test("have their offset, their colours, and nothing that acts on a terminal", () => {
    const lines = new Lines();
    const read = lines.read(chunk("a\x1b[1;31mb\x1b[0m\x1b]0;title\x07c\x1b[2J\r\n50%\r100%\n\x1b(Babc\b\bx\n", 100, 1));
    expect(texts(read)).toEqual(["abc", "100%", "ax"]);
    expect(read.map((line) => line.offset)).toEqual([100, 130, 139]);
    expect(read[0]).toMatchObject({ spans: [{ text: "a" }, { text: "b", look: { bold: true, foreground: 1 } }, { text: "c", look: PLAIN }] });
  });

  test("are the same wherever the records are cut", () => {
    const text = "\x1b[38;5;200mé日\x1b[0m\r\nsecond \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\nthird";
    const all = bytes(text);
    const whole = new Lines();
    const expected = [...whole.read(chunk(text, 0, 1)), ...whole.rest()];
    for (let cut = 0; cut <= all.length; cut += 1) {
      const lines = new Lines();
      const parts: Line[] = [];
      [all.subarray(0, cut), all.subarray(cut)].forEach((part, n) => {
        parts.push(...lines.read({ ...chunk("", n === 0 ? 0 : cut, n + 1), bytes: part } as LogRecord));
      });
      expect([...parts, ...lines.rest()]).toEqual(expected);
    }
  });

  test("of two pipes are put together each by itself, and a gap is a line", () => {
    const lines = new Lines();
    const read = [
      chunk("out ", 0, 1, "STDOUT"),
      chunk("err\n", 0, 2, "STDERR"),
      { kind: "gap", incarnation: 7, sequence: 3, stream: "STDOUT", offset: 4, at: null, length: 9, because: "stopped" } as const,
      chunk("put\n", 13, 4, "STDOUT"),
    ].flatMap((one) => lines.read(one));
    expect(texts(read)).toEqual(["err", "gap", "out put"]);
  });

  test("have a bound", () => {
    const lines = new Lines();
    const read = lines.read(chunk("x".repeat(20_000), 0, 1));
    expect(read.map((line) => line.offset)).toEqual([0, 0]);
    expect(texts(lines.rest())[0]?.length).toBe(20_000 - 2 * 8 * 1024);
  });

  test("looks are as terminals read them", () => {
    expect(styled(PLAIN, "38;2;1;2;3;4")).toMatchObject({ foreground: "#010203", underline: true });
    expect(styled(PLAIN, "38:5:99;97;107")).toMatchObject({ foreground: 15, background: 15 });
    expect(styled(styled(PLAIN, "1;3;7"), "")).toEqual(PLAIN);
    expect(styled(PLAIN, "?25")).toEqual(PLAIN);
  });
});

describe("finding", () => {
  test("a record is found by its offset with few reads", async () => {
    const records = numbered(5_000, 13);
    for (const offset of [0, 1, 12, 13, 14, 20_000, 47_000]) {
      const from = source(records);
      const cursor = await atOffset(from, { incarnation: null, stream: "TERMINAL", offset }, new AbortController().signal);
      const next = records.find((one) => one.sequence > (cursor?.sequence ?? 0));
      expect(next?.offset).toBe(offset - (offset % 13));
      expect(from.given).toBeLessThan(60);
    }
  });

  test("the end is found with few reads, in the last of several runs, whatever the numbers are", async () => {
    const early = numbered(100, 20).map((one) => ({ ...one, incarnation: 3 }));
    const late = numbered(3_000, 20).map((one) => ({ ...one, sequence: one.sequence * 3 + 100 }));
    const from = source([...early, ...late]);
    const cursor = await nearEnd(from, 30, new AbortController().signal);
    expect(cursor?.incarnation).toBe(7);
    expect(late.filter((one) => one.sequence > (cursor?.sequence ?? 0)).length).toBe(10);
    expect(from.given).toBeLessThan(80);
    expect(await nearEnd(source([]), 30, new AbortController().signal)).toBeNull();
  });
});

describe("the window", () => {
  test("begins at the end, and grows to the start without a hole", async () => {
    const reader = new LogReader(source(numbered(3_000, 17)));
    await reader.open(null);
    expect(reader.atEnd.value).toBe(true);
    expect(texts(reader.lines.value).at(-1)).toBe("line 2999");
    for (let n = 0; n < 40 && !reader.atStart.value; n += 1) await reader.earlier();
    expect(texts(reader.lines.value)).toEqual(Array.from({ length: 3_000 }, (_, n) => `line ${n}`));
    expect(lineOf(reader.lines.value, { incarnation: 7, stream: "TERMINAL", offset: 0 })).toBe(0);
  });

  test("is bounded, and what was let go at one end comes back", async () => {
    const reader = new LogReader(source(numbered(70_000, 4_000)));
    await reader.openStart();
    for (let n = 0; n < 40 && !reader.atEnd.value; n += 1) await reader.later();
    const check = (first: number, last: number): void => {
      const all = texts(reader.lines.value);
      expect(all.length).toBeLessThanOrEqual(MOST_LINES + 2_000);
      const from = Number(all[1]?.slice(5)) - 1;
      expect(all.findIndex((one, n) => n > 0 && one !== `line ${from + n}`)).toBe(-1);
      if (first >= 0) expect(all[0]).toBe(`line ${first}`);
      if (last >= 0) expect(all.at(-1)).toBe(`line ${last}`);
    };
    check(-1, 69_999);
    expect(reader.atStart.value).toBe(false);
    for (let n = 0; n < 40 && !reader.atStart.value; n += 1) {
      await reader.earlier();
      check(-1, -1);
    }
    check(0, -1);
    for (let n = 0; n < 40 && !reader.atEnd.value; n += 1) {
      await reader.later();
      check(-1, -1);
    }
    check(-1, 69_999);
  });

  test("opens at any offset, on the line that has it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 400 }), fc.nat(20_000), async (size, offset) => {
        const records = numbered(2_000, size);
        const reader = new LogReader(source(records));
        const text = records.map((one) => (one.kind === "bytes" ? new TextDecoder().decode(one.bytes) : "")).join("");
        const at = Math.min(offset, text.length - 1);
        await reader.open({ incarnation: null, stream: "TERMINAL", offset: at });
        const line = reader.lines.value[lineOf(reader.lines.value, { incarnation: null, stream: "TERMINAL", offset: at })];
        const expected = text.slice(text.lastIndexOf("\n", at - 1) + 1, text.indexOf("\n", at));
        // The first line of the window may have begun before it.
        expect(expected.endsWith(line?.kind === "text" ? line.text : "?")).toBe(true);
        const all = texts(reader.lines.value).slice(1);
        const first = Number(all[0]?.slice(5));
        all.forEach((one, n) => expect(one).toBe(`line ${first + n}`));
      }),
      { numRuns: 60 },
    );
  });

  test("words are found behind a place, then from the beginning, and said not to be there", async () => {
    const reader = new LogReader(source(numbered(5_000, 50)));
    await reader.open(null);
    await reader.find("LINE 123", null);
    const first = reader.search.value;
    expect(first).toMatchObject({ state: "found" });
    const at = first.state === "found" ? first.at : null;
    await reader.find("line 123", at);
    expect(reader.search.value).toMatchObject({ state: "found" });
    const lines = reader.lines.value;
    const found = reader.search.value.state === "found" ? lines[lineOf(lines, reader.search.value.at)] : undefined;
    expect(found).toMatchObject({ text: "line 1230" });
    await reader.find("nowhere", null);
    expect(reader.search.value).toMatchObject({ state: "not-found" });
  });

  test("all bytes of a stream can be had", async () => {
    const records = [chunk("out", 0, 1, "STDOUT"), chunk("err", 0, 2, "STDERR"), chunk("put", 3, 3, "STDOUT")];
    const blob = await new LogReader(source(records)).bytes("STDOUT", () => {}, new AbortController().signal);
    expect(await blob.text()).toBe("output");
  });
});

test("a permalink names a place, and is read again", () => {
  const place = { incarnation: 1_762_041_600_000, stream: "STDERR", offset: 42 };
  expect(fromFragment(fragment(place))).toEqual(place);
  expect(fromFragment("offset=7")).toEqual({ incarnation: null, stream: null, offset: 7 });
  for (const none of ["", "offset=", "offset=-1", "offset=1e9", "stream=stdout"]) expect(fromFragment(none)).toBeNull();
});

test("lines of the answer are records, and unknown ones are none", () => {
  expect(record('{"output":{"commandId":"c","content":"aGk=","encoding":"base64","incarnation":1,"offset":2,"sequence":3,"streamType":"TERMINAL","timestamp":4}}')).toEqual(
    { kind: "bytes", incarnation: 1, sequence: 3, stream: "TERMINAL", offset: 2, at: 4, bytes: bytes("hi") },
  );
  expect(record('{"gap":{"commandId":"c","incarnation":1,"offset":2,"sequence":3,"streamType":"STDOUT","because":"never-came"}}')).toMatchObject({
    kind: "gap",
    length: null,
    because: "never-came",
  });
  expect(record('{"end":{"status":"running","ended_at":null}}')).toEqual({ kind: "end", status: "running", ended: false });
  expect(record('{"later":1}')).toBeNull();
});
