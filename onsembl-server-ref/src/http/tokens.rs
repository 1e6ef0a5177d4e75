//! `GET /api/token`, `GET /api/tokens` and `DELETE /api/tokens/{id}`: the tokens of the user who asks, and of nobody
//! else. None is made here: that is the operator's (P-450 to P-453).

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::page::{self, Page};
use super::signed_in::SignedIn;
use crate::auth::Identity;
use crate::store::{AgentRow, TokenRow};
use crate::token_view::TokenView;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::id::TokenId;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::Deserialize;
use serde_json::json;
use tracing::info;

/// Longest id of a token that is looked up, in bytes.
const LONGEST_ID: usize = 256;

/// Which part of the list is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    limit: Option<usize>,
    /// Only those behind the token with this id: `next` of an earlier page.
    after: Option<String>,
}

fn shown(row: &TokenRow, agents: &[AgentRow], identity: &Identity, now: WallTime) -> TokenView {
    let current = row.token.as_str() == identity.token_id;
    TokenView { current, ..TokenView::of(row, agents, now) }
}

/// The token that asks.
pub(super) async fn token(State(app): State<App>, SignedIn(identity): SignedIn) -> Response<Body> {
    let id = TokenId::new(&identity.token_id);
    let listed = match app.store.tokens().get_of(&identity.user, &id).await {
        Ok(listed) => listed,
        Err(error) => return unreadable(&app, &error),
    };
    let now = SystemClock::new().now().wall;
    match listed {
        Some(row) => Json(shown(&row, &[], &identity, now)).into_response(),
        // A service may have accounts of its own, whose tokens are in no list here; and a signed one gets its place a
        // moment after it was shown first.
        None => Json(json!({
            "token_id": identity.token_id,
            "user": identity.user.as_str(),
            "kind": identity.kind,
            "made_at": identity.made.map(|at| at.to_string()),
            "expires_at": identity.expires.map(|at| at.to_string()),
            "current": true,
        }))
        .into_response(),
    }
}

/// All of the user, the newest first.
pub(super) async fn tokens(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    Query(part): Query<Part>,
) -> Response<Body> {
    let slot = match page::slot(&app, &identity.user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let found = async {
        let rows = app.store.tokens().list_of(&identity.user).await?;
        Ok((rows, app.store.agents().list(Some(&identity.user)).await?))
    };
    let (rows, agents) = match found.await {
        Ok(found) => found,
        Err(error) => return unreadable(&app, &error),
    };
    let now = SystemClock::new().now().wall;
    let behind =
        part.after.as_deref().and_then(|id| rows.iter().position(|row| row.token.as_str() == id));
    let first = behind.map_or(0, |at| at + 1);
    let limit = part.limit.unwrap_or(usize::MAX);
    let (mut page, mut last) = (Page::default(), None);
    for (count, row) in rows.iter().skip(first).enumerate() {
        if count >= limit || !page.add(shown(row, &agents, &identity, now)) {
            return page.answer("tokens", last, slot);
        }
        last = Some(row.token.as_str().to_owned());
    }
    page.answer("tokens", None, slot)
}

/// Revokes one of the user.
pub(super) async fn revoke(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    if id.len() > LONGEST_ID {
        return unknown();
    }
    let (token, now) = (TokenId::new(id), SystemClock::new().now().wall);
    match app.store.tokens().revoke_of(&identity.user, &token, now, "revoked by its user").await {
        Ok(Some(revoked)) => {
            if revoked.revoked.is_none() {
                let (user, by) = (&identity.user, &identity.token_id);
                info!(%user, %token, by, "a token was revoked by its user");
            }
            let at = revoked.revoked.as_ref().map_or(now, |(at, _)| *at).to_string();
            Json(json!({
                "token_id": revoked.token.as_str(),
                "kind": revoked.kind,
                "made_for": revoked.made_for,
                "revoked_at": at,
                "was_revoked": revoked.revoked.is_some(),
            }))
            .into_response()
        }
        Ok(None) => unknown(),
        Err(error) => unreadable(&app, &error),
    }
}

fn unknown() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "no token of yours has this id")
}
