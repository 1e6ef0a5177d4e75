//! Answers that take their time: the one way to give one. It ends with its token.

use crate::auth::OpenRequest;
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures::stream;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// JSON lines, as they come, until there are no more or the token has ended. Whoever makes them learns of the latter when
/// it hands over the next ones.
#[allow(clippy::disallowed_methods, reason = "this is the one place that makes such answers")]
pub(super) fn json_lines(open: OpenRequest, pages: mpsc::Receiver<Bytes>) -> Response<Body> {
    let body = stream::unfold((open, pages), |(mut open, mut pages)| async move {
        let page = tokio::select! {
            biased;
            _ = open.ended() => return None,
            page = pages.recv() => page?,
        };
        Some((Ok::<_, Infallible>(page), (open, pages)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let kind = HeaderValue::from_static("application/x-ndjson");
    let _ = response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
