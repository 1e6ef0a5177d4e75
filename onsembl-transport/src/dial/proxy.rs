//! Which proxy a dial goes through: one rule for everything that dials.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as curl reads them; a proxy that is
//! named explicitly goes before the first three. The machine itself is never reached through a proxy.

use super::exceptions::except;
use super::url::{PortOf, Scheme, ServerUrl, port_of};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A proxy that cannot be used. Its URL is not repeated, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the proxy in {source_name} cannot be used: {why}; write it like http://user:password@host:port"
)]
pub struct InvalidProxy {
    source_name: &'static str,
    why: &'static str,
}

/// Which proxy a dial goes through.
#[derive(Clone, Debug)]
pub struct ProxyRule(Arc<Rule>);

#[derive(Debug)]
struct Rule {
    plain: Choice,
    tls: Choice,
    except: String,
}

/// What is used for one scheme.
#[derive(Clone, Debug)]
enum Choice {
    Direct,
    Proxy(Proxy),
    Unusable(InvalidProxy),
}

/// A proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) scheme: Scheme,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<HeaderValue>,
    uri: Uri,
}

impl ProxyRule {
    /// No proxy for anything.
    #[must_use]
    pub fn direct() -> Self {
        let (plain, tls) = (Choice::Direct, Choice::Direct);
        Self(Arc::new(Rule { plain, tls, except: String::new() }))
    }

