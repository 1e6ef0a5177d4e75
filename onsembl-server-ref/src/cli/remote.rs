//! How the client commands reach a server.

use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_transport::tls::TlsRoots;
use std::path::PathBuf;

/// Which server, and as whom.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server: http, https, ws or wss.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    pub(super) server: String,
    /// A dashboard token; make one with `onsembl-server token`.
    #[arg(long, env = "ONSEMBL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: String,
    /// Certificates to trust instead of the system's, as a PEM file.
    #[arg(long, env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
}

impl Remote {
    pub(super) fn roots(&self) -> TlsRoots {
        match &self.tls_ca {
            Some(path) => TlsRoots::Pem(path.clone()),
            None => TlsRoots::Native,
        }
    }

    /// The address of a page, over the same kind of encryption that the URL asks for.
    pub(super) fn page(&self, path: &str) -> anyhow::Result<String> {
        let (scheme, rest) = self.server.split_once("://").with_context(|| {
            format!("{:?} is no URL; write http://, https://, ws:// or wss:// first", self.server)
        })?;
        let scheme = match scheme {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            other => bail!("{other}:// is not spoken here; use http, https, ws or wss"),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Ok(format!("{scheme}://{host}{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_finds_its_page_and_none_loses_its_encryption() {
        let page = |url: &str| {
            let remote = Remote { server: url.into(), token: String::new(), tls_ca: None };
            remote.page("/p").ok()
        };
        assert_eq!(page("ws://h:1/ws/dashboard?x=y").as_deref(), Some("http://h:1/p"));
        assert_eq!(page("http://h").as_deref(), Some("http://h/p"));
        assert_eq!(page("wss://h").as_deref(), Some("https://h/p"));
        assert_eq!(page("https://h/").as_deref(), Some("https://h/p"));
        assert_eq!(page("ftp://h"), None);
        assert_eq!(page("h:80"), None);
    }
}
