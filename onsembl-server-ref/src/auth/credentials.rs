//! What a peer shows of itself.

use super::TokenKind;
use crate::http::{Connection, network_of};
use crate::store::Asker;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, header};
use onsembl_protocol::id::UserId;
use std::fmt;
use std::net::SocketAddr;

/// What a peer shows to be admitted.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    kind: TokenKind,
    token: Option<&'a str>,
    request: Option<RequestParts<'a>>,
    user: Option<&'a UserId>,
}

/// What is looked at of an HTTP request.
#[derive(Clone, Copy)]
struct RequestParts<'a> {
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Credentials<'a> {
    /// A token alone, as in a dashboard's `TOKEN_REFRESH`.
    #[must_use]
    pub fn of_token(kind: TokenKind, token: &'a str) -> Self {
        Self { kind, token: Some(token), request: None, user: None }
    }

    /// The same over a link of this user.
    pub(crate) fn of_link(kind: TokenKind, token: &'a str, user: &'a UserId) -> Self {
        Self { user: Some(user), ..Self::of_token(kind, token) }
    }

    /// Those of a request. `in_query` is the token in its URL: browsers cannot set headers on a
    /// WebSocket. A bearer token goes before it.
    pub(crate) fn of_request(
        kind: TokenKind,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
        in_query: Option<&'a str>,
    ) -> Self {
        let token = bearer(headers).or(in_query);
        Self { kind, token, request: Some(RequestParts { headers, extensions }), user: None }
    }

    /// What the peer connects as.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The bearer token, or else the one in the query parameter `token`.
    #[must_use]
    pub fn token(&self) -> Option<&'a str> {
        self.token
    }

    /// The first header of this name, if it is text. `None` in a `TOKEN_REFRESH`, which has none.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.request?.headers.get(name)?.to_str().ok()
    }

    /// What a middleware of the service put into the request's extensions, for example the user of
    /// a login session. `None` in a `TOKEN_REFRESH`.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.request?.extensions.get()
    }

    /// In whose line the token is looked up: of the user of the connection, else of its address. Never of anything that
    /// the token says.
    pub(crate) fn asker(&self) -> Asker {
        let by_connection = || self.extension::<Connection>().and_then(Connection::asker);
        let by_peer = || Asker::Address(self.peer().map(|peer| network_of(peer.ip())));
        match self.user {
            Some(user) => Asker::User(user.clone()),
            None => by_connection().unwrap_or_else(by_peer),
        }
    }

    /// The other end of the connection, which may be a proxy. Behind a service's own listener it is
    /// known if that was made with `into_make_service_with_connect_info::<SocketAddr>()`.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.extension().map(|ConnectInfo(address)| *address)
    }
}

impl fmt::Debug for Credentials<'_> {
    /// Says what is there, never a token or a header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("kind", &self.kind)
            .field("token", &self.token.map(|_| "…"))
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    // A scheme is written in any case (RFC 9110, section 11.1).
    let (scheme, token) = value.trim_start().split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_scheme_is_read_in_any_case() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            let _ = headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(str::to_owned)
        };
        for value in ["Bearer t.o", "bearer t.o", "BEARER t.o", "bEaReR   t.o ", "Bearer\tt.o"] {
            assert_eq!(of(value).as_deref(), Some("t.o"), "{value}");
        }
        for value in ["Basic t.o", "Bearert.o", "t.o", ""] {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
