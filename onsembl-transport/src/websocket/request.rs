//! The upgrade request of a client, as bytes.
//!
//! Written here and not by the library, because that one writes whole requests, tokens included,
//! to its trace log.

use super::target::Target;
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::fmt::Write;

/// What a dialer adds to each request.
#[derive(Debug)]
pub(super) struct Extra<'a> {
    pub(super) token: Option<&'a Secret>,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) query: &'a [(String, String)],
}

/// The token cannot stand in a header.
#[derive(Debug)]
pub(super) struct UnfitToken;

/// A GET request that asks for an upgrade with `key`.
pub(super) fn upgrade(
    target: &Target,
    key: &str,
    extra: &Extra<'_>,
) -> Result<Vec<u8>, UnfitToken> {
    let mut head = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        let _ = head.write_fmt(text);
        head.push_str("\r\n");
    };
    line(format_args!("GET {} HTTP/1.1", target.path_and_query(extra.query)));
    line(format_args!("Host: {}", target.authority));
    line(format_args!("Connection: Upgrade"));
    line(format_args!("Upgrade: websocket"));
    line(format_args!("Sec-WebSocket-Version: 13"));
    line(format_args!("Sec-WebSocket-Key: {key}"));
    if let Some(token) = extra.token {
        let fit = token.expose().bytes().all(|b| b.is_ascii_graphic());
        if !fit || token.expose().is_empty() {
            return Err(UnfitToken);
        }
        line(format_args!("Authorization: Bearer {}", token.expose()));
    }
    let mut request = head.into_bytes();
    for (name, value) in extra.headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(token: &str) -> Result<String, UnfitToken> {
        let target = Target::parse("ws://h:1", "/ws").unwrap();
        let headers = [(HeaderName::from_static("x-a"), HeaderValue::from_static("b"))];
        let query = [("k".to_owned(), "v".to_owned())];
        let token = Secret::new(token);
        let extra = Extra { token: Some(&token), headers: &headers, query: &query };
        upgrade(&target, "KEY", &extra).map(|r| String::from_utf8(r).unwrap())
    }

    #[test]
    fn the_request_byte_for_byte() {
        assert_eq!(
            request("t.o-k").unwrap(),
            "GET /ws?k=v HTTP/1.1\r\nHost: h:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY\r\nAuthorization: Bearer t.o-k\r\n\
             x-a: b\r\n\r\n"
        );
    }

    #[test]
    fn a_token_cannot_smuggle_headers() {
        for token in ["", "a\r\nX: y", "a b", "ä", "a\0"] {
            assert!(request(token).is_err(), "{token:?}");
        }
    }
}
