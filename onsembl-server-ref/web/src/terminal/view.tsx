// The live view of one terminal: what surrounds the emulator. What is shown is published by `Controller`; nothing is
// decided here.

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { shown } from "../lib/shown.ts";
import { bytes, clock } from "../lib/time.ts";
import { announcer } from "../store/announce.ts";
import { useTitle } from "../ui/parts.tsx";
import { Controller } from "./controller.ts";
import { Asking } from "./dialog.tsx";
import type { TerminalProps } from "./index.tsx";
import { KeyBar } from "./keys.tsx";
import { request } from "./request.ts";
import { SubmitBox } from "./submit.tsx";
import { gapWords, keyboardWords, laneWords } from "./words.ts";

const SCREEN_READER = "onsembl-terminal-screen-reader";

/** Whether the emulator describes its rows for screen readers; remembered. */
function remembered(): boolean {
  try {
    return localStorage.getItem(SCREEN_READER) === "on";
  } catch {
    return false;
  }
}

/** What stands at the lower end of the page, over the content. */
const BELOW = ".foot, .rail";

/** The height between the top of an element and what is at the lower end, also with a soft keyboard in front of it. */
export function useVisibleHeight(): { current: HTMLElement | null } {
  const element = useRef<HTMLElement | null>(null);
  useEffect(() => {
    const viewport = window.visualViewport;
    const measure = (): void => {
      const section = element.current;
      if (section === null) return;
      const top = section.getBoundingClientRect().top + window.scrollY;
      let bottom = viewport === null ? window.innerHeight : viewport.height;
      for (const other of document.querySelectorAll(BELOW)) {
        const box = other.getBoundingClientRect();
        if (box.width > window.innerWidth / 2 && box.height > 0) bottom = Math.min(bottom, box.top);
      }
      section.style.setProperty("--visible-height", `${Math.max(320, Math.floor(bottom - top - 12))}px`);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    viewport?.addEventListener("resize", measure);
    window.addEventListener("resize", measure);
    return () => {
      observer.disconnect();
      viewport?.removeEventListener("resize", measure);
      window.removeEventListener("resize", measure);
    };
  }, []);
  return element;
}

export function LiveTerminal(props: TerminalProps) {
  const { commandId, agentId, agentName, readOnly, typistName, feed } = props;
  const frame = useRef<HTMLDivElement>(null);
  const section = useVisibleHeight();
  const [screenReader, setScreenReader] = useState(remembered);
  /** Where the pointer is coarse a soft keyboard is likely, which lacks keys. */
  const [keys, setKeys] = useState(() => matchMedia("(pointer: coarse)").matches);
  const [controller, setController] = useState<Controller | null>(null);

  useEffect(() => {
    if (frame.current === null) return;
    const around = { terminal: commandId, agent: agentId, name: typistName, link: feed.link, fetch: request };
    const opened = new Controller(frame.current, around, screenReader);
    setController(opened);
    return () => {
      setController(null);
      opened.close();
    };
    // Another agent id is only learned later, and another name changes nothing.
  }, [commandId, feed]);

  useEffect(() => {
    if (controller === null) return;
    controller.screenReader = screenReader;
    try {
      localStorage.setItem(SCREEN_READER, screenReader ? "on" : "off");
    } catch {
      // It is not remembered then.
    }
  }, [controller, screenReader]);

  const name = agentName ?? agentId ?? controller?.agent.value ?? "an agent";
  useTitle(`Terminal of ${shown(name, 40)}`);
  return (
    <section class="terminal" ref={section} aria-label={`Terminal of ${shown(name, 80)}`}>
      <Head name={name} commandId={commandId} controller={controller}>
        {!readOnly && (
          <button type="button" aria-pressed={keys} title="Keys that a soft keyboard lacks" onClick={() => setKeys(!keys)}>
            Keys
          </button>
        )}
        <button type="button" aria-pressed={screenReader} onClick={() => setScreenReader(!screenReader)}>
          Screen reader
        </button>
      </Head>
      {controller !== null && <Keyboard controller={controller} readOnly={readOnly} />}
      {controller !== null && <MissingParts controller={controller} commandId={commandId} />}
      <div class="terminal-outer">
        <div class="terminal-frame" ref={frame} />
        {controller !== null && <Follow controller={controller} />}
      </div>
      {controller !== null && <Footer controller={controller} />}
      {controller !== null && !readOnly && keys && <KeyBar controller={controller} />}
      {controller !== null && !readOnly && <SubmitBox controller={controller} link={feed.link} />}
      {controller !== null && <Asking controller={controller} />}
    </section>
  );
}

interface HeadProps {
  name: string;
  commandId: string;
  controller: Controller | null;
  /** Further tools. */
  children: ComponentChildren;
}

function Head({ name, commandId, controller, children }: HeadProps) {
  const [finding, setFinding] = useState(false);
  const lane = controller?.lane.value ?? "away";
  const size = controller?.size.value ?? null;
  const title = controller?.title.value ?? "";
  const holds = controller?.keyboard.value.mode === "on";
  const base = `/terminals/${encodeURIComponent(commandId)}`;
  return (
    <header class="terminal-head">
      <h1>
        {shown(name, 80)}
        {title !== "" && <small class="terminal-title"> {shown(title, 120)}</small>}
      </h1>
      <p class="terminal-state">
        <span class="terminal-lane" data-lane={lane}>
          {laneWords(lane)}
        </span>
        {size !== null && (
          <span class="quiet" title="Columns and rows of the terminal">
            {size.columns} × {size.rows}
          </span>
        )}
      </p>
      <div class="terminal-tools" role="toolbar" aria-label="Terminal">
        <a class="button" href={`${base}/log`}>
          Open as log
        </a>
        <button type="button" aria-expanded={finding} onClick={() => setFinding(!finding)}>
          Find
        </button>
        {holds && (
          <button type="button" title="The program gets the size that fits into this window" onClick={() => controller?.takeSize()}>
            Fit to window
          </button>
        )}
        <button type="button" title="Fetch the screen again" onClick={() => controller?.redraw()}>
          Redraw
        </button>
        {children}
        <a class="button" href={`/api/commands/${encodeURIComponent(commandId)}/screen?format=text`} target="_blank" rel="noopener">
          As text
        </a>
      </div>
      {finding && controller !== null && <Find controller={controller} onClose={() => setFinding(false)} />}
    </header>
  );
}

function Find({ controller, onClose }: { controller: Controller; onClose: () => void }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(true);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    input.current?.focus();
    return () => void controller.find("", "next");
  }, [controller]);
  const look = (words: string, direction: "next" | "previous"): void => {
    const isFound = words === "" || controller.find(words, direction);
    if (!isFound) announcer.say("find", "Not found.");
    setFound(isFound);
  };
  return (
    <form
      class="terminal-find"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        look(text, "next");
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
        if (event.key === "Enter" && event.shiftKey) {
          event.preventDefault();
          look(text, "previous");
        }
      }}
    >
      <label>
        <span class="unseen">Find in what is shown</span>
        <input
          ref={input}
          type="search"
          value={text}
          placeholder="Find in what is shown"
          aria-invalid={!found}
          onInput={(event) => {
            setText(event.currentTarget.value);
            look(event.currentTarget.value, "next");
          }}
        />
      </label>
      <button type="button" onClick={() => look(text, "previous")}>
        Previous
      </button>
      <button type="submit">Next</button>
      {!found && <span class="bad">Not found. The log has all of it.</span>}
    </form>
  );
}

