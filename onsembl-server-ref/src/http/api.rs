//! The pages that are no WebSocket: health, readiness, agents. Recordings, audits and
//! commands are beside this.

use super::App;
use super::ask::{ask, ask_fleet, refused, too_late};
use super::audit::audit;
use super::command_why::command_why;
use super::commands;
use super::control::{cancel, control};
use super::cors::{Reader, cors, reader};
use super::fleet_why::fleet_why;
use super::metrics;
use super::output;
use super::page::{self, Page};
use super::recording::recording;
use super::screen;
use super::signed_in::SignedIn;
use super::stops;
use super::terminal_output::terminal_output;
use super::tokens;
use super::upgrade::{self, plain};
use super::why::why;
use crate::auth::Identity;
use crate::hub::{HubStats, Request as HubRequest};
use crate::store::StoreHealth;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use onsembl_protocol::diagnosis::BeatVerdict;
use onsembl_protocol::fleet::{self, AgentStop, Answer, StopState};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::model::{Activity, Confidence, Evidence, Question};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::HealthMetrics;
use onsembl_transport::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;
use tracing::warn;

/// Agents that are looked up in one turn of a reader of the database.
const VIEWED_AT_ONCE: usize = 512;
/// How long a page may wait for the hub.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every route of a server that has its listeners to itself.
pub(crate) fn standalone(app: App) -> Router {
    router(app.clone())
        .merge(metrics::guarded(app.clone()))
        .merge(health(app.clone()))
        .fallback(not_found)
        // A page that asks for what is not there is to read that, and not that its network failed.
        .layer(middleware::from_fn_with_state(app, cors))
}

/// Whether the server lives. Apart from [`router`], because another service has such pages itself.
pub(crate) fn health(app: App) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(app)
}

/// The API and the WebSocket paths, which include the older ones that existing peers may be
/// configured with.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/api/agents", get(agents))
        .route("/api/agents/{id}", get(agent).delete(delete_agent))
        .route("/api/agents/{id}/recording", get(recording))
        .route("/api/agents/{id}/audit", get(audit))
        .route("/api/agents/{id}/control", post(control))
        .route("/api/agents/{id}/why", get(why))
        .route("/api/why", get(fleet_why))
        .route("/api/agents/{id}/terminal-output", get(terminal_output))
        .route("/api/agents/{id}/screen", get(screen::of_agent))
        .route("/api/commands/{id}/screen", get(screen::of_command))
        .route("/api/commands", get(commands::commands))
        .route("/api/commands/{id}/cancel", post(cancel))
        .route("/api/commands/{id}/why", get(command_why))
        .route("/api/commands/{id}", get(commands::command))
        .route("/api/stop", post(stops::stop))
        .route("/api/release", post(stops::release))
        .route("/api/commands/{id}/output", get(output::output))
        .route("/api/token", get(tokens::token))
        .route("/api/tokens", get(tokens::tokens))
        .route("/api/tokens/{id}", delete(tokens::revoke))
        .route("/ws/agent", get(upgrade::agent))
        .route("/ws", get(upgrade::agent))
        .route("/v1/ws/agent", get(upgrade::agent))
        .route("/v1/ws/agent/{id}", get(upgrade::agent))
        .route("/ws/dashboard", get(upgrade::dashboard))
        .route("/v1/ws/dashboard", get(upgrade::dashboard))
        .route_layer(middleware::from_fn_with_state(app.clone(), unless_stopping))
        .route_layer(middleware::from_fn_with_state(app.clone(), cors))
        .with_state(app)
}

/// Refuses everything from the moment the server stops: the listener of another service may still
/// be open then, and a link that came now would end without a close code.
async fn unless_stopping(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    if app.dashboard.stop.is_cancelled() {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is shutting down; try again later\n",
        );
    }
    next.run(request).await
}

/// One agent, as the API shows it.
#[derive(Debug, Serialize)]
struct AgentView {
    agent_id: String,
    name: String,
    agent_type: String,
    status: &'static str,
    since: String,
    because: String,
    /// What it will be if nothing but time happens.
    next_state: Option<&'static str>,
    /// When, at the earliest.
    next_change_at: Option<String>,
    /// How sure it is that `because` is the whole reason.
    confidence: Confidence,
    /// What that rests on.
    evidence: Evidence,
    version: String,
    capabilities: Vec<String>,
    last_heartbeat: Option<String>,
    last_metrics: Option<Value>,
    /// What the hop tracker says, in session: of the directions of the link, and where heartbeats stop.
    beats: Option<BeatVerdict>,
    /// Whether it starts nothing, by order.
    paused: bool,
    /// Why the program of its terminal does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    program_fault: Option<String>,
    /// What its program does.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<ActivityView>,
    /// The emergency stop in force.
    stopped: Option<StoppedView>,
    /// Who holds it, if that is asked for.
    #[serde(flatten)]
    held: Option<HeldView>,
}

