// What a person is asked before something happens: a paste with several lines, a link of a program, a copy of a program.

import { useEffect, useRef } from "preact/hooks";
import type { Controller, Question } from "./controller.ts";
import { shown } from "./guard.ts";

/** Characters of a text that are shown. */
const MOST_SHOWN = 2_000;

export function Asking({ controller }: { controller: Controller }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const question = controller.question.value;
  useEffect(() => {
    if (question !== null && dialog.current?.open === false) dialog.current.showModal();
  }, [question]);
  if (question === null) return null;
  const { title, text, yes } = words(question, controller.takesPastes);
  return (
    <dialog
      class="terminal-dialog"
      ref={dialog}
      aria-labelledby="terminal-asks"
      onCancel={() => controller.answer(false)}
    >
      <h2 id="terminal-asks">{title}</h2>
      <pre tabIndex={0}>{text}</pre>
      {question.kind === "copy" && (
        <label class="terminal-always">
          <input
            type="checkbox"
            checked={controller.copies.value === "allow"}
            onChange={(event) => {
              controller.copies.value = event.currentTarget.checked ? "allow" : "ask";
            }}
          />
          Do not ask again while this terminal is open
        </label>
      )}
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          controller.answer(true);
        }}
      >
        <button type="button" onClick={() => controller.answer(false)}>
          No
        </button>
        <button type="submit" class="primary">
          {yes}
        </button>
      </form>
    </dialog>
  );
}

function words(question: Question, takesPastes: boolean): { title: string; text: string; yes: string } {
  switch (question.kind) {
    case "paste": {
      const lines = question.text.split(/\r\n|\r|\n/).length;
      const effect = takesPastes
        ? "The program takes it as one piece."
        : "The program may run each line as it comes: it does not take pastes as one piece.";
      return { title: `Paste ${lines} lines? ${effect}`, text: lined(question.text), yes: "Paste" };
    }
    case "link":
      return { title: "Open this address, which the program has written?", text: shown(question.address, MOST_SHOWN), yes: "Open" };
    case "copy":
      return { title: "The program wants to copy this to your clipboard.", text: lined(question.text), yes: "Copy" };
  }
}

/** A text with its line ends, everything else escaped. */
function lined(text: string): string {
  const lines = text.slice(0, MOST_SHOWN).split(/\r\n|\r|\n/);
  return lines.map((line) => shown(line.replaceAll("\t", "    "), MOST_SHOWN)).join("\n") + (text.length > MOST_SHOWN ? "…" : "");
}
