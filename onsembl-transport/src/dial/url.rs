//! Where a dialer dials: a server URL taken apart, once.

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use thiserror::Error;

/// A server URL that cannot be dialled. The URL itself is not repeated, as it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is no URL at all.
    #[error("the server URL cannot be read ({0}); write it like wss://host:port/path")]
    Syntax(String),
    /// Another scheme than the four, or none.
    #[error("the server URL must begin with ws://, wss://, http:// or https://")]
    Scheme,
    /// No host in it.
    #[error("the server URL names no host")]
    Host,
    /// `user:password@host`.
    #[error("the server URL holds a user name; tokens go into a header, so give one separately")]
    Credentials,
}

/// A server URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// TLS or nothing; there is no falling back.
    pub(super) secure: bool,
    /// Name or address to connect to and to check the certificate against.
    pub(super) host: String,
    pub(super) port: u16,
    /// What goes into the `Host` header.
    pub(super) authority: Authority,
    path: String,
    query: Option<String>,
}

impl Target {
    /// Reads `url`. Its path is kept unless it is empty or `/`; then `default_path` stands in.
    pub(super) fn parse(url: &str, default_path: &str) -> Result<Self, InvalidUrl> {
        let syntax = |e: &dyn std::fmt::Display| InvalidUrl::Syntax(e.to_string());
        let uri: Uri = url.trim().parse().map_err(|e| syntax(&e))?;
        let default: PathAndQuery = default_path.parse().map_err(|e| syntax(&e))?;
        let secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Host)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(InvalidUrl::Host);
        }
        let port = match (authority.port(), secure) {
            (Some(port), _) => port.as_u16(),
            (None, true) => 443,
            (None, false) => 80,
        };
        let path = if uri.path().len() > 1 { uri.path() } else { default.path() };
        Ok(Self {
            secure,
            host: host.to_owned(),
            port,
            authority: authority.clone(),
            path: path.to_owned(),
            query: uri.query().filter(|q| !q.is_empty()).map(str::to_owned),
        })
    }

    /// Path and query for the request line, with `extra` parameters behind those of the URL.
    pub(super) fn path_and_query(&self, extra: &[(String, String)]) -> String {
        let mut query = self.query.clone().unwrap_or_default();
        if !extra.is_empty() {
            if !query.is_empty() {
                query.push('&');
            }
            let start = query.len();
            query =
                form_urlencoded::Serializer::for_suffix(query, start).extend_pairs(extra).finish();
        }
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    /// For logs: without the query.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url, "/ws/agent").unwrap()
    }

    #[test]
    fn all_four_schemes_with_their_ports() {
        for (url, secure, port) in [
            ("ws://h", false, 80),
            ("http://h", false, 80),
            ("wss://h", true, 443),
            ("HTTPS://h", true, 443),
            ("http://h:8080", false, 8080),
            ("wss://h:1/", true, 1),
        ] {
            let t = target(url);
            assert_eq!((t.secure, t.port, t.host.as_str()), (secure, port, "h"), "{url}");
            assert_eq!(t.path_and_query(&[]), "/ws/agent", "{url}");
        }
    }

    #[test]
    fn a_path_is_kept_and_so_are_parameters() {
        let pairs = [("agentId".to_owned(), "a b&c=ä".to_owned())];
        assert_eq!(target("ws://h/x/y").path_and_query(&[]), "/x/y");
        assert_eq!(target("ws://h?a=1").path_and_query(&[]), "/ws/agent?a=1");
        assert_eq!(target("ws://h/?").path_and_query(&pairs), "/ws/agent?agentId=a+b%26c%3D%C3%A4");
        assert_eq!(
            target("ws://h/x?a=1").path_and_query(&pairs),
            "/x?a=1&agentId=a+b%26c%3D%C3%A4"
        );
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets_for_connecting_only() {
        let t = target("ws://[::1]:8080");
        assert_eq!((t.host.as_str(), t.authority.as_str()), ("::1", "[::1]:8080"));
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for url in [
            "",
            "h",
            "h:80",
            "/x",
            "ftp://h",
            "ws://",
            "ws://u:p@h",
            "ws://h/a b",
            "ws://h\r\nX: y",
        ] {
            let refused = Target::parse(url, "/").unwrap_err();
            assert!(!refused.to_string().contains("u:p"), "{url}: {refused}");
        }
        assert_eq!(Target::parse("ws://u:p@h", "/"), Err(InvalidUrl::Credentials));
    }

    #[test]
    fn logs_see_no_parameters() {
        assert_eq!(target("https://h:1/x?token=t").shown(), "wss://h:1/x");
    }
}
