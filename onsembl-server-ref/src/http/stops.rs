//! `POST /api/stop` and `POST /api/release`: emergency stops that hold.

use super::App;
use super::api::problem;
use super::upgrade::{TokenQuery, identify};
use crate::auth::TokenKind;
use crate::hub::Request as HubRequest;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::id::AgentId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::stop::StopScope;
use onsembl_protocol::wire::payload::{ErrorCode, ErrorReply};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio::sync::oneshot;

/// Long enough for a database that is held for a while; the order is carried out in any case.
const PATIENCE: Duration = Duration::from_secs(30);

/// For whom, and why.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Order {
    /// One agent, by its id.
    pub(crate) agent: Option<String>,
    /// All agents of the user.
    pub(crate) all: bool,
    /// Why, for people.
    pub(crate) reason: Option<String>,
}

impl Order {
    fn read(body: &[u8]) -> Result<(StopScope, String), &'static str> {
        let order: Self = serde_json::from_slice(body).map_err(|_| "the body is no such order")?;
        let scope = match (order.agent, order.all) {
            (Some(agent), false) => StopScope::Agent(AgentId::new(agent)),
            (None, true) => StopScope::All,
            (Some(_), true) | (None, false) => return Err("name one `agent`, or say `all`"),
        };
        let reason = order.reason.unwrap_or_else(|| "no reason given".to_owned());
        if reason.len() > Limits::DEFAULT.name_bytes {
            return Err("the `reason` is longer than 256 bytes");
        }
        Ok((scope, reason))
    }
}

pub(super) async fn stop(
    State(app): State<App>,
    Query(token): Query<TokenQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let identity = match identify(&app, &headers, &token, TokenKind::Dashboard).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal.response(&app),
    };
    let (scope, reason) = match Order::read(&body) {
        Ok(order) => order,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let (reply, answer) = oneshot::channel();
    let request = HubRequest::Stop { user: identity.user, scope, reason, reply };
    let ask = async { if app.hub.ask(request).await { answer.await.ok() } else { None } };
    match tokio::time::timeout(PATIENCE, ask).await.ok().flatten() {
        Some(Ok(report)) => Json(report).into_response(),
        Some(Err(error)) => refused(&error),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "the server did not answer in time"),
    }
}

pub(super) async fn release(
    State(app): State<App>,
    Query(token): Query<TokenQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let identity = match identify(&app, &headers, &token, TokenKind::Dashboard).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal.response(&app),
    };
    let (scope, _) = match Order::read(&body) {
        Ok(order) => order,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let (reply, answer) = oneshot::channel();
    let request = HubRequest::Release { user: identity.user, scope, reply };
    let ask = async { if app.hub.ask(request).await { answer.await.ok() } else { None } };
    match tokio::time::timeout(PATIENCE, ask).await.ok().flatten() {
        Some(Ok(released)) => Json(json!({ "released": released })).into_response(),
        Some(Err(error)) => refused(&error),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "the server did not answer in time"),
    }
}

fn refused(error: &ErrorReply) -> Response<Body> {
    let status = match error.code {
        ErrorCode::AgentNotFound => StatusCode::NOT_FOUND,
        ErrorCode::AgentStopped => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, &error.message)
}
