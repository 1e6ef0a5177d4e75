// Ctrl-K: agents, commands, views and actions, by what is typed.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { best } from "../lib/fuzzy.ts";
import { shown } from "../lib/shown.ts";
import { navigate, pathOf } from "../router.ts";
import { KIND_WORDS } from "../store/attention.ts";
import { isTerminal } from "../store/board.ts";
import { fleet } from "../store/app.ts";
import { density, theme } from "../store/prefs.ts";
import { isReadOnly } from "../store/session.ts";
import { leave } from "../views/leave.ts";
import { Dialog } from "./parts.tsx";

interface Choice {
  readonly group: "Agents" | "Commands" | "Views" | "Actions";
  readonly text: string;
  readonly detail: string;
  readonly run: () => void;
}

const MOST = 12;

function choices(): Choice[] {
  const go = (to: string) => (): void => navigate(to);
  const agents = fleet.order.peek().map((id): Choice => {
    const agent = fleet.board.agents.get(id);
    const kind = fleet.entry(id)?.kind;
    return {
      group: "Agents",
      text: shown(agent?.name ?? id),
      detail: `${agent?.status ?? ""}${kind === undefined ? "" : `, ${KIND_WORDS[kind]}`}`,
      run: go(pathOf({ view: "agent", id })),
    };
  });
  const commands = [...fleet.board.commands.values()].reverse().map((command): Choice => {
    const agent = command.agentId === null ? null : fleet.board.agents.get(command.agentId);
    const terminal = isTerminal(command.id);
    return {
      group: "Commands",
      text: terminal ? `terminal of ${shown(agent?.name ?? command.id)}` : `${shown(agent?.name ?? "")} ${shown(command.id)}`.trim(),
      detail: `${shown(command.phase)}: ${shown(command.because)}`,
      run: go(pathOf(terminal ? { view: "terminal", id: command.id, log: false } : { view: "command", id: command.id })),
    };
  });
  const views: Choice[] = [
    ["Fleet", "every agent, what needs you first", "/fleet"],
    ["Commands", "what was asked for", "/commands"],
    ["Incidents", "what happened to many agents at once", "/incidents"],
    ["Settings", "sessions, tokens, retention", "/settings"],
  ].map(([text = "", detail = "", to = ""]): Choice => ({ group: "Views", text, detail, run: go(to) }));
  const actions: Choice[] = [
    { group: "Actions", text: "Emergency stop…", detail: "Ctrl Shift .", run: go("/stop") },
    ...(["system", "light", "dark"] as const).map(
      (name): Choice => ({
        group: "Actions",
        text: `Look: ${name}`,
        detail: theme.peek() === name ? "in use" : "",
        run: () => (theme.value = name),
      }),
    ),
    ...(["comfortable", "compact"] as const).map(
      (name): Choice => ({
        group: "Actions",
        text: `Rows: ${name}`,
        detail: density.peek() === name ? "in use" : "",
        run: () => (density.value = name),
      }),
    ),
    { group: "Actions", text: "Sign out", detail: isReadOnly() ? "read-only session" : "", run: () => void leave() },
  ];
  return [...agents, ...views, ...actions, ...commands];
}

export function Palette({ onClose }: { onClose: () => void }): JSX.Element {
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const all = useMemo(choices, []);
  const found = useMemo(() => best(query, all, ({ text, detail }) => `${text} ${detail}`, MOST), [query, all]);
  const chosen = Math.min(at, Math.max(found.length - 1, 0));

  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [chosen, found]);

  const run = (choice: Choice | undefined): void => {
    if (choice === undefined) return;
    onClose();
    choice.run();
  };
  const key = (event: KeyboardEvent): void => {
    const last = found.length - 1;
    const to =
      event.key === "ArrowDown" ? (chosen >= last ? 0 : chosen + 1)
      : event.key === "ArrowUp" ? (chosen <= 0 ? last : chosen - 1)
      : event.key === "PageDown" ? last
      : event.key === "PageUp" ? 0
      : null;
    if (to !== null) {
      event.preventDefault();
      setAt(Math.max(to, 0));
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(found[chosen]);
    }
  };

  return (
    <Dialog title="Find an agent, a command, a view or an action" class="palette" onClose={onClose}>
      <input
        type="text"
        role="combobox"
        aria-expanded={found.length > 0}
        aria-controls="palette-list"
        aria-activedescendant={found.length === 0 ? undefined : `palette-${chosen}`}
        aria-autocomplete="list"
        aria-label="Find an agent, a command, a view or an action"
        placeholder="Agent, command, view or action"
        autocomplete="off"
        spellcheck={false}
        autoFocus
        value={query}
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={key}
      />
      <ul id="palette-list" role="listbox" aria-label="Found" ref={list} hidden={found.length === 0}>
        {found.map((choice, n) => (
          <li
            key={`${choice.group} ${choice.text} ${n}`}
            id={`palette-${n}`}
            role="option"
            aria-selected={n === chosen}
            onPointerMove={() => setAt(n)}
            onClick={() => run(choice)}
          >
            <span class="text">{choice.text}</span>
            <span class="detail">{choice.detail}</span>
            <span class="group">{choice.group}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && (
        <p class="quiet" role="status">
          Nothing fits.
        </p>
      )}
    </Dialog>
  );
}
