//! Which requests with the cookie of a session count as those of our own page. A browser sends the cookie along with
//! requests of pages on other ports of the same host, too, so the cookie alone says nothing.

use crate::model::Access;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// How a page is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where a page comes from, as browsers name it: scheme, host and port, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://host`, `http://host:port`. A path, a user or another scheme is no origin, and neither is `null`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once("://")? {
            ("https", authority) => Self::of_authority(Scheme::Https, authority),
            ("http", authority) => Self::of_authority(Scheme::Http, authority),
            _ => None,
        }
    }

    /// That of a server which is reached in this way under this `Host`.
    #[must_use]
    pub fn of_authority(scheme: Scheme, authority: &str) -> Option<Self> {
        let behind_brackets = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority.get(behind_brackets..)?.find(':') {
            Some(at) => {
                let (host, port) = authority.split_at_checked(behind_brackets + at)?;
                let digits = port.get(1..)?;
                let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
                (host, Some(digits).filter(|_| is_plain)?.parse::<u16>().ok()?)
            }
            None => (authority, scheme.port()),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => {
                !v6.is_empty()
                    && v6.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
            }
            None => !host.is_empty() && host.chars().all(is_plain),
        };
        is_host.then(|| Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// How it is fetched.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its port, if that is not the usual one of its scheme.
    #[must_use]
    pub const fn unusual_port(&self) -> Option<u16> {
        if self.port == self.scheme.port() { None } else { Some(self.port) }
    }

    /// The name of the cookie of a session here. It names an unusual port, because the servers of one host share its
    /// cookies; with TLS a browser takes it from this host only (`__Host-`).
    #[must_use]
    pub fn cookie_name(&self) -> String {
        let prefix = match self.scheme {
            Scheme::Https => "__Host-onsembl",
            Scheme::Http => "onsembl",
        };
        match self.unusual_port() {
            Some(port) => format!("{prefix}-{port}"),
            None => prefix.to_owned(),
        }
    }
}

/// As browsers write it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        match self.unusual_port() {
            Some(port) => write!(f, "{scheme}://{}:{port}", self.host),
            None => write!(f, "{scheme}://{}", self.host),
        }
    }
}

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// It reads.
    Read,
    /// It opens a link, over which anything may be asked for.
    Link,
    /// It changes something.
    Change,
    /// It signs in or out.
    Sign,
}

/// What a request shows of where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Its `Origin`. Several are none that is ours.
    pub origin: Option<&'a str>,
    /// Its `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Its `X-Onsembl`, which a page of another origin cannot send without being asked for leave first.
    pub marker: Option<&'a str>,
}

/// Why a cookie counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieFault {
    /// Nothing says where the request comes from.
    NoOrigin,
    /// It comes from another origin.
    OtherOrigin,
    /// It lacks the header `X-Onsembl: 1`.
    NoMarker,
    /// Its session may look only.
    ReadOnly,
}

impl CookieFault {
    /// Its id on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoOrigin => "ORIGIN_MISSING",
            Self::OtherOrigin => "ORIGIN_FOREIGN",
            Self::NoMarker => "HEADER_MISSING",
            Self::ReadOnly => "READ_ONLY",
        }
    }
}

/// For people.
impl fmt::Display for CookieFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOrigin => "a request with a session cookie needs the header Origin here",
            Self::OtherOrigin => {
                "this request comes from a page of another origin; if the server is behind a proxy, name its address with --public-url"
            }
            Self::NoMarker => "a request that changes something with a session cookie needs the header X-Onsembl: 1",
            Self::ReadOnly => "this session is read-only; sign in without --read-only to change something",
        })
    }
}

