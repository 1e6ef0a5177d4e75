//! One HTTP request over a stream of its own.

use super::Heard;
use crate::link::DialError;
use crate::tls::{self, TlsFault};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use onsembl_protocol::session::{DialFailure, DialFault};
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

    /// What a refusing answer says, in one phrase: its status and `more` of its head, who says to have answered, and
    /// the text of its page.
    pub(crate) async fn said(&mut self, more: &str, by: Instant) -> String {
        let by = by.min(Instant::now() + TEXT_WITHIN);
        let mut page = Vec::new();
        while page.len() < TEXT_BYTES {
            match timeout_at(by, self.response.body_mut().frame()).await {
                Ok(Some(Ok(frame))) => {
                    page.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
                }
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        let status = self.response.status();
        let server = self.response.headers().get(header::SERVER).and_then(|v| v.to_str().ok());
        let server = server.map_or_else(String::new, |name| format!(" (Server: {})", name.trim()));
        let text = match bare(&String::from_utf8_lossy(&page)).as_str() {
            "" => String::new(),
            text => format!(": {text}"),
        };
        format!("HTTP {status}{more}{server}{text}")
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

/// A page without its markup, on one line.
fn bare(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    // Where something stands that begins like markup and never ends, it is text.
    while let Some((before, behind)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        // What is in these is not for people.
        let hidden = ["style", "script"].into_iter().find(|tag| {
            behind.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag))
        });
        let end = match hidden {
            Some(tag) => behind.to_ascii_lowercase().find(&format!("</{tag}")),
            None => Some(0),
        };
        let Some(end) = end.and_then(|at| behind.get(at..)?.find('>').map(|more| at + more)) else {
            rest = if hidden.is_some() { "" } else { behind };
            break;
        };
        rest = behind.get(end + 1..).unwrap_or_default();
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an error of a request means for a dial. `what` says of whom.
pub(crate) fn failure(error: &hyper::Error, what: &str) -> DialError {
    let (failure, fault) = match error.is_parse() {
        true => (DialFailure::NotAServer(0), DialFault::NoHttp),
        false => (DialFailure::Unreachable, DialFault::ClosedUnanswered),
    };
    DialError::new(failure, format!("{what}: {}", told(error))).with_fault(fault)
}

/// The same, and what was heard instead of an answer.
pub(crate) fn failure_after(error: &hyper::Error, heard: &Heard) -> DialError {
    if let Some(TlsFault { fault, why }) = tls::alert_behind(error) {
        return DialError::new(DialFailure::Tls, why).with_fault(fault);
    }
    match heard.foreign() {
        Some((fault, how)) => DialError::new(DialFailure::NotAServer(0), how).with_fault(fault),
        None if heard.is_empty() && error.is_incomplete_message() => {
            DialError::new(DialFailure::Unreachable, "").with_fault(DialFault::ClosedUnanswered)
        }
        None => {
            let DialError { failure, fault, .. } = failure(error, "");
            DialError::new(failure, told(error)).with_fault(fault)
        }
    }
}

/// With the reason of the system, which the library's own text leaves out.
pub(crate) fn told(error: &hyper::Error) -> String {
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        return "the connection ended before an answer".to_owned();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_page_the_text_is_shown() {
        for (page, text) in [
            ("upstream\n away ", "upstream away"),
            (
                "<html><head><title>502 Bad\nGateway</title></head><hr>nginx</html>",
                "502 Bad Gateway nginx",
            ),
            ("<STYLE>p{}</STYLE>a<script>x < y</script>b<br/>c", "a b c"),
            ("a < b", "a b"),
            ("<style>never ends", ""),
            ("{\"error\":\"no\"}", "{\"error\":\"no\"}"),
            ("", ""),
            ("é<ü>ß", "é ß"),
        ] {
            assert_eq!(bare(page), text, "{page}");
        }
    }
}
