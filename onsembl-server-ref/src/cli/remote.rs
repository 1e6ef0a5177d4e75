//! How the client commands reach a server.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use onsembl_protocol::fleet::{Candidate, Unroutable, choose_agent};
use onsembl_protocol::id::{AgentId, LineageId};
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::{DialError, HttpAnswer, HttpClient, ProxyRule, ServerUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest wait for a server to begin to answer, and between two parts of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Which server, and as whom.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server: http, https, ws or wss; behind a proxy with a prefix, that too.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    pub(super) server: String,
    /// A dashboard token; make one with `onsembl-server token`.
    #[arg(long, env = "ONSEMBL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: String,
    /// Certificates to trust instead of the system's, as a PEM file.
    #[arg(long, env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// The proxy to go through, like http://user:password@host:port, or none. By default what
    /// HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say, but for what NO_PROXY excepts.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    pub(super) proxy: Option<String>,
}

/// What the client commands need to know of an agent.
#[derive(Debug, Deserialize)]
pub(super) struct KnownAgent {
    pub(super) agent_id: AgentId,
    pub(super) name: String,
    #[serde(default)]
    status: String,
    /// The tokens that hold it.
    #[serde(default)]
    token_lineage: Option<LineageId>,
}

impl Remote {
    pub(super) fn roots(&self) -> TlsRoots {
        match &self.tls_ca {
            Some(path) => TlsRoots::Pem(path.clone()),
            None => TlsRoots::Native,
        }
    }

    /// Which proxy to go through.
    pub(super) fn proxy(&self) -> anyhow::Result<ProxyRule> {
        match self.proxy.as_deref() {
            None => Ok(ProxyRule::from_env()),
            Some("none") => Ok(ProxyRule::direct()),
            Some(url) => Ok(ProxyRule::through(url)?),
        }
    }

    /// Gets a page that must be there. `patience` is for the answer to begin, and for each part of it.
    /// Blocks, as all that follows: the commands that ask for pages do one thing after another.
    pub(super) fn get(&self, path: &str, patience: Duration) -> anyhow::Result<Answer> {
        let client = self.client(patience)?;
        self.checked(Handle::current().block_on(client.get(path)))
    }

    /// Gets a page; `None` if there is none.
    pub(super) fn find(&self, path: &str, patience: Duration) -> anyhow::Result<Option<Answer>> {
        let client = self.client(patience)?;
        let answer = Handle::current().block_on(client.get(path));
        match &answer {
            Ok(found) if found.status() == 404 => Ok(None),
            Ok(_) | Err(_) => self.checked(answer).map(Some),
        }
    }

    /// Sends JSON to a page that must take it.
    pub(super) fn post(
        &self,
        path: &str,
        json: &str,
        patience: Duration,
    ) -> anyhow::Result<Answer> {
        let client = self.client(patience)?;
        self.checked(Handle::current().block_on(client.post(path, json)))
    }

    fn client(&self, patience: Duration) -> anyhow::Result<HttpClient> {
        let token = Secret::new(&self.token);
        let server = self.server.parse()?;
        Ok(HttpClient::new(server, &self.roots(), &self.proxy()?, token, patience)?)
    }

    fn checked(&self, answer: Result<HttpAnswer, DialError>) -> anyhow::Result<Answer> {
        let answer = answer.with_context(|| match self.server.parse::<ServerUrl>() {
            Ok(server) => format!("cannot reach {server}"),
            Err(_) => "cannot reach the server".to_owned(),
        })?;
        let status = answer.status();
        if let (300..400, Some(place)) = (status, answer.location()) {
            bail!("the server answers {status} and points to {place}; give that as --server");
        }
        let mut answer = Answer { answer, rest: Bytes::new() };
        match status {
            200 => Ok(answer),
            status => bail!("the server answers {status}: {}", why(&answer.text()?)),
        }
    }

    /// The agents there are.
    pub(super) fn agents(&self) -> anyhow::Result<Vec<KnownAgent>> {
        read(self.list("/api/agents?with=token", "agents", usize::MAX)?)
    }

    /// The entries of a list, which has this name in its pages: all of them, or this many.
    pub(super) fn list(&self, path: &str, name: &str, most: usize) -> anyhow::Result<Vec<Value>> {
        let (mut entries, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut page = path.to_owned();
            let mut ask = |field: &str, value: &str| {
                page.push(if page.contains('?') { '&' } else { '?' });
                page.push_str(&format!("{field}={}", escape(value)));
            };
            if most < usize::MAX {
                ask("limit", &most.saturating_sub(entries.len()).to_string());
            }
            if let Some(after) = &after {
                ask("after", after);
            }
            let body = self.get(&page, PATIENCE)?.text()?;
            let mut page: Value = serde_json::from_str(&body).context(NOT_OURS)?;
            match page.get_mut(name).map(Value::take) {
                Some(Value::Array(more)) => entries.extend(more),
                _ => bail!(NOT_OURS),
            }
            // A server of an earlier version has one page of everything.
            let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() || next == after || entries.len() >= most {
                return Ok(entries);
            }
            after = next;
        }
    }

    /// The agent of this name or id.
    pub(super) fn find_agent(&self, wanted: &str) -> anyhow::Result<AgentId> {
        Ok(self.look_for_agent(wanted)??)
    }

    /// The agent of this name or id, or why none is meant.
    pub(super) fn look_for_agent(
        &self,
        wanted: &str,
    ) -> anyhow::Result<Result<AgentId, Unroutable>> {
        let agents = self.agents()?;
        let candidates: Vec<Candidate<'_>> = agents
            .iter()
            .map(|a| {
                let available = matches!(a.status.as_str(), "online" | "stale" | "error");
                let lineage = a.token_lineage.as_ref();
                Candidate { id: &a.agent_id, name: &a.name, aliases: &[], available, lineage }
            })
            .collect();
        Ok(choose_agent(Some(&AgentId::new(wanted)), &candidates).cloned())
    }
}

/// What is said of an answer that cannot be read.
pub(super) const NOT_OURS: &str =
    "what answers there is no onsembl-server, or another version of it";

/// The entries of a list, as what they are.
pub(super) fn read<T: DeserializeOwned>(entries: Vec<Value>) -> anyhow::Result<Vec<T>> {
    let entries = entries.into_iter().map(serde_json::from_value);
    entries.collect::<Result<_, _>>().context(NOT_OURS)
}

/// An answer of the server, whose body is read as it comes.
pub(super) struct Answer {
    answer: HttpAnswer,
    rest: Bytes,
}

/// Longest page that is read as a whole: a listing of everything that a user may have.
const LONGEST_PAGE: u64 = 64 * 1024 * 1024;

impl Answer {
    /// All of it.
    pub(super) fn text(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        let read =
            self.take(LONGEST_PAGE).read_to_string(&mut text).context("the answer broke off")?;
        match read as u64 {
            LONGEST_PAGE => bail!("the answer is longer than {LONGEST_PAGE} bytes; ask for less"),
            _ => Ok(text),
        }
    }
}

impl Read for Answer {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match Handle::current().block_on(self.answer.chunk())? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let part = self.rest.split_to(into.len().min(self.rest.len()));
        into.iter_mut().zip(&part).for_each(|(to, from)| *to = *from);
        Ok(part.len())
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
}
