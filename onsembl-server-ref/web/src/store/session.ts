// Who is signed in, and for how much.

import { signal, type ReadonlySignal } from "@preact/signals";
import { ApiError, get, post, remove } from "../api.ts";
import type { Session } from "../api-types.ts";

export type SignedIn =
  | { readonly is: "unknown" }
  | { readonly is: "in"; readonly session: Session }
  /** `because` is shown if somebody was signed in before. */
  | { readonly is: "out"; readonly because: string | null }
  /** Neither is known: the server cannot be reached. */
  | { readonly is: "unreachable"; readonly because: string };

const state = signal<SignedIn>({ is: "unknown" });

export const signedIn: ReadonlySignal<SignedIn> = state;

/** The session may change nothing. */
export function isReadOnly(): boolean {
  return state.value.is === "in" && state.value.session.readOnly;
}

/** Asks the server. */
export async function askSession(): Promise<void> {
  try {
    state.value = { is: "in", session: await get<Session>("/api/page/session") };
  } catch (error) {
    if (error instanceof ApiError && (error.isSignedOut || error.status === 404)) noteSignedOut(null);
    else if (state.value.is !== "in") {
      state.value = { is: "unreachable", because: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** What somebody signs in with. */
export type Credential = { readonly code: string } | { readonly token: string; readonly readOnly: boolean };

export async function signIn(credential: Credential): Promise<void> {
  state.value = { is: "in", session: await post<Session>("/api/page/session", credential) };
}

export async function signOut(): Promise<void> {
  await remove("/api/page/session");
  state.value = { is: "out", because: null };
}

/** The server says that nobody is signed in. */
export function noteSignedOut(because: string | null): void {
  const was = state.value.is === "in" ? (because ?? "the session has ended: it was revoked, or not used for too long") : null;
  state.value = { is: "out", because: was };
}
