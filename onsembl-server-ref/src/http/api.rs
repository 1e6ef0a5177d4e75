//! The pages that are no WebSocket: health, readiness, agents. Recordings, audits and
//! commands are beside this.

use super::App;
use super::ask::{ask, ask_fleet, refused, too_late};
use super::audit::audit;
use super::commands;
use super::control::{cancel, control};
use super::cors::{Reader, cors, reader};
use super::output;
use super::recording::recording;
use super::signed_in::SignedIn;
use super::stops;
use super::terminal_output::terminal_output;
use super::upgrade::{self, plain};
use crate::auth::Identity;
use crate::hub::{HubStats, Request as HubRequest};
use crate::store::StoreHealth;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use onsembl_protocol::fleet::{self, AgentStop, Answer, StopState};
use onsembl_protocol::id::AgentId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tracing::warn;

/// How long a page may wait for the hub.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every route of a server that has its listeners to itself.
pub(crate) fn standalone(app: App) -> Router {
    router(app.clone()).merge(health(app)).fallback(not_found)
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
        .route("/api/agents/{id}/terminal-output", get(terminal_output))
        .route("/api/commands", get(commands::commands))
        .route("/api/commands/{id}/cancel", post(cancel))
        .route("/api/commands/{id}", get(commands::command))
        .route("/api/stop", post(stops::stop))
        .route("/api/release", post(stops::release))
        .route("/api/commands/{id}/output", get(output::output))
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
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; come back later\n");
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
    version: String,
    capabilities: Vec<String>,
    last_heartbeat: Option<String>,
    last_metrics: Option<Value>,
    /// Whether it starts nothing, by order.
    paused: bool,
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

/// The process lives: its hub answers. Counters of everything that went wrong or was tolerated.
async fn healthz(State(app): State<App>) -> Response<Body> {
    match stats(&app).await {
        Some(stats) => {
            let body = json!({ "status": "ok", "hub": stats, "counters": app.counters.snapshot() });
            Json(body).into_response()
        }
        None => {
            let body = Json(json!({ "status": "the hub does not answer" }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// New peers can be served: the hub answers and the database takes writes.
async fn readyz(State(app): State<App>) -> Response<Body> {
    let health = *app.store.health().borrow();
    let (ready, why) = match (health, stats(&app).await) {
        (StoreHealth::Healthy, Some(_)) => (true, "ready".to_owned()),
        (StoreHealth::Healthy, None) => (false, "the hub does not answer".to_owned()),
        (troubled @ StoreHealth::Troubled { .. }, _) => (false, troubled.to_string()),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "because": why }))).into_response()
}

async fn stats(app: &App) -> Option<HubStats> {
    ask(app, PATIENCE, HubRequest::Stats).await
}

async fn agents(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response<Body> {
    let agents = views(&app, &identity, reader(&app, &headers), wanted).await;
    Json(json!({ "total": agents.len(), "agents": agents })).into_response()
}

async fn agent(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response<Body> {
    let reader = reader(&app, &headers);
    let agents = views(&app, &identity, reader, wanted).await;
    match agents.into_iter().find(|agent| agent.agent_id == id) {
        Some(agent) => Json(agent).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no agent of yours has this id"),
    }
}

/// Status, since and because come from the live machines; the latest heartbeat is read back from
/// the database, so that what is shown is what was really recorded.
async fn views(app: &App, identity: &Identity, reader: Reader, wanted: Wanted) -> Vec<AgentView> {
    let beats = match app.store.agent_heartbeats(Some(&identity.user)).await {
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
    view.agents()
        .iter()
        .map(|(id, agent)| {
            let beat = beats.remove(id);
            let (at, metrics) = beat.map_or((None, None), |b| (b.at, b.metrics));
            AgentView {
                agent_id: id.to_string(),
                name: agent.name.clone(),
                agent_type: agent.agent_type.clone(),
                status: agent.presence.status.as_str(),
                since: agent.presence.since.to_string(),
                because: agent.presence.because.clone(),
                version: agent.version.clone(),
                capabilities: agent.capabilities.clone(),
                last_heartbeat: at.map(|at| at.to_string()),
                last_metrics: match reader {
                    Reader::Page => metrics.map(figures),
                    Reader::Other => metrics,
                },
                paused: agent.paused,
                stopped: agent.stopped.as_ref().map(|AgentStop { order, state }| StoppedView {
                    stop_id: order.id.to_string(),
                    by: order.by.to_string(),
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

/// The figures of a heartbeat under the names and in the units that the existing dashboard reads, which has
/// them from here: its commands under another name, memory in bytes.
fn figures(mut metrics: Value) -> Value {
    const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;
    if let Some(of) = metrics.as_object_mut() {
        if let Some(commands) = of.get("commandsProcessed").cloned() {
            let _ = of.insert("commandsExecuted".to_owned(), commands);
        }
        if let Some(mib) = of.get("memoryUsage").and_then(Value::as_f64) {
            let _ =
                of.insert("memoryUsage".to_owned(), json!((mib * BYTES_PER_MIB).round() as u64));
        }
    }
    metrics
}

async fn delete_agent(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let request = fleet::Request::DeleteAgent(AgentId::new(id));
    // Long enough for a database that is held for a while; the deletion goes on in any case.
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
