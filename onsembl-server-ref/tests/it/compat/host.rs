//! The server's side of recorded conversations, said again to a client of this version: what that says must
//! be like what was recorded.

use super::conversation::{Entry, Frame, Side, What, conversation, is_overtaken, is_passing};
use super::likeness::{Likeness, Times};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Longer than anything here takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that says what another one said.
pub(crate) struct Host {
    listener: TcpListener,
    pub(crate) url: String,
    like: Likeness,
    link: Option<WebSocketStream<TcpStream>>,
    /// What came that nothing recorded is like yet.
    heard: Vec<Value>,
    awaited: Vec<What>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let like = Likeness::new(Times::Any);
        Self { listener, url, like, link: None, heard: Vec::new(), awaited: Vec::new() }
    }

    /// Plays all links of that client, one after the other.
    pub(crate) async fn play(&mut self, name: &str, client: &str) {
        let of_client = |entry: &Entry| entry.link.rsplit_once('-').is_some_and(|l| l.0 == client);
        let mut compared = 0;
        for entry in conversation(name).into_iter().filter(of_client) {
            match entry.what {
                What::Sent { by: Side::Client, .. } | What::Closed { by: Side::Client, .. } => {
                    compared += 1;
                    self.awaited.push(entry.what);
                }
                act => {
                    self.catch_up().await;
                    self.act(act).await;
                }
            }
        }
        self.catch_up().await;
        self.nothing_is_new();
        assert!(compared >= 2, "{compared}");
    }

    fn nothing_is_new(&self) {
        let mut new = self.heard.iter().filter(|message| !is_passing(message));
        assert!(new.next().is_none(), "never said before: {:#?}", self.heard);
    }

    async fn act(&mut self, what: What) {
        match what {
            What::Opened { path, .. } => {
                self.nothing_is_new();
                let expected = self.like.text(&path);
                let seen = |request: &Request, response: Response| {
                    let path = request.uri().path_and_query().unwrap().as_str();
                    let token = request.headers().contains_key("authorization");
                    assert_eq!((path, token), (expected.as_str(), true));
                    Ok(response)
                };
                let opened = async {
                    let (stream, _) = self.listener.accept().await.unwrap();
                    accept_hdr_async(stream, seen).await.unwrap()
                };
                self.link = Some(timeout(PATIENCE, opened).await.expect("a link"));
            }
            What::Sent { frame: Frame::Text(text), .. } => {
                let text = self.like.message(&text);
                self.link.as_mut().unwrap().send(Message::text(text)).await.unwrap();
            }
            What::Closed { by: Side::Network, .. } => drop(self.link.take()),
            What::Closed { code, reason, .. } => {
                let code = CloseCode::from(code.unwrap_or(1000));
                let frame = CloseFrame { code, reason: reason.into() };
                // The client may have closed at the same moment.
                let _ = self.link.as_mut().unwrap().close(Some(frame)).await;
            }
            other => panic!("no server does that: {other:?}"),
        }
    }

    async fn catch_up(&mut self) {
        let awaited = std::mem::take(&mut self.awaited);
        let sent: Vec<Value> = awaited.iter().map(message).collect();
        for (n, awaited) in awaited.into_iter().enumerate() {
            match awaited {
                What::Sent { .. } => {
                    // One that is left out costs nothing; one that comes is passed over.
                    if !is_overtaken(&sent[n], sent.iter().skip(n + 1)) {
                        self.hear(&sent[n]).await;
                    }
                }
                What::Closed { code, reason, .. } => {
                    let ended = match self.next().await {
                        Some(Message::Close(Some(frame))) => {
                            (Some(u16::from(frame.code)), frame.reason.as_str().to_owned())
                        }
                        Some(Message::Close(None)) | None => (None, String::new()),
                        Some(other) => panic!("never said before: {other:?}"),
                    };
                    assert_eq!(ended, (code, reason));
                    // The answer to its close frame.
                    while self.next().await.is_some() {}
                    self.link = None;
                }
                other => panic!("no client does that: {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            let link = self.link.as_mut().unwrap();
            match timeout(PATIENCE, link.next()).await.expect("a message or an end") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The first message that is like this one.
    async fn hear(&mut self, recorded: &Value) {
        let mut mismatch = Vec::new();
        for (n, now) in self.heard.iter().enumerate() {
            match self.like.values(recorded, now) {
                Ok(()) => {
                    let _ = self.heard.remove(n);
                    return;
                }
                Err(why) => mismatch.push(why),
            }
        }
        loop {
            let link = self.link.as_mut().unwrap();
            let now = match timeout(PATIENCE, link.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => Frame::Text(text.as_str().to_owned()).value(),
                Ok(Some(Ok(Message::Binary(bytes)))) => Frame::Binary(bytes.to_vec()).value(),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                other => panic!("{other:?} instead of {recorded}\ninstead came {mismatch:#?}"),
            };
            match self.like.values(recorded, &now) {
                Ok(()) => return,
                Err(why) => {
                    mismatch.push(format!("{}: {why}", now["type"]));
                    self.heard.push(now);
                }
            }
        }
    }
}

/// What it says; nothing if it is no message.
fn message(what: &What) -> Value {
    match what {
        What::Sent { frame, .. } => frame.value(),
        What::Opened { .. } | What::Closed { .. } | What::Asked { .. } | What::Answered { .. } => {
            Value::Null
        }
    }
}
