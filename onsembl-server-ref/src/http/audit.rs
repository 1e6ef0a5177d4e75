//! `GET /api/agents/{id}/audit`: where every byte is that the agent's commands wrote.

use super::App;
use super::api::problem;
use super::upgrade::{TokenQuery, identify};
use crate::auth::TokenKind;
use crate::hub::Request as HubRequest;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::id::AgentId;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than the hub waits for the agent.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn audit(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<TokenQuery>,
    headers: HeaderMap,
) -> Response<Body> {
    let identity = match identify(&app, &headers, &query, TokenKind::Dashboard).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal.response(&app),
    };
    let (reply, answer) = oneshot::channel();
    let request = HubRequest::Audit { user: identity.user, agent: AgentId::new(id), reply };
    let ask = async { if app.hub.ask(request).await { answer.await.ok() } else { None } };
    match tokio::time::timeout(PATIENCE, ask).await.ok().flatten() {
        Some(Ok(report)) => Json(report).into_response(),
        Some(Err(error)) => {
            problem(error.status().try_into().unwrap_or(StatusCode::NOT_FOUND), &error.to_string())
        }
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "the server did not answer in time"),
    }
}
