//! How the client commands reach a server.

use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::fleet::{Candidate, choose_agent};
use onsembl_protocol::id::AgentId;
use onsembl_transport::tls::TlsRoots;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest wait for a server to begin to answer, and between two parts of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

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

/// What the client commands need to know of an agent.
#[derive(Debug, Deserialize)]
pub(super) struct KnownAgent {
    pub(super) agent_id: AgentId,
    pub(super) name: String,
    #[serde(default)]
    status: String,
}

impl Remote {
    pub(super) fn roots(&self) -> TlsRoots {
        match &self.tls_ca {
            Some(path) => TlsRoots::Pem(path.clone()),
            None => TlsRoots::Native,
        }
    }

    /// Gets a page that must be there. `patience` is for the answer to begin, and for each part of it.
    pub(super) fn get(&self, path: &str, patience: Duration) -> anyhow::Result<Response<Body>> {
        let url = self.page(path)?;
        let answer = self.agent(patience)?.get(&url).header("Authorization", &self.bearer()).call();
        checked(answer.with_context(|| format!("cannot reach {url}"))?)
    }

    /// Sends JSON to a page that must take it.
    pub(super) fn post(
        &self,
        path: &str,
        json: &str,
        patience: Duration,
    ) -> anyhow::Result<Response<Body>> {
        let url = self.page(path)?;
        let answer = self
            .agent(patience)?
            .post(&url)
            .header("Authorization", &self.bearer())
            .content_type("application/json")
            .send(json);
        checked(answer.with_context(|| format!("cannot reach {url}"))?)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.trim())
    }

    fn agent(&self, patience: Duration) -> anyhow::Result<ureq::Agent> {
        Ok(ureq::Agent::config_builder()
            .tls_config(self.tls()?)
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .http_status_as_error(false)
            .build()
            .into())
    }

    /// The agents there are.
    pub(super) fn agents(&self) -> anyhow::Result<Vec<KnownAgent>> {
        #[derive(Debug, Deserialize)]
        struct Listing {
            agents: Vec<KnownAgent>,
        }
        let body = self.get("/api/agents", PATIENCE)?.body_mut().read_to_string();
        let listing: Listing = serde_json::from_str(&body.context("the answer broke off")?)
            .context("what answers there is no onsembl-server, or another version of it")?;
        Ok(listing.agents)
    }

    /// The agent of this name or id.
    pub(super) fn find_agent(&self, wanted: &str) -> anyhow::Result<AgentId> {
        let agents = self.agents()?;
        let candidates: Vec<Candidate<'_>> = agents
            .iter()
            .map(|a| {
                let available = matches!(a.status.as_str(), "online" | "stale" | "error");
                Candidate { id: &a.agent_id, name: &a.name, aliases: &[], available }
            })
            .collect();
        Ok(choose_agent(Some(&AgentId::new(wanted)), &candidates)?.clone())
    }

    fn tls(&self) -> anyhow::Result<TlsConfig> {
        let roots = match &self.tls_ca {
            None => {
                // Those that cannot be read are only fewer; without any, the handshake says so.
                let found = rustls_native_certs::load_native_certs();
                let ours = found.certs.iter();
                let roots: Vec<_> =
                    ours.map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
                RootCerts::from(roots)
            }
            Some(path) => {
                let pem = std::fs::read(path).with_context(|| {
                    format!("cannot read the certificates in {}", path.display())
                })?;
                let roots: Vec<Certificate<'static>> = parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                RootCerts::from(roots)
            }
        };
        Ok(TlsConfig::builder().root_certs(roots).build())
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

fn checked(mut answer: Response<Body>) -> anyhow::Result<Response<Body>> {
    match answer.status().as_u16() {
        200 => Ok(answer),
        status => {
            let body = answer.body_mut().read_to_string().context("the answer broke off")?;
            bail!("the server answers {status}: {}", why(&body))
        }
    }
}

/// What a refusing page says: the reason in it, or all of it if it is none of ours.
fn why(body: &str) -> String {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    serde_json::from_str(body)
        .map_or_else(|_| body.trim().to_owned(), |problem: Problem| problem.error)
}

/// A text as one part of an address.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        assert_eq!(why(r#"{"error":"no such command"}"#), "no such command");
        assert_eq!(why("bad gateway\n"), "bad gateway");
        assert_eq!(why(r#"{"message":"x"}"#), r#"{"message":"x"}"#);
    }

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
