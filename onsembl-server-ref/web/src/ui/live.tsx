// How live the page is, and one sentence about the server.

import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { get } from "../api.ts";
import { age, clock, exact, iso, parseTime, plural } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { fleet, fleetLink } from "../store/app.ts";
import { ticker } from "../store/ticker.ts";
import { useQuery } from "./query.ts";

/** `live, as of …` or `not connected since …, because …, next try in …`. */
export function LiveMark(): JSX.Element {
  const state = fleetLink.state.value;
  const now = ticker.value;
  switch (state.is) {
    case "live": {
      const at = Math.max(fleetLink.heardAt, state.since);
      return (
        <p class="live is-live">
          <span class="dot" aria-hidden="true" />
          <span class="words">
            live, as of{" "}
            <time dateTime={iso(at)} title={exact(at)}>
              {clock(at)}
            </time>
          </span>
        </p>
      );
    }
    case "waiting": {
      const left = Math.max(Math.ceil((state.nextTryAt - now) / 1000), 0);
      return (
        <p class="live is-down">
          <span class="dot" aria-hidden="true" />
          <span class="words">
            not connected since <time dateTime={iso(state.since)} title={exact(state.since)}>{clock(state.since)}</time>, because {state.because}, next try{" "}
            {left === 0 ? "now" : `in ${left} s`}
          </span>
          <button type="button" class="plain" onClick={() => fleetLink.retryNow()}>
            Try now
          </button>
        </p>
      );
    }
    case "connecting":
      return (
        <p class="live is-down">
          <span class="dot" aria-hidden="true" />
          <span class="words">
            {state.lost === null ? (
              "connecting…"
            ) : (
              <>
                not connected since <time dateTime={iso(state.since)} title={exact(state.since)}>{clock(state.since)}</time>, because {state.lost}, trying now
              </>
            )}
          </span>
        </p>
      );
    case "ended":
      return (
        <p class="live is-down">
          <span class="dot" aria-hidden="true" />
          <span class="words">
            not connected since <time dateTime={iso(state.since)} title={exact(state.since)}>{clock(state.since)}</time>, because {state.because}
          </span>
          <a href="/sign-in">Sign in</a>
        </p>
      );
    case "idle":
      return (
        <p class="live is-down">
          <span class="dot" aria-hidden="true" />
          <span class="words">not connected</span>
        </p>
      );
  }
}

interface Health {
  status: string;
  store?: string;
}

/** What the server does with what it gets, how many agents are in session, and whether a stop is in force. */
export function ServerSentence(): JSX.Element {
  const health = useQuery<Health>("/healthz", (signal) => get<Health>("/healthz", signal), 30_000);
  const total = useComputed(() => fleet.order.value.length).value;
  const inSession = fleet.inSession.value;
  const stop = fleet.stop.value;
  const store = health.data === null ? null : (health.data.store ?? health.data.status);
  return (
    <p class="server">
      {store !== null && store !== "healthy" ? (
        <strong class="bad">database: {shown(store)}</strong>
      ) : store === null ? (
        "asking the server"
      ) : (
        "storing"
      )}{" "}
      · {inSession} of {plural(total, "agent")} in session · {stop === null ? "no stop in force" : `a stop is in force for ${plural(stop.agents, "agent")}`}
    </p>
  );
}

/** Red, in every view, as long as a stop is in force. */
export function StopBand(): JSX.Element | null {
  const stop = fleet.stop.value;
  if (stop === null) return null;
  const at = parseTime(stop.at);
  const verified = stop.byState.verified ?? 0;
  const now = fleet.serverNow(ticker.value);
  return (
    <div class="band stop">
      <p>
        <strong>Emergency stop in force</strong> {stop.all ? "for all agents" : `for ${plural(stop.agents, "agent")}`}
        {at !== null && <> for {age(now - at)}</>}, by {shown(stop.by)} ({shown(stop.reason)}): {verified} of {stop.agents} verified.
      </p>
      <a class="button" href="/stop">
        Receipts and release
      </a>
    </div>
  );
}
