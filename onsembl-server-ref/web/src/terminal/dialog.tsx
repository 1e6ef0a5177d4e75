// What a person is asked before something happens: a paste with several lines, a link of a program, a copy of a program.

import { shown, shownLines } from "../lib/shown.ts";
import { Dialog } from "../ui/parts.tsx";
import type { Controller, Question } from "./controller.ts";

/** Characters of a text that are shown. */
const MOST_SHOWN = 2_000;

export function Asking({ controller }: { controller: Controller }) {
  const question = controller.question.value;
  if (question === null) return null;
  const { title, text, yes } = words(question, controller.takesPastes);
  return (
    <Dialog title={title} class="terminal-dialog" onClose={() => controller.answer(false)}>
      <h2>{title}</h2>
      <pre tabIndex={0}>{text}</pre>
      {question.kind === "copy" && (
        <label class="check">
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
    </Dialog>
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

function lined(text: string): string {
  const cut = text.replace(/\r\n?/g, "\n").slice(0, MOST_SHOWN);
  return shownLines(cut) + (text.length > MOST_SHOWN ? "…" : "");
}
