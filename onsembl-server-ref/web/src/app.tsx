// The frame around every view: navigation, one sentence about the server, the stop, and how live it all is.

import { useComputed } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { navigate, pathOf, place, type Route } from "./router.ts";
import { announcer } from "./store/announce.ts";
import { fleet, outputFeed } from "./store/app.ts";
import { askSession, isReadOnly, signedIn } from "./store/session.ts";
import { isOutdated } from "./store/version.ts";
import { Icon, type IconName } from "./ui/icons.tsx";
import { lazy } from "./ui/lazy.tsx";
import { LiveMark, ServerSentence, StopBand } from "./ui/live.tsx";
import { Palette } from "./ui/palette.tsx";
import { Problem } from "./ui/parts.tsx";
import { AgentView } from "./views/agent.tsx";
import { CommandView } from "./views/command.tsx";
import { CommandsView } from "./views/commands.tsx";
import { FleetView } from "./views/fleet.tsx";
import { IncidentsView } from "./views/incidents.tsx";
import { SettingsView } from "./views/settings.tsx";
import { SignInView } from "./views/sign-in.tsx";
import { StopView } from "./views/stop.tsx";

const Terminal = lazy(() => import("./terminal/index.tsx"));

const PLACES: readonly { to: Route; icon: IconName; word: string }[] = [
  { to: { view: "fleet" }, icon: "fleet", word: "Fleet" },
  { to: { view: "commands" }, icon: "commands", word: "Commands" },
  { to: { view: "incidents" }, icon: "incidents", word: "Incidents" },
  { to: { view: "settings" }, icon: "settings", word: "Settings" },
];

export function App(): JSX.Element {
  const { route, hash } = place.value;
  const who = signedIn.value;

  useEffect(() => {
    // A code to sign in with is taken up by the sign-in view, whoever is signed in.
    if (!/(^|&)code=/.test(hash)) void askSession();
  }, []);

  if (route.view === "sign-in" || /(^|&)code=/.test(hash)) return <SignInView />;
  if (who.is === "out" && who.because === null) return <SignInView />;
  if (who.is === "unknown") return <p class="alone" role="status">Loading…</p>;
  if (who.is === "unreachable") {
    return (
      <main class="alone">
        <Problem retry={() => void askSession()}>{who.because}</Problem>
      </main>
    );
  }
  return (
    <Frame>
      <View route={route} />
    </Frame>
  );
}

function Frame({ children }: { children: ComponentChildren }): JSX.Element {
  const [isSearching, setSearching] = useState(false);
  const { route } = place.value;
  const who = signedIn.value;

  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
        event.preventDefault();
        setSearching((is) => !is);
      } else if ((event.key === "." || event.key === ">" || event.code === "Period") && event.shiftKey && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        navigate(pathOf({ view: "stop" }));
      }
    };
    // Before a terminal gets it.
    window.addEventListener("keydown", key, { capture: true });
    return () => window.removeEventListener("keydown", key, { capture: true });
  }, []);

  useEffect(() => {
    // A new view is read from its beginning, unless it has put the focus somewhere itself.
    const main = document.getElementById("main");
    if (main?.contains(document.activeElement) === false) main.focus({ preventScroll: true });
  }, [pathOf(route)]);

  return (
    <div class={`frame view-${route.view}`}>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="/fleet" aria-label="Onsembl: the fleet">
          <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
            <rect width="32" height="32" rx="8" />
            <path d="M7 18h4l3-8 5 13 3-8h3" />
          </svg>
          <span>Onsembl</span>
        </a>
        <ServerSentence />
        <div class="tools">
          {isReadOnly() && <span class="badge" title="This session may look at everything and change nothing.">read only</span>}
          <button type="button" class="search" onClick={() => setSearching(true)} aria-haspopup="dialog">
            <Icon name="search" />
            <span>Find</span>
            <kbd>Ctrl K</kbd>
          </button>
          <a class="button danger" href="/stop" title="Emergency stop (Ctrl Shift .)" aria-current={route.view === "stop" ? "page" : undefined}>
            <Icon name="stop" />
            <span>Stop</span>
          </a>
        </div>
      </header>
      <nav class="rail" aria-label="Views">
        {PLACES.map(({ to, icon, word }) => (
          <a key={word} href={pathOf(to)} aria-current={isIn(route, to) ? "page" : undefined}>
            <Icon name={icon} />
            <span>{word}</span>
            {to.view === "fleet" && <AskCount />}
          </a>
        ))}
        {who.is === "in" && <p class="who">{who.session.user}</p>}
      </nav>
      <main id="main" tabIndex={-1}>
        {route.view !== "stop" && <StopBand />}
        <SignedOutNote />
        <OutdatedNote />
        {children}
      </main>
      <footer class="foot">
        <LiveMark />
      </footer>
      <div class="unseen" role="status" aria-live="polite">
        {announcer.said}
      </div>
      {isSearching && <Palette onClose={() => setSearching(false)} />}
    </div>
  );
}

