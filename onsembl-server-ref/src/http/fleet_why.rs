//! `GET /api/why`: all agents of the user at a glance. Judged by the core, from the views, the logs of presences and
//! the record of this server's own faults.
//!
//! What one request may cost is bounded: of a fleet whose logs are longer, the agents that have been well longest
//! are counted and not judged, and the answer says how many.

use super::App;
use super::api::problem;
use super::page::{self, PAGE_BYTES, Page};
use super::signed_in::SignedIn;
use super::why::{self, Asked, told};
use crate::store::{History, StoreError};
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
    let others = total - suspects.len();
    let logs = match logs(&app, &user, &suspects, from).await {
        Ok(logs) => logs,
        Err(error) => return why::unread(&app, &user, &error),
    };
    let not_judged = suspects.iter().filter(|id| !logs.contains_key(*id)).count();
    let members = members(&app, &user, suspects, logs, (from, now));
    let own = app.own_faults.known(now);
    let mut why = FleetWhy::of(&members, others, &own, from, app.rules.timing.interval());
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
    let view = fleet_view.look();
    let looked_at = view.agents().iter().filter(|(_, agent)| !agent.is_well_since(from));
    let mut found: Vec<_> = looked_at.map(|(id, agent)| (order(agent), id.clone())).collect();
    found.sort_by_key(|(order, _)| *order);
    (view.agents().len(), found.into_iter().map(|(_, id)| id).collect())
}

fn order(agent: &AgentView) -> (bool, Reverse<WallTime>) {
    let is_well = agent.presence.status == PresenceStatus::Online && agent.fault().is_none();
    (is_well, Reverse(agent.presence.since))
}

/// The logs of these agents, as many as there is room for.
async fn logs(
    app: &App,
    user: &UserId,
    of: &[AgentId],
    from: WallTime,
) -> Result<HashMap<AgentId, History>, StoreError> {
    let (mut logs, mut left) = (HashMap::new(), TRANSITIONS);
    for some in of.chunks(AGENTS_AT_ONCE) {
        if left == 0 {
            break;
        }
        for (agent, history) in
            app.store.latest_presences(user, some.to_vec(), from, OF_AGENT).await?
        {
            left = left.saturating_sub(history.log.len().max(1));
            let _ = logs.insert(agent, history);
        }
    }
    Ok(logs)
}

/// What is told of each. Behind the logs: what they do not have yet is in the view.
fn members(
    app: &App,
    user: &UserId,
    of: Vec<AgentId>,
    mut logs: HashMap<AgentId, History>,
    (from, now): (WallTime, WallTime),
) -> Vec<Member> {
    let fleet_view = app.fleet_views.of(user);
    // Judged when the view is given back: the hub waits for nobody, and other readers would.
    let shown: Vec<_> = {
        let view = fleet_view.look();
        let shown = |id: AgentId| {
            let agent = view.agents().get(&id)?;
            Some((id, agent.name.clone(), agent.explain(&app.rules), agent.fault()))
        };
        of.into_iter().filter_map(shown).collect()
    };
    let member = |(agent, name, presence, fault)| {
        let history = logs.remove(&agent).unwrap_or_default();
        Member { why: told(app, presence, &history, from, now), agent, name, fault }
    };
    shown.into_iter().map(member).collect()
}
