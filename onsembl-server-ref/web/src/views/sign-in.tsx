// Signing in: by a one-time code in the fragment, which no server log and no proxy sees, or by a token.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, errorText } from "../api.ts";
import { codeIn, safeNext } from "../lib/sign-in.ts";
import { length } from "../lib/time.ts";
import { navigate, place } from "../router.ts";
import { fleet } from "../store/app.ts";
import { askSession, signIn, signedIn, type Credential } from "../store/session.ts";
import { CommandLine, Problem, useTitle } from "../ui/parts.tsx";

type Attempt =
  | { readonly is: "none" }
  | { readonly is: "asking"; readonly by: "code" | "token" }
  | { readonly is: "failed"; readonly because: string; readonly until: number };

export function SignInView(): JSX.Element {
  const { hash, query } = place.value;
  const [attempt, setAttempt] = useState<Attempt>({ is: "none" });
  const [token, setToken] = useState("");
  const [readOnly, setReadOnly] = useState(false);
  const [now, setNow] = useState(Date.now());
  const next = safeNext(query.get("next"));
  useTitle("Sign in");

  const enter = async (credential: Credential, by: "code" | "token"): Promise<void> => {
    setAttempt({ is: "asking", by });
    try {
      await signIn(credential);
      setToken("");
      // What was shown to who was signed in before is nothing to who is now.
      if (fleet.isKnown.peek()) window.location.assign(next);
      else navigate(next, "replace");
    } catch (error) {
      setAttempt({ is: "failed", because: failed(error), until: Date.now() + retryAfter(error) });
    }
  };

  useEffect(() => {
    const code = codeIn(hash);
    if (code === null) return;
    // Out of the address before anything else, so that no copy of it has the code.
    navigate(next === "/fleet" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`, "replace");
    void enter({ code }, "code");
  }, [hash]);

  useEffect(() => {
    if (signedIn.value.is === "unknown" && codeIn(hash) === null) void askSession();
  }, []);

  const wait = attempt.is === "failed" ? Math.ceil((attempt.until - now) / 1000) : 0;
  useEffect(() => {
    if (attempt.is !== "failed" || attempt.until <= Date.now()) return;
    const handle = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(handle);
  }, [attempt]);

  const who = signedIn.value;
  return (
    <main class="sign-in" id="main" tabIndex={-1}>
      <div class="card">
        <svg class="logo" viewBox="0 0 32 32" width="48" height="48" aria-hidden="true">
          <rect width="32" height="32" rx="8" />
          <path d="M7 18h4l3-8 5 13 3-8h3" />
        </svg>
        <h1>Sign in to Onsembl</h1>
        {who.is === "out" && who.because !== null && <p class="quiet">You were signed out: {who.because}.</p>}
        {who.is === "in" && attempt.is === "none" && (
          <p>
            You are signed in as <strong>{who.session.user}</strong>. <a href={next}>Continue</a>
          </p>
        )}
        {attempt.is === "asking" && attempt.by === "code" && <p role="status">Signing in with the code of the link…</p>}
        {attempt.is === "failed" && <Problem>{attempt.because}</Problem>}
        <div class="way">
          <h2>By a link</h2>
          <p>Run this where you are signed in to the command line. It opens a link that is good once, for 5 minutes.</p>
          <CommandLine text="onsembl login --browser" label="Copy the command that makes a link" />
        </div>
        <form
          class="way"
          onSubmit={(event) => {
            event.preventDefault();
            if (token.trim() !== "" && wait <= 0) void enter({ token: token.trim(), readOnly }, "token");
          }}
        >
          <h2>By a token</h2>
          <label for="token">A dashboard token of this server</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          <label class="check">
            <input type="checkbox" checked={readOnly} onChange={(event) => setReadOnly(event.currentTarget.checked)} />
            Look only: this browser may change nothing
          </label>
          <button type="submit" class="primary" disabled={token.trim() === "" || attempt.is === "asking" || wait > 0}>
            {wait > 0 ? `Again in ${wait} s` : attempt.is === "asking" ? "Signing in…" : "Sign in"}
          </button>
          <p class="quiet">The token goes to this server once and is not kept in the browser; a cookie that scripts cannot read takes its place.</p>
        </form>
        {!window.isSecureContext && (
          <p class="note-box">
            This page came over plain HTTP from another machine: what you type can be read on the way, and the browser has no
            clipboard here. Use HTTPS, or a tunnel to <code>127.0.0.1</code>.
          </p>
        )}
      </div>
    </main>
  );
}

function failed(error: unknown): string {
  if (!(error instanceof ApiError)) return errorText(error);
  switch (error.code) {
    case "CODE_USED":
      return "This link was used before. Links are good for one sign-in; make a new one.";
    case "CODE_EXPIRED":
      return "This link has expired. Links are good for 5 minutes; make a new one.";
    case "CODE_UNKNOWN":
      return "This server does not know the code of this link: it was made by another server, or before a restart. Make a new one.";
    case "TOKEN_INVALID":
      return `This token does not sign in here: ${error.message}.`;
    case "THROTTLED":
      return `Too many attempts from this address; the next is possible in ${length(error.retryAfter ?? 0)}.`;
    default:
      return error.message;
  }
}

function retryAfter(error: unknown): number {
  return error instanceof ApiError ? (error.retryAfter ?? 0) : 0;
}
