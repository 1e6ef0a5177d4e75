// Small parts that every view uses.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { age, exact, iso, when } from "../lib/time.ts";
import { announcer } from "../store/announce.ts";
import { fleet } from "../store/app.ts";
import { ticker } from "../store/ticker.ts";
import { Icon } from "./icons.tsx";

/** A time: the hour of the day, everything about it in its title. */
export function Time({ at }: { at: number | null }): JSX.Element {
  if (at === null) return <span class="quiet">unknown</span>;
  return (
    <time dateTime={iso(at)} title={exact(at)}>
      {when(at, ticker.value)}
    </time>
  );
}

/** How long ago, by the given time. */
export function Age({ at, now }: { at: number | null; now: number }): JSX.Element {
  if (at === null) return <span class="quiet">–</span>;
  return (
    <time dateTime={iso(at)} title={exact(at)}>
      {age(now - at)}
    </time>
  );
}

/** Copies a text; says so. Without a secure context browsers have no clipboard: then the text is selected. */
export function Copy({ text, label }: { text: string; label: string }): JSX.Element {
  const [done, setDone] = useState<string | null>(null);
  useEffect(() => {
    if (done === null) return;
    const handle = setTimeout(() => setDone(null), 2500);
    return () => clearTimeout(handle);
  }, [done]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setDone("copied");
      announcer.say("copy", "Copied.");
    } catch {
      setDone("not copied: this page is not in a secure context; select the text instead");
    }
  };
  return (
    <button type="button" class="plain copy" aria-label={label} title={label} onClick={() => void copy()}>
      <Icon name="copy" />
      {done !== null && <span class="note">{done}</span>}
    </button>
  );
}

/** A command line to be typed somewhere else. */
export function CommandLine({ text, label }: { text: string; label: string }): JSX.Element {
  return (
    <div class="command-line">
      <code>{text}</code>
      <Copy text={text} label={label} />
    </div>
  );
}

/** A part of a view with a heading. */
export function Section({
  title,
  id,
  aside,
  children,
}: {
  title: string;
  id: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <section class="card" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

/** Something went wrong: what, and what to do. */
export function Problem({ children, retry }: { children: ComponentChildren; retry?: () => void }): JSX.Element {
  return (
    <p class="problem" role="alert">
      <span>{children}</span>
      {retry !== undefined && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </p>
  );
}

/** A dialog over the page. It closes by Escape, and gives the focus back. */
export function Dialog({
  title,
  onClose,
  children,
  class: of,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return;
    const before = document.activeElement;
    if (!dialog.open) dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={of}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      {children}
    </dialog>
  );
}

/** Sets the title of the document while shown; how many agents ask is before it, for who looks at another tab. */
export function useTitle(title: string): void {
  const { asks } = fleet.counts.value;
  useEffect(() => {
    document.title = `${asks > 0 ? `(${asks}) ` : ""}${title} · Onsembl`;
  }, [title, asks]);
}
