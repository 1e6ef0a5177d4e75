//! How the client commands reach a server.

use crate::client::ClientToken;
pub(super) use crate::client::escape;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use onsembl_protocol::fleet::{Candidate, Unroutable, choose_agent};
use onsembl_protocol::id::{AgentId, LineageId};
use onsembl_transport::secret::{Secret, TokenFile, TokenSource as _};
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::{DialError, HttpAnswer, HttpClient, ProxyRule, Repetition, ServerUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest wait for a server to begin to answer, and between two parts of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How often, and after which waits, is asked again what a proxy answered that has no server now. A restart of a server
/// takes some seconds.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
pub(super) struct Remote {
    /// The server: http, https, ws or wss; behind a proxy with a prefix, that too.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    pub(super) server: String,
    /// A file that holds a dashboard token; make one with `onsembl-server token --out FILE`.
    #[arg(long, env = "ONSEMBL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself, unless there is a file. Other users of the machine can see arguments.
    #[arg(
        long,
        env = "ONSEMBL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        required_unless_present = "token_file"
    )]
    token: Option<String>,
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

    /// As whom.
    pub(super) fn token(&self) -> anyhow::Result<ClientToken> {
        match (&self.token_file, &self.token) {
            (Some(file), _) => Ok(ClientToken::File(TokenFile(file.clone()))),
            (None, Some(token)) => Ok(ClientToken::Text(Secret::new(token))),
            (None, None) => bail!("no token is given; use --token-file or --token"),
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
        self.asked(Repetition::Harmless, || Handle::current().block_on(client.get(path)))
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
        repetition: Repetition,
        patience: Duration,
    ) -> anyhow::Result<Answer> {
        let client = self.client(patience)?;
        let ask = || Handle::current().block_on(client.post(path, json, repetition));
        self.asked(repetition, ask)
    }

    /// Asks, and asks again while a proxy says that it has no server: it is being started, or another one is there in a
    /// moment.
    fn asked(
        &self,
        repetition: Repetition,
        ask: impl Fn() -> Result<HttpAnswer, DialError>,
    ) -> anyhow::Result<Answer> {
        for wait in AGAIN_AFTER {
            match ask() {
                Ok(answer) if answer.is_of_a_proxy() && repetition == Repetition::Harmless => {
                    let status = answer.status();
                    tracing::info!(status, ?wait, "a proxy has no server now; asking again");
                    std::thread::sleep(wait);
                }
                answer => return self.checked(answer),
            }
        }
        self.checked(ask())
    }

    fn client(&self, patience: Duration) -> anyhow::Result<HttpClient> {
        let token = self.token()?.token()?;
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
        let (refuses_token, is_of_a_proxy) = (answer.refuses_token(), answer.is_of_a_proxy());
        let mut answer = Answer { answer, rest: Bytes::new() };
        let mut why = || answer.text().map(|text| why(&text));
        match status {
            200 => Ok(answer),
            401 | 403 if !refuses_token => bail!(
                "something on the way to the server, or a server of an earlier version, answers {status}: {}; the \
                 server itself has not refused the token",
                why()?
            ),
            502..=504 if is_of_a_proxy => {
                bail!("a proxy on the way to the server answers {status}: {}; try again", why()?)
            }
            status => bail!("the server answers {status}: {}", why()?),
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

    /// The agent of this id, or all of this name.
    pub(super) fn find_agents(&self, wanted: &str) -> anyhow::Result<Vec<AgentId>> {
        let agents = self.agents()?;
        if let Some(agent) = agents.iter().find(|agent| agent.agent_id.as_str() == wanted) {
            return Ok(vec![agent.agent_id.clone()]);
        }
        let named = agents.into_iter().filter(|agent| agent.name == wanted);
        let named: Vec<AgentId> = named.map(|agent| agent.agent_id).collect();
        // One that goes by another of its ids; or none, with the reason.
        if named.is_empty() { Ok(vec![self.find_agent(wanted)?]) } else { Ok(named) }
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