/// Whether a request whose cookie names a session with this access may do that, at a server of this origin.
///
/// # Errors
/// [`CookieFault`]: it may not.
pub fn admit(
    kind: RequestKind,
    asked: Asked<'_>,
    own: &Origin,
    access: Access,
) -> Result<(), CookieFault> {
    let from = match asked.origin {
        Some(origin) if Origin::parse(origin).as_ref() == Some(own) => Some(Ok(())),
        Some(_) => Some(Err(CookieFault::OtherOrigin)),
        None => None,
    };
    match (kind, from) {
        (
            RequestKind::Read | RequestKind::Link | RequestKind::Change | RequestKind::Sign,
            Some(from),
        ) => from?,
        // A browser sends none with a GET of its own page; of another page's it says so otherwise.
        (RequestKind::Read, None) => match asked.fetch_site {
            Some("same-origin" | "none") | None => {}
            Some(_) => return Err(CookieFault::OtherOrigin),
        },
        (RequestKind::Link | RequestKind::Change | RequestKind::Sign, None) => {
            return Err(CookieFault::NoOrigin);
        }
    }
    match kind {
        RequestKind::Read | RequestKind::Link => return Ok(()),
        RequestKind::Change | RequestKind::Sign => {}
    }
    if asked.marker != Some("1") {
        return Err(CookieFault::NoMarker);
    }
    match (kind, access) {
        (RequestKind::Change, Access::ReadOnly) => Err(CookieFault::ReadOnly),
        (RequestKind::Read | RequestKind::Link | RequestKind::Sign, _)
        | (RequestKind::Change, Access::Full) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port_and_nothing_else() {
        for (text, shown, cookie) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "onsembl-8080"),
            ("https://A.example", "https://a.example", "__Host-onsembl"),
            ("https://a.example:443", "https://a.example", "__Host-onsembl"),
            ("http://[::1]:80", "http://[::1]", "onsembl"),
            ("https://[::1]:8443", "https://[::1]:8443", "__Host-onsembl-8443"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(
                (origin.to_string().as_str(), origin.cookie_name().as_str()),
                (shown, cookie)
            );
            assert_eq!(Origin::parse(shown), Some(origin));
        }
        for bad in [
            "null",
            "",
            "https://",
            "ws://a",
            "HTTPS://a",
            "https://a/",
            "https://a:",
            "https://a:+1",
            "https://a:99999",
            "https://u@a",
            "https://a b",
            "https://a?x",
            "https://[a",
            "https://a]:1",
            "https://::1",
            "https://[]",
        ] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }

    fn verdict(kind: RequestKind, origin: Option<&str>, marker: bool) -> Result<(), CookieFault> {
        let own = Origin::parse("http://localhost:8080").unwrap();
        let asked = Asked { origin, fetch_site: None, marker: marker.then_some("1") };
        admit(kind, asked, &own, Access::Full)
    }

    #[test]
    fn only_our_own_page_opens_links_and_changes_anything() {
        use RequestKind::{Change, Link, Read, Sign};
        let own = Some("http://localhost:8080");
        for other in [
            "http://localhost:9090",
            "https://localhost:8080",
            "http://localhost",
            "http://127.0.0.1:8080",
            "http://evil-localhost:8080",
            "http://localhost:8080.evil.example",
            "null",
        ] {
            for kind in [Read, Link, Change, Sign] {
                assert_eq!(
                    verdict(kind, Some(other), true),
                    Err(CookieFault::OtherOrigin),
                    "{other}"
                );
            }
        }
        for kind in [Link, Change, Sign] {
            assert_eq!(verdict(kind, None, true), Err(CookieFault::NoOrigin), "{kind:?}");
            assert_eq!(verdict(kind, own, true), Ok(()), "{kind:?}");
        }
        assert_eq!(verdict(Read, None, false), Ok(()));
        assert_eq!(verdict(Link, own, false), Ok(()), "a browser cannot add a header to it");
        for kind in [Change, Sign] {
            assert_eq!(verdict(kind, own, false), Err(CookieFault::NoMarker), "{kind:?}");
        }
    }

    #[test]
    fn a_page_of_another_origin_does_not_even_read() {
        let own = Origin::parse("http://localhost:8080").unwrap();
        for (site, may) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let asked = Asked { fetch_site: Some(site), ..Asked::default() };
            assert_eq!(admit(RequestKind::Read, asked, &own, Access::Full).is_ok(), may, "{site}");
        }
    }

    #[test]
    fn a_read_only_session_reads_watches_and_signs_out() {
        let own = Origin::parse("http://localhost:8080").unwrap();
        let asked =
            Asked { origin: Some("http://localhost:8080"), marker: Some("1"), ..Asked::default() };
        let may = |kind| admit(kind, asked, &own, Access::ReadOnly);
        for kind in [RequestKind::Read, RequestKind::Link, RequestKind::Sign] {
            assert_eq!(may(kind), Ok(()), "{kind:?}");
        }
        assert_eq!(may(RequestKind::Change), Err(CookieFault::ReadOnly));
    }
}
