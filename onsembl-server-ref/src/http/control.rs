//! `POST /api/agents/{id}/control`: orders to an agent that are no commands; and
//! `POST /api/commands/{id}/cancel`.

use super::App;
use super::api::problem;
use super::ask::{ask_fleet, refused, too_late};
use super::order_body::OrderBody;
use super::signed_in::SignedIn;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::fleet::{Answer, Request};
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::wire::payload::{AgentControl, CommandCancel, ControlAction};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An order goes out at once or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// An order, as the wire names it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Control {
    pub(crate) action: ControlAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<TerminalSize>,
}

pub(super) async fn control(
    State(app): State<App>,
    Path(agent): Path<String>,
    SignedIn(identity): SignedIn,
    OrderBody(body): OrderBody,
) -> Response<Body> {
    let user = identity.user;
    let Ok(order) = serde_json::from_slice::<Control>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "invalid order in the body");
    };
    if order.reason.as_ref().is_some_and(|reason| reason.len() > Limits::DEFAULT.name_bytes) {
        return problem(StatusCode::BAD_REQUEST, "the `reason` is longer than 256 bytes");
    }
    let control = AgentControl {
        agent_id: Some(AgentId::new(agent)),
        action: order.action,
        reason: order.reason,
        graceful_shutdown: None,
        timeout: None,
        size: order.size,
    };
    match ask_fleet(&app, PATIENCE, user, Request::Control(control)).await.map(Answer::done) {
        Some(Ok(())) => Json(serde_json::json!({ "sent": true })).into_response(),
        Some(Err(error)) => refused(&error),
        None => too_late(),
    }
}

/// How to cancel.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cancel {
    force: bool,
}

pub(super) async fn cancel(
    State(app): State<App>,
    Path(command): Path<String>,
    SignedIn(identity): SignedIn,
    OrderBody(body): OrderBody,
) -> Response<Body> {
    let user = identity.user;
    let wish = if body.is_empty() { Ok(Cancel::default()) } else { serde_json::from_slice(&body) };
    let Ok(Cancel { force }) = wish else {
        return problem(StatusCode::BAD_REQUEST, "invalid order in the body");
    };
    let cancel = CommandCancel {
        command_id: CommandId::new(command),
        agent_id: None,
        reason: Some("cancelled".to_owned()),
        force,
    };
    match ask_fleet(&app, PATIENCE, user, Request::Cancel(cancel)).await.map(Answer::done) {
        Some(Ok(())) => Json(serde_json::json!({ "sent": true })).into_response(),
        Some(Err(error)) => refused(&error),
        None => too_late(),
    }
}
