// Whether the server has another version of this page than the one that runs here: its parts may not fit each other then.

import { signal, type ReadonlySignal } from "@preact/signals";

const outdated = signal(false);
let first: string | null = null;

export const isOutdated: ReadonlySignal<boolean> = outdated;

/** Asks for the tag of the page: after each greeting, since another process may serve now. */
export async function askVersion(): Promise<void> {
  try {
    const answer = await fetch("/", { method: "HEAD", cache: "no-store", credentials: "same-origin", headers: { Accept: "text/html", "X-Onsembl": "1" } });
    const tag = answer.ok ? answer.headers.get("ETag") : null;
    // Proxies that compress weaken a tag.
    const plain = tag?.replace(/^W\//, "") ?? null;
    if (plain === null) return;
    first ??= plain;
    outdated.value = plain !== first;
  } catch {
    // The next greeting asks again.
  }
}
