//! `GET /api/incidents`: what many agents of the user had in common, and what this server itself suffered, each with how
//! the fleet came back. Judged by the core, as `GET /api/why` is, and with the same bounds.

use super::App;
use super::fleet_why::{AGENTS_AT_ONCE, OF_AGENT, TRANSITIONS, shown, suspects};
use super::page;
use super::signed_in::SignedIn;
use super::why;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::Response;
use onsembl_protocol::diagnosis::{Aftermath, FleetWhy, Incident, Member, Transition};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::model::{Cause, Evidence};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// How far it looks back: as long as presences are kept of most agents.
const LOOKS_BACK_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Incidents that are shown if nobody says.
const LIMIT: usize = 100;
/// A server that is stopped closes its links before it is gone, and an agent finds that out a moment later.
const SLACK: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    limit: Option<usize>,
}

/// One incident.
#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    from: i64,
    to: i64,
    /// How many agents fell.
    agents: usize,
    /// How many of those that left are back.
    back: usize,
    missing: Vec<String>,
    /// Milliseconds after its end, and how many were back then.
    curve: Vec<(u64, usize)>,
    because: &'static str,
    cause: Cause,
    action: &'static str,
    evidence: Evidence,
}

pub(super) async fn incidents(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let user = identity.user;
    let slot = match page::slot(&app, &user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let now = SystemClock::new().now().wall;
    let from = WallTime::from_unix_millis(now.unix_millis().saturating_sub(LOOKS_BACK_MS));
    let (total, suspects) = suspects(&app, &user, from);
    let mut tally = FleetWhy::since(from, total - suspects.len());
    let (mut left, mut logs) = (TRANSITIONS, Vec::<(AgentId, Vec<Transition>)>::new());
    for some in suspects.chunks(AGENTS_AT_ONCE) {
        if left == 0 {
            break;
        }
        let read = app.store.presence().latest(&user, some.to_vec(), from, OF_AGENT).await;
        let mut read: HashMap<_, _> = match read {
            Ok(read) => read.into_iter().collect(),
            Err(error) => return why::unread(&app, &user, &error),
        };
        for (agent, name, presence) in shown(&app, &user, some) {
            let history = read.remove(&agent).unwrap_or_default();
            left = left.saturating_sub(history.log.len());
            let why = presence.told(&app, (&user, &agent), &history, from, now);
            tally.add(&Member { agent: agent.clone(), name, why });
            logs.push((agent, history.log));
        }
    }
    let found = tally.told(&app.own_faults.known(now), app.rules.timing.interval()).incidents;
    let limit = asked.limit.unwrap_or(LIMIT).min(LIMIT);
    let shown: Vec<Shown> =
        found.iter().rev().take(limit).map(|incident| Shown::of(incident, &logs)).collect();
    page::whole(json!({ "incidents": shown }).to_string().into_bytes(), slot)
}

impl Shown {
    fn of(incident: &Incident, logs: &[(AgentId, Vec<Transition>)]) -> Self {
        let Incident { from, until, agents, finding, .. } = incident;
        let Aftermath { back, missing, curve, left } = Aftermath::of(logs, (*from, *until), SLACK);
        let cause = finding.cause;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            kind: kind(cause),
            from: from.unix_millis(),
            to: until.unix_millis(),
            agents: (*agents).max(left),
            back,
            missing: missing.iter().map(|agent| agent.as_str().to_owned()).collect(),
            curve: curve.into_iter().map(|(after, count)| (millis(after), count)).collect(),
            because: cause.text(),
            cause,
            action: cause.action(),
            evidence: finding.evidence.clone(),
        }
    }
}

/// What kind of incident a cause is of.
fn kind(cause: Cause) -> &'static str {
    if cause == Cause::ServerRestarted {
        "server-restarted"
    } else if cause == Cause::ServerDrained {
        "drain"
    } else if [Cause::ServerStalled, Cause::HeartbeatNotRecorded].contains(&cause) {
        "own-fault"
    } else {
        "mass-silence"
    }
}
