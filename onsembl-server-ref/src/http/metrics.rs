//! The page of metrics: on a listener of its own for everybody who reaches it, elsewhere for a token of the kind
//! `metrics`. They are of all users, so no user's token opens it.

use super::App;
use super::api::stats;
use super::signed_in::{TokenQuery, admit};
use super::upgrade::plain;
use crate::auth::TokenKind;
use crate::metrics::CONTENT_TYPE;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tracing::error;

/// The page, for everybody who can reach it.
pub(crate) fn open(app: App) -> Router {
    Router::new().route("/metrics", get(page)).with_state(app)
}

/// The page, for those with a token of its kind.
pub(super) fn guarded(app: App) -> Router {
    Router::new().route("/metrics", get(for_token)).with_state(app)
}

async fn for_token(
    State(app): State<App>,
    Query(query): Query<TokenQuery>,
    request: Request,
) -> Response<Body> {
    let (headers, extensions) = (request.headers(), request.extensions());
    match admit(&app, TokenKind::Metrics, headers, extensions, &query).await {
        Ok(_) => page(State(app)).await,
        Err(refused) => refused,
    }
}

async fn page(State(app): State<App>) -> Response<Body> {
    let stats = stats(&app).await;
    let health = *app.store.health().borrow();
    match app.metrics.page(stats, &app.fleet_views.statuses(), &health) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            error!(%error, "the metrics cannot be encoded");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n")
        }
    }
}
