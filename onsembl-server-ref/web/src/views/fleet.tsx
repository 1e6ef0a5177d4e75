// The fleet: every agent, what needs somebody first. The rows in the document are bounded; their order is held while
// somebody points at them.

import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { besides, visible, type Range } from "../lib/windowing.ts";
import { plural } from "../lib/time.ts";
import { place, setQuery } from "../router.ts";
import { fleet } from "../store/app.ts";
import { KINDS, KIND_WORDS, held, type Kind } from "../store/attention.ts";
import { density } from "../store/prefs.ts";
import { KindMark } from "../ui/icons.tsx";
import { useTitle } from "../ui/parts.tsx";
import { AgentRow } from "./agent-row.tsx";
import { EmptyFleet } from "./empty-fleet.tsx";

/** How long after the pointer left the order follows again, ms. */
const RELEASE_AFTER = 400;

export function FleetView(): JSX.Element {
  const total = useComputed(() => fleet.order.value.length).value;
  const isKnown = fleet.isKnown.value;
  useTitle("Fleet");

  if (total === 0) {
    return isKnown ? <EmptyFleet /> : <p class="page quiet" role="status">Asking the server which agents there are…</p>;
  }
  return <FleetList total={total} />;
}

function FleetList({ total }: { total: number }): JSX.Element {
  const { query } = place.value;
  const text = query.get("q") ?? "";
  const kind = KINDS.find((word) => word === query.get("kind")) ?? null;
  const counts = fleet.counts.value;
  const order = fleet.order.value;
  const wanted = useMemo(() => filtered(order, text, kind), [order, text, kind]);
  const { rows, moved, holding } = useHeldOrder(wanted, `${text} ${kind ?? ""}`);
  const isCompact = density.value === "compact";

  return (
    <div class="page fleet">
      <h1 class="unseen">Fleet</h1>
      <div class="filters">
        <div class="chips" role="group" aria-label="Show only agents that are">
          {KINDS.map((word) => (
            <button
              key={word}
              type="button"
              class={`chip ${word}`}
              aria-pressed={kind === word}
              disabled={counts[word] === 0 && kind !== word}
              onClick={() => setQuery({ kind: kind === word ? null : word })}
            >
              <KindMark kind={word} />
              <span>{KIND_WORDS[word]}</span>
              <strong>{counts[word]}</strong>
            </button>
          ))}
        </div>
        <div class="narrow">
          <input
            type="search"
            aria-label="Filter agents by name, type, host or reason"
            placeholder="Filter"
            value={text}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => setQuery({ q: event.currentTarget.value })}
          />
          <button
            type="button"
            class="plain"
            aria-pressed={isCompact}
            title="More rows on the screen"
            onClick={() => (density.value = isCompact ? "comfortable" : "compact")}
          >
            Compact
          </button>
        </div>
      </div>
      <Rows rows={rows} holding={holding} label={labelOf(rows.length, total, kind)} />
      <p class="list-note quiet" aria-hidden={moved === 0}>
        {rows.length === 0
          ? "No agent fits the filter."
          : moved > 0
            ? `The order is held while you are in the list; ${plural(moved, "agent")} would move.`
            : rows.length < total
              ? `${rows.length} of ${plural(total, "agent")}.`
              : ""}
      </p>
    </div>
  );
}

function labelOf(shown: number, total: number, kind: Kind | null): string {
  const what = kind === null ? "Agents, what needs you first" : `Agents: ${KIND_WORDS[kind]}`;
  return shown === total ? `${what}: ${total}` : `${what}: ${shown} of ${total}`;
}

