//! The body of an order: small, and there in time.

use super::App;
use super::api::problem;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Response, StatusCode};
use std::time::Duration;

/// Longest body. An order is an id, a few words and a reason of 256 bytes.
const LONGEST: usize = 64 * 1024;
/// How long it may take to come, as long as the head of a request may.
const WITHIN: Duration = Duration::from_secs(10);

/// The body of an order, as it came.
#[derive(Debug)]
pub(super) struct OrderBody(pub(super) Bytes);

impl FromRequest<App> for OrderBody {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Response<Body>> {
        read(request.into_body()).await.map(Self)
    }
}

async fn read(body: Body) -> Result<Bytes, Response<Body>> {
    match tokio::time::timeout(WITHIN, to_bytes(body, LONGEST)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let why = format!("the body was cut off, or is longer than 64 KiB: {error}");
            Err(problem(StatusCode::BAD_REQUEST, &why))
        }
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn status(body: Body) -> Option<StatusCode> {
        read(body).await.err().map(|page| page.status())
    }

    #[allow(clippy::disallowed_methods, reason = "the body of a request")]
    #[tokio::test(start_paused = true)]
    async fn a_body_is_as_long_as_an_order_and_comes_in_time() {
        assert_eq!(read(Body::from("{}")).await.ok(), Some(Bytes::from("{}")));
        assert_eq!(status(Body::from(vec![b' '; LONGEST])).await, None);
        assert_eq!(
            status(Body::from(vec![b' '; LONGEST + 1])).await,
            Some(StatusCode::BAD_REQUEST)
        );
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(status(never).await, Some(StatusCode::REQUEST_TIMEOUT));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        assert_eq!(status(Body::from_stream(broken)).await, Some(StatusCode::BAD_REQUEST));
    }
}
