//! Pages of other origins that may use the API from a browser: those that the operator names, and no others.

use super::App;
use super::upgrade::plain;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How long a browser may go by an answer without asking again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// What pages may do.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What a page sends with a request if its browser does not say.
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// Where a page comes from, as browsers say it: `https://dashboard.example`, with a port if it is not the
/// usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOrigin(HeaderValue);

/// Why a text names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "an origin is a scheme, a host and perhaps a port, as in https://dashboard.example or http://localhost:3000"
)]
pub struct NoOrigin;

impl FromStr for CorsOrigin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        match host {
            Some(host) if !host.is_empty() && host.chars().all(is_plain) => {
                HeaderValue::from_str(&text.to_ascii_lowercase()).map(Self).map_err(|_| NoOrigin)
            }
            Some(_) | None => Err(NoOrigin),
        }
    }
}

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// Answers what a browser asks before it lets a page use the API, and says with each answer whether the page
/// may read it. Without configured origins nothing is said.
pub(super) async fn cors(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    if app.origins.is_empty() {
        return next.run(request).await;
    }
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| app.origins.iter().any(|known| known.0 == *origin));
    let is_preflight = request.method() == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = match (is_preflight, &allowed) {
        (true, Some(_)) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let says = response.headers_mut();
            let _ = says.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            let _ = says.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HEADERS));
            let _ = says.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            response
        }
        (true, None) => {
            app.counters.count("origins_refused");
            let why = "pages of this origin may not use this server; its operator allows origins with --cors-origin\n";
            plain(StatusCode::FORBIDDEN, why)
        }
        (false, _) => next.run(request).await,
    };
    let says = response.headers_mut();
    let _ = says.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        let _ = says.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // There are no cookies here; pages that send theirs along need this header anyway.
        let allow = HeaderValue::from_static("true");
        let _ = says.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allow);
    }
    response
}

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A page of an origin that the operator named: the existing dashboard in its browser.
    Page,
    /// Anybody else.
    Other,
}

/// Who reads the answer to a request with these headers.
pub(super) fn reader(app: &App, headers: &HeaderMap) -> Reader {
    let origin = headers.get(header::ORIGIN);
    match origin.is_some_and(|origin| app.origins.iter().any(|known| known.0 == *origin)) {
        true => Reader::Page,
        false => Reader::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_is_no_wildcard() {
        for good in ["https://dashboard.example", "http://localhost:3000", "http://[::1]:3000"] {
            assert_eq!(good.parse::<CorsOrigin>().unwrap().to_string(), good);
        }
        assert_eq!(
            "https://A.example".parse::<CorsOrigin>().unwrap().to_string(),
            "https://a.example"
        );
        for bad in [
            "*",
            "",
            "https://",
            "dashboard.example",
            "https://a.example/",
            "https://a b",
            "ws://a",
        ] {
            assert_eq!(bad.parse::<CorsOrigin>(), Err(NoOrigin), "{bad}");
        }
    }
}
