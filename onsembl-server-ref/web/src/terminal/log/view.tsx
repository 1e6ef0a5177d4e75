// The log view: stored output as lines, with search through all of it, permalinks and a download. Only the lines that
// are in sight are in the document.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { navigate } from "../../router.ts";
import { announcer } from "../../store/announce.ts";
import { useTitle } from "../../ui/parts.tsx";
import { shown } from "../../lib/shown.ts";
import { bytes as amount, clock, count } from "../../lib/time.ts";
import type { TerminalProps } from "../index.tsx";
import { request } from "../request.ts";
import { useVisibleHeight } from "../view.tsx";
import { gapWords } from "../words.ts";
import { type Line, type Look, paletteColour, PLAIN, type Span } from "./lines.ts";
import { fragment, fromFragment, lineOf, LogReader, placeOf, type Search } from "./reader.ts";
import { stored } from "./source.ts";

/** The height of a line, which the style sheet has too; in CSS pixels. */
const ROW = 20;
/** Lines above and below those in sight. */
const BESIDE = 20;
/** So near an end more is read. */
const NEAR = 40 * ROW;

export function LogView(props: TerminalProps) {
  const { commandId, agentName, hash } = props;
  const [reader, setReader] = useState<LogReader | null>(null);
  useEffect(() => {
    const opened = new LogReader(stored(commandId, request));
    setReader(opened);
    void opened.open(fromFragment(window.location.hash.slice(1)));
    return () => opened.close();
  }, [commandId]);
  useEffect(() => {
    const place = fromFragment(hash);
    if (reader === null || place === null) return;
    if (lineOf(reader.lines.value, place) >= 0) reader.wanted.value = place;
  }, [reader, hash]);
  const section = useVisibleHeight();
  const isTerminal = commandId.startsWith("terminal-");
  useTitle(`Log of ${shown(agentName ?? commandId, 40)}`);
  return (
    <section class="log" aria-label="Log" ref={section}>
      <header class="terminal-head">
        <h1>
          {shown(agentName ?? "Output", 80)} <small class="terminal-title">log of {isTerminal ? "its terminal" : "a command"} <code title={shown(commandId, 128)}>{shown(commandId.slice(-8))}</code></small>
        </h1>
        {reader !== null && <Tools reader={reader} commandId={commandId} isTerminal={isTerminal} />}
      </header>
      {reader !== null && <Rows reader={reader} commandId={commandId} />}
    </section>
  );
}

function Tools({ reader, commandId, isTerminal }: { reader: LogReader; commandId: string; isTerminal: boolean }) {
  const [words, setWords] = useState("");
  const search = reader.search.value;
  const found = searchWords(search);
  useEffect(() => {
    if (search.state === "found" || search.state === "not-found") announcer.say("find", found);
  }, [found]);
  const find = (again: boolean): void => {
    const behind = again && search.state === "found" ? search.at : null;
    void reader.find(words, behind);
  };
  return (
    <>
      <div class="terminal-tools" role="toolbar" aria-label="Log">
        {isTerminal && (
          <a class="button" href={`/terminals/${encodeURIComponent(commandId)}`}>
            Live
          </a>
        )}
        <button type="button" onClick={() => void reader.openStart()}>
          Start
        </button>
        <button type="button" onClick={() => void reader.open(null)}>
          End
        </button>
        <Download reader={reader} commandId={commandId} isTerminal={isTerminal} />
      </div>
      <form
        class="terminal-find"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          find(search.state === "found" && search.words === words);
        }}
      >
        <label>
          <span class="unseen">Find in all stored output</span>
          <input
            type="search"
            value={words}
            placeholder="Find in all stored output"
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </label>
        <button type="submit">{search.state === "found" && search.words === words ? "Next" : "Find"}</button>
        {search.state === "running" && (
          <button type="button" onClick={() => reader.stopSearch()}>
            Stop
          </button>
        )}
        <span class="quiet">{found}</span>
      </form>
    </>
  );
}

function searchWords(search: Search): string {
  switch (search.state) {
    case "none":
      return "";
    case "running":
      return `searched ${amount(search.bytes)} …`;
    case "found":
      return `found at byte ${count(search.at.offset)}`;
    case "not-found":
      return `not found in ${amount(search.bytes)}`;
  }
}

