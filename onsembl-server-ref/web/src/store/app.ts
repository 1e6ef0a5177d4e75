// The parts of the page that live as long as it does: two links (the fleet's, and one for output), what they feed, and
// when they are dialled.

import { effect } from "@preact/signals";
import { ApiError, get, onSignedOut, path } from "../api.ts";
import type { FleetWhy } from "../api-types.ts";
import { plural } from "../lib/time.ts";
import { Link, type Diagnosis } from "../link/link.ts";
import { OutputFeed } from "../link/output.ts";
import type { Feature } from "../wire.gen.ts";
import { announcer } from "./announce.ts";
import { Fleet } from "./fleet.ts";
import { frames } from "./frames.ts";
import { askSession, noteSignedOut, signedIn } from "./session.ts";
import { startTicking } from "./ticker.ts";
import { askVersion } from "./version.ts";
import { CAUSES } from "../wire.gen.ts";

const FLEET_FEATURES: readonly Feature[] = [
  "output-bytes",
  "output-spool",
  "output-replay",
  "stop-latch",
  "presence-why",
  "secret-input",
  "activity",
];

const OUTPUT_FEATURES: readonly Feature[] = [
  "output-bytes",
  "output-binary",
  "output-spool",
  "output-replay",
  "stop-latch",
  "typing",
  "terminal-size",
  "live-view",
];

/** How often the server is asked which agents in session are not well, ms. */
const FAULTS_EVERY = 30_000;

function url(): string {
  const { protocol, host } = window.location;
  return `${protocol === "https:" ? "wss" : "ws"}://${host}/ws/dashboard`;
}

/** Why there is no link: a request over HTTP is answered with a status that the page may read. */
async function diagnose(): Promise<Diagnosis | null> {
  try {
    await get("/api/page/session");
    return null;
  } catch (error) {
    if (!(error instanceof ApiError)) return null;
    if (error.isSignedOut) {
      const because = "the session has ended: it was revoked, or not used for too long";
      noteSignedOut(because);
      return { ended: true, because };
    }
    return { ended: false, because: error.message };
  }
}

export const fleetLink = new Link({
  url: url(),
  subscriptions: () => ({ agents: ["*"], commands: ["*"], terminals: false, traces: false }),
  features: FLEET_FEATURES,
  diagnose,
});

const outputLink = new Link({
  url: url(),
  // Every command is subscribed by itself, from its own position.
  subscriptions: () => ({ terminals: true, traces: false }),
  features: OUTPUT_FEATURES,
  diagnose,
});

export const fleet = new Fleet(fleetLink, frames());
export const outputFeed = new OutputFeed(outputLink);

/** Begins: follows the sign-in, the network, and the visibility of the page. */
export function begin(): void {
  onSignedOut(() => noteSignedOut(null));
  startTicking();
  effect(() => {
    if (signedIn.value.is === "in") fleetLink.start();
    else if (signedIn.value.is === "out" && signedIn.value.because === null) {
      fleetLink.stop();
      outputLink.stop();
    }
  });
  const wake = (): void => {
    if (document.visibilityState !== "visible") return;
    fleetLink.probe();
    outputLink.probe();
    if (signedIn.value.is === "unreachable") void askSession();
  };
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", wake);
  followFaults();
  followLink();
  followAsks();
  fleetLink.listen({ settled: () => void askVersion() });
}

function followFaults(): void {
  const ask = async (): Promise<void> => {
    if (fleetLink.state.value.is !== "live" || document.visibilityState !== "visible") return;
    try {
      const why = await get<FleetWhy>("/api/why");
      const faults = new Map<string, string>();
      for (const { agent_id, state, cause } of why.agents) {
        if (state === "online") faults.set(agent_id, CAUSES[cause]?.text ?? cause);
      }
      fleet.setFaults(faults);
      if (why.total < fleet.board.agents.size) await forgetDeleted();
    } catch {
      // The next one tells; the list does without meanwhile.
    }
  };
  setInterval(() => void ask(), FAULTS_EVERY);
  fleetLink.listen({ settled: () => void ask() });
}

/** Pages of the list that one look takes: a thousand agents and more each. */
const MOST_PAGES = 64;

/** The link does not tell of agents that were deleted: the list does. */
async function forgetDeleted(): Promise<void> {
  const before = [...fleet.board.agents.keys()];
  const listed = new Set<string>();
  let next: string | undefined;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const after = next === undefined ? "" : path`?after=${next}`;
    const answer = await get<{ agents: { agent_id: string }[]; next?: string }>(`/api/agents${after}`);
    for (const { agent_id } of answer.agents) listed.add(agent_id);
    next = answer.next;
    if (next === undefined) {
      for (const id of before) if (!listed.has(id)) fleet.forget(id);
      return;
    }
  }
}

/** Says when one more agent asks. */
function followAsks(): void {
  let before = 0;
  effect(() => {
    const { asks } = fleet.counts.value;
    if (asks > before) announcer.say("asks", `${plural(asks, "agent")} ${asks === 1 ? "asks" : "ask"} you.`);
    before = asks;
  });
}

function followLink(): void {
  let wasLive = false;
  effect(() => {
    const state = fleetLink.state.value;
    if (state.is === "live") {
      if (wasLive) announcer.say("link", "Connected again; everything is up to date.");
      wasLive = true;
    } else if (state.is === "waiting" && wasLive && state.attempt === 0) {
      announcer.say("link", `Not connected: ${state.because}. What is shown is as of then.`);
    }
  });
}
