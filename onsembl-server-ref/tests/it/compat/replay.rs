//! The clients' side of recorded conversations, said again to this server: what it answers must be like
//! what was recorded.

use super::conversation::{Entry, Frame, Side, What, conversation, is_overtaken, is_passing};
use super::likeness::{Likeness, Times};
use crate::fixture::{PATIENCE, World};
use crate::peer::{Ended, Http, Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

/// One link, and what came over it that nothing recorded is like yet.
struct Line {
    peer: Peer,
    heard: Vec<Value>,
    /// The greatest version of the presence of each agent.
    versions: BTreeMap<String, u64>,
}

/// What the server said in the recording and has not said yet.
struct Awaited {
    link: String,
    what: What,
}

/// A page that was asked for.
struct Page {
    method: String,
    path: String,
    token: String,
    answer: JoinHandle<Http>,
}

impl Awaited {
    /// Its link and what it says; nothing if it is no message.
    fn message(&self) -> (String, Value) {
        match &self.what {
            What::Sent { frame, .. } => (self.link.clone(), frame.value()),
            What::Opened { .. }
            | What::Closed { .. }
            | What::Asked { .. }
            | What::Answered { .. } => (String::new(), Value::Null),
        }
    }
}

struct Stage {
    world: World,
    like: Likeness,
    lines: BTreeMap<String, Line>,
    pages: BTreeMap<String, Page>,
    awaited: Vec<Awaited>,
}

async fn replay(name: &str) {
    let mut stage = Stage {
        world: World::start().await,
        like: Likeness::new(Times::Any),
        lines: BTreeMap::new(),
        pages: BTreeMap::new(),
        awaited: Vec::new(),
    };
    let mut compared = 0;
    for entry in conversation(name) {
        compared += stage.step(entry).await;
    }
    compared += stage.catch_up().await;
    for (link, line) in &stage.lines {
        line.nothing_is_new(link);
    }
    assert!(compared > 30, "{compared}");
}

impl Line {
    /// A dashboard that takes the greatest version for the latest one misses nothing.
    fn no_presence_goes_back(&mut self, message: &Value) {
        let payload = &message["payload"];
        let (agent, version) = (payload["agentId"].as_str(), payload["presenceVersion"].as_u64());
        if let (Some(agent), Some(version)) = (agent, version) {
            let newest = self.versions.entry(agent.to_owned()).or_default();
            assert!(version >= *newest, "{message} behind version {newest}");
            *newest = version;
        }
    }

    fn nothing_is_new(&self, link: &str) {
        // What dashboards are told since: a legacy page the output of a command a second time, as its agent's
        // session (P-173), and all of them where a wrapper without a link may have dropped some (P-169).
        let is_intended = |message: &Value| {
            let payload = &message["payload"];
            let command = payload["commandId"].as_str().unwrap_or_default();
            let line = payload["content"][0].as_str().unwrap_or_default();
            match message["type"].as_str() {
                Some("TERMINAL_STREAM") => {
                    command.starts_with("agent-session-")
                        || line.starts_with("[output may be missing here: its agent had no link")
                }
                Some("OUTPUT_GAP") => payload["because"] == "never-came",
                _ => false,
            }
        };
        let mut new =
            self.heard.iter().filter(|message| !is_passing(message) && !is_intended(message));
        assert!(new.next().is_none(), "{link}: never said before: {:#?}", self.heard);
    }
}

impl Stage {
    /// Takes one entry. What the server owes is waited for before a client continues. Gives how much was
    /// compared.
    async fn step(&mut self, entry: Entry) -> usize {
        let Entry { link, what } = entry;
        match what {
            What::Sent { by: Side::Server, .. }
            | What::Closed { by: Side::Server, .. }
            | What::Answered { .. } => {
                self.awaited.push(Awaited { link, what });
                return 0;
            }
            What::Opened { .. } | What::Sent { .. } | What::Closed { .. } | What::Asked { .. } => {}
        }
        let compared = self.catch_up().await;
        match what {
            What::Opened { path, user, token_in_query } => {
                let peer = self.open(&path, &user, token_in_query).await;
                let line = Line { peer, heard: Vec::new(), versions: BTreeMap::new() };
                let before = self.lines.insert(link, line);
                assert!(before.is_none());
            }
            What::Sent { frame, .. } => {
                let line = self.lines.get_mut(&link).unwrap();
                match frame {
                    Frame::Text(text) => line.peer.send(self.like.message(&text)).await,
                    Frame::Binary(bytes) => {
                        line.peer.send_message(Message::binary(bytes)).await.unwrap();
                    }
                }
            }
            What::Closed { by, code, .. } => {
                if let Some(line) = self.lines.remove(&link) {
                    line.nothing_is_new(&link);
                    match by {
                        Side::Client => line.peer.close(code).await,
                        Side::Network => drop(line),
                        Side::Server => unreachable!("it is owed"),
                    }
                }
            }
            What::Asked { user, method, path, body } => {
                let token = self.world.token(&user, TokenKind::Dashboard);
                let (path, body) = (self.like.text(&path), self.like.message(&body));
                let request = Request::new(&method, &path).bearer(Some(&token)).body(&body);
                let answer = tokio::spawn(request.send(self.world.address()));
                let _ = self.pages.insert(link, Page { method, path, token, answer });
            }
            What::Answered { .. } => unreachable!("it is owed"),
        }
        compared
    }

    async fn open(&self, path: &str, user: &str, token_in_query: bool) -> Peer {
        let kind = if path.contains("dashboard") { TokenKind::Dashboard } else { TokenKind::Agent };
        let token = self.world.token(user, kind);
        let path = self.like.clone().text(path);
        if token_in_query {
            let path = format!("{path}?token={token}");
            Peer::open(self.world.address(), &path, None).await
        } else {
            Peer::open(self.world.address(), &path, Some(&token)).await
        }
    }

    /// Waits for everything that the server owes.
    async fn catch_up(&mut self) -> usize {
        let awaited = std::mem::take(&mut self.awaited);
        let compared = awaited.len();
        let sent: Vec<(String, Value)> = awaited.iter().map(Awaited::message).collect();
        let mut passing = Vec::new();
        for (n, Awaited { link, what }) in awaited.into_iter().enumerate() {
            match what {
                What::Answered { status, body } => self.answered(&link, status, &body).await,
                What::Sent { frame, .. } => {
                    let recorded = frame.value();
                    let later = sent.iter().skip(n + 1).filter(|(other, _)| *other == link);
                    if is_overtaken(&recorded, later.map(|(_, message)| message)) {
                        passing.push((link, recorded));
                    } else {
                        self.hear(&link, &recorded).await;
                    }
                }
                What::Closed { code, reason, .. } => {
                    let mut line = self.lines.remove(&link).unwrap();
                    let ended = line.peer.ended().await;
                    let expected = match code {
                        Some(code) => Ended::With(code, reason),
                        None => Ended::Cut,
                    };
                    assert_eq!(ended, expected, "{link}");
                }
                What::Opened { .. } | What::Asked { .. } => unreachable!("clients do that"),
            }
        }
        for (link, recorded) in passing {
            if let Some(line) = self.lines.get_mut(&link)
                && let Some(at) =
                    line.heard.iter().position(|now| self.like.values(&recorded, now).is_ok())
            {
                let _ = line.heard.remove(at);
            }
        }
        compared
    }

    /// The answer of a page. What is read from the database may have to be asked for again: it says what is
    /// committed, and a message tells of it before that.
    async fn answered(&mut self, link: &str, status: u16, body: &str) {
        let Page { method, path, token, answer } = self.pages.remove(link).unwrap();
        let mut answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        let by = Instant::now() + PATIENCE;
        loop {
            let mismatch = match self.like.texts(body, &answer.body) {
                _ if answer.status != status => format!("status {}", answer.status),
                Ok(()) => return,
                Err(why) => why,
            };
            let again = method == "GET" && Instant::now() < by;
            assert!(again, "{link}: {mismatch}\nwas {body}\nis  {}", answer.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = Request::get(&path).bearer(Some(&token)).send(self.world.address()).await;
        }
    }

    /// The first message on a link that is like this one. Others may come before it: between what is urgent
    /// and what is not there is no order (P-5).
    async fn hear(&mut self, link: &str, recorded: &Value) {
        let line = self.lines.get_mut(link).unwrap_or_else(|| panic!("{link} is closed"));
        let mut mismatch = Vec::new();
        for (n, now) in line.heard.iter().enumerate() {
            match self.like.values(recorded, now) {
                Ok(()) => {
                    let _ = line.heard.remove(n);
                    return;
                }
                Err(why) => mismatch.push((now["type"].clone(), why)),
            }
        }
        let by = Instant::now() + PATIENCE;
        loop {
            match line.peer.next_by(by).await {
                Some(Ok(now)) => {
                    line.no_presence_goes_back(&now);
                    match self.like.values(recorded, &now) {
                        Ok(()) => return,
                        Err(why) => {
                            mismatch.push((now["type"].clone(), why));
                            line.heard.push(now);
                        }
                    }
                }
                other => {
                    let near = mismatch.iter().filter(|(kind, _)| *kind == recorded["type"]);
                    let near: Vec<_> = near.collect();
                    panic!("{link}: {other:?} instead of {recorded}\nlike it: {near:#?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_agent_and_its_dashboards_are_answered_as_before() {
    replay("agent-life").await;
}

#[tokio::test]
async fn orders_are_carried_out_as_before() {
    replay("orders").await;
}

#[tokio::test]
async fn a_terminal_is_served_as_before() {
    replay("terminal").await;
}

#[tokio::test]
async fn legacy_peers_are_answered_as_before() {
    replay("legacy").await;
}
