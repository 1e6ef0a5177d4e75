// Settings: how the page looks here, sessions in browsers, tokens, what is kept for how long, and what this is.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { errorText, get, path, post, remove } from "../api.ts";
import type { About, Session, SignInLink, TokenView } from "../api-types.ts";
import { age, bytes, exact, iso, length, parseTime, plural, when } from "../lib/time.ts";
import { browserOf, spaced } from "../lib/names.ts";
import { qr, qrPath } from "../lib/qr.ts";
import { shown } from "../lib/shown.ts";
import { fleet } from "../store/app.ts";
import { density, theme } from "../store/prefs.ts";
import { isReadOnly, signedIn } from "../store/session.ts";
import { ticker } from "../store/ticker.ts";
import { CommandLine, Dialog, Problem, Section, useTitle } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";
import { leave } from "./leave.ts";

export function SettingsView(): JSX.Element {
  useTitle("Settings");
  return (
    <div class="page settings">
      <h1>Settings</h1>
      <div class="columns">
        <div class="column">
          <Sessions />
          <Tokens />
        </div>
        <div class="column">
          <Looks />
          <Keeping />
          <Keys />
        </div>
      </div>
    </div>
  );
}

function Looks(): JSX.Element {
  return (
    <Section title="Look of the page" id="looks">
      <p class="quiet">Kept in this browser only.</p>
      <Choice title="Colours" name="theme" of={["system", "light", "dark"]} value={theme.value} choose={(word) => (theme.value = word)} />
      <Choice
        title="Rows"
        name="density"
        of={["comfortable", "compact"]}
        value={density.value}
        choose={(word) => (density.value = word)}
      />
    </Section>
  );
}

function Choice<T extends string>({
  title,
  name,
  of,
  value,
  choose,
}: {
  title: string;
  name: string;
  of: readonly T[];
  value: T;
  choose: (word: T) => void;
}): JSX.Element {
  return (
    <fieldset class="choice">
      <legend>{title}</legend>
      {of.map((word) => (
        <label key={word} class="check">
          <input type="radio" name={name} checked={word === value} onChange={() => choose(word)} />
          {word}
        </label>
      ))}
    </fieldset>
  );
}

function Sessions(): JSX.Element {
  const sessions = useQuery<{ sessions: Session[] }>("sessions", (signal) => get("/api/page/sessions", signal), 30_000);
  const [error, setError] = useState<string | null>(null);
  const now = fleet.serverNow(ticker.value);
  const who = signedIn.value;
  const end = async (session: Session): Promise<void> => {
    setError(null);
    try {
      if (session.current) await leave();
      else {
        await remove(path`/api/page/sessions/${session.id}`);
        sessions.reload();
      }
    } catch (failed) {
      setError(errorText(failed));
    }
  };
  const listed = [...(sessions.data?.sessions ?? [])].sort((a, b) => Number(b.current) - Number(a.current) || b.lastUsedAt - a.lastUsedAt);
  return (
    <Section title="Signed-in browsers" id="sessions">
      {who.is === "in" && (
        <p class="quiet">
          You are {shown(who.session.user)}. Sessions end after 12 h without use, and after 30 d in any case.
        </p>
      )}
      {sessions.error !== null && <Problem retry={sessions.reload}>{sessions.error}</Problem>}
      {error !== null && <Problem>{error}</Problem>}
      <ul class="rows">
        {listed.map((session) => (
          <li key={session.id}>
            <div class="what">
              <span>
                <b title={session.userAgent ?? undefined}>{browserOf(session.userAgent)}</b>
                {session.current && <span class="badge">this one</span>} {session.readOnly && <span class="badge">read only</span>}
              </span>
              <small class="quiet">
                from {shown(session.address ?? "an unknown address")}, since{" "}
                <time dateTime={iso(session.createdAt)} title={exact(session.createdAt)}>
                  {when(session.createdAt, now)}
                </time>
                , used {age(now - session.lastUsedAt)} ago, ends{" "}
                {length(Math.max(Math.min(session.idleUntil, session.expiresAt) - now, 0))} from now at the earliest
              </small>
            </div>
            <button type="button" onClick={() => void end(session)}>
              {session.current ? "Sign out" : "End"}
              <span class="unseen"> the session of {browserOf(session.userAgent)}</span>
            </button>
          </li>
        ))}
      </ul>
      <h3>Another browser, or a phone</h3>
      {isReadOnly() ? (
        <CommandLine text="onsembl login --browser --qr" label="Copy the command that makes a link for another browser" />
      ) : (
        <Invite />
      )}
    </Section>
  );
}

