//! Which server, and as whom: from flags, the environment and contexts.

use super::context::{ContextName, ContextStore};
use super::remote::Remote;
use crate::client::ClientToken;
use clap::Args;
use onsembl_transport::ProxyRule;
use onsembl_transport::secret::{Secret, TokenFile};
use onsembl_transport::tls::TlsRoots;
use std::path::PathBuf;
use thiserror::Error;

/// The server and the credentials. All may be omitted if a context has them.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServerArgs {
    /// Use this context; see `onsembl context list` [env: ONSEMBL_CONTEXT].
    #[arg(long, value_name = "NAME", value_parser = ContextName::parse, help_heading = "Connection")]
    pub(super) context: Option<ContextName>,
    /// The server, as http, https, ws or wss URL, with the path prefix of a reverse proxy, if any [env:
    /// ONSEMBL_SERVER].
    #[arg(long, value_name = "URL", help_heading = "Connection")]
    pub(super) server: Option<String>,
    /// A file that holds a token; make one with `onsembl-server token --out FILE` [env: ONSEMBL_TOKEN_FILE].
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(super) token_file: Option<PathBuf>,
    /// The token itself, unless there is a file. Other users of the machine can see arguments [env: ONSEMBL_TOKEN].
    #[arg(long, value_name = "TOKEN", help_heading = "Connection")]
    token: Option<String>,
    /// Certificates to trust instead of the system's, as a PEM file [env: ONSEMBL_TLS_CA].
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(super) tls_ca: Option<PathBuf>,
    /// The proxy to go through, like http://user:password@host:port, or none [env: ONSEMBL_PROXY]. By default from
    /// HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, with the exceptions in NO_PROXY.
    #[arg(long, value_name = "URL", help_heading = "Connection")]
    pub(super) proxy: Option<String>,
}

/// Nothing says which server is meant, or as whom.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Unsaid(String);

impl Unsaid {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// What one source says.
#[derive(Clone, Debug, Default)]
struct Said {
    server: Option<String>,
    token: Option<ClientToken>,
    tls_ca: Option<PathBuf>,
    proxy: Option<String>,
}

impl Said {
    /// What this says, and of the rest what the other one does.
    fn or(self, other: Self) -> Self {
        Self {
            server: self.server.or(other.server),
            token: self.token.or(other.token),
            tls_ca: self.tls_ca.or(other.tls_ca),
            proxy: self.proxy.or(other.proxy),
        }
    }
}

/// A token file goes before a token.
fn token(file: Option<PathBuf>, text: Option<String>) -> Option<ClientToken> {
    let file = file.map(|file| ClientToken::File(TokenFile(file)));
    file.or_else(|| text.map(|text| ClientToken::Text(Secret::new(text))))
}

/// What a variable says, if it says anything.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn environment() -> Said {
    let path = |name: &str| variable(name).map(PathBuf::from);
    Said {
        server: variable("ONSEMBL_SERVER"),
        token: token(path("ONSEMBL_TOKEN_FILE"), variable("ONSEMBL_TOKEN")),
        tls_ca: path("ONSEMBL_TLS_CA"),
        proxy: variable("ONSEMBL_PROXY"),
    }
}

impl ServerArgs {
    /// The server that is meant.
    ///
    /// # Errors
    /// [`Unsaid`], or a context cannot be read.
    pub(super) fn connect(self) -> anyhow::Result<Remote> {
        let by_variable = variable("ONSEMBL_CONTEXT");
        self.choose(environment(), by_variable.as_deref(), ContextStore::open)
    }

    fn said(self) -> Said {
        let Self { context: _, server, token_file, token: text, tls_ca, proxy } = self;
        Said { server, token: token(token_file, text), tls_ca, proxy }
    }

    fn choose(
        self,
        environment: Said,
        by_variable: Option<&str>,
        store: impl FnOnce() -> anyhow::Result<ContextStore>,
    ) -> anyhow::Result<Remote> {
        let named = self.context.clone();
        let flags = self.said();
        let said = match &named {
            // A flag that names a context goes before the environment.
            Some(_) => flags,
            None => flags.or(environment),
        };
        if let (None, Some(_), Some(_)) = (&named, &said.server, &said.token) {
            return remote(said);
        }
        let store = store()?;
        let name = match (named, by_variable) {
            (Some(name), _) => Some(name),
            (None, Some(name)) => Some(
                ContextName::parse(name)
                    .map_err(|why| Unsaid(format!("ONSEMBL_CONTEXT: {why}")))?,
            ),
            (None, None) => store.current()?,
        };
        let Some(name) = name else { return remote(said) };
        let settings = store.settings(&name)?;
        let is_its_server = said.server.as_ref().is_none_or(|server| *server == settings.server);
        if !is_its_server {
            // What belongs to one server is not for another.
            if said.token.is_none() {
                let why = format!(
                    "the token of the context {name} is for {}; give the token of the other server with --token-file, \
                     or log in to it with `onsembl login`",
                    settings.server
                );
                return Err(Unsaid(why).into());
            }
            return remote(said);
        }
        let token = ClientToken::File(TokenFile(store.token_file(&name)));
        let context = Said {
            server: Some(settings.server),
            token: Some(token),
            tls_ca: settings.tls_ca,
            proxy: settings.proxy,
        };
        remote(said.or(context))
    }
}

