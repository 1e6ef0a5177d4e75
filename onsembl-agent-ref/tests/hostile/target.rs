//! What an attacker has: the address of the server, and a token of each kind.

use crate::effects::{note, note_message, note_response};
use futures::{SinkExt as _, StreamExt as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The source address of attackers.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// That of an attacker who shares the bystander's.
const BYSTANDER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// What an agent of ours says that it can do.
const FEATURES: [&str; 11] = [
    "heartbeats",
    "output-bytes",
    "output-spool",
    "output-binary",
    "command-reports",
    "command-journal",
    "command-adoption",
    "stop-latch",
    "black-box",
    "end-orders",
    "terminal",
];

/// What one of today says besides.
const FEATURES_OF_TODAY: [&str; 5] =
    ["typing-waits", "secret-input", "typing", "terminal-size", "activity"];

#[derive(Clone)]
pub struct Target {
    pub address: String,
    from: Ipv4Addr,
    agent_token: String,
    dashboard_token: String,
}

pub type Socket = WebSocketStream<TcpStream>;

pub fn message(kind: &str, payload: &str) -> String {
    format!(r#"{{"type":"{kind}","id":"m","timestamp":1762080000000,"payload":{payload}}}"#)
}

impl Target {
    pub fn new(address: &str, agent_token: &str, dashboard_token: &str) -> Self {
        Self {
            address: address.to_owned(),
            from: ATTACKER,
            agent_token: agent_token.to_owned(),
            dashboard_token: dashboard_token.to_owned(),
        }
    }

    /// The same, of one who shares the bystander's address.
    pub fn beside_the_bystander(self) -> Self {
        Self { from: BYSTANDER, ..self }
    }

    /// From an address other than the bystander's, unless they share one: an attacker uses up the share of its own
    /// address only.
    pub async fn tcp(&self) -> TcpStream {
        self.connected_from((self.from, 0).into(), None).await
    }

    /// A connection that takes only a little until it is read.
    pub async fn narrow_tcp(&self) -> TcpStream {
        self.connected_from((self.from, 0).into(), Some(2048)).await
    }

    /// From the address of this number.
    pub async fn tcp_from(&self, number: u32) -> TcpStream {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number);
        self.connected_from((address, 0).into(), None).await
    }

    async fn connected_from(&self, from: SocketAddr, buffer: Option<u32>) -> TcpStream {
        let to = self.address.parse().expect("an address");
        loop {
            let socket = TcpSocket::new_v4().expect("a socket");
            // The ports of connections that ended a minute ago, also of another attack, are free for this one.
            let _ = socket.set_reuseaddr(true);
            if let Some(bytes) = buffer {
                let _ = socket.set_recv_buffer_size(bytes);
            }
            if socket.bind(from).is_ok()
                && let Ok(stream) = socket.connect(to).await
            {
                note("connected");
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn open(&self, path: &str, token: &str) -> Socket {
        loop {
            let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
            let bearer = format!("Bearer {token}").parse().unwrap();
            let _ = request.headers_mut().insert("Authorization", bearer);
            if let Ok((socket, _)) = client_async(request, self.tcp().await).await {
                return socket;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn hello(&self, key: &str) -> String {
        self.hello_with(key, &FEATURES)
    }

    fn hello_with(&self, key: &str, features: &[&str]) -> String {
        let features: Vec<_> = features.iter().map(|feature| format!("\"{feature}\"")).collect();
        let features = features.join(",");
        let payload = format!(
            r#"{{"agentId":"{key}","name":"{key}","agentType":"CUSTOM","version":"0.1.0","hostMachine":"box","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}},"extensions":{{"features":[{features}],"agentKey":"{key}","instance":"i-{key}","journal":"j-{key}","maxParallel":1000,"commands":[]}}}}"#
        );
        message("AGENT_CONNECT", &payload)
    }

    /// A link of an agent in session.
    pub async fn agent(&self, key: &str) -> Socket {
        self.greeted(self.hello(key)).await
    }

    /// The same of one whose terminal has all that one of ours has.
    pub async fn agent_of_today(&self, key: &str) -> Socket {
        let features = [&FEATURES[..], &FEATURES_OF_TODAY].concat();
        self.greeted(self.hello_with(key, &features)).await
    }

    /// A link of a dashboard of ours that watches everything and may type.
    pub async fn typist(&self) -> Socket {
        let mut socket = self.dashboard().await;
        let _ = socket.send(Message::text(message("DASHBOARD_INIT", TYPISTS_INIT))).await;
        socket
    }

    /// The agent that has this command, as the API tells it.
    pub async fn agent_of(&self, command: &str) -> String {
        let request = self.request(&format!("/api/commands/{command}"));
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        loop {
            let mut answer = String::new();
            let mut stream = self.tcp().await;
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.read_to_string(&mut answer).await;
            if let Some((_, rest)) = answer.split_once(r#""agent_id":""#)
                && let Some((id, _)) = rest.split_once('"')
            {
                return id.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same, with the id of the agent.
    pub async fn agent_with_id(&self, key: &str) -> (Socket, String) {
        loop {
            let (socket, answer) = self.answered(self.hello(key)).await;
            if let Some((_, rest)) = answer.split_once(r#""agentId":""#)
                && let Some((id, _)) = rest.split_once('"')
            {
                return (socket, id.to_owned());
            }
        }
    }

    /// The same for a legacy wrapper.
    async fn wrapper(&self, key: &str) -> Socket {
        let payload = format!(
            r#"{{"agentId":"{key}","name":"{key}","agentType":"CUSTOM","version":"0.1.0","hostMachine":"box","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}}}}"#
        );
        self.greeted(message("AGENT_CONNECT", &payload)).await
    }

    /// A link over which this was said, and its first answer.
    pub async fn greeted(&self, hello: String) -> Socket {
        self.answered(hello).await.0
    }

    async fn answered(&self, hello: String) -> (Socket, String) {
        let mut socket = self.open("/ws/agent", &self.agent_token).await;
        let _ = socket.send(Message::text(hello)).await;
        let answer = match socket.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            _ => String::new(),
        };
        note_message(&answer);
        (socket, answer)
    }

    /// A link of a dashboard, before its hello.
    pub async fn dashboard(&self) -> Socket {
        self.open("/ws/dashboard", &self.dashboard_token).await
    }

    /// A program that asks the server as this user.
    pub fn as_client(&self, command: &mut tokio::process::Command) {
        let _ = command
            .env("ONSEMBL_SERVER", format!("http://{}", self.address))
            .env("ONSEMBL_TOKEN", &self.dashboard_token);
    }

    /// A request for a page with the token of a dashboard.
    pub fn request(&self, path: &str) -> String {
        let token = &self.dashboard_token;
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
    }

    /// Sends the same request in a loop, over a new connection when one ends, and reads the responses.
    pub async fn ask(&self, request: String) {
        let mut page = vec![0; 64 * 1024];
        loop {
            let mut stream = self.tcp().await;
            while stream.write_all(request.as_bytes()).await.is_ok() {
                let read = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut page));
                match read.await {
                    Ok(Ok(bytes @ 1..)) => note_response(page.get(..bytes).unwrap_or_default()),
                    _ => break,
                }
            }
        }
    }

    /// Sends `texts` in a loop, over a new link when one ends, and reads the answers if asked to. Each link of a
    /// dashboard starts with its hello. `texts` gets the number of the message on its link, from 1.
    pub async fn repeat(&self, open: Open, texts: impl Fn(u64) -> String, reads: Reads) {
        loop {
            let mut n = 0;
            let mut socket = match open {
                Open::Agent(key) => self.agent(key).await,
                Open::Wrapper(key) => self.wrapper(key).await,
                Open::AgentOfToday(key) => self.agent_of_today(key).await,
                Open::Dashboard | Open::Extended | Open::Typist => self.dashboard().await,
            };
            let hello = match open {
                Open::Agent(_) | Open::AgentOfToday(_) | Open::Wrapper(_) => None,
                Open::Dashboard => Some(INIT),
                Open::Extended => Some(EXTENDED_INIT),
                Open::Typist => Some(TYPISTS_INIT),
            };
            if let Some(hello) = hello {
                let _ = socket.send(Message::text(message("DASHBOARD_INIT", hello))).await;
            }
            loop {
                n += 1;
                let text = Message::text(texts(n));
                let sent = tokio::time::timeout(Duration::from_secs(20), socket.send(text)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
                note("sent");
                if reads == Reads::All {
                    while let Ok(Some(Ok(heard))) =
                        tokio::time::timeout(Duration::from_micros(200), socket.next()).await
                    {
                        if let Message::Text(text) = heard {
                            note_message(&text);
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
pub enum Open {
    Agent(&'static str),
    Wrapper(&'static str),
    Dashboard,
    /// A dashboard of ours: it releases the stops that it orders.
    Extended,
    /// One whose terminal has all that one of ours has.
    AgentOfToday(&'static str),
    /// A dashboard of ours that watches everything and may type.
    Typist,
}

const INIT: &str =
    r#"{"subscriptions":{"agents":[],"commands":[],"terminals":false,"traces":false}}"#;
const EXTENDED_INIT: &str = r#"{"subscriptions":{"agents":[],"commands":[],"terminals":false,"traces":false},"extensions":{"features":["output-bytes","output-spool","output-replay","stop-latch"]}}"#;

const TYPISTS_INIT: &str = r#"{"subscriptions":{"agents":["*"],"commands":["*"],"terminals":true,"traces":false},"extensions":{"features":["output-bytes","output-spool","output-replay","stop-latch","typing-waits","secret-input","typing","terminal-size","activity"]}}"#;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    All,
    Nothing,
}