    /// What the environment of this process says. A proxy in it that cannot be used fails the dials
    /// that would need it, and no others.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// This proxy for everything, but for what the environment excepts in `NO_PROXY`.
    ///
    /// ```
    /// use onsembl_transport::ProxyRule;
    ///
    /// assert!(ProxyRule::through("http://proxy.example:3128").is_ok());
    /// assert!(ProxyRule::through("not a proxy").is_err());
    /// ```
    ///
    /// # Errors
    /// It is no proxy that can be used.
    pub fn through(url: &str) -> Result<Self, InvalidProxy> {
        let proxy = Choice::Proxy(Proxy::parse(url.trim(), "--proxy")?);
        let except = first(&|name| std::env::var(name).ok(), &["NO_PROXY", "no_proxy"]);
        let except = except.map(|(_, value)| value).unwrap_or_default();
        Ok(Self(Arc::new(Rule { plain: proxy.clone(), tls: proxy, except })))
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let choice = |names: &[&'static str]| match first(&get, names) {
            None => Choice::Direct,
            Some((name, url)) => match Proxy::parse(&url, name) {
                Ok(proxy) => Choice::Proxy(proxy),
                Err(error) => Choice::Unusable(error),
            },
        };
        // A CGI program gets HTTP_PROXY from the header `Proxy` of its client.
        let plain: &[&str] = match get("REQUEST_METHOD") {
            Some(_) => &["http_proxy", "ALL_PROXY", "all_proxy"],
            None => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
        };
        let except = first(&get, &["NO_PROXY", "no_proxy"]).map(|(_, value)| value);
        Self(Arc::new(Rule {
            plain: choice(plain),
            tls: choice(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            except: except.unwrap_or_default(),
        }))
    }

    /// The proxy for this server.
    pub(crate) fn proxy_for(&self, server: &ServerUrl) -> Result<Option<Proxy>, InvalidProxy> {
        let choice = match server.scheme() {
            Scheme::Plain => &self.0.plain,
            Scheme::Tls => &self.0.tls,
        };
        if server.is_loopback() || except(&self.0.except, server) {
            return Ok(None);
        }
        match choice {
            Choice::Direct => Ok(None),
            Choice::Proxy(proxy) => Ok(Some(proxy.clone())),
            Choice::Unusable(error) => Err(error.clone()),
        }
    }
}

impl Proxy {
    fn parse(url: &str, source_name: &'static str) -> Result<Self, InvalidProxy> {
        let invalid = |why| InvalidProxy { source_name, why };
        // It reads the credentials too.
        let read = Matcher::builder().all(url).build();
        let any = Uri::from_static("http://any.invalid/");
        let read = read.intercept(&any).ok_or_else(|| invalid("it is not the URL of a proxy"))?;
        let uri = read.uri();
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Plain,
            Some("https") => Scheme::Tls,
            Some(scheme) if scheme.starts_with("socks") => {
                return Err(invalid("SOCKS is not supported, only proxies over http and https"));
            }
            Some(_) | None => return Err(invalid("only http and https proxies are supported")),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        let port = match (uri.authority().and_then(port_of), scheme) {
            (Some(PortOf::Written(port)), _) => port,
            (Some(PortOf::Scheme), Scheme::Plain) => 80,
            (Some(PortOf::Scheme), Scheme::Tls) => 443,
            (None, _) => return Err(invalid("its port is not a number from 1 to 65535")),
        };
        let credentials = read.basic_auth().cloned();
        Ok(Self { scheme, host, port, credentials, uri: uri.clone() })
    }
}

/// Without its credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "the proxy {scheme}://{authority}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The first of these variables that says something.
fn first(
    get: &dyn Fn(&str) -> Option<String>,
    names: &[&'static str],
) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        let value = get(name)?.trim().to_owned();
        (!value.is_empty()).then_some((*name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(variables: &[(&str, &str)]) -> ProxyRule {
        ProxyRule::from_variables(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted)?;
            Some(found.1.to_owned())
        })
    }

    fn proxy(rule: &ProxyRule, server: &str) -> Option<String> {
        let proxy = rule.proxy_for(&server.parse().unwrap()).unwrap();
        proxy.map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_stands_in_for_both() {
        let both = rule(&[("HTTP_PROXY", "http://plain:1"), ("https_proxy", "secret:2")]);
        for (server, through) in [
            ("ws://host", "plain:1"),
            ("http://host", "plain:1"),
            ("wss://host", "secret:2"),
            ("https://host", "secret:2"),
        ] {
            assert_eq!(proxy(&both, server).as_deref(), Some(through), "{server}");
        }
        let all = rule(&[("ALL_PROXY", "https://all"), ("HTTP_PROXY", "http://plain")]);
        assert_eq!(proxy(&all, "wss://host").as_deref(), Some("all:443"));
        assert_eq!(proxy(&all, "ws://host").as_deref(), Some("plain:80"));
        assert_eq!(proxy(&rule(&[("HTTPS_PROXY", " ")]), "wss://host"), None);
        assert_eq!(proxy(&ProxyRule::direct(), "wss://host"), None);
    }

    #[test]
    fn the_machine_itself_is_never_reached_through_a_proxy() {
        let all = rule(&[("ALL_PROXY", "http://p:1")]);
        for server in ["ws://localhost:8080", "wss://127.0.0.1", "http://[::1]:8080"] {
            assert_eq!(proxy(&all, server), None, "{server}");
        }
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let no = ("NO_PROXY", "example.com, .inner.test,10.0.0.0/8, fd00::/8, 192.0.2.7");
        let all = rule(&[("ALL_PROXY", "http://p:1"), no]);
        for server in [
            "wss://example.com",
            "wss://a.example.com:8443/x",
            "ws://b.inner.test",
            "ws://10.1.2.3",
            "ws://[fd00::1]:80",
            "ws://192.0.2.7",
        ] {
            assert_eq!(proxy(&all, server), None, "{server}");
        }
        for server in ["wss://notexample.com", "ws://11.0.0.1", "ws://[2001:db8::1]"] {
            assert_eq!(proxy(&all, server).as_deref(), Some("p:1"), "{server}");
        }
        let none = rule(&[("ALL_PROXY", "http://p:1"), ("no_proxy", "*")]);
        assert_eq!(proxy(&none, "wss://example.org"), None);
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let rule = ProxyRule::through("http://ann:p%40ss@p:3128").unwrap();
        let proxy = rule.proxy_for(&"wss://host".parse().unwrap()).unwrap().unwrap();
        // "ann:p@ss"
        assert_eq!(proxy.credentials.as_ref().unwrap(), "Basic YW5uOnBAc3M=");
        assert_eq!(proxy.to_string(), "the proxy http://p:3128");
        assert!(!format!("{rule:?}").contains("p@ss") && !format!("{rule:?}").contains("p%40ss"));
    }

    #[test]
    fn what_is_no_proxy_fails_what_would_need_it_and_names_where_it_came_from() {
        for url in [
            "socks5://ann:secret@p:1080",
            "ftp://ann:secret@p",
            "http://",
            "http://ann:secret@p:99999",
            "p:0",
        ] {
            let rule = rule(&[("ALL_PROXY", url)]);
            assert_eq!(proxy(&rule, "ws://localhost"), None, "{url}");
            let refused = rule.proxy_for(&"ws://host".parse().unwrap()).unwrap_err().to_string();
            assert!(refused.contains("ALL_PROXY") && !refused.contains("secret"), "{refused}");
            assert!(ProxyRule::through(url).is_err(), "{url}");
        }
    }
}
