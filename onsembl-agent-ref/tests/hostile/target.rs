//! What an attacker knows: an address, and a token of each kind that is its own.

use futures::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

#[derive(Clone)]
pub struct Target {
    pub address: String,
    agent_token: String,
    dashboard_token: String,
}

pub type Socket = WebSocketStream<TcpStream>;

impl Target {
    pub fn new(address: &str, agent_token: &str, dashboard_token: &str) -> Self {
        Self {
            address: address.to_owned(),
            agent_token: agent_token.to_owned(),
            dashboard_token: dashboard_token.to_owned(),
        }
    }

    pub async fn tcp(&self) -> TcpStream {
        loop {
            if let Ok(stream) = TcpStream::connect(&self.address).await {
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

    /// A link of an agent in session.
    pub async fn agent(&self, key: &str) -> Socket {
        let mut socket = self.open("/ws/agent", &self.agent_token).await;
        let hello = format!(
            r#"{{"type":"AGENT_CONNECT","id":"hello","timestamp":1762080000000,"payload":{{"agentId":"{key}","name":"{key}","agentType":"CUSTOM","version":"0.1.0","hostMachine":"box","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}},"extensions":{{"features":["heartbeats","output-bytes","output-resume","command-reports","terminal"],"agentKey":"{key}","instance":"i-{key}","maxParallel":1000,"commands":[]}}}}}}"#
        );
        let _ = socket.send(Message::text(hello)).await;
        let _ = socket.next().await;
        socket
    }

    /// A link of a dashboard that has not said hello.
    pub async fn dashboard(&self) -> Socket {
        self.open("/ws/dashboard", &self.dashboard_token).await
    }

    /// Says the same over and over, over a new link if one ends, and reads what comes if asked to.
    pub async fn repeat(&self, open: Open, texts: impl Fn(u64) -> String, reads: Reads) {
        let mut n = 0;
        loop {
            let mut socket = match open {
                Open::Agent(key) => self.agent(key).await,
                Open::Dashboard => self.dashboard().await,
            };
            loop {
                n += 1;
                let text = Message::text(texts(n));
                let sent = tokio::time::timeout(Duration::from_secs(20), socket.send(text)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
                if reads == Reads::All {
                    while let Ok(Some(Ok(_))) =
                        tokio::time::timeout(Duration::from_micros(200), socket.next()).await
                    {
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
pub enum Open {
    Agent(&'static str),
    Dashboard,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    All,
    Nothing,
}
