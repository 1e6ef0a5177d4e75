//! What every answer says to a browser that shows it: whatever is in it is data of others, nothing in it runs, and no
//! other page may embed it. The page itself has a policy of its own (`page/mod.rs`).

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};

/// The policy of answers that have none.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("content-security-policy"), POLICY),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds what an answer lacks of it.
pub(super) async fn guarded(mut answer: Response<Body>) -> Response<Body> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        let _ = headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What is cached is cached for whoever asks next.
    let cache = HeaderName::from_static("cache-control");
    let _ = headers.entry(cache).or_insert(HeaderValue::from_static("no-store"));
    answer
}
