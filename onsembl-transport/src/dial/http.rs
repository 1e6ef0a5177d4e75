//! One HTTP request over a stream of its own.

use crate::link::{DialError, log_line};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use onsembl_protocol::session::DialFailure;
use std::error::Error as _;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// Longest head of an answer in bytes: what HTTP servers accept of requests.
const HEAD_BYTES: usize = 16 * 1024;

/// How long the text of a refusal is waited for, and how much of it is read. It is for a log line.
const TEXT_WITHIN: Duration = Duration::from_secs(1);
const TEXT_BYTES: usize = 2048;

/// An answer, and the connection it comes over, which ends with it.
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    connection: AbortOnDropHandle<()>,
}

/// Sends a request and waits for the head of the answer. Answers before the answer, such as 103, are
/// passed over.
pub(crate) async fn send<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Exchange, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its error is that of the request or of the body, too.
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "an HTTP connection ended");
        }
    }));
    Ok(Exchange { response: sender.send_request(request).await?, connection })
}

impl Exchange {
    /// The stream behind an answer that grants an upgrade or a tunnel.
    pub(crate) async fn into_stream(
        self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, hyper::Error> {
        let upgraded = hyper::upgrade::on(self.response).await?;
        drop(self.connection);
        Ok(TokioIo::new(upgraded))
    }

    /// What a refusing page says, as the end of a log line: ` - TEXT`, or nothing.
    pub(crate) async fn said(&mut self, by: Instant) -> String {
        let by = by.min(Instant::now() + TEXT_WITHIN);
        let mut text = Vec::new();
        while text.len() < TEXT_BYTES {
            match timeout_at(by, self.response.body_mut().frame()).await {
                Ok(Some(Ok(frame))) => {
                    text.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
                }
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        let text = log_line(&String::from_utf8_lossy(&text));
        match text.trim() {
            "" => String::new(),
            text => format!(" - {text}"),
        }
    }

    /// The next part of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = self.response.body_mut().frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// What an error of a request means for a dial. `what` says of whom.
pub(crate) fn failure(error: &hyper::Error, what: &str) -> DialError {
    let failure = match error.is_parse() {
        true => DialFailure::NotAServer(0),
        false => DialFailure::Unreachable,
    };
    DialError::new(failure, format!("{what}: {}", told(error)))
}

/// With the reason of the system, which the library's own text leaves out.
pub(crate) fn told(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// `Retry-After` in seconds or as a date. A date is measured from the server's own `Date`, as the two
/// hosts' clocks may differ.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let value = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let sent = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let since = sent.unwrap_or_else(SystemTime::now);
    Some(until.duration_since(since).unwrap_or(Duration::ZERO))
}