/** The lock: typing is off until it is asked for. */
function Keyboard({ controller, readOnly }: { controller: Controller; readOnly: boolean }) {
  const keyboard = controller.keyboard.value;
  const over = controller.lane.value === "over";
  const on = keyboard.mode !== "off" && keyboard.mode !== "held-by-other";
  const words = readOnly ? `This sign-in is read-only. ${keyboard.other === null ? "" : keyboardWords(keyboard)}` : keyboardWords(keyboard);
  useEffect(() => {
    if (keyboard.mode !== "asking") announcer.say("keyboard", words);
  }, [words]);
  const buttons = useRef<HTMLDivElement>(null);
  const left = controller.left.value;
  useEffect(() => {
    if (left > 0) buttons.current?.querySelector("button")?.focus();
  }, [left]);
  return (
    <div class="terminal-keyboard" data-mode={keyboard.mode}>
      <span class="terminal-lock" aria-hidden="true">
        {keyboard.mode === "on" ? "⌨" : "🔒"}
      </span>
      <p>{words}</p>
      {!readOnly && !over && (
        <div class="terminal-keyboard-buttons" ref={buttons}>
          {on ? (
            <button type="button" onClick={() => controller.wants("look")}>
              Stop typing
            </button>
          ) : keyboard.other === null ? (
            <button type="button" class="primary" onClick={() => controller.wants("type")}>
              Type here
            </button>
          ) : (
            <button type="button" onClick={() => controller.wants("take-over")}>
              Take over
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** What is not shown here: gaps that nobody has, and parts that were skipped. */
function MissingParts({ controller, commandId }: { controller: Controller; commandId: string }) {
  const parts = controller.missing.value;
  const whole = controller.whole.value;
  const log = `/terminals/${encodeURIComponent(commandId)}/log`;
  const lines = useMemo(() => [...parts].reverse(), [parts]);
  if (parts.length === 0 && whole) return null;
  const gaps = parts.filter((part) => part.kind === "gap").length;
  const skipped = parts.reduce((sum, part) => sum + (part.kind === "skipped" ? part.bytes : 0), 0);
  const summary = [
    gaps > 0 ? `${gaps} ${gaps === 1 ? "gap" : "gaps"}` : "",
    skipped > 0 ? `${bytes(skipped)} skipped, stored` : "",
    whole ? "" : "the screen is drawn from the latest output only",
  ].filter((part) => part !== "");
  return (
    <details class="terminal-missing">
      <summary>{summary.join(" · ")}</summary>
      <ul>
        {lines.map((part) => (
          <li key={`${part.kind} ${part.at}`} class="terminal-rule">
            {part.kind === "gap" ? (
              gapWords(part.gap)
            ) : (
              <>
                {bytes(part.bytes)} skipped at {clock(part.at)}: this page could not keep up. All of it is stored:{" "}
                <a href={`${log}#offset=${part.offset}`}>open as log</a>
              </>
            )}
          </li>
        ))}
      </ul>
    </details>
  );
}

/** The way back to the end, for a page that is scrolled up. */
function Follow({ controller }: { controller: Controller }) {
  const below = controller.below.value;
  if (below === 0) return null;
  const held = controller.lane.value === "held-back";
  return (
    <button
      type="button"
      class="terminal-follow"
      onClick={() => {
        controller.toEnd();
        controller.focus();
      }}
    >
      {below} {below === 1 ? "line" : "lines"} below{held ? ", more held back" : ""} – back to live
    </button>
  );
}

function Footer({ controller }: { controller: Controller }) {
  const [lane, why, next, notice, pointed] = [
    controller.lane.value,
    controller.why.value,
    controller.next.value,
    controller.notice.value,
    controller.pointed.value,
  ];
  useEffect(() => {
    if (notice !== "") announcer.say("terminal", shown(notice, 300));
  }, [notice]);
  useEffect(() => {
    if (lane === "over") announcer.say("terminal", `The terminal has ended: ${shown(why, 300)}.`);
  }, [lane]);
  return (
    <div class="terminal-foot">
      {lane === "over" && (
        <p class="terminal-over">
          The terminal has ended: {shown(why, 300)}.{" "}
          {next !== null && <a href={`/terminals/${encodeURIComponent(next)}`}>The agent has opened another one: go there</a>}
        </p>
      )}
      {lane === "away" && why !== "" && <p class="terminal-why">No screen yet: {shown(why, 300)}</p>}
      {notice !== "" && <p class="terminal-notice">{shown(notice, 300)}</p>}
      {pointed !== null && <p class="terminal-pointed">{shown(pointed, 200)}</p>}
    </div>
  );
}
