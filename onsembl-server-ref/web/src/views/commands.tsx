// What was asked for, the newest first: from the database, with what the link tells of those that are open.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { errorText, get, path } from "../api.ts";
import type { CommandSummary } from "../api-types.ts";
import { plural } from "../lib/time.ts";
import { place, setQuery } from "../router.ts";
import { fleet } from "../store/app.ts";
import { isOver, isTerminal } from "../store/board.ts";
import { AgentSelect } from "../ui/agent-select.tsx";
import { Problem, useTitle } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { CommandRow, withLive } from "./command-row.tsx";

interface Page {
  commands: CommandSummary[];
  next?: string;
}

const A_PAGE = 100;
/** Pages that one look goes back: more is what a filter is for. */
const MOST_PAGES = 20;

const STATES = ["open", "running", "completed", "failed", "cancelled", "lost", "unknown"] as const;

export function CommandsView(): JSX.Element {
  const { query } = place.value;
  const agent = query.get("agent") ?? "";
  const state = STATES.find((word) => word === query.get("state")) ?? null;
  const text = (query.get("q") ?? "").toLowerCase();
  const revision = fleet.commandRevision.value;
  const [older, setOlder] = useState<{ of: string; pages: Page[] }>({ of: agent, pages: [] });
  const [moreError, setMoreError] = useState<string | null>(null);
  const [isLoading, setLoading] = useState(false);
  useTitle("Commands");

  const address = (after: string | null): string =>
    path`/api/commands?limit=${A_PAGE}` +
    (agent === "" ? "" : path`&agent=${agent}`) +
    (after === null ? "" : path`&after=${after}`);
  const first = useQuery<Page>(`commands ${agent}`, (signal) => get<Page>(address(null), signal), 30_000);

  // The link tells of a command before anybody asks for its text.
  const known = new Set(first.data?.commands.map((command) => command.command_id));
  const isNew = [...fleet.board.commands.values()].some(
    (command) => !isOver(command.phase) && !isTerminal(command.id) && !known.has(command.id) && (agent === "" || command.agentId === agent),
  );
  useEffect(() => {
    if (!isNew || first.data === null) return;
    const handle = setTimeout(first.reload, 400);
    return () => clearTimeout(handle);
  }, [isNew, revision]);

  const pages = older.of === agent ? older.pages : [];
  const all = [first.data, ...pages].flatMap((page) => page?.commands ?? []);
  const seen = new Set<string>();
  const listed = all.filter(({ command_id }) => !seen.has(command_id) && seen.add(command_id)).map(withLive);
  const found = listed.filter((command) => {
    if (state === "open" ? isOver(command.status) : state !== null && command.status !== state) return false;
    if (text === "") return true;
    const name = fleet.board.agents.get(command.agent_id)?.name ?? "";
    return `${command.text} ${command.command_id} ${name} ${command.cause ?? ""}`.toLowerCase().includes(text);
  });
  const next = (pages.length === 0 ? first.data : pages.at(-1))?.next ?? null;

  const more = async (): Promise<void> => {
    setLoading(true);
    setMoreError(null);
    try {
      const page = await get<Page>(address(next));
      setOlder({ of: agent, pages: [...pages, page] });
    } catch (error) {
      setMoreError(errorText(error));
    } finally {
      setLoading(false);
    }
  };

  return (
    <div class="page commands">
      <h1>Commands</h1>
      <div class="filters">
        <div class="field">
          <label for="by-agent">Agent</label>
          <AgentSelect id="by-agent" value={agent} all="all" onChange={(id) => setQuery({ agent: id })} />
        </div>
        <div class="field">
          <label for="by-state">State</label>
          <select id="by-state" value={state ?? ""} onChange={(event) => setQuery({ state: event.currentTarget.value })}>
            <option value="">all</option>
            {STATES.map((word) => (
              <option key={word} value={word}>
                {word}
              </option>
            ))}
          </select>
        </div>
        <div class="field grow">
          <label for="by-text">Text</label>
          <input
            id="by-text"
            type="search"
            autocomplete="off"
            spellcheck={false}
            value={query.get("q") ?? ""}
            onInput={(event) => setQuery({ q: event.currentTarget.value })}
          />
        </div>
      </div>
      {first.error !== null && <Problem retry={first.reload}>{first.error}</Problem>}
      {first.data === null ? (
        first.error === null && <p class="quiet" role="status">Asking the server…</p>
      ) : (
        <>
          <ul class="rows" aria-label="Commands, the newest first">
            {found.map((command) => (
              <CommandRow key={command.command_id} command={command} />
            ))}
          </ul>
          <p class="quiet">
            {found.length === 0
              ? listed.length === 0
                ? "Nothing was asked for yet."
                : "None of the listed commands fits the filter."
              : found.length === listed.length ? `${plural(listed.length, "command")}${next === null ? "" : ", the latest ones"}.` : `${plural(found.length, "command")} of the latest ${listed.length}.`}
            {next !== null && pages.length >= MOST_PAGES && " Older ones are found by an agent: choose one above."}
          </p>
          {moreError !== null && <Problem>{moreError}</Problem>}
          {next !== null && pages.length < MOST_PAGES && (
            <button type="button" class="more" disabled={isLoading} onClick={() => void more()}>
              {isLoading ? "Asking…" : "Show older ones"}
            </button>
          )}
        </>
      )}
    </div>
  );
}

