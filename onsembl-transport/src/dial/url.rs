//! The URL of a server, taken apart once, in the same way for everything that dials.
//!
//! Its path is a base: a server behind a proxy may live under a prefix. The address of a WebSocket or
//! of a page is put behind it, unless the URL already names a WebSocket.

use super::this_machine;
use http::Uri;
use http::uri::Authority;
use std::fmt;
use thiserror::Error;

/// A server URL that cannot be dialled. The URL itself is not repeated, as it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It is not a URL.
    #[error("the server URL cannot be read ({0}); write it like wss://host:port/path")]
    Syntax(String),
    /// Another scheme than the four, or none.
    #[error("the server URL must begin with ws://, wss://, http:// or https://")]
    Scheme,
    /// No host in it.
    #[error("the server URL has no host")]
    Host,
    /// Not a number, 0, or above 65535.
    #[error("the server URL has no usable port; write a number from 1 to 65535, or none")]
    Port,
    /// `user:password@host`.
    #[error("the server URL holds a user name; tokens go into a header, so give one separately")]
    Credentials,
}

/// Addresses of WebSockets, current and older. A URL that ends in one of them names it, and the base
/// is what stands before it. The longest come first.
const SOCKETS: [&str; 5] =
    ["/v1/ws/dashboard", "/v1/ws/agent", "/ws/dashboard", "/ws/agent", "/ws"];

/// The one of them behind which an id may stand.
const WITH_ID: &str = "/v1/ws/agent/";

/// The URL of a server: `ws`, `wss`, `http` or `https`.
///
/// ```
/// use onsembl_transport::ServerUrl;
///
/// let url: ServerUrl = "https://host/onsembl/".parse()?;
/// assert_eq!(url.to_string(), "https://host/onsembl");
/// # Ok::<_, onsembl_transport::websocket::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    scheme: Scheme,
    /// Name or address to connect to; an address may have a zone.
    host: String,
    port: u16,
    authority: Authority,
    /// Without a slash at its end; may be empty.
    base: String,
    /// The WebSocket that the URL names.
    socket: Option<String>,
    query: Option<String>,
}

/// Whether there is TLS. There is no falling back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Plain,
    Tls,
}

impl std::str::FromStr for ServerUrl {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let syntax = |e: &dyn fmt::Display| InvalidUrl::Syntax(e.to_string());
        let (url, zone) = without_zone(url.trim());
        let uri: Uri = url.parse().map_err(|e| syntax(&e))?;
        let scheme = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => Scheme::Plain,
            Some("wss" | "https") => Scheme::Tls,
            Some(_) | None => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Host)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() {
            return Err(InvalidUrl::Host);
        }
        let host = match zone {
            Some(zone) => format!("{name}%{zone}"),
            None => name.to_owned(),
        };
        let port = match (port_of(authority).ok_or(InvalidUrl::Port)?, scheme) {
            (PortOf::Written(port), _) => port,
            (PortOf::Scheme, Scheme::Tls) => 443,
            (PortOf::Scheme, Scheme::Plain) => 80,
        };
        let (base, socket) = split(&tidy(uri.path()));
        let query = uri.query().filter(|q| !q.is_empty()).map(str::to_owned);
        Ok(Self { scheme, host, port, authority: authority.clone(), base, socket, query })
    }
}