/** A one-time link for another browser, as a code for a camera. It is made when somebody asks, and gone when hidden. */
function Invite(): JSX.Element {
  const [readOnly, setReadOnly] = useState(false);
  const [link, setLink] = useState<SignInLink | null>(null);
  const [error, setError] = useState<string | null>(null);
  const now = fleet.serverNow(ticker.value);
  const left = link === null ? 0 : link.expiresAt - now;
  const make = async (): Promise<void> => {
    setError(null);
    try {
      setLink(await post<SignInLink>("/api/page/links", { readOnly }));
    } catch (failed) {
      setError(errorText(failed));
    }
  };
  const url = link === null ? null : (link.url ?? `${window.location.origin}/#code=${link.code}`);
  const code = url === null ? null : qr(url);
  const drawn = code === null ? null : qrPath(code);
  return (
    <>
      <p class="row">
        <label class="check">
          <input type="checkbox" checked={readOnly} onChange={(event) => setReadOnly(event.currentTarget.checked)} />
          it may only look
        </label>
        <button type="button" onClick={() => void make()}>
          Make a link
        </button>
      </p>
      {error !== null && <Problem>{error}</Problem>}
      {url !== null && (
        <Dialog title="A link for another browser" onClose={() => setLink(null)}>
          <h2>Sign in another browser</h2>
          {left <= 0 ? (
            <p>The link has expired. Make another one.</p>
          ) : (
            <div class="invite">
              {drawn !== null && (
                <svg class="qr" viewBox={`0 0 ${drawn.size} ${drawn.size}`} role="img" aria-label="The link as a QR code" shape-rendering="crispEdges">
                  <rect width={drawn.size} height={drawn.size} />
                  <path d={drawn.d} />
                </svg>
              )}
              <p>Point the camera of a phone at it, or copy the link. It is good once, for {length(left)}; who has it signs in as you.</p>
              <CommandLine text={url} label="Copy the link" />
            </div>
          )}
          <div class="dialog-buttons">
            <button type="button" onClick={() => setLink(null)}>
              Done
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** Before the end of a token that is worth a warning, ms. */
const SOON = 7 * 86_400_000;

function Tokens(): JSX.Element {
  const tokens = useQuery<{ tokens: TokenView[] }>("tokens", (signal) => get("/api/tokens", signal), 60_000);
  const [asked, setAsked] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const now = fleet.serverNow(ticker.value);
  const revoke = async (id: string): Promise<void> => {
    setError(null);
    setAsked(null);
    try {
      await remove(path`/api/tokens/${id}`);
      tokens.reload();
    } catch (failed) {
      setError(errorText(failed));
    }
  };
  const listed = tokens.data?.tokens ?? [];
  return (
    <Section title="Tokens" id="tokens">
      <p class="quiet">
        Tokens are made by the operator: <code>onsembl-server token</code>. None of them is ever shown here.
      </p>
      {tokens.error !== null && <Problem retry={tokens.reload}>{tokens.error}</Problem>}
      {error !== null && <Problem>{error}</Problem>}
      <ul class="rows">
        {listed.map((token) => {
          const ends = parseTime(token.expires_at);
          const used = parseTime(token.shown_at);
          const isGood = token.state === "good" || token.state === "unused";
          return (
            <li key={token.token_id} class={isGood ? undefined : "over"}>
              <div class="what">
                <span>
                  <b>{shown(token.made_for ?? (token.kind === "agent" ? "any agent" : token.kind))}</b>{" "}
                  <span class={`badge ${isGood ? "" : "bad"}`}>{shown(token.state)}</span>
                  {isGood && ends !== null && ends - now < SOON && <span class="badge bad">ends in {length(Math.max(ends - now, 0))}</span>}
                </span>
                <small class="quiet">
                  <code>{shown(token.token_id)}</code>, {token.kind}
                  {token.holds.length > 0 && `, holds ${token.holds.map((name) => shown(name, 64)).join(", ")}`}
                  {used === null ? ", never used" : `, used ${age(now - used)} ago from ${shown(token.shown_from ?? "an unknown address")}`}
                  {ends !== null && isGood && `, until ${when(ends, now)}`}
                  {token.revoked_because !== null && `; ${shown(token.revoked_because)}`}
                </small>
              </div>
              {isGood && !isReadOnly() && (
                asked === token.token_id ? (
                  <button type="button" class="danger" onClick={() => void revoke(token.token_id)}>
                    Revoke it: who uses it is cut off
                  </button>
                ) : (
                  <button type="button" onClick={() => setAsked(token.token_id)}>
                    Revoke…<span class="unseen"> token {token.token_id}</span>
                  </button>
                )
              )}
            </li>
          );
        })}
      </ul>
      {tokens.data !== null && listed.length === 0 && <p class="quiet">No token of yours is listed on this server.</p>}
    </Section>
  );
}

function Keeping(): JSX.Element {
  const about = useQuery<About>("/api/page/about", (signal) => get<About>("/api/page/about", signal), 60_000);
  if (about.data === null) {
    return (
      <Section title="What is kept" id="keeping">
        {about.error === null ? <p class="quiet">Asking the server…</p> : <Problem retry={about.reload}>{about.error}</Problem>}
      </Section>
    );
  }
  const { use, retention, version, commit, publicUrl } = about.data;
  const share = use.limit > 0 ? use.bytes / use.limit : 0;
  return (
    <>
      <Section title="What is kept" id="keeping">
        <p>
          {bytes(use.bytes)} {use.limit > 0 ? `of ${bytes(use.limit)} in use` : "in use"}
          {use.limit > 0 && ` (${Math.round(share * 100)} %)`}.
        </p>
        {use.limit > 0 && <meter min={0} max={use.limit} low={use.limit * 0.7} high={use.limit * 0.9} optimum={0} value={use.bytes} aria-label="Space in use" />}
        <dl class="facts-list">
          {Object.entries(retention).map(([name, value]) => (
            <div key={name}>
              <dt>{KEPT[name] ?? spaced(name)}</dt>
              <dd>{retentionWords(name, value)}</dd>
            </div>
          ))}
        </dl>
      </Section>
      <Section title="About" id="about">
        <dl class="facts-list">
          <div>
            <dt>Version</dt>
            <dd>
              onsembl-server {shown(version)}
              {commit !== null && <> ({shown(commit)})</>}
            </dd>
          </div>
          {publicUrl !== null && (
            <div>
              <dt>Address</dt>
              <dd>{shown(publicUrl)}</dd>
            </div>
          )}
          <div>
            <dt>Agents</dt>
            <dd>{plural(fleet.order.value.length, "agent")}</dd>
          </div>
        </dl>
        <p>
          <a href={`/assets/LICENSES?v=${__LICENCES__}`} target="_blank" rel="noopener">
            Licences of what this page is made of
          </a>
        </p>
      </Section>
    </>
  );
}

const KEPT: Readonly<Record<string, string>> = {
  keepForMs: "Output",
  keepBytes: "Output of all users",
  keepHistoryMs: "Ended commands",
  forgetAfterMs: "Agents that are away",
};

function retentionWords(name: string, value: unknown): string {
  if (value === null || (typeof value === "number" && !Number.isSafeInteger(value))) return "for ever";
  if (typeof value === "number" && name.endsWith("Ms")) return `for ${length(value)}`;
  if (typeof value === "number" && name.endsWith("Bytes")) return `up to ${bytes(value)}`;
  if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") return shown(String(value));
  return shown(JSON.stringify(value));
}

const KEYS: readonly [string, string][] = [
  ["Ctrl K", "find agents, commands, views and actions"],
  ["Ctrl Shift .", "to the emergency stop; Enter stops"],
  ["↑ ↓ Home End Page", "from row to row of the fleet"],
  ["Enter", "open the row; send a command"],
  ["← →", "from change to change of a presence"],
];

function Keys(): JSX.Element {
  return (
    <Section title="Keyboard" id="keys">
      <dl class="facts-list">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Section>
  );
}
