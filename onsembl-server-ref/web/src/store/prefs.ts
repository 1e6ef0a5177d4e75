// How this browser likes the page: kept in it, and nowhere else.

import { effect, signal, type Signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
export type Density = "comfortable" | "compact";

function kept<T extends string>(name: string, words: readonly T[], otherwise: T): Signal<T> {
  const key = `onsembl.${name}`;
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(key);
  } catch {
    // No storage here: the choice lasts as long as the page.
  }
  const value = signal<T>(words.find((word) => word === stored) ?? otherwise);
  effect(() => {
    try {
      if (value.value === otherwise) localStorage.removeItem(key);
      else localStorage.setItem(key, value.value);
    } catch {
      // As above.
    }
  });
  return value;
}

export const theme = kept<Theme>("theme", ["system", "light", "dark"], "system");
export const density = kept<Density>("density", ["comfortable", "compact"], "comfortable");

/** Applies them to the document. */
export function applyPrefs(root: HTMLElement): void {
  effect(() => {
    if (theme.value === "system") delete root.dataset["theme"];
    else root.dataset["theme"] = theme.value;
    root.dataset["density"] = density.value;
  });
}