impl ServerUrl {
    pub(crate) const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Name or address to connect to.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What a certificate must name: an address without its zone, a name without the dot at its end.
    pub(crate) fn certified_host(&self) -> &str {
        let host = self.host.split('%').next().unwrap_or(&self.host);
        host.strip_suffix('.').unwrap_or(host)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What goes into the `Host` header. A zone means nothing to another host (RFC 6874).
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `host:port`, as a proxy wants it.
    pub(crate) fn host_and_port(&self) -> String {
        match self.authority.port() {
            Some(_) => self.authority.to_string(),
            None => format!("{}:{}", self.authority, self.port),
        }
    }

    /// Whether this is the machine itself, by any of its names or addresses.
    pub(crate) fn is_loopback(&self) -> bool {
        this_machine::is_meant(self.certified_host())
    }

    /// The path of a WebSocket: the one that the URL names, else `socket` behind the base.
    pub(crate) fn socket_path(&self, socket: &str) -> String {
        let named = self.socket.as_deref().unwrap_or(socket);
        format!("{}{named}", self.base)
    }

    /// The path of a page behind the base. The query of the URL belongs to WebSockets.
    pub(crate) fn page_path(&self, page: &str) -> String {
        format!("{}{page}", self.base)
    }

    /// The query for a WebSocket: `extra` parameters behind those of the URL. With its `?`, or empty.
    pub(crate) fn query_with(&self, extra: &[(String, String)]) -> String {
        let mut query = self.query.clone().unwrap_or_default();
        if !extra.is_empty() {
            if !query.is_empty() {
                query.push('&');
            }
            let start = query.len();
            query =
                form_urlencoded::Serializer::for_suffix(query, start).extend_pairs(extra).finish();
        }
        if query.is_empty() { query } else { format!("?{query}") }
    }
}

/// As `http` or `https`, without the WebSocket and without the query, which may hold secrets.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Plain => "http",
            Scheme::Tls => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.base)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// The port of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortOf {
    Written(u16),
    /// None is written: that of the scheme.
    Scheme,
}

/// The port of an authority without credentials; `None` if it is not one that can be dialled. The library takes one
/// above
/// 65535 for none at all, and the token would be sent to whoever listens at the port of the scheme.
pub(super) fn port_of(authority: &Authority) -> Option<PortOf> {
    match authority.as_str().strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => Some(PortOf::Scheme),
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).map(PortOf::Written),
    }
}

/// Cuts the zone out of an IPv6 address: `[fe80::1%25eth0]`, or with a bare `%` as people write it.
fn without_zone(url: &str) -> (String, Option<String>) {
    let found = || {
        let open = url.find("://[")? + 4;
        let close = open + url.get(open..)?.find(']')?;
        let (address, zone) = url.get(open..close)?.split_once('%')?;
        let zone = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone);
        let fits = !zone.is_empty()
            && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        fits.then(|| {
            let (before, behind) = (url.get(..open), url.get(close..));
            let url = format!("{}{address}{}", before.unwrap_or(""), behind.unwrap_or(""));
            (url, Some(zone.to_owned()))
        })
    };
    found().unwrap_or_else(|| (url.to_owned(), None))
}

/// Without empty parts and without a slash at the end.
fn tidy(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.fold(String::new(), |path, part| path + "/" + part)
}

