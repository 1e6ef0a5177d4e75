//! The answer to an upgrade request: a WebSocket, or the reason why there is none.

use crate::link::{DialError, log_line};
use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Response, Status};
use onsembl_protocol::session::DialFailure;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest answer head in bytes, and most headers in it: what HTTP servers accept of requests.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;

/// Reads the answer to a request whose key asks for `accept`. Returns what came behind it.
pub(super) async fn read<S>(stream: &mut S, accept: &str) -> Result<Bytes, DialError>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = BytesMut::with_capacity(1024);
    loop {
        let read = stream.read_buf(&mut bytes).await.map_err(|e| {
            DialError::new(DialFailure::Unreachable, format!("no answer to the upgrade: {e}"))
        })?;
        if let Some(length) = judge(&bytes, accept)? {
            return Ok(bytes.split_off(length).freeze());
        }
        if read == 0 {
            return Err(ended(&bytes));
        }
        if bytes.len() > HEAD_BYTES {
            return Err(not_http("its answer has no end"));
        }
    }
}

/// The length of the head if it is complete and grants the upgrade, `None` if it is incomplete.
fn judge(bytes: &[u8], accept: &str) -> Result<Option<usize>, DialError> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut response = Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(not_http(&error.to_string())),
    };
    let head = Head { headers: response.headers };
    let status = response.code.unwrap_or(0);
    if status != 101 {
        let body = bytes.get(length..).unwrap_or_default();
        return Err(refusal(status, response.reason.unwrap_or_default(), &head, body));
    }
    if !head.has_token("upgrade", "websocket") || !head.has_token("connection", "upgrade") {
        return Err(DialError::new(DialFailure::NotAServer(101), "it upgrades to something else"));
    }
    if head.get("sec-websocket-accept") != Some(accept) {
        return Err(DialError::new(DialFailure::NotAServer(101), "it answers another request"));
    }
    if head.get("sec-websocket-extensions").is_some()
        || head.get("sec-websocket-protocol").is_some()
    {
        return Err(DialError::new(
            DialFailure::NotAServer(101),
            "it grants what was not asked for",
        ));
    }
    Ok(Some(length))
}

fn refusal(status: u16, reason: &str, head: &Head<'_>, body: &[u8]) -> DialError {
    let failure = match status {
        401 => DialFailure::Unauthorized,
        403 => DialFailure::Forbidden,
        429 | 503 => DialFailure::Busy { retry_after: head.retry_after() },
        status => DialFailure::NotAServer(status),
    };
    let body = log_line(&String::from_utf8_lossy(body));
    let body = body.trim();
    let dash = if body.is_empty() { "" } else { " - " };
    DialError::new(failure, format!("HTTP {status} {reason}{dash}{body}"))
}

fn ended(bytes: &[u8]) -> DialError {
    if bytes.is_empty() {
        let detail = "the connection was closed before the upgrade was answered";
        DialError::new(DialFailure::Unreachable, detail)
    } else {
        not_http("its answer breaks off")
    }
}

fn not_http(detail: &str) -> DialError {
    DialError::new(DialFailure::NotAServer(0), detail)
}

struct Head<'a> {
    headers: &'a [Header<'a>],
}

impl Head<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    }

    /// Whether one of the headers called `name` lists `token`.
    fn has_token(&self, name: &str, token: &str) -> bool {
        self.headers
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case(name))
            .filter_map(|h| std::str::from_utf8(h.value).ok())
            .flat_map(|value| value.split(','))
            .any(|listed| listed.trim().eq_ignore_ascii_case(token))
    }

    /// `Retry-After` in seconds or as a date. A date is measured from the server's own `Date`, as
    /// the two hosts' clocks may differ.
    fn retry_after(&self) -> Option<Duration> {
        let value = self.get("retry-after")?;
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(value).ok()?;
        let sent = self.get("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let since = sent.unwrap_or_else(SystemTime::now);
        Some(until.duration_since(since).unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\n\
                         connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: yes\r\n\r\n";

    async fn answer(text: &str) -> Result<Bytes, DialError> {
        read(&mut text.as_bytes(), "yes").await
    }

    async fn failure(text: &str) -> DialFailure {
        answer(text).await.unwrap_err().failure
    }

    #[tokio::test]
    async fn a_grant_in_any_pieces_keeps_what_follows() {
        let text = format!("{GRANT}\u{81}rest");
        assert_eq!(answer(&text).await.unwrap(), "\u{81}rest".as_bytes());
        let mut pieces = tokio_test::io::Builder::new();
        for byte in GRANT.as_bytes() {
            pieces.read(std::slice::from_ref(byte));
        }
        assert!(read(&mut pieces.build(), "yes").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn statuses_mean_what_they_say() {
        let with = |status: &str| format!("HTTP/1.1 {status}\r\n\r\n");
        assert_eq!(failure(&with("401 No")).await, DialFailure::Unauthorized);
        assert_eq!(failure(&with("403 No")).await, DialFailure::Forbidden);
        assert_eq!(failure(&with("429 No")).await, DialFailure::Busy { retry_after: None });
        for status in [200, 301, 400, 404, 426, 500, 502] {
            assert_eq!(failure(&with(&status.to_string())).await, DialFailure::NotAServer(status));
        }
        let shown = answer("HTTP/1.1 403 Forbidden\r\n\r\n{\"error\":\r\n\"revoked\"}").await;
        assert_eq!(shown.unwrap_err().detail, "HTTP 403 Forbidden - {\"error\":  \"revoked\"}");
    }

    #[tokio::test]
    async fn retry_after_as_seconds_and_as_a_date() {
        let busy = |s: u64| DialFailure::Busy { retry_after: Some(Duration::from_secs(s)) };
        assert_eq!(failure("HTTP/1.1 503 x\r\nRetry-After: 17\r\n\r\n").await, busy(17));
        let dated = "HTTP/1.1 503 x\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
                     Retry-After: Tue, 15 Nov 1994 08:13:01 GMT\r\n\r\n";
        assert_eq!(failure(dated).await, busy(30));
        let past = "HTTP/1.1 429 x\r\nRetry-After: Tue, 15 Nov 1994 08:13:01 GMT\r\n\r\n";
        assert_eq!(failure(past).await, busy(0));
        let nonsense = "HTTP/1.1 429 x\r\nRetry-After: soon\r\n\r\n";
        assert_eq!(failure(nonsense).await, DialFailure::Busy { retry_after: None });
    }

    #[tokio::test]
    async fn a_grant_that_is_none() {
        for (from, to) in [
            ("UPGRADE: WebSocket", "UPGRADE: h2c"),
            ("Upgrade\r\n", "close\r\n"),
            ("Accept: yes", "Accept: no"),
            ("connection:", "Sec-WebSocket-Extensions: permessage-deflate\r\nconnection:"),
        ] {
            assert_eq!(
                failure(&GRANT.replace(from, to)).await,
                DialFailure::NotAServer(101),
                "{to}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_told_from_what_is_nothing() {
        assert_eq!(failure("SSH-2.0-OpenSSH_9.2\r\n").await, DialFailure::NotAServer(0));
        assert_eq!(failure("HTTP/1.1 10").await, DialFailure::NotAServer(0));
        assert_eq!(failure("").await, DialFailure::Unreachable);
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000));
        assert_eq!(failure(&endless).await, DialFailure::NotAServer(0));
    }
}
