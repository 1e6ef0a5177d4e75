// Orders to an agent that are no commands, each with its receipts: sent, and seen in what the agent shows.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { errorText, path, post, remove } from "../api.ts";
import { clock } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { navigate } from "../router.ts";
import { fleet } from "../store/app.ts";
import { isInSession, type Agent } from "../store/board.ts";
import type { ControlAction } from "../wire.gen.ts";
import { Dialog, Problem, Section } from "../ui/parts.tsx";

interface Order {
  readonly action: ControlAction;
  readonly at: number;
  readonly state: "asking" | "sent" | "failed";
  readonly because: string;
  /** What the agent showed when it was given. */
  readonly version: number;
}

const WORDS: Readonly<Record<string, { word: string; done: string; waits: string }>> = {
  PAUSE: { word: "Pause", done: "it shows that it is paused", waits: "it has not shown that it is paused yet" },
  RESUME: { word: "Resume", done: "it shows that it goes on", waits: "it still shows that it is paused" },
  RESTART: { word: "Restart", done: "its presence changed", waits: "it has not left its session yet" },
  STOP: { word: "End", done: "it left its session", waits: "it has not left its session yet" },
};

/** Orders whose receipts stay on the page. */
const SHOWN = 4;

export function Controls({ agent }: { agent: Agent }): JSX.Element {
  const [orders, setOrders] = useState<readonly Order[]>([]);
  const [confirm, setConfirm] = useState<"RESTART" | "STOP" | "FORGET" | null>(null);
  const isThere = isInSession(agent.status);

  const give = async (action: ControlAction): Promise<void> => {
    const order: Order = { action, at: Date.now(), state: "asking", because: "", version: agent.presenceVersion };
    const put = (next: Order): void =>
      setOrders((before) => [next, ...before.filter((one) => one.at !== order.at)].slice(0, SHOWN));
    put(order);
    try {
      await post(path`/api/agents/${agent.id}/control`, { action });
      put({ ...order, state: "sent" });
    } catch (error) {
      put({ ...order, state: "failed", because: errorText(error) });
    }
  };

  return (
    <Section title="Orders" id="orders">
      <div class="orders">
        {agent.paused ? (
          <button type="button" disabled={!isThere} onClick={() => void give("RESUME")}>
            Resume
          </button>
        ) : (
          <button type="button" disabled={!isThere} title="It starts nothing new until it is resumed" onClick={() => void give("PAUSE")}>
            Pause
          </button>
        )}
        <button type="button" disabled={!isThere} onClick={() => setConfirm("RESTART")}>
          Restart…
        </button>
        <button type="button" disabled={!isThere} onClick={() => setConfirm("STOP")}>
          End…
        </button>
        <a class="button" href={`/stop?agent=${encodeURIComponent(agent.id)}`}>
          Emergency stop…
        </a>
        <a class="button" href={path`/api/agents/${agent.id}/recording`} download={`${agent.name}.jsonl`}>
          Recording
        </a>
        <button type="button" class="plain bad" onClick={() => setConfirm("FORGET")}>
          Forget…
        </button>
      </div>
      {!isThere && <p class="quiet">It is away: orders reach it only in session. An emergency stop waits for it.</p>}
      {orders.length > 0 && (
        <ul class="receipts-list" aria-label="What became of the orders">
          {orders.map((order) => (
            <li key={order.at}>
              <span class="what">
                {WORDS[order.action]?.word ?? order.action}, {clock(order.at)}
                <small class="quiet">{receipt(order, agent)}</small>
              </span>
            </li>
          ))}
        </ul>
      )}
      {confirm === "FORGET" && <Forget agent={agent} onClose={() => setConfirm(null)} />}
      {(confirm === "RESTART" || confirm === "STOP") && (
        <Dialog title={confirm === "STOP" ? "End the agent" : "Restart the agent"} onClose={() => setConfirm(null)}>
          <h2>
            {confirm === "STOP" ? "End" : "Restart"} <bdi>{shown(agent.name)}</bdi>?
          </h2>
          <p>
            {confirm === "STOP"
              ? "Its process ends, and with it what it runs. It does not come back by itself."
              : "Its process ends, and with it what it runs. It comes back if something on its machine starts it again."}
          </p>
          <div class="dialog-buttons">
            <button type="button" onClick={() => setConfirm(null)}>
              Leave it
            </button>
            <button
              type="button"
              class="danger"
              onClick={() => {
                setConfirm(null);
                void give(confirm);
              }}
            >
              {confirm === "STOP" ? "End it" : "Restart it"}
            </button>
          </div>
        </Dialog>
      )}
    </Section>
  );
}

function receipt(order: Order, agent: Agent): string {
  if (order.state === "asking") return "being sent…";
  if (order.state === "failed") return `not sent: ${shown(order.because)}`;
  const words = WORDS[order.action];
  const isDone =
    order.action === "PAUSE" ? agent.paused
    : order.action === "RESUME" ? !agent.paused
    : order.action === "STOP" ? !isInSession(agent.status)
    : agent.presenceVersion !== order.version;
  return `sent; ${isDone ? words?.done : words?.waits}`;
}

function Forget({ agent, onClose }: { agent: Agent; onClose: () => void }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<string | null>(null);
  const isRight = typed === agent.name;
  const go = async (): Promise<void> => {
    setError(null);
    try {
      await remove(path`/api/agents/${agent.id}`);
      fleet.forget(agent.id);
      onClose();
      navigate("/fleet");
    } catch (failed) {
      setError(errorText(failed));
    }
  };
  return (
    <Dialog title="Forget the agent" onClose={onClose}>
      <h2>
        Forget <bdi>{shown(agent.name)}</bdi>?
      </h2>
      <p>
        It is sent away. Its key stays reserved as long as the server keeps history, so it cannot return as a new agent; its
        commands and their output stay listed until they are deleted by age.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isRight) void go();
        }}
      >
        <div class="field">
          <label for="forget-name">
            Type its name, <strong>{shown(agent.name)}</strong>, to forget it
          </label>
          <input id="forget-name" type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </div>
        {error !== null && <Problem>{error}</Problem>}
        <div class="dialog-buttons">
          <button type="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" class="danger" disabled={!isRight}>
            Forget it
          </button>
        </div>
      </form>
    </Dialog>
  );
}