function filtered(order: readonly string[], text: string, kind: Kind | null): readonly string[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length === 0 && kind === null) return order;
  return order.filter((id) => {
    if (kind !== null && fleet.entry(id)?.kind !== kind) return false;
    const agent = fleet.board.agents.get(id);
    if (agent === undefined) return false;
    const all = `${agent.name} ${agent.type} ${agent.host} ${agent.status} ${agent.because} ${id}`.toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

interface Holding {
  enter(): void;
  leave(): void;
}

/** The order, which stays as it is while the list is held: what is new comes last, what is gone goes. */
function useHeldOrder(
  wanted: readonly string[],
  filter: string,
): { rows: readonly string[]; moved: number; holding: Holding } {
  const [isHeld, setHeld] = useState(false);
  const kept = useRef<{ rows: readonly string[]; filter: string }>({ rows: wanted, filter });
  const release = useRef<ReturnType<typeof setTimeout> | null>(null);

  const rows = useMemo(() => {
    const before = kept.current;
    return isHeld && before.filter === filter ? held(before.rows, wanted) : wanted;
  }, [wanted, isHeld, filter]);
  kept.current = { rows, filter };

  const moved = useMemo(() => {
    if (!isHeld) return 0;
    let count = 0;
    rows.forEach((id, at) => {
      if (wanted[at] !== id) count += 1;
    });
    return count;
  }, [rows, wanted, isHeld]);

  const holding = useMemo(
    (): Holding => ({
      enter() {
        if (release.current !== null) clearTimeout(release.current);
        release.current = null;
        setHeld(true);
      },
      leave() {
        if (release.current !== null) clearTimeout(release.current);
        release.current = setTimeout(() => setHeld(false), RELEASE_AFTER);
      },
    }),
    [],
  );
  useEffect(
    () => () => {
      if (release.current !== null) clearTimeout(release.current);
    },
    [],
  );
  return { rows, moved, holding };
}

function Rows({ rows, holding, label }: { rows: readonly string[]; holding: Holding; label: string }): JSX.Element {
  const body = useRef<HTMLTableSectionElement>(null);
  const probe = useRef<HTMLTableRowElement>(null);
  const [rowHeight, setRowHeight] = useState(64);
  const [range, setRange] = useState<Range>({ from: 0, to: 30 });
  const [active, setActive] = useState(0);
  const [wantsFocus, setWantsFocus] = useState(false);
  const [hasFocus, setHasFocus] = useState(false);
  const at = Math.min(active, Math.max(rows.length - 1, 0));

  useLayoutEffect(() => {
    const section = body.current;
    if (section === null) return;
    let frame = 0;
    const look = (): void => {
      frame = 0;
      const height = probe.current?.offsetHeight || 64;
      setRowHeight(height);
      const next = visible({
        rows: rows.length,
        rowHeight: height,
        listTop: section.getBoundingClientRect().top,
        height: window.innerHeight,
      });
      setRange((before) => (before.from === next.from && before.to === next.to ? before : next));
    };
    const soon = (): void => {
      if (frame === 0) frame = requestAnimationFrame(look);
    };
    look();
    window.addEventListener("scroll", soon, { passive: true });
    window.addEventListener("resize", soon, { passive: true });
    // The density, and bands above the list, move it.
    const observer = new ResizeObserver(soon);
    observer.observe(document.body);
    if (probe.current !== null) observer.observe(probe.current);
    return () => {
      if (frame !== 0) cancelAnimationFrame(frame);
      observer.disconnect();
      window.removeEventListener("scroll", soon);
      window.removeEventListener("resize", soon);
    };
  }, [rows.length]);

  useLayoutEffect(() => {
    if (!wantsFocus) return;
    const link = body.current?.querySelector<HTMLElement>(`[aria-rowindex="${at + 2}"] a`);
    if (link == null) return;
    link.focus({ preventScroll: true });
    link.closest("tr")?.scrollIntoView({ block: "nearest" });
    setWantsFocus(false);
  });

  const go = (to: number): void => {
    const next = Math.min(Math.max(to, 0), rows.length - 1);
    setActive(next);
    setWantsFocus(true);
    if (next < range.from || next >= range.to) {
      const top = (body.current?.getBoundingClientRect().top ?? 0) + window.scrollY + next * rowHeight;
      window.scrollTo({ top: Math.max(top - window.innerHeight / 2, 0) });
    }
  };
  const key = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor(window.innerHeight / rowHeight) - 2, 1);
    const to =
      event.key === "ArrowDown" || event.key === "j" ? at + 1
      : event.key === "ArrowUp" || event.key === "k" ? at - 1
      : event.key === "PageDown" ? at + page
      : event.key === "PageUp" ? at - page
      : event.key === "Home" ? 0
      : event.key === "End" ? rows.length - 1
      : null;
    if (to === null) return;
    event.preventDefault();
    go(to);
  };

  const from = Math.min(range.from, rows.length);
  const to = Math.min(range.to, rows.length);
  const shownRows: number[] = [];
  for (let n = from; n < to; n += 1) shownRows.push(n);
  // The row with the focus stays, or the keyboard would lose its place.
  const kept = hasFocus ? besides({ from, to }, at) : null;
  if (kept !== null && kept < rows.length) {
    if (kept < from) shownRows.unshift(kept);
    else shownRows.push(kept);
  }
  const parts: JSX.Element[] = [];
  let next = 0;
  const spaceTo = (row: number, key: string): void => {
    if (row > next) parts.push(<tr key={key} class="space" aria-hidden="true" role="presentation" style={{ height: `${(row - next) * rowHeight}px` }} />);
  };
  for (const n of shownRows) {
    spaceTo(n, n === kept ? "before the focus" : "before");
    const id = rows[n] ?? "";
    parts.push(<AgentRow key={id} id={id} row={n} isActive={n === at} onFocus={() => setActive(n)} />);
    next = n + 1;
  }
  spaceTo(rows.length, "behind");

  return (
    <table class="agents" role="table" aria-label={label} aria-rowcount={rows.length + 1}>
      <thead role="rowgroup">
        <tr role="row" aria-rowindex={1}>
          <th role="columnheader" scope="col">Agent</th>
          <th role="columnheader" scope="col">State, since when, why, and what comes next</th>
          <th role="columnheader" scope="col">Activity</th>
          <th role="columnheader" scope="col">
            <span title="Upper half: heartbeats of the agent that were heard here. Lower half: ours that the agent has seen.">Heartbeats, both directions</span>
          </th>
        </tr>
      </thead>
      <tbody
        role="rowgroup"
        ref={body}
        onPointerEnter={(event) => event.pointerType !== "touch" && holding.enter()}
        onPointerLeave={(event) => event.pointerType !== "touch" && holding.leave()}
        onTouchStart={() => holding.enter()}
        onTouchEnd={() => holding.leave()}
        onFocusCapture={() => {
          setHasFocus(true);
          holding.enter();
        }}
        onBlurCapture={() => {
          setHasFocus(false);
          holding.leave();
        }}
        onKeyDown={key}
      >
        {parts}
      </tbody>
      <tbody aria-hidden="true" role="presentation" class="probe">
        <tr ref={probe} class="agent" role="presentation">
          <td role="presentation" />
        </tr>
      </tbody>
    </table>
  );
}
