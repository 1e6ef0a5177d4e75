//! `GET /api/agents/{id}/audit`: where every byte is that the agent's commands wrote.

use super::App;
use super::api::problem;
use super::ask::{ask, too_late};
use super::signed_in::SignedIn;
use crate::hub::Request as HubRequest;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::id::AgentId;
use std::time::Duration;

/// Longer than the hub waits for the agent.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn audit(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let (user, agent) = (identity.user, AgentId::new(id));
    match ask(&app, PATIENCE, |reply| HubRequest::Audit { user, agent, reply }).await {
        Some(Ok(report)) => Json(report).into_response(),
        Some(Err(error)) => {
            problem(error.status().try_into().unwrap_or(StatusCode::NOT_FOUND), &error.to_string())
        }
        None => too_late(),
    }
}
