//! `POST /api/stop` and `POST /api/release`: latching emergency stops.

use super::App;
use super::api::problem;
use super::ask::{ask_fleet, refused, too_late};
use super::order_body::OrderBody;
use super::signed_in::SignedIn;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::fleet::{Answer, Request};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::StopScope;
use onsembl_protocol::wire::payload::ErrorReply;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    /// The reason, shown to people.
    pub(crate) reason: Option<String>,
}

impl Order {
    fn read(body: &[u8]) -> Result<(StopScope, String), &'static str> {
        let order: Self = serde_json::from_slice(body).map_err(|_| "invalid order in the body")?;
        let scope = match (order.agent, order.all) {
            (Some(agent), false) => StopScope::Agent(AgentId::new(agent)),
            (None, true) => StopScope::All,
            (Some(_), true) | (None, false) => return Err("give one `agent`, or `all`"),
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
    SignedIn(identity): SignedIn,
    OrderBody(body): OrderBody,
) -> Response<Body> {
    let request = |scope, reason| Request::Stop { scope, reason };
    order(&app, identity.user, &body, request, Answer::stopped).await
}

pub(super) async fn release(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    OrderBody(body): OrderBody,
) -> Response<Body> {
    let request = |scope, _| Request::Release(scope);
    order(&app, identity.user, &body, request, Answer::released).await
}

async fn order<T: Serialize>(
    app: &App,
    user: UserId,
    body: &[u8],
    request: impl FnOnce(StopScope, String) -> Request,
    read: impl FnOnce(Answer) -> Result<T, ErrorReply>,
) -> Response<Body> {
    let (scope, reason) = match Order::read(body) {
        Ok(order) => order,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    match ask_fleet(app, PATIENCE, user, request(scope, reason)).await.map(read) {
        Some(Ok(done)) => Json(done).into_response(),
        Some(Err(error)) => refused(&error),
        None => too_late(),
    }
}