fn split(path: &str) -> (String, Option<String>) {
    let at = SOCKETS.iter().find_map(|socket| path.strip_suffix(socket)).map(str::len);
    let with_id = || {
        let at = path.rfind(WITH_ID)?;
        let id = path.get(at + WITH_ID.len()..)?;
        (!id.is_empty() && !id.contains('/')).then_some(at)
    };
    match at.or_else(with_id) {
        Some(at) => {
            let (base, socket) = path.split_at(at);
            (base.to_owned(), Some(socket.to_owned()))
        }
        None => (path.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    fn socket(text: &str) -> String {
        let url = url(text);
        url.socket_path("/ws/agent") + &url.query_with(&[])
    }

    #[test]
    fn all_four_schemes_with_their_ports() {
        for (text, scheme, port) in [
            ("ws://h", Scheme::Plain, 80),
            ("http://h", Scheme::Plain, 80),
            ("wss://h", Scheme::Tls, 443),
            ("HTTPS://h", Scheme::Tls, 443),
            ("http://h:8080", Scheme::Plain, 8080),
            ("wss://h:1/", Scheme::Tls, 1),
        ] {
            let url = url(text);
            assert_eq!((url.scheme(), url.port(), url.host()), (scheme, port, "h"), "{text}");
            assert_eq!(socket(text), "/ws/agent", "{text}");
            assert_eq!(url.host_and_port(), format!("h:{port}"));
        }
    }

    #[test]
    fn a_path_is_a_base_unless_it_names_a_websocket() {
        for (text, agent, page) in [
            ("http://h", "/ws/agent", "/api/agents"),
            ("http://h//", "/ws/agent", "/api/agents"),
            ("http://h/onsembl", "/onsembl/ws/agent", "/onsembl/api/agents"),
            ("http://h/onsembl/", "/onsembl/ws/agent", "/onsembl/api/agents"),
            ("http://h//a//b//", "/a/b/ws/agent", "/a/b/api/agents"),
            ("http://h/ws/agent", "/ws/agent", "/api/agents"),
            ("http://h//ws/agent/", "/ws/agent", "/api/agents"),
            ("http://h/onsembl/ws/agent", "/onsembl/ws/agent", "/onsembl/api/agents"),
            ("http://h/x/ws/dashboard", "/x/ws/dashboard", "/x/api/agents"),
            ("http://h/v1/ws/agent", "/v1/ws/agent", "/api/agents"),
            ("http://h/v1/ws/agent/a-1", "/v1/ws/agent/a-1", "/api/agents"),
            ("http://h/ws", "/ws", "/api/agents"),
            ("http://h/news", "/news/ws/agent", "/news/api/agents"),
        ] {
            assert_eq!(socket(text), agent, "{text}");
            assert_eq!(url(text).page_path("/api/agents"), page, "{text}");
        }
    }

    #[test]
    fn parameters_of_the_url_come_first() {
        let pairs = [("agentId".to_owned(), "a b&c=ä".to_owned())];
        assert_eq!(socket("ws://h?a=1"), "/ws/agent?a=1");
        assert_eq!(url("ws://h/?").query_with(&pairs), "?agentId=a+b%26c%3D%C3%A4");
        assert_eq!(url("ws://h/x?a=1").query_with(&pairs), "?a=1&agentId=a+b%26c%3D%C3%A4");
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets_for_connecting_only() {
        let url = url("ws://[::1]:8080");
        assert_eq!((url.host(), url.authority().as_str()), ("::1", "[::1]:8080"));
    }

    #[test]
    fn a_zone_is_for_connecting_only() {
        for text in ["https://[fe80::1%25eth0]:8443/x", "https://[fe80::1%eth0]:8443/x"] {
            let url = url(text);
            assert_eq!(url.host(), "fe80::1%eth0");
            assert_eq!(url.certified_host(), "fe80::1");
            assert_eq!(url.authority().as_str(), "[fe80::1]:8443");
            assert_eq!(url.to_string(), "https://[fe80::1]:8443/x");
        }
        assert_eq!(url("http://[fe80::1%2]").host(), "fe80::1%2");
        assert_eq!(url("http://[fe80::1%25]").host(), "fe80::1%25", "the zone with number 25");
        assert!("http://[fe80::1%25a b]".parse::<ServerUrl>().is_err());
    }

    #[test]
    fn the_machine_itself_is_known_by_any_of_its_names() {
        for text in [
            "ws://localhost",
            "ws://LOCALHOST.:1",
            "ws://a.localhost",
            "ws://127.8.9.1",
            "ws://[::1]",
            "ws://0.0.0.0:8080",
            "ws://[::]",
            "ws://[::ffff:127.0.0.1]",
            "ws://127.1",
            "ws://0",
            "ws://2130706433",
            "ws://0x7f.1",
            "ws://0177.0.0.1",
        ] {
            assert!(url(text).is_loopback(), "{text}");
        }
        for text in [
            "ws://localhost.example",
            "ws://10.0.0.1",
            "ws://[fe80::1]",
            "ws://host",
            "ws://10.1",
            "ws://127.example",
            "ws://127.0.0.256",
        ] {
            assert!(!url(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in [
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
            let refused = text.parse::<ServerUrl>().unwrap_err();
            assert!(!refused.to_string().contains("u:p"), "{text}: {refused}");
        }
        assert_eq!("ws://u:p@h".parse::<ServerUrl>(), Err(InvalidUrl::Credentials));
        for text in ["ws://h:80801", "wss://h:65536/x", "http://h:0", "http://[::1]:99999"] {
            assert_eq!(text.parse::<ServerUrl>(), Err(InvalidUrl::Port), "{text}");
        }
        assert_eq!(url("http://h:/x").port(), 80, "an empty port is that of the scheme");
    }

    #[test]
    fn logs_see_no_parameters() {
        assert_eq!(url("https://h:1/x?token=t").to_string(), "https://h:1/x");
    }
}
