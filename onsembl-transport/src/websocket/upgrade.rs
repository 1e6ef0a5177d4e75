//! The upgrade of a client: the request, and what its answer means.

use super::accept_key;
use crate::dial::http::{self, Exchange};
use crate::dial::{Clocks, Heard};
use crate::link::DialError;
use crate::secret::Secret;
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use onsembl_protocol::session::{
    DialFailure, DialFault, HttpRefusal, NONCE_HEADER, REFUSAL_HEADER, TOKEN_FAULT_HEADER,
};
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

/// What an upgrade asks for, and as whom.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) authority: &'a Authority,
    pub(super) path_and_query: &'a str,
    pub(super) token: Option<&'a Secret>,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
}

/// One upgrade: its request, and by what its answer is known.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) request: Request<Full<Bytes>>,
    accept: String,
    /// A server repeats it in a refusal (P-12).
    nonce: String,
}

impl Upgrade {
    /// A request with a key and a nonce of its own.
    pub(super) fn new(asked: &Asked<'_>) -> Result<Self, DialError> {
        let (key, nonce) = (generate_key(), generate_key());
        let unfit = |what: &str| {
            DialError::new(DialFailure::NoToken, what).with_fault(DialFault::TokenUnfit)
        };
        let mut request = Request::builder()
            .uri(asked.path_and_query)
            .header(header::HOST, asked.authority.as_str())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(NONCE_HEADER, &nonce)
            .body(Full::new(Bytes::new()))
            .map_err(|e| {
                let text = format!("cannot request the upgrade: {e}");
                DialError::new(DialFailure::Unreachable, text)
            })?;
        if let Some(token) = asked.token {
            if !token.can_be_shown() {
                return Err(unfit("it is empty, or has characters that are invalid in a header"));
            }
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| unfit("it is not valid in a header"))?;
            value.set_sensitive(true);
            let _ = request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        for (name, value) in asked.headers {
            let _ = request.headers_mut().append(name, value.clone());
        }
        Ok(Self { request, accept: accept_key(&key), nonce })
    }

    /// Asks over `stream`, and gives the stream of the WebSocket.
    pub(super) async fn over<S>(
        self,
        stream: S,
        heard: Heard,
        clocks: &Mutex<Option<Clocks>>,
        by: Instant,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { request, accept, nonce } = self;
        let failed = |e: &hyper::Error| http::failure_after(e, &heard);
        let exchange = http::send(stream, request).await.map_err(|e| failed(&e))?;
        let read = Clocks::of(exchange.response.headers());
        *clocks.lock().unwrap_or_else(PoisonError::into_inner) = read;
        if exchange.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(exchange, &nonce, by).await);
        }
        granted(&exchange.response, &accept)?;
        exchange.into_stream().await.map_err(|e| failed(&e))
    }
}

