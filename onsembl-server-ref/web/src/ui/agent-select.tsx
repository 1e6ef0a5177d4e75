// A choice of one agent, by name. It follows which agents there are, not how they are.

import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { shown } from "../lib/shown.ts";
import { fleet } from "../store/app.ts";

export function AgentSelect({
  id,
  value,
  all,
  disabled,
  onChange,
}: {
  id: string;
  value: string;
  /** What no choice is called. */
  all: string;
  disabled?: boolean;
  onChange: (id: string) => void;
}): JSX.Element {
  const count = useComputed(() => fleet.order.value.length).value;
  const options = useMemo(
    () =>
      [...fleet.board.agents.values()]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map((agent) => (
          <option key={agent.id} value={agent.id}>
            {shown(agent.name, 64)}
          </option>
        )),
    [count],
  );
  return (
    <select id={id} value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value)}>
      <option value="">{all}</option>
      {options}
    </select>
  );
}
