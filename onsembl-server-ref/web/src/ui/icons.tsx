// Marks. States differ by shape and not by colour alone; each mark stands beside a word, so none has a name of its own.

import type { JSX } from "preact";
import type { Kind } from "../store/attention.ts";
import { isOver } from "../store/board.ts";
import type { CommandPhase } from "../wire.gen.ts";

function Mark({ children, of }: { children: JSX.Element | JSX.Element[]; of?: string }): JSX.Element {
  return (
    <svg class={`mark ${of ?? ""}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

/** An agent's place in the list. */
export function KindMark({ kind }: { kind: Kind }): JSX.Element {
  switch (kind) {
    case "asks":
      return (
        <Mark of="asks">
          <path class="fill" d="M2 2.5h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H8.5L5 15v-3.5H2a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1Z" />
          <path class="cut" d="M6.2 5.6c.2-2 3.7-2 3.7.1 0 1.4-1.8 1.3-1.8 2.6M8.1 10v.1" />
        </Mark>
      );
    case "faulty":
      return (
        <Mark of="faulty">
          <path class="fill" d="M8 1.2 15.4 14H.6Z" />
          <path class="cut" d="M8 5.8v4M8 11.9v.1" />
        </Mark>
      );
    case "away":
      return (
        <Mark of="away">
          <circle class="line dashed" cx="8" cy="8" r="6" />
          <path class="line" d="M4.2 11.8 11.8 4.2" />
        </Mark>
      );
    case "working":
      return (
        <Mark of="working">
          <circle class="line" cx="8" cy="8" r="6" />
          <path class="fill" d="M8 3.6a4.4 4.4 0 0 1 0 8.8Z" />
        </Mark>
      );
    case "idle":
      return (
        <Mark of="idle">
          <circle class="line" cx="8" cy="8" r="6" />
          <circle class="fill" cx="8" cy="8" r="1.8" />
        </Mark>
      );
    case "resting":
      return (
        <Mark of="resting">
          <path class="fill" d="M4 2.5h2.6v11H4zM9.4 2.5H12v11H9.4z" />
        </Mark>
      );
  }
}

/** How far a command is. */
export function PhaseMark({ phase }: { phase: CommandPhase }): JSX.Element {
  switch (phase) {
    case "completed":
      return (
        <Mark of="good">
          <path class="line" d="m2.5 8.5 3.6 3.8 7.4-8.6" />
        </Mark>
      );
    case "failed":
      return (
        <Mark of="bad">
          <path class="line" d="m3.5 3.5 9 9m0-9-9 9" />
        </Mark>
      );
    case "cancelled":
    case "cancelling":
      return (
        <Mark of="quiet">
          <circle class="line" cx="8" cy="8" r="6" />
          <path class="line" d="M4 12 12 4" />
        </Mark>
      );
    case "running":
      return (
        <Mark of="working">
          <path class="fill" d="M4 2.5v11l9-5.5Z" />
        </Mark>
      );
    case "lost":
    case "unknown":
      return (
        <Mark of="bad">
          <path class="fill" d="M8 1.2 15.4 14H.6Z" />
          <path class="cut" d="M8 5.8v4M8 11.9v.1" />
        </Mark>
      );
    default:
      return (
        <Mark of={isOver(phase) ? "quiet" : "waits"}>
          <circle class="line" cx="8" cy="8" r="6" />
          <path class="line" d="M8 4.5V8l2.5 1.8" />
        </Mark>
      );
  }
}

const PATHS = {
  fleet: "M2 3.5h12M2 8h12M2 12.5h12",
  commands: "m2.5 4 4 4-4 4M8 12.5h5.5",
  incidents: "M1.5 10h3L6.5 3l3 10 2-6h3",
  settings: "M2 4.5h7m3 0h2M2 11.5h2m3 0h7M10.5 2.8v3.4M5.5 9.8v3.4",
  stop: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2Z",
  search: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9ZM10.4 10.4l3.6 3.6",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8Z",
  back: "M9.5 3 4.5 8l5 5",
  more: "M6.5 3l5 5-5 5",
  terminal: "M1.5 2.5h13v11h-13ZM4 6l2.2 2L4 10m4 .5h4",
  sun: "M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6ZM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3.1 3.1l1.1 1.1M11.8 11.8l1.1 1.1M3.1 12.9l1.1-1.1M11.8 4.2l1.1-1.1",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="18" height="18" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