/// Whether an answer with status 101 is the one that was asked for.
fn granted<B>(answer: &Response<B>, accept: &str) -> Result<(), DialError> {
    let headers = answer.headers();
    let odd = |what: &str| Err(DialError::new(DialFailure::NotAServer(101), what));
    if !says(headers, header::UPGRADE, "websocket") || !says(headers, header::CONNECTION, "upgrade")
    {
        return odd("it upgrades to something else");
    }
    if text(headers, header::SEC_WEBSOCKET_ACCEPT) != Some(accept) {
        return odd("it answers another request");
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        || headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
    {
        return odd("it grants something that was not requested");
    }
    Ok(())
}

#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
async fn refusal(mut exchange: Exchange, nonce: &str, by: Instant) -> DialError {
    let (status, headers) = (exchange.response.status(), exchange.response.headers());
    let answer = HttpRefusal {
        status: status.as_u16(),
        retry_after: http::retry_after(headers),
        nonce: text(headers, HeaderName::from_static(NONCE_HEADER)),
        reason: text(headers, HeaderName::from_static(REFUSAL_HEADER)),
        token_fault: text(headers, HeaderName::from_static(TOKEN_FAULT_HEADER)),
    };
    let (failure, fault) = (answer.meaning(nonce), answer.fault(nonce));
    let place = match (status.is_redirection(), text(headers, header::LOCATION)) {
        // What is behind the question mark may be a secret of whoever redirects.
        (true, Some(place)) => format!(" to {}", place.split(['?', '#']).next().unwrap_or(place)),
        (true | false, _) => String::new(),
    };
    let wait = match failure {
        DialFailure::Busy { retry_after: Some(asked) } => {
            format!(" with Retry-After of {} s", asked.as_secs())
        }
        DialFailure::Busy { retry_after: None }
        | DialFailure::Unreachable
        | DialFailure::TimedOut
        | DialFailure::NoToken
        | DialFailure::Tls
        | DialFailure::NotAServer(_)
        | DialFailure::Unauthorized
        | DialFailure::Forbidden => String::new(),
        other => format!(", which means: {other}"),
    };
    let said = exchange.said(&(place + &wait), by).await;
    DialError::new(failure, format!("answered {said}")).with_fault(fault)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Whether one of the headers of this name lists `word`.
fn says(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Listening;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\n\
                         connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

    fn asked<'a>(authority: &'a Authority, token: &'a Secret) -> Asked<'a> {
        Asked { authority, path_and_query: "/ws?k=v", token: Some(token), headers: &[] }
    }

    /// Answers a request with this text, in which ACCEPT and NONCE stand for what is right, and gives
    /// what the client made of it, and what it reads then.
    async fn answer(text: &str) -> Result<String, DialError> {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let authority = Authority::from_static("h:1");
        let upgrade = Upgrade::new(&asked(&authority, &Secret::new("t.o-k"))).unwrap();
        let text = text.replace("ACCEPT", &upgrade.accept).replace("NONCE", &upgrade.nonce);
        let server = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(far.read_u8().await.unwrap());
            }
            // In pieces, as a network may deliver it.
            for piece in text.as_bytes().chunks(7) {
                let _ = far.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            drop(far);
        };
        let by = Instant::now() + Duration::from_secs(10);
        let (near, heard) = Listening::new(near);
        let clocks = Mutex::default();
        let (_, stream) = tokio::join!(server, upgrade.over(near, heard, &clocks, by));
        let mut rest = String::new();
        stream?.read_to_string(&mut rest).await.unwrap();
        Ok(rest)
    }

    async fn failure(text: &str) -> DialFailure {
        answer(text).await.unwrap_err().failure
    }

    #[tokio::test]
    async fn a_grant_in_any_pieces_keeps_what_follows() {
        assert_eq!(answer(&format!("{GRANT}\u{81}rest")).await.unwrap(), "\u{81}rest");
    }

    #[tokio::test]
    async fn statuses_mean_what_they_say() {
        let with = |status: &str| format!("HTTP/1.1 {status}\r\n\r\n");
        assert_eq!(failure(&with("429 No")).await, DialFailure::Busy { retry_after: None });
        for status in [200, 301, 400, 401, 403, 404, 426, 500, 502] {
            let answer = with(&format!("{status} x"));
            assert_eq!(failure(&answer).await, DialFailure::NotAServer(status));
        }
        let shown = answer("HTTP/1.1 403 Forbidden\r\n\r\n{\"error\":\r\n\"revoked\"}").await;
        let one_line = r#"answered HTTP 403 Forbidden: {"error": "revoked"}"#;
        assert_eq!(shown.unwrap_err().detail, one_line);
        let moved = answer("HTTP/1.1 301 x\r\nLocation: https://elsewhere/\r\n\r\n").await;
        assert!(moved.unwrap_err().detail.contains("to https://elsewhere/"));
    }

    #[tokio::test]
    async fn only_the_server_that_repeats_the_nonce_refuses_for_good() {
        let with = |status: u16, nonce: &str, word: &str| {
            format!(
                "HTTP/1.1 {status} x\r\nOnsembl-Nonce: {nonce}\r\nOnsembl-Refusal: {word}\r\n\r\n"
            )
        };
        let ours = with(401, "NONCE", "unauthorized");
        assert_eq!(failure(&ours).await, DialFailure::Unauthorized);
        assert_eq!(failure(&with(403, "NONCE", "forbidden")).await, DialFailure::Forbidden);
        let replayed = with(403, "dGhlIHNhbXBsZSBub25jZQ==", "forbidden");
        assert_eq!(failure(&replayed).await, DialFailure::NotAServer(403));
    }

    #[tokio::test]
    async fn answers_before_the_answer_are_passed_over() {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(answer(&format!("{hints}{GRANT}rest")).await.unwrap(), "rest");
        let refused = format!("{hints}HTTP/1.1 404 x\r\n\r\n");
        assert_eq!(failure(&refused).await, DialFailure::NotAServer(404));
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
            ("Accept: ACCEPT", "Accept: no"),
            ("connection:", "Sec-WebSocket-Extensions: permessage-deflate\r\nconnection:"),
        ] {
            let grant = GRANT.replace(from, to);
            assert_eq!(failure(&grant).await, DialFailure::NotAServer(101), "{to}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_told_from_what_is_nothing() {
        assert_eq!(failure("SSH-2.0-OpenSSH_9.2\r\n").await, DialFailure::NotAServer(0));
        assert_eq!(failure("").await, DialFailure::Unreachable);
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000));
        assert_eq!(failure(&endless).await, DialFailure::NotAServer(0));
    }

    #[test]
    fn a_token_cannot_smuggle_headers() {
        let authority = Authority::from_static("h:1");
        for token in ["", "a\r\nX: y", "a b", "ä", "a\0"] {
            let refused = Upgrade::new(&asked(&authority, &Secret::new(token))).unwrap_err();
            assert_eq!(refused.failure, DialFailure::NoToken, "{token:?}");
        }
    }

    #[test]
    fn no_two_requests_have_the_same_nonce() {
        let authority = Authority::from_static("h:1");
        let token = Secret::new("t");
        let nonce = || Upgrade::new(&asked(&authority, &token)).unwrap().nonce;
        assert_ne!(nonce(), nonce());
    }
}
