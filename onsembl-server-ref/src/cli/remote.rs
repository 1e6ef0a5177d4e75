//! How the client commands reach a server.

use super::connect::way;
use crate::client::ClientToken;
pub(super) use crate::client::escape;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use onsembl_transport::secret::TokenSource as _;
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
#[derive(Clone, Debug)]
pub(super) struct Remote {
    server: String,
    token: ClientToken,
    roots: TlsRoots,
    proxy: ProxyRule,
}

impl Remote {
    /// A server, as whom, and how to get there.
    ///
    /// # Errors
    /// The proxy is none.
    pub(super) fn new(
        server: String,
        token: ClientToken,
        tls_ca: Option<PathBuf>,
        proxy: Option<&str>,
    ) -> anyhow::Result<Self> {
        let (roots, proxy) = way(tls_ca, proxy)?;
        Ok(Self { server, token, roots, proxy })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn roots(&self) -> TlsRoots {
        self.roots.clone()
    }

    /// As whom.
    pub(super) fn token(&self) -> ClientToken {
        self.token.clone()
    }

    /// Which proxy to go through.
    pub(super) fn proxy(&self) -> ProxyRule {
        self.proxy.clone()
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

    /// Has a page deleted that must be there.
    pub(super) fn delete(&self, path: &str, patience: Duration) -> anyhow::Result<Answer> {
        let client = self.client(patience)?;
        self.asked(Repetition::Harmless, || Handle::current().block_on(client.delete(path)))
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
                    tracing::info!(status, ?wait, "a proxy has no backend now; retrying");
                    std::thread::sleep(wait);
                }
                answer => return self.checked(answer),
            }
        }
        self.checked(ask())
    }

    fn client(&self, patience: Duration) -> anyhow::Result<HttpClient> {
        let token = self.token.token()?;
        let server = self.server.parse()?;
        Ok(HttpClient::new(server, &self.roots, &self.proxy, token, patience)?)
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
            200 | 204 => Ok(answer),
            401 | 403 if !refuses_token => bail!(
                "something on the path to the server, or an older server, answers {status}: {}; the \
                 server itself has not refused the token",
                why()?
            ),
            502..=504 if is_of_a_proxy => {
                bail!("a proxy on the path to the server answers {status}: {}; try again", why()?)
            }
            status => bail!("the server answers {status}: {}", why()?),
        }
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
}

/// What is said of an answer that cannot be read.
pub(super) const NOT_OURS: &str = "the reply is not from an onsembl-server of a compatible version";

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
            self.take(LONGEST_PAGE).read_to_string(&mut text).context("the reply was cut off")?;
        match read as u64 {
            LONGEST_PAGE => bail!("the reply is longer than {LONGEST_PAGE} bytes; request less"),
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
