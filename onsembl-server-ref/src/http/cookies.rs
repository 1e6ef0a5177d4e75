//! Requests of browsers that are signed in: the one place where a cookie counts for something (P-493 to P-498). Which
//! of them count as those of our own page, the core decides ([`onsembl_protocol::sign_in::admit`]).

use super::App;
use super::signed_in::{TokenQuery, settle};
use crate::auth::{Credentials, Identity, PageSessions, SessionFault, TokenKind};
use axum::Json;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header,
};
use axum::response::IntoResponse as _;
use onsembl_protocol::sign_in::{Asked, CookieFault, Origin, RequestKind, Scheme, admit};
use serde_json::json;
use tracing::debug;

/// The header that a page of another origin cannot send by itself.
const MARKER: HeaderName = HeaderName::from_static("x-onsembl");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// By whom the request was sent if a cookie of ours says so, or the answer that refuses it; `None` if it shows something
/// else, or nothing.
pub(super) async fn signed_in(
    app: &App,
    parts: &Parts,
    query: &TokenQuery,
) -> Option<Result<Identity, Response<Body>>> {
    if parts.headers.contains_key(header::AUTHORIZATION) || query.has_token() {
        return None;
    }
    let kind = match parts.method {
        _ if parts.headers.contains_key(header::UPGRADE) => RequestKind::Link,
        Method::GET | Method::HEAD => RequestKind::Read,
        _ => RequestKind::Change,
    };
    signed_in_for(app, parts, kind).await
}

/// The same for a request that does this.
pub(super) async fn signed_in_for(
    app: &App,
    parts: &Parts,
    kind: RequestKind,
) -> Option<Result<Identity, Response<Body>>> {
    let sessions = &app.page.as_ref()?.sessions;
    let origins = own_origins(app, &parts.headers, &parts.extensions);
    let (own, cookie) = origins.iter().find_map(|own| Some((own, cookie(&parts.headers, own)?)))?;
    Some(match identified(app, sessions, parts, (kind, own, &cookie)).await {
        Ok(identity) => settle(app, identity, &parts.extensions).await,
        Err(answer) => Err(answer),
    })
}

async fn identified(
    app: &App,
    sessions: &PageSessions,
    parts: &Parts,
    (kind, own, cookie): (RequestKind, &Origin, &str),
) -> Result<Identity, Response<Body>> {
    let asked = asked(&parts.headers);
    // First without the session: a page of another origin costs no look-up.
    let admitted = |access| admit(kind, asked, own, access).map_err(|fault| refused(app, fault));
    admitted(onsembl_protocol::model::Access::Full)?;
    let credentials =
        Credentials::of_request(TokenKind::Dashboard, &parts.headers, &parts.extensions, None);
    match sessions.look_up(cookie, credentials.asker()).await {
        Ok(identity) => {
            admitted(identity.access())?;
            Ok(identity)
        }
        Err(fault) => Err(not_signed_in(app, fault, own)),
    }
}

/// Whether a request that shows no session may sign in.
///
/// # Errors
/// The answer that refuses it.
pub(super) fn may_sign_in(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Origin, Box<Response<Body>>> {
    let origins = own_origins(app, headers, extensions);
    let mut fault = CookieFault::NoOrigin;
    for own in origins {
        match admit(RequestKind::Sign, asked(headers), &own, Default::default()) {
            Ok(()) => return Ok(own),
            Err(why) => fault = why,
        }
    }
    Err(Box::new(refused(app, fault)))
}

/// The origins that this server is reached by, for this request: that which the operator names, and that of its `Host`.
pub(super) fn own_origins(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Vec<Origin> {
    let named = app.page.as_ref().and_then(|page| page.public_url.clone());
    let scheme = extensions.get::<Scheme>().copied().unwrap_or(Scheme::Http);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let by_host = host.and_then(|host| Origin::of_authority(scheme, host));
    let by_host = by_host.filter(|own| named.as_ref() != Some(own));
    let mut origins: Vec<Origin> = named.into_iter().chain(by_host).collect();
    // The one that the request comes from goes first.
    let from = asked(headers).origin.and_then(Origin::parse);
    origins.sort_by_key(|own| Some(own) != from.as_ref());
    origins
}

/// What makes a browser keep a session, or forget it.
pub(super) fn set_cookie(own: &Origin, value: Option<&str>) -> Option<HeaderValue> {
    let secure = match own.scheme() {
        Scheme::Https => "; Secure",
        Scheme::Http => "",
    };
    let (value, age) = match value {
        // The session may end sooner; the server knows.
        Some(value) => (value, onsembl_protocol::sign_in::SessionTimes::ABSOLUTE.as_secs()),
        None => ("", 0),
    };
    let name = own.cookie_name();
    let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok()
}

/// An answer with an error and its code.
pub(super) fn coded(status: StatusCode, code: &str, why: &str) -> Response<Body> {
    (status, Json(json!({ "error": why, "code": code }))).into_response()
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.to_str().unwrap_or("?")),
            (None, _) => None,
            // Several are none of ours.
            (Some(_), Some(_)) => Some("?"),
        }
    };
    Asked { origin: one(&header::ORIGIN), fetch_site: one(&FETCH_SITE), marker: one(&MARKER) }
}

/// The value of our cookie, if there is one: of two, one was planted by another page of the host.
fn cookie(headers: &HeaderMap, own: &Origin) -> Option<String> {
    let name = own.cookie_name();
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    let mut ours = pairs.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim());
    match (ours.next(), ours.next()) {
        (Some(value), None) if !value.is_empty() => Some(value.to_owned()),
        _ => None,
    }
}

fn refused(app: &App, fault: CookieFault) -> Response<Body> {
    app.counters.count("page_requests_refused");
    debug!(cause = fault.as_str(), "a request with a session cookie was refused");
    coded(StatusCode::FORBIDDEN, fault.as_str(), &fault.to_string())
}

fn not_signed_in(app: &App, fault: SessionFault, own: &Origin) -> Response<Body> {
    let (code, why) = match fault {
        SessionFault::Unknown => ("SESSION_UNKNOWN", "this session was ended; sign in again"),
        SessionFault::Over(_) => ("SESSION_EXPIRED", "this session is over; sign in again"),
        SessionFault::Unavailable => return unavailable(),
    };
    app.counters.count("page_sessions_refused");
    debug!(?fault, "a session cookie was refused");
    let mut answer = coded(StatusCode::UNAUTHORIZED, code, why);
    if let Some(cookie) = set_cookie(own, None) {
        let _ = answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// The answer while sessions cannot be looked up or stored.
pub(super) fn unavailable() -> Response<Body> {
    let why = "sessions cannot be looked up or stored now; try again later";
    let mut answer = coded(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", why);
    let _ = answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookies(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let _ = headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_cookie_counts_if_there_is_one_of_its_name() {
        let own = Origin::parse("http://h:8080").unwrap();
        let of = |values: &[&'static str]| cookie(&with_cookies(values), &own);
        assert_eq!(of(&["a=b; onsembl-8080=x; onsembl=y"]).as_deref(), Some("x"));
        assert_eq!(of(&["onsembl-8080=x", "a=b"]).as_deref(), Some("x"));
        for none in
            [&["onsembl=y"][..], &["onsembl-8080="], &["onsembl-8080=x; onsembl-8080=y"], &[]]
        {
            assert_eq!(of(none), None, "{none:?}");
        }
        let cookie = set_cookie(&Origin::parse("https://h").unwrap(), Some("v")).unwrap();
        let expected =
            "__Host-onsembl=v; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(cookie, expected);
    }
}
