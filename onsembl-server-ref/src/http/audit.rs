//! `GET /api/agents/{id}/audit`: where every byte is that the agent's commands wrote.

use super::App;
use super::ask::{ask_fleet, refused, too_late};
use super::signed_in::SignedIn;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Response;
use axum::response::IntoResponse as _;
use onsembl_protocol::fleet::{Answer, Request};
use onsembl_protocol::id::AgentId;
use std::time::Duration;

/// Longer than the fleet waits for the agent.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn audit(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let request = Request::Audit(AgentId::new(id));
    match ask_fleet(&app, PATIENCE, identity.user, request).await.map(Answer::audited) {
        Some(Ok(report)) => Json(report).into_response(),
        Some(Err(error)) => refused(&error),
        None => too_late(),
    }
}
