//! What most pages do: ask the hub for as long as the page may wait, and say why there is no answer.

use super::App;
use super::api::problem;
use crate::hub::Request;
use crate::store::StoreError;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use onsembl_protocol::fleet::{self, Answer};
use onsembl_protocol::id::UserId;
use onsembl_protocol::wire::payload::{ErrorCode, ErrorReply};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

/// What the hub answers; `None` if it does not in time. What was asked for may still be done.
pub(super) async fn ask<T>(
    app: &App,
    patience: Duration,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let asked = async { if app.hub.ask(request(reply)).await { answer.await.ok() } else { None } };
    tokio::time::timeout(patience, asked).await.ok().flatten()
}

/// What the fleet of a user answers; `None` if it does not in time. What was asked for may still be done.
pub(super) async fn ask_fleet(
    app: &App,
    patience: Duration,
    user: UserId,
    request: fleet::Request,
) -> Option<Answer> {
    let asked = app.hub.ask_fleet(user, request);
    tokio::time::timeout(patience, asked).await.ok().flatten()
}

/// The page for a database that cannot be read.
pub(super) fn unreadable(app: &App, error: &StoreError) -> Response<Body> {
    app.counters.count("store_reads_failed");
    warn!(%error, "the database cannot be read");
    let status = match error {
        StoreError::Crowded { .. } => StatusCode::TOO_MANY_REQUESTS,
        StoreError::Directory { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. }
        | StoreError::Migration { .. }
        | StoreError::NoWal { .. }
        | StoreError::Thread(_)
        | StoreError::Trouble { .. }
        | StoreError::Refused(_)
        | StoreError::Unreadable(_)
        | StoreError::OverBudget(_)
        | StoreError::NoRoom
        | StoreError::TooLong
        | StoreError::Closed
        | StoreError::Unwritten { .. }
        | StoreError::Hanging => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, &error.to_string())
}

/// The page for what the hub refused.
pub(super) fn refused(error: &ErrorReply) -> Response<Body> {
    let status = match &error.code {
        ErrorCode::Unauthorized | ErrorCode::AuthTimeout => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::InvalidMessage
        | ErrorCode::InvalidMessageType
        | ErrorCode::UnknownMessageType
        | ErrorCode::NotSupported => StatusCode::BAD_REQUEST,
        ErrorCode::AgentNotFound | ErrorCode::CommandNotFound => StatusCode::NOT_FOUND,
        ErrorCode::AgentOffline
        | ErrorCode::AgentStopped
        | ErrorCode::AgentAmbiguous
        | ErrorCode::KeyboardHeld => StatusCode::CONFLICT,
        ErrorCode::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal
        | ErrorCode::SessionContested
        | ErrorCode::StorageUnavailable
        | ErrorCode::ConnectionFailed
        | ErrorCode::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, &error.message)
}

/// The page for a hub that did not answer.
pub(super) fn too_late() -> Response<Body> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the server did not answer in time")
}
