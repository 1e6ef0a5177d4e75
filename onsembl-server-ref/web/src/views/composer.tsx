// Asking an agent for something: a command, or a text typed into its program. Each request shows its receipts, and
// one whose answer was lost can be sent again under the same id, which never runs twice.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { newId } from "../lib/ids.ts";
import { plural } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { Refused } from "../link/link.ts";
import { pathOf } from "../router.ts";
import { fleet, fleetLink } from "../store/app.ts";
import { isInSession, type Agent } from "../store/board.ts";
import { isReadOnly } from "../store/session.ts";
import { endWords } from "../store/words.ts";
import type { CommandInput, CommandRequest } from "../wire.gen.ts";
import { PhaseMark } from "../ui/icons.tsx";
import { Section } from "../ui/parts.tsx";

interface Sent {
  readonly request: IdentifiedRequest;
  readonly state: "asking" | "stored" | "refused" | "unanswered";
  readonly because: string;
}

/** Longest text of a request, bytes. */
const LONGEST = 65_536;
/** Requests whose receipts stay on the page. */
const SHOWN = 3;

/** A request whose id the page has chosen, so that it can be followed and repeated. */
export type IdentifiedRequest = CommandRequest & { commandId: string };

export function requestOf(agentId: string, text: string, more: Partial<CommandRequest>): IdentifiedRequest {
  return {
    agentId,
    content: text,
    command: text,
    type: "NATURAL",
    priority: 5,
    args: [],
    executionConstraints: {},
    ...more,
    commandId: newId(),
  };
}

/** Sends a request and tells what became of it. */
export async function send(request: IdentifiedRequest): Promise<Pick<Sent, "state" | "because">> {
  try {
    await fleetLink.ask("COMMAND_REQUEST", request);
    return { state: "stored", because: "" };
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    return { state: error instanceof Refused ? "refused" : "unanswered", because };
  }
}

export function Composer({ agent }: { agent: Agent }): JSX.Element | null {
  const [text, setText] = useState("");
  const [input, setInput] = useState<CommandInput>("text");
  const [refuseIfAway, setRefuse] = useState(false);
  const [sent, setSent] = useState<readonly Sent[]>([]);
  void fleet.commandRevision.value;
  const hasTerminal = fleet.board.terminalOf(agent.id) !== null;
  const bytes = new TextEncoder().encode(text).length;
  const isLive = fleetLink.state.value.is === "live";
  if (isReadOnly()) return null;

  const put = (request: IdentifiedRequest, what: Pick<Sent, "state" | "because">): void => {
    setSent((before) => {
      const others = before.filter((one) => one.request.commandId !== request.commandId);
      return [{ request, ...what }, ...others].slice(0, SHOWN);
    });
  };
  const ask = async (request: IdentifiedRequest): Promise<void> => {
    put(request, { state: "asking", because: "" });
    put(request, await send(request));
  };
  const submit = (): void => {
    if (text === "" || bytes > LONGEST || !isLive) return;
    const request = requestOf(agent.id, text, {
      offline: refuseIfAway || input === "secret" ? "refuse" : "queue",
      ...(input === "text" ? {} : { input }),
    });
    setText("");
    void ask(request);
  };

  const label = hasTerminal ? "Text for its program" : "Command";
  return (
    <Section title={hasTerminal ? "Tell it" : "Run"} id="run">
      <form
        class="composer"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {input === "secret" ? (
          <input
            type="password"
            aria-label="Secret for its program: neither stored nor shown"
            autocomplete="off"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        ) : (
          <textarea
            rows={2}
            aria-label={input === "keys" ? "Names of keys, with spaces between" : label}
            placeholder={input === "keys" ? "escape, ctrl-c, enter, up …" : hasTerminal ? "A prompt, as it would be typed" : "A command line"}
            spellcheck={hasTerminal && input === "text"}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                submit();
              }
            }}
          />
        )}
        <div class="row">
          {hasTerminal && (
            <select aria-label="What it is" value={input} onChange={(event) => setInput(event.currentTarget.value as CommandInput)}>
              <option value="text">a text</option>
              <option value="keys">keys</option>
              <option value="secret">a secret</option>
            </select>
          )}
          <label class="check">
            <input type="checkbox" checked={refuseIfAway} onChange={(event) => setRefuse(event.currentTarget.checked)} />
            only if it is there now
          </label>
          <button type="submit" class="primary" disabled={text === "" || bytes > LONGEST || !isLive}>
            Send
          </button>
        </div>
        {bytes > LONGEST && <p class="bad">This is {plural(bytes, "byte")}; a request takes {LONGEST}. `onsembl exec` sends longer ones.</p>}
        {!isLive && <p class="quiet">There is no connection to the server; nothing can be sent now.</p>}
        {!isInSession(agent.status) && !refuseIfAway && input !== "secret" && (
          <p class="quiet">It is away: what you send waits for it, for a day at most.</p>
        )}
      </form>
      {sent.length > 0 && (
        <ul class="receipts-list" aria-label="What became of it">
          {sent.map((one) => (
            <Receipt key={one.request.commandId} sent={one} again={() => void ask(one.request)} />
          ))}
        </ul>
      )}
    </Section>
  );
}

function Receipt({ sent, again }: { sent: Sent; again: () => void }): JSX.Element {
  const { request, state, because } = sent;
  const live = fleet.board.commands.get(request.commandId);
  const phase = live?.phase ?? "pending";
  const end = live === undefined ? null : endWords(live);
  const what = request.input === "secret" ? "[secret]" : shown(request.content, 120);
  return (
    <li>
      <PhaseMark phase={state === "refused" ? "failed" : state === "unanswered" && live === undefined ? "unknown" : phase} />
      <span class="what">
        <a href={pathOf({ view: "command", id: request.commandId })}>
          <code>{what}</code>
        </a>
        <small class="quiet">
          {state === "refused"
            ? `refused: ${shown(because)}`
            : live !== undefined
              ? `${shown(phase)}${end === null ? "" : `, ${end}`}: ${shown(live.because)}`
              : state === "stored"
                ? "stored"
                : state === "unanswered"
                  ? shown(because)
                  : "being sent…"}
        </small>
      </span>
      {state === "unanswered" && live === undefined && (
        <button type="button" onClick={again} title="Under the same id: it never runs twice">
          Send again
        </button>
      )}
    </li>
  );
}
