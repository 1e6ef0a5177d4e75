//! Who asks, found out before a page is made: from the token of a request to an identity, or the page
//! that refuses.

use super::App;
use super::upgrade::plain;
use crate::auth::{Identity, TokenError, TokenKind};
use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use tracing::{debug, warn};

/// The bearer of a dashboard token. A handler that takes this runs for nobody else, and takes it before
/// the body: of somebody who is not known, no body is read.
#[derive(Debug)]
pub(super) struct SignedIn(pub(super) Identity);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response<Body>> {
        let Query(query) = Query::<TokenQuery>::from_request_parts(parts, app)
            .await
            .map_err(IntoResponse::into_response)?;
        identify(app, &parts.headers, &query, TokenKind::Dashboard)
            .await
            .map(Self)
            .map_err(|refusal| refusal.response(app))
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

/// Who asks: 401 if that is not known, 403 if they must stay away.
pub(super) async fn identify(
    app: &App,
    headers: &HeaderMap,
    query: &TokenQuery,
    kind: TokenKind,
) -> Result<Identity, Refusal> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let token = bearer.or(query.token.as_deref());
    let identity = app.tokens.verify(token, kind).map_err(|error: TokenError| Refusal {
        status: StatusCode::UNAUTHORIZED,
        why: error.to_string(),
    })?;
    match app.store.is_revoked(&identity.token_id).await {
        Ok(false) => Ok(identity),
        Ok(true) => Err(Refusal {
            status: StatusCode::FORBIDDEN,
            why: "the token was revoked; stay away".to_owned(),
        }),
        Err(error) => {
            // Whether it was revoked is not known, so nobody is let in; but nobody is sent away
            // for good either.
            warn!(%error, "cannot look up revoked tokens");
            Err(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                why: "the database cannot be read now; come back later".to_owned(),
            })
        }
    }
}

/// Why somebody is not let in.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn response(&self, app: &App) -> Response<Body> {
        app.counters.count("refused_tokens");
        debug!(status = %self.status, why = self.why, "refused");
        plain(self.status, &self.why)
    }
}
