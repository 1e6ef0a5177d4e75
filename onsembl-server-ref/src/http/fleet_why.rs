//! `GET /api/why`: all agents of the user at a glance. Judged by the core, from the views, the logs of presences and
//! the record of this server's own faults.
//!
//! What one request may cost is bounded: of a fleet whose logs are longer, the agents that have been well longest
//! are counted and not judged, and the answer says how many.

use super::App;
use super::api::problem;
use super::page::{self, PAGE_BYTES, Page};
use super::signed_in::SignedIn;
use super::why::{self, Asked, Shown};
use crate::store::History;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode};
use onsembl_protocol::diagnosis::{FleetWhy, Member};
use onsembl_protocol::fleet::AgentView;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Transitions that one request looks at: some 8 MiB of the database, a tenth of a second.
const TRANSITIONS: usize = 16 * 1024;
/// Transitions of one agent, the latest: those of a bad day.
pub(super) const OF_AGENT: usize = 64;
/// Agents whose logs are read in one turn of a reader of the database.
const AGENTS_AT_ONCE: usize = 64;

/// The answer, beside what the core tells.
#[derive(Debug, Serialize)]
struct Answer {
    /// From when on.
    from: String,
    /// Until when: now.
    at: String,
    /// The agents of the user.
    total: usize,
    /// Agents that are counted by their present state alone, for want of room.
    not_judged: usize,
    #[serde(flatten)]
    why: FleetWhy,
}

pub(super) async fn fleet_why(
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
    let from = asked.from(now);
    let (total, suspects) = suspects(&app, &user, from);
    let mut tally = FleetWhy::since(from, total - suspects.len());
    let (mut left, mut not_judged) = (TRANSITIONS, 0);
    for some in suspects.chunks(AGENTS_AT_ONCE) {
        let read = match left {
            0 => Ok(Vec::new()),
            _ => app.store.presence().latest(&user, some.to_vec(), from, OF_AGENT).await,
        };
        let mut logs: HashMap<AgentId, History> = match read {
            Ok(logs) => logs.into_iter().collect(),
            Err(error) => return why::unread(&app, &user, &error),
        };
        left = left.saturating_sub(logs.values().map(|history| history.log.len()).sum());
        not_judged += some.len() - logs.len();
        for (agent, name, shown) in shown(&app, &user, some) {
            let history = logs.remove(&agent).unwrap_or_default();
            let why = shown.told(&app, (&user, &agent), &history, from, now);
            tally.add(&Member { agent, name, why });
        }
    }
    let mut why = tally.told(&app.own_faults.known(now), app.rules.timing.interval());
    let kept = fitting(&why);
    why.not_listed += why.agents.len() - kept;
    why.agents.truncate(kept);
    let (from, at) = (from.to_string(), now.to_string());
    match serde_json::to_vec(&Answer { from, at, total, not_judged, why }) {
        Ok(body) => page::whole(body, slot),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// How many of the agents fit into a page: their reasons may be long.
fn fitting(why: &FleetWhy) -> usize {
    let mut page = Page::within(PAGE_BYTES / 2);
    why.agents.iter().take_while(|agent| page.add(agent)).count()
}

/// How many agents the user has, and those of them that are to be looked at: first those that are not well now, then
/// those that changed last.
fn suspects(app: &App, user: &UserId, from: WallTime) -> (usize, Vec<AgentId>) {
    let fleet_view = app.fleet_views.of(user);
    let (total, mut found) = {
        let view = fleet_view.look();
        let looked_at = view.agents().iter().filter(|(_, agent)| !agent.is_well_since(from));
        let found: Vec<_> = looked_at.map(|(id, agent)| (order(agent), id.clone())).collect();
        (view.agents().len(), found)
    };
    found.sort_by_key(|(order, _)| *order);
    (total, found.into_iter().map(|(_, id)| id).collect())
}

fn order(agent: &AgentView) -> (bool, Reverse<WallTime>) {
    let is_well = agent.presence.status == PresenceStatus::Online && agent.fault().is_none();
    (is_well, Reverse(agent.presence.since))
}

/// Some agents, behind their logs: what those do not have yet is in the view. They are judged when that is given
/// back, because other readers wait for it.
fn shown(app: &App, user: &UserId, of: &[AgentId]) -> Vec<(AgentId, String, Shown)> {
    let fleet_view = app.fleet_views.of(user);
    let view = fleet_view.look();
    let shown = |id: &AgentId| {
        let agent = view.agents().get(id)?;
        Some((id.clone(), agent.name.clone(), Shown::of(app, agent)))
    };
    of.iter().filter_map(shown).collect()
}
