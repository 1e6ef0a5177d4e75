//! `GET /api/agents/{id}/why`: an agent's presence explained, its drops with verdicts, and how much of the time it
//! was there. Judged by the core, from the view and the log of presences.

use super::App;
use super::api::problem;
use super::ask::ask;
use super::page;
use super::signed_in::SignedIn;
use crate::hub::Request as HubRequest;
use crate::store::{History, PresenceRow, StoreError};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::diagnosis::{BeatReport, Explanation, Finding, Records, Transition, Why};
use onsembl_protocol::fleet::{AgentView, HEARTBEATS_MISS};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tracing::warn;

/// How far it looks back if nobody says: a day.
const LOOKS_BACK_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// From when on, in milliseconds since the Unix epoch.
    since: Option<i64>,
}

impl Asked {
    /// From when on.
    pub(super) fn from(&self, now: WallTime) -> WallTime {
        let by_default = now.unix_millis().saturating_sub(LOOKS_BACK_MS);
        WallTime::from_unix_millis(self.since.unwrap_or(by_default))
    }
}

/// An agent as the view shows it now.
pub(super) struct Shown {
    pub(super) presence: Explanation,
    /// What is wrong with it though it is in session.
    pub(super) fault: Option<Finding>,
    /// The transition by which it is out of session, which the log may not have yet.
    latest: Option<Transition>,
}

impl Shown {
    pub(super) fn of(app: &App, agent: &AgentView) -> Self {
        Self {
            presence: agent.explain(&app.rules),
            fault: agent.fault(),
            latest: agent.latest_absence(),
        }
    }

    /// What is told of it by its log: the one place of this server that judges drops.
    pub(super) fn told(
        self,
        app: &App,
        (user, agent): (&UserId, &AgentId),
        history: &History,
        from: WallTime,
        now: WallTime,
    ) -> Why {
        let Self { presence, fault, latest } = self;
        let own_faults = app.own_faults.known(now);
        let records = Records {
            latest: latest.as_ref(),
            told: &history.told,
            own_faults: &own_faults,
            turned_away: app.turned_away.of(user, agent),
            fault: fault.as_ref(),
        };
        Why::of(presence, &history.log, records, from, now)
    }
}

/// The page for logs that cannot be read.
pub(super) fn unread(app: &App, user: &UserId, error: &StoreError) -> Response<Body> {
    app.counters.count("presence_log_not_read");
    warn!(%user, %error, "the log of presences cannot be read");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be read now")
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    why: Why,
    beats: Beats,
}

/// What is known of its heartbeats.
#[derive(Debug, Serialize)]
struct Beats {
    /// When a frame of it last came.
    last_heard: Option<String>,
    /// When the latest heartbeat came that the database holds.
    last_recorded: Option<String>,
    /// What the server's hop tracker says, of an agent in session that numbers them.
    #[serde(flatten)]
    hops: Option<BeatReport>,
}

/// How long the hub may take; without its answer the rest is told.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn why(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let (user, id) = (identity.user, AgentId::new(id));
    let _slot = match page::slot(&app, &user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let now = SystemClock::new().now();
    let read = async {
        let rows = app.store.presence().log(&user, &id).await?;
        let findings = app.store.findings().of_agent(&user, &id).await?;
        let beats = app.store.agents().heartbeats_of(&user, vec![id.clone()]).await?;
        Ok::<_, StoreError>((rows, findings, beats))
    };
    let (rows, findings, beats) = match read.await {
        Ok(read) => read,
        Err(error) => return unread(&app, &user, &error),
    };
    let (of, agent) = (user.clone(), id.clone());
    let hops = ask(&app, PATIENCE, |reply| HubRequest::Beats { user: of, agent, reply }).await;
    let hops = hops.flatten().map(|hops| *hops);
    // Behind the log: what it does not have yet is in the view.
    let fleet_view = app.fleet_views.of(&user);
    let (mut shown, last_heard) = {
        let view = fleet_view.look();
        let Some(agent) = view.agents().get(&id) else {
            return problem(StatusCode::NOT_FOUND, "no agent of yours has this id");
        };
        (Shown::of(&app, agent), agent.last_heard)
    };
    // The view is told when the hop trackers are looked at next: both parts of one answer are to say the same.
    if let Some(trouble) = hops.as_ref().and_then(|hops| hops.trouble.as_ref())
        && shown.presence.evidence.text(HEARTBEATS_MISS).is_none()
    {
        let hop = trouble.hop.as_str();
        shown.presence.evidence = shown.presence.evidence.with(HEARTBEATS_MISS, hop);
    }
    let now = now.wall;
    let log: Vec<Transition> = rows.iter().filter_map(PresenceRow::transition).collect();
    let history = History { log, told: findings };
    let why = shown.told(&app, (&user, &id), &history, asked.from(now), now);
    let last_recorded = beats.into_iter().find_map(|beat| beat.at);
    let text = |at: Option<WallTime>| at.map(|at| at.to_string());
    let beats = Beats { last_heard: text(last_heard), last_recorded: text(last_recorded), hops };
    Json(Answer { why, beats }).into_response()
}