/// The server and the token of that, if there are both.
fn remote(said: Said) -> anyhow::Result<Remote> {
    let Said { server, token, tls_ca, proxy } = said;
    let Some(server) = server else {
        let why =
            "no server given: log in with `onsembl login URL`, or use --server and --token-file";
        return Err(Unsaid(why.to_owned()).into());
    };
    let Some(token) = token else {
        let why = format!(
            "no token for {server}: log in with `onsembl login {server}`, or give one with --token-file"
        );
        return Err(Unsaid(why).into());
    };
    Remote::new(server, token, tls_ca, proxy.as_deref())
}

/// How a server is reached.
pub(super) fn way(
    tls_ca: Option<PathBuf>,
    proxy: Option<&str>,
) -> anyhow::Result<(TlsRoots, ProxyRule)> {
    let roots = tls_ca.map_or(TlsRoots::Native, TlsRoots::Pem);
    let proxy = match proxy {
        None => ProxyRule::from_env(),
        Some("none") => ProxyRule::direct(),
        Some(url) => ProxyRule::through(url)?,
    };
    Ok((roots, proxy))
}

#[cfg(test)]
mod tests {
    use super::super::context::Settings;
    use super::*;
    use onsembl_protocol::shown::Causes;
    use onsembl_transport::secret::TokenSource as _;

    fn store(top: &std::path::Path) -> ContextStore {
        let store = ContextStore::at(top.to_owned());
        for name in ["one", "two"] {
            let settings = Settings { server: format!("http://{name}"), tls_ca: None, proxy: None };
            let name = ContextName::parse(name).unwrap();
            store.keep(&name, &settings, &Secret::new(format!("token-{name}"))).unwrap();
        }
        store
    }

    fn said(server: Option<&str>, token: Option<&str>) -> Said {
        Said {
            server: server.map(str::to_owned),
            token: token.map(|token| Secret::new(token).into()),
            ..Said::default()
        }
    }

    /// Where it went, and with what.
    fn chosen(
        flags: (Option<&str>, Option<&str>, Option<&str>),
        environment: (Option<&str>, Option<&str>, Option<&str>),
    ) -> Result<(String, String), String> {
        let top = tempfile::tempdir().unwrap();
        let store = store(top.path());
        let args = ServerArgs {
            context: flags.0.map(|name| ContextName::parse(name).unwrap()),
            server: flags.1.map(str::to_owned),
            token: flags.2.map(str::to_owned),
            ..ServerArgs::default()
        };
        let env = said(environment.1, environment.2);
        let remote = args.choose(env, environment.0, || Ok(store));
        let remote = remote.map_err(|error| Causes(error.as_ref()).to_string())?;
        let token = remote.token().token().unwrap().expose().to_owned();
        Ok((remote.server().to_owned(), token))
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_current_context() {
        let both = |server: &str, token: &str| Ok((server.to_owned(), token.to_owned()));
        let (a, t) = (Some("http://a"), Some("t"));
        let none = (None, None, None);
        assert_eq!(chosen(none, none), both("http://two", "token-two"), "the current one");
        assert_eq!(chosen(none, (Some("one"), None, None)), both("http://one", "token-one"));
        assert_eq!(chosen(none, (None, a, t)), both("http://a", "t"));
        assert_eq!(chosen((None, Some("http://b"), None), (None, a, t)), both("http://b", "t"));
        assert_eq!(
            chosen((Some("one"), None, None), (None, a, t)),
            both("http://one", "token-one")
        );
        assert_eq!(chosen((Some("one"), None, t), (None, a, None)), both("http://one", "t"));
        assert_eq!(chosen((None, Some("http://two"), None), none), both("http://two", "token-two"));
        assert_eq!(chosen((None, None, t), none), both("http://two", "t"));
    }

    #[test]
    fn the_token_of_a_context_goes_to_no_other_server() {
        for named in [None, Some("one")] {
            let why = chosen((named, Some("http://evil"), None), (None, None, None)).unwrap_err();
            assert!(why.contains("--token-file"), "{why}");
        }
        let why = chosen((None, None, None), (None, Some("http://evil"), None)).unwrap_err();
        assert!(why.contains("the context two"), "{why}");
    }

    #[test]
    fn without_anything_it_is_said_what_to_do() {
        let top = tempfile::tempdir().unwrap();
        let empty = ContextStore::at(top.path().to_owned());
        let error = ServerArgs::default().choose(Said::default(), None, || Ok(empty)).unwrap_err();
        assert!(error.is::<Unsaid>() && error.to_string().contains("onsembl login"), "{error}");
    }
}