function isIn(route: Route, place: Route): boolean {
  switch (route.view) {
    case "agent":
      return place.view === "fleet";
    case "command":
    case "terminal":
      return place.view === "commands";
    default:
      return route.view === place.view;
  }
}

function AskCount(): JSX.Element | null {
  const asks = useComputed(() => fleet.counts.value.asks).value;
  return asks === 0 ? null : (
    <span class="count">
      {asks}
      <span class="unseen"> {asks === 1 ? "agent asks" : "agents ask"} you</span>
    </span>
  );
}

function SignedOutNote(): JSX.Element | null {
  const who = signedIn.value;
  if (who.is !== "out") return null;
  const { route } = place.value;
  return (
    <div class="band warn" role="alert">
      <p>
        You are signed out: {who.because}. What is shown is as of then.
      </p>
      <a class="button" href={`/sign-in?next=${encodeURIComponent(pathOf(route))}`}>
        Sign in
      </a>
    </div>
  );
}

function OutdatedNote(): JSX.Element | null {
  if (!isOutdated.value) return null;
  return (
    <div class="band warn" role="status">
      <p>The server has another version of this page now.</p>
      <button type="button" onClick={() => window.location.reload()}>
        Reload
      </button>
    </div>
  );
}

function View({ route }: { route: Route }): JSX.Element {
  switch (route.view) {
    case "fleet":
      return <FleetView />;
    case "agent":
      return <AgentView key={route.id} id={route.id} />;
    case "commands":
      return <CommandsView />;
    case "command":
      return <CommandView key={route.id} id={route.id} />;
    case "terminal":
      return <TerminalPlace key={route.id} id={route.id} log={route.log} />;
    case "stop":
      return <StopView />;
    case "incidents":
      return <IncidentsView />;
    case "settings":
      return <SettingsView />;
    case "sign-in":
      return <SignInView />;
    case "nowhere":
      return (
        <div class="page">
          <h1>Nothing is here</h1>
          <p>
            No view has the address <code>{route.path}</code>. <a href="/fleet">To the fleet</a>
          </p>
        </div>
      );
  }
}

/** The terminal's own chunk, with what it is to know of its agent. */
function TerminalPlace({ id, log }: { id: string; log: boolean }): JSX.Element {
  const who = signedIn.value;
  void fleet.commandRevision.value;
  const agentId = fleet.board.commands.get(id)?.agentId ?? null;
  const agent = agentId === null ? null : fleet.agent(agentId).value;
  const user = who.is === "in" ? who.session.user : "";
  return (
    <Terminal
      commandId={id}
      agentId={agentId}
      agentName={agent?.name ?? null}
      log={log}
      hash={place.value.hash}
      readOnly={isReadOnly()}
      typistName={`${user} in a browser`}
      feed={outputFeed}
    />
  );
}

