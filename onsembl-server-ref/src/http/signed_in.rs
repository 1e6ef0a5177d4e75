//! Who asks, found out before a page is made: from the token of a request to an identity, or the page
//! that refuses.

use super::App;
use super::connection::{Connection, TooMany};
use super::upgrade::plain;
use crate::auth::{Credentials, Identity, Refusal, Refused, TokenKind};
use crate::bounds::LogLimit;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use onsembl_protocol::diagnosis::found_by_refusal;
use onsembl_protocol::id::AgentId;
use onsembl_protocol::session::{
    NONCE_HEADER, REFUSAL_HEADER, TOKEN_FAULT_HEADER, nonce_to_repeat,
};
use onsembl_transport::clock::SystemClock;
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;
use tracing::{debug, warn};

/// How long a request waits for the fleet of its user to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// The bearer of a dashboard token. A handler that takes this runs for no other caller, and takes it before
/// the body: of an unknown caller no body is read.
#[derive(Debug)]
pub(super) struct SignedIn(pub(super) Identity);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response<Body>> {
        let Query(query) = Query::<TokenQuery>::from_request_parts(parts, app)
            .await
            .map_err(IntoResponse::into_response)?;
        admit(app, TokenKind::Dashboard, &parts.headers, &parts.extensions, &query).await.map(Self)
    }
}

/// The query parameters that are looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenQuery {
    /// Browsers cannot set headers on a WebSocket.
    #[serde(default)]
    token: Option<String>,
    /// The id that an agent was taught.
    #[serde(default, rename = "agentId")]
    pub(super) agent_id: Option<String>,
}

/// Who asks, or the page that refuses.
pub(super) async fn admit(
    app: &App,
    kind: TokenKind,
    headers: &HeaderMap,
    extensions: &Extensions,
    query: &TokenQuery,
) -> Result<Identity, Response<Body>> {
    let in_query = query.token.as_deref();
    let credentials = Credentials::of_request(kind, headers, extensions, in_query);
    let named = query.agent_id.as_deref().map(AgentId::new);
    let identity = match app.auth.admit_or_name(&credentials).await {
        Ok(identity) => identity,
        Err(refusal) => {
            if let (Some(of), Some(_)) = (&refusal.of, &named) {
                let _ = is_read(app, of).await;
            }
            remember(app, &refusal, named.as_ref());
            return Err(refused(app, &refusal.why, &credentials, named.as_ref()));
        }
    };
    if !is_read(app, &identity).await {
        let why = "the agents of this user cannot be read now; come back later\n";
        return Err(plain(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    if let Some(connection) = extensions.get::<Connection>() {
        connection.belongs_to(&identity.user).map_err(|full| too_many(app, &identity, full))?;
        connection.admitted(&identity.user).await;
    }
    Ok(identity)
}

/// Whether the fleet of this user is read. At the start of a server those are not whose agents are all away.
async fn is_read(app: &App, identity: &Identity) -> bool {
    match identity.kind {
        TokenKind::Agent | TokenKind::Dashboard => {}
        // They are of all users.
        TokenKind::Metrics => return true,
    }
    let user = &identity.user;
    app.fleet_views.is_read(user)
        || tokio::time::timeout(READ_WITHIN, app.hub.read(user)).await == Ok(true)
}

/// Remembers that an agent was turned away, if its token was one that may speak for it.
fn remember(app: &App, refused: &Refused, named: Option<&AgentId>) {
    let Refused { why, of: Some(identity) } = refused else { return };
    let cause = found_by_refusal(why.reason(), why.token_fault());
    let (Some(agent), Some(cause)) = (named, cause) else { return };
    let bearer = identity.bearer();
    let is_theirs = app
        .fleet_views
        .of(&identity.user)
        .look()
        .agents()
        .get(agent)
        .is_some_and(|known| known.is_spoken_for_by(agent, bearer.as_ref()));
    if is_theirs {
        app.turned_away.note(&identity.user, agent, cause, SystemClock::new().now().wall);
    }
}

/// The page for a user that has its share of connections.
pub(super) fn too_many(app: &App, identity: &Identity, full: TooMany) -> Response<Body> {
    app.counters.count("connections_over_share");
    let TooMany { of, to_log } = full;
    if let Some(before) = to_log {
        let user = &identity.user;
        warn!(
            ?user,
            before, of, "a user has reached its share of the connections; more are refused"
        );
    }
    let why = format!(
        "too many connections of yours: a user may have four fifths of the {of} that are not in use by \
         others; close some\n"
    );
    plain(StatusCode::TOO_MANY_REQUESTS, &why)
}

/// What was logged lately of who was turned away: the address, and why.
pub(crate) type Refusals = LogLimit<Option<IpAddr>, String>;

/// The page that refuses a peer: 401 if it is unknown, 403 if it must stay away, 503 if that
/// cannot be said now. It repeats the nonce of the request, by which a peer tells it from the answer of
/// a proxy (P-12).
pub(super) fn refused(
    app: &App,
    refusal: &Refusal,
    credentials: &Credentials<'_>,
    agent: Option<&AgentId>,
) -> Response<Body> {
    let status = match refusal {
        Refusal::Unauthorized(_) | Refusal::Unfit(..) => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    app.counters.count("refused_tokens");
    let cause = refusal.reason().as_str();
    let (peer, kind) = (credentials.peer(), credentials.kind());
    let agent = agent.map(tracing::field::display);
    let shown = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
    let why = refusal.to_string();
    match app.refusals.allow(peer.map(|peer| peer.ip()), why.clone()) {
        Some(more) => {
            warn!(peer = shown, agent, cause, more, why, "a peer connecting as {kind} was refused");
        }
        None => {
            debug!(
                peer = shown,
                agent, cause, why, "a peer connecting as {kind} was refused again"
            );
        }
    }
    let mut page = plain(status, &why);
    let nonce = credentials.header(NONCE_HEADER);
    if let Some(Ok(nonce)) = nonce.and_then(nonce_to_repeat).map(HeaderValue::from_str) {
        let reason = HeaderValue::from_static(cause);
        let _ = page.headers_mut().insert(NONCE_HEADER, nonce);
        let _ = page.headers_mut().insert(REFUSAL_HEADER, reason);
        if let Some(fault) = refusal.token_fault() {
            let fault = HeaderValue::from_static(fault.as_str());
            let _ = page.headers_mut().insert(TOKEN_FAULT_HEADER, fault);
        }
    }
    page
}