/// Which tokens hold an agent.
#[derive(Debug, Serialize)]
struct HeldView {
    /// That of its latest session.
    token_id: String,
    /// Its lineage, no other of which can take the agent over.
    token_lineage: String,
}

/// What may be asked for beside what every reader gets.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Wanted {
    with: Option<With>,
}

/// More of each agent: `?with=token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum With {
    /// Who holds it.
    Token,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

/// What the program of an agent does.
#[derive(Debug, Serialize)]
struct ActivityView {
    /// `working`, `waiting`, `asking`, `writing` or `quiet`.
    state: String,
    since: String,
    /// All of it for people.
    words: String,
    /// Which of its commands does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<String>,
    /// The fact that shows it, by which way that came, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<BasisView>,
    /// While it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
}

#[derive(Debug, Serialize)]
struct BasisView {
    fact: String,
    lane: String,
    at: String,
}

impl ActivityView {
    fn of(activity: &Activity, now: WallTime) -> Self {
        Self {
            state: activity.state.as_str().to_owned(),
            since: activity.since.to_string(),
            words: activity.words(now),
            command_id: activity.command.as_ref().map(|id| id.as_str().to_owned()),
            basis: activity.basis.as_ref().map(|basis| BasisView {
                fact: basis.fact.as_str().to_owned(),
                lane: basis.lane.as_str().to_owned(),
                at: basis.at.to_string(),
            }),
            question: activity.question.clone(),
        }
    }
}

/// Why an agent starts nothing.
#[derive(Debug, Serialize)]
struct StoppedView {
    stop_id: String,
    by: String,
    at: String,
    reason: String,
    /// How far the agent is with it.
    state: StopState,
}

async fn not_found() -> Response<Body> {
    plain(
        StatusCode::NOT_FOUND,
        "nothing here; see /healthz, /readyz, /api/agents, /api/commands\n",
    )
}