function Download({ reader, commandId, isTerminal }: { reader: LogReader; commandId: string; isTerminal: boolean }) {
  const [state, setState] = useState("");
  const work = useRef<AbortController | null>(null);
  useEffect(() => () => work.current?.abort(), []);
  const download = async (stream: string): Promise<void> => {
    work.current?.abort();
    work.current = new AbortController();
    try {
      const blob = await reader.bytes(stream, (bytes) => setState(amount(bytes)), work.current.signal);
      const url = URL.createObjectURL(blob);
      const link = document.createElement("a");
      link.href = url;
      link.download = `${commandId.replace(/[^A-Za-z0-9._-]/g, "_")}${isTerminal ? "" : `.${stream.toLowerCase()}`}.log`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      setState("");
    } catch (error) {
      setState(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <>
      {(isTerminal ? ["TERMINAL"] : ["STDOUT", "STDERR"]).map((stream) => (
        <button type="button" key={stream} onClick={() => void download(stream)}>
          Download{isTerminal ? "" : ` ${stream.toLowerCase()}`}
        </button>
      ))}
      <span class="quiet">{shown(state, 100)}</span>
    </>
  );
}

function Rows({ reader, commandId }: { reader: LogReader; commandId: string }) {
  const list = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  /** Whether the end is followed; until somebody scrolls up. */
  const follows = useRef(true);
  const lines = reader.lines.value;
  const rest = reader.rest.value;
  const wanted = reader.wanted.value;
  const all = lines.length + rest.length;

  const measure = (): void => {
    const element = list.current;
    if (element === null) return;
    const { scrollTop, clientHeight, scrollHeight } = element;
    follows.current = scrollTop + clientHeight >= scrollHeight - ROW;
    setView((before) => (before.top === scrollTop && before.height === clientHeight ? before : { top: scrollTop, height: clientHeight }));
    if (scrollTop < NEAR) void reader.earlier();
    if (scrollTop + clientHeight > scrollHeight - NEAR) void reader.later();
  };

  useEffect(() => {
    const element = list.current;
    if (element === null) return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [reader]);

  // What was put in front must not move what is in sight.
  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return;
    const { shifted } = reader;
    reader.shifted = 0;
    if (follows.current && wanted === null && reader.atEnd.value) element.scrollTop = element.scrollHeight;
    else if (shifted !== 0) element.scrollTop = Math.max(0, element.scrollTop + shifted * ROW);
    measure();
  }, [lines, rest]);

  useLayoutEffect(() => {
    const element = list.current;
    if (element === null || wanted === null) return;
    const at = lineOf(lines, wanted);
    if (at < 0) return;
    follows.current = false;
    element.scrollTop = Math.max(0, at * ROW - element.clientHeight / 3);
    measure();
  }, [wanted, wanted === null ? null : lines.length > 0]);

  const first = Math.max(0, Math.floor(view.top / ROW) - BESIDE);
  const last = Math.min(all, Math.ceil((view.top + view.height) / ROW) + BESIDE);
  const marked = wanted === null ? -1 : lineOf(lines, wanted);
  const state = stateWords(reader, all);
  return (
    <>
      <div class="log-lines" ref={list} role="log" aria-live="off" aria-label="Lines" tabIndex={0} onScroll={measure}>
        <div class="log-all" style={{ height: `${all * ROW}px` }}>
          <ol class="log-window" style={{ transform: `translateY(${first * ROW}px)` }}>
            {Array.from({ length: Math.max(0, last - first) }, (_, n) => {
              const line = lines[first + n] ?? rest[first + n - lines.length];
              return line === undefined ? null : (
                <Row key={`${line.incarnation} ${line.stream} ${line.offset} ${line.kind}`} line={line} marked={first + n === marked} commandId={commandId} reader={reader} />
              );
            })}
          </ol>
        </div>
      </div>
      <p class="log-state quiet">
        {state}
      </p>
    </>
  );
}

function stateWords(reader: LogReader, all: number): string {
  if (reader.why.value !== "") return shown(reader.why.value, 300);
  if (reader.busy.value === "opening") return "Opening …";
  if (all === 0 && reader.atEnd.value) return "No output is stored.";
  const end = reader.end.value;
  if (!reader.atEnd.value) return "There is more below.";
  return end?.ended === false ? "This is the end so far; new lines are added." : `This is the end: ${shown(end?.status ?? "", 40)}.`;
}

function Row({ line, marked, commandId, reader }: { line: Line; marked: boolean; commandId: string; reader: LogReader }) {
  const place = placeOf(line);
  const link = `/terminals/${encodeURIComponent(commandId)}/log#${fragment(place)}`;
  const time = line.at === null ? "" : clock(line.at);
  return (
    <li class={marked ? "log-row marked" : "log-row"} data-stream={line.stream} data-kind={line.kind}>
      <a
        class="log-at"
        href={link}
        title={`Byte ${line.offset}${line.at === null ? "" : `, ${new Date(line.at).toISOString()}`}: link to this line`}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          navigate(link, "replace");
          reader.wanted.value = place;
        }}
      >
        {time === "" ? String(line.offset) : time}
      </a>
      {line.kind === "gap" ? (
        <span class="terminal-rule">
          {gapWords({ at: { incarnation: line.incarnation, offset: line.offset }, length: line.length, because: line.because, timestamp: line.at })}
        </span>
      ) : (
        <code>{line.spans.map((span, n) => (span.look === PLAIN ? span.text : <Piece key={n} span={span} />))}</code>
      )}
    </li>
  );
}

function Piece({ span }: { span: Span }) {
  const { look, text } = span;
  return (
    <span class={classes(look)} style={colours(look)}>
      {text}
    </span>
  );
}

function classes(look: Look): string {
  const [front, back] = look.inverse ? [look.background, look.foreground] : [look.foreground, look.background];
  const names = [
    look.bold ? "bold" : "",
    look.faint ? "faint" : "",
    look.italic ? "italic" : "",
    look.underline ? "underline" : "",
    look.strike ? "strike" : "",
    look.inverse && front === null ? "inverse-text" : "",
    look.inverse && back === null ? "inverse-ground" : "",
    typeof front === "number" && front < 16 ? `fg-${front}` : "",
    typeof back === "number" && back < 16 ? `bg-${back}` : "",
  ];
  return names.filter((name) => name !== "").join(" ");
}

function colours(look: Look): { color?: string; backgroundColor?: string } {
  const [front, back] = look.inverse ? [look.background, look.foreground] : [look.foreground, look.background];
  const css = (colour: number | string | null): string | undefined =>
    typeof colour === "string" ? colour : colour !== null && colour >= 16 ? paletteColour(colour) : undefined;
  const [color, backgroundColor] = [css(front), css(back)];
  return { ...(color === undefined ? {} : { color }), ...(backgroundColor === undefined ? {} : { backgroundColor }) };
}
