// The box below a terminal: a text that is typed as one submission, whoever has the keyboard (P-222), and what became of
// it. A text may have lines; Enter sends, Shift and Enter begins a line.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Link } from "../link/link.ts";
import type { CommandRequest } from "../wire.gen.ts";
import type { Controller } from "./controller.ts";
import { shown } from "../lib/shown.ts";
import { isOver } from "./messages.ts";

/** Bytes of a text that goes in one request. */
const MOST = 60 * 1024;
/** Texts that are kept for the arrow keys, in this tab only. */
const KEPT = 50;
/** Receipts that are shown. */
const RECEIPTS = 3;

const histories = new Map<string, string[]>();

interface Receipt {
  readonly id: string;
  readonly text: string;
  readonly status: string;
  readonly because: string;
}

export function SubmitBox({ controller, link }: { controller: Controller; link: Link }) {
  const [text, setText] = useState("");
  const [onlyIfWaiting, setOnlyIfWaiting] = useState(false);
  const [receipts, setReceipts] = useState<readonly Receipt[]>([]);
  const [refusal, setRefusal] = useState("");
  /** How far back in the history, from 1; 0 for the text that is being written. */
  const back = useRef({ at: 0, draft: "" });
  const agentId = controller.agent.value;
  const over = controller.lane.value === "over";

  useEffect(
    () =>
      link.listen({
        message(message) {
          if (message.type !== "COMMAND_STATUS") return;
          const { commandId, status, because, error } = message.payload;
          setReceipts((known) =>
            known.map((one) => (one.id === commandId ? { ...one, status, because: error ?? because ?? "" } : one)),
          );
          if (isOver(status) && receipts.some((one) => one.id === commandId)) {
            link.send("DASHBOARD_UNSUBSCRIBE", { type: "command", id: commandId });
          }
        },
      }),
    [link, receipts],
  );

  const send = (): void => {
    if (text.trim() === "" || agentId === null || over) return;
    if (new TextEncoder().encode(text).length > MOST) {
      setRefusal("This text is longer than 60 KiB; `onsembl exec --text-from` sends up to 1 MiB.");
      return;
    }
    const id = newId();
    const request: CommandRequest = {
      commandId: id,
      agentId,
      content: text,
      command: text,
      type: "NATURAL",
      priority: 5,
      args: [],
      executionConstraints: {},
      offline: "refuse",
      ...(onlyIfWaiting ? { if: "waiting" as const } : {}),
    };
    setRefusal("");
    setReceipts((known) => [{ id, text, status: "sent", because: "" }, ...known].slice(0, RECEIPTS));
    link.request(
      "COMMAND_REQUEST",
      request,
      () => {},
      (error) => {
        setReceipts((known) => known.filter((one) => one.id !== id));
        setRefusal(error.message);
        setText((now) => (now === "" ? text : now));
      },
    );
    link.send("DASHBOARD_SUBSCRIBE", { type: "command", id });
    remember(agentId, text);
    back.current = { at: 0, draft: "" };
    setText("");
  };

  const recall = (step: 1 | -1): void => {
    const history = histories.get(agentId ?? "") ?? [];
    const at = Math.min(Math.max(back.current.at + step, 0), history.length);
    if (at === back.current.at) return;
    if (back.current.at === 0) back.current.draft = text;
    back.current.at = at;
    setText(at === 0 ? back.current.draft : (history[history.length - at] ?? ""));
  };

  return (
    <form
      class="terminal-submit"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <ul class="terminal-receipts" aria-label="What was sent">
        {receipts.map((one) => (
          <li key={one.id}>
            <a href={`/commands/${encodeURIComponent(one.id)}`}>{shown(one.text, 40)}</a> {shown(one.status, 40)}
            {one.because !== "" && <span>: {shown(one.because, 200)}</span>}
          </li>
        ))}
      </ul>
      {refusal !== "" && (
        <p class="problem" role="alert">
          {shown(refusal, 300)}
        </p>
      )}
      <div class="terminal-submit-row">
        <label>
          <span class="unseen">Text for the program</span>
          <textarea
            value={text}
            rows={Math.min(8, text.split("\n").length)}
            placeholder={over ? "The terminal has ended" : "Text for the program"}
            title="Enter sends, Shift and Enter begins a line, the arrow keys recall"
            disabled={over || agentId === null}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => {
              back.current.at = 0;
              setText(event.currentTarget.value);
            }}
            onKeyDown={(event) => {
              const { value, selectionStart, selectionEnd } = event.currentTarget;
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                send();
              } else if (event.key === "ArrowUp" && !value.slice(0, selectionStart).includes("\n")) {
                recall(1);
                event.preventDefault();
              } else if (event.key === "ArrowDown" && back.current.at > 0 && !value.slice(selectionEnd).includes("\n")) {
                recall(-1);
                event.preventDefault();
              }
            }}
          />
        </label>
        <button type="submit" class="primary" disabled={text.trim() === "" || over || agentId === null}>
          Send
        </button>
      </div>
      <label class="check terminal-if">
        <input type="checkbox" checked={onlyIfWaiting} onChange={(event) => setOnlyIfWaiting(event.currentTarget.checked)} />
        Only if the program waits for a prompt
      </label>
    </form>
  );
}

/** An id for a command. `crypto.randomUUID` is missing where a page is served without TLS. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function remember(agent: string, text: string): void {
  const history = (histories.get(agent) ?? []).filter((known) => known !== text);
  histories.set(agent, [...history, text].slice(-KEPT));
}