/// The process lives: its hub answers. Strangers learn no more here; what is counted stands in `/metrics`.
async fn healthz(State(app): State<App>) -> Response<Body> {
    match stats(&app).await {
        Some(_) => {
            let store = app.store.health().borrow().to_string();
            Json(json!({ "status": "ok", "store": store })).into_response()
        }
        None => {
            let body = Json(json!({ "status": "the hub does not respond" }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// New peers can be served: the hub answers and the database takes writes.
async fn readyz(State(app): State<App>) -> Response<Body> {
    let health = *app.store.health().borrow();
    let (ready, why) = match (health, stats(&app).await) {
        (StoreHealth::Healthy, Some(_)) => (true, "ready".to_owned()),
        (StoreHealth::Healthy, None) => (false, "the hub does not respond".to_owned()),
        (troubled @ (StoreHealth::Troubled { .. } | StoreHealth::Scarce { .. }), _) => {
            (false, troubled.to_string())
        }
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "because": why }))).into_response()
}

pub(super) async fn stats(app: &App) -> Option<HubStats> {
    ask(app, PATIENCE, HubRequest::Stats).await
}

/// Which part of the list of agents is asked for.
#[derive(Debug, Deserialize)]
struct Part {
    limit: Option<usize>,
    /// Only those behind the agent with this id: `next` of an earlier page.
    after: Option<String>,
}

async fn agents(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    Query(wanted): Query<Wanted>,
    Query(part): Query<Part>,
    headers: HeaderMap,
) -> Response<Body> {
    let slot = match page::slot(&app, &identity.user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let reader = reader(&app, &headers);
    let limit = part.limit.unwrap_or(usize::MAX);
    let (mut after, mut page, mut count) = (part.after.map(AgentId::new), Page::default(), 0);
    loop {
        let some = views(&app, &identity, reader, wanted, after.clone()).await;
        // The last one was the last of all.
        let Some(last) = some.last().map(|agent| agent.agent_id.clone()) else { break };
        for agent in some {
            let id = AgentId::new(agent.agent_id.as_str());
            if count >= limit || !page.add(agent) {
                let next = after.map(|last| last.to_string());
                return page.answer("agents", next, slot);
            }
            (after, count) = (Some(id), count + 1);
        }
        after = Some(AgentId::new(last));
    }
    page.answer("agents", None, slot)
}

async fn agent(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response<Body> {
    let id = AgentId::new(id);
    match view(&app, &identity, reader(&app, &headers), wanted, &id).await {
        Some(agent) => Json(agent).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no agent of yours has this id"),
    }
}

/// Some agents, in the order of their ids, behind this one.
///
/// Status, since and because come from the live machines; the latest heartbeat is read back from
/// the database, so that what is shown is what was really recorded.
async fn views(
    app: &App,
    identity: &Identity,
    reader: Reader,
    wanted: Wanted,
    after: Option<AgentId>,
) -> Vec<AgentView> {
    let fleet_view = app.fleet_views.of(&identity.user);
    let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
    let ids: Vec<AgentId> = {
        let view = fleet_view.look();
        let some = view.agents().range((behind, Bound::Unbounded));
        some.take(VIEWED_AT_ONCE).map(|(id, _)| id.clone()).collect()
    };
    views_of(app, identity, reader, wanted, ids).await
}

async fn view(
    app: &App,
    identity: &Identity,
    reader: Reader,
    wanted: Wanted,
    agent: &AgentId,
) -> Option<AgentView> {
    views_of(app, identity, reader, wanted, vec![agent.clone()]).await.pop()
}

async fn views_of(
    app: &App,
    identity: &Identity,
    reader: Reader,
    wanted: Wanted,
    ids: Vec<AgentId>,
) -> Vec<AgentView> {
    let beats = match app.store.agents().heartbeats_of(&identity.user, ids.clone()).await {
        Ok(beats) => beats,
        Err(error) => {
            app.counters.count("heartbeats_not_read");
            warn!(%error, "recorded heartbeats cannot be read; showing none");
            Vec::new()
        }
    };
    let mut beats: HashMap<AgentId, _> = beats.into_iter().map(|b| (b.agent.clone(), b)).collect();
    let fleet_view = app.fleet_views.of(&identity.user);
    let view = fleet_view.look();
    let now = SystemClock::new().now().wall;
    ids.iter()
        // One may have been deleted meanwhile.
        .filter_map(|id| view.agents().get_key_value(id))
        .map(|(id, agent)| {
            let beat = beats.remove(id);
            let (at, metrics) = beat.map_or((None, None), |b| (b.at, b.metrics));
            let told = agent.explain(&app.rules);
            AgentView {
                agent_id: id.as_str().to_owned(),
                name: agent.name.clone(),
                agent_type: agent.agent_type.clone(),
                status: told.state.as_str(),
                since: told.since.to_string(),
                because: told.because,
                next_state: told.next_state.map(PresenceStatus::as_str),
                next_change_at: told.next_change_at.map(|at| at.to_string()),
                confidence: told.confidence,
                evidence: told.evidence,
                version: agent.version.clone(),
                capabilities: agent.capabilities.clone(),
                last_heartbeat: at.map(|at| at.to_string()),
                last_metrics: match reader {
                    Reader::Page => metrics.and_then(for_page),
                    Reader::Other => metrics,
                },
                beats: agent.beats,
                paused: agent.pausing.is_paused(),
                program_fault: agent
                    .program_fault
                    .as_ref()
                    .and_then(|told| told.at(now))
                    .map(ToString::to_string),
                activity: agent.activity.as_ref().map(|activity| ActivityView::of(activity, now)),
                stopped: agent.stopped.as_deref().map(|AgentStop { order, state }| StoppedView {
                    stop_id: order.id.as_str().to_owned(),
                    by: order.by.as_str().to_owned(),
                    at: order.at.to_string(),
                    reason: order.reason.clone(),
                    state: *state,
                }),
                held: agent.claim.as_ref().filter(|_| wanted.with == Some(With::Token)).map(
                    |claim| HeldView {
                        token_id: claim.token.to_string(),
                        token_lineage: claim.lineage.to_string(),
                    },
                ),
            }
        })
        .collect()
}

/// The metrics of a heartbeat as the existing dashboard reads them, which has them from here.
fn for_page(metrics: Value) -> Option<Value> {
    let metrics = serde_json::from_value::<HealthMetrics>(metrics).ok()?;
    serde_json::to_value(metrics.for_legacy_dashboards()).ok()
}

async fn delete_agent(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let request = fleet::Request::DeleteAgent(AgentId::new(id));
    // Long enough for a database that is held for a while; the deletion continues in any case.
    let patience = Duration::from_secs(30);
    match ask_fleet(&app, patience, identity.user, request).await.map(Answer::done) {
        Some(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Some(Err(error)) => refused(&error),
        None => too_late(),
    }
}

pub(super) fn problem(status: StatusCode, why: &str) -> Response<Body> {
    (status, Json(json!({ "error": why }))).into_response()
}
