// Keys that a soft keyboard lacks. They type only with the keyboard of the terminal.

import type { Controller } from "./controller.ts";

interface Key {
  readonly label: string;
  readonly name: string;
  readonly bytes: string;
  /** What is sent to a program in application mode. */
  readonly application?: string;
}

const KEYS: readonly Key[] = [
  { label: "Esc", name: "Esc", bytes: "\x1b" },
  { label: "Tab", name: "Tab", bytes: "\t" },
  { label: "↑", name: "Up", bytes: "\x1b[A", application: "\x1bOA" },
  { label: "↓", name: "Down", bytes: "\x1b[B", application: "\x1bOB" },
  { label: "←", name: "Left", bytes: "\x1b[D", application: "\x1bOD" },
  { label: "→", name: "Right", bytes: "\x1b[C", application: "\x1bOC" },
  { label: "^C", name: "Control C", bytes: "\x03" },
  { label: "^D", name: "Control D", bytes: "\x04" },
  { label: "⇧Tab", name: "Shift Tab", bytes: "\x1b[Z" },
  { label: "Enter", name: "Enter", bytes: "\r" },
];

export function KeyBar({ controller }: { controller: Controller }) {
  const on = controller.keyboard.value.mode === "on";
  const paste = async (): Promise<void> => {
    try {
      const text = await navigator.clipboard.readText();
      if (text !== "") controller.paste(text);
    } catch {
      controller.say("the browser does not let this page read the clipboard");
    }
  };
  return (
    <div class="terminal-keys" role="toolbar" aria-label="Keys">
      {KEYS.map((key) => (
        <button
          key={key.name}
          type="button"
          aria-label={key.name}
          disabled={!on}
          // The soft keyboard stays open.
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => controller.type(controller.applicationCursor ? (key.application ?? key.bytes) : key.bytes)}
        >
          {key.label}
        </button>
      ))}
      <button type="button" disabled={!on} onClick={() => void paste()}>
        Paste
      </button>
    </div>
  );
}
