//! A server, an agent and dashboards, in this process and over loopback.

use futures::{SinkExt as _, StreamExt as _};
use onsembl_agent_ref::engine::{self, AgentOptions, TokenSourceKind};
use onsembl_protocol::id::UserId;
use onsembl_protocol::model::Feature;
use onsembl_server_ref::auth::{TokenKind, Tokens};
use onsembl_server_ref::server::{Server, ServerOptions};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::secret::Secret;
use onsembl_transport::traces::TraceSettings;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(endpoint: Option<&str>, service: &str) -> Option<TraceSettings> {
    let settings = TraceSettings::new(endpoint?, service);
    Some(settings.with_delay(Duration::from_millis(20)))
}

pub struct Site {
    pub folder: tempfile::TempDir,
    endpoint: Option<String>,
    server: Option<Server>,
    address: SocketAddr,
    agents: String,
    dashboards: String,
}

impl Site {
    pub async fn start(endpoint: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self {
            folder,
            endpoint: endpoint.map(str::to_owned),
            server: None,
            address: ([127, 0, 0, 1], 0).into(),
            agents: String::new(),
            dashboards: String::new(),
        };
        site.serve().await;
        let tokens = Tokens::open(&site.folder.path().join("server")).unwrap();
        let (ann, now) = (UserId::new("ann"), SystemClock::new().now().wall);
        let token = |kind| tokens.issue(&ann, kind, 2 * PATIENCE, now).unwrap().0;
        (site.agents, site.dashboards) = (token(TokenKind::Agent), token(TokenKind::Dashboard));
        site
    }

    async fn serve(&mut self) {
        let mut options = ServerOptions::new(self.folder.path().join("server"));
        options.traces = settings(self.endpoint.as_deref(), "a-server");
        let mut server = Server::start(options).await.unwrap();
        self.address = server.listen(self.address, None).await.unwrap().address();
        self.server = Some(server);
    }

    pub async fn restart(&mut self) {
        self.server.take().unwrap().stop().await;
        self.serve().await;
    }

    pub async fn stop(mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub fn tokens(&self) -> [String; 2] {
        [self.agents.clone(), self.dashboards.clone()]
    }

    /// An agent of ours that is in session.
    pub async fn agent(&self, endpoint: Option<&str>) -> Agent {
        let token = TokenSourceKind::Literal(Secret::new(self.agents.clone()));
        let mut options = AgentOptions::new(format!("http://{}", self.address), token, "ada");
        options.state_dir = Some(self.folder.path().join("agent"));
        options.traces = settings(endpoint, "an-agent");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let _ = engine::run(options, async move { drop(stopped.await) }).await.unwrap();
        });
        self.until_online().await;
        Agent { stop, task }
    }

    pub async fn until_online(&self) {
        let mut board = self.dashboard(None).await;
        board.until(|kind, payload| kind == "AGENT_STATUS" && payload["status"] == "online").await;
    }

    /// A dashboard; `trace` is the header of its request.
    pub async fn dashboard(&self, trace: Option<&str>) -> Peer {
        let mut peer = Peer::connect(self, "/ws/dashboard", &self.dashboards, trace).await;
        let all = json!({"agents": ["*"], "commands": ["*"], "terminals": true});
        let hello = json!({"subscriptions": all, "extensions": {"features": ["output-bytes"]}});
        peer.say("DASHBOARD_INIT", hello).await;
        peer
    }
}

pub struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Agent {
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

/// One end of a link, by hand.
pub struct Peer {
    socket: WebSocketStream<TcpStream>,
    said: u64,
}

impl Peer {
    async fn connect(site: &Site, path: &str, token: &str, trace: Option<&str>) -> Self {
        let stream = TcpStream::connect(site.address).await.unwrap();
        let mut request = format!("ws://{}{path}", site.address).into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        if let Some(trace) = trace {
            request.headers_mut().insert("traceparent", trace.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Self { socket, said: 0 }
    }

    /// An agent that offers these features.
    pub async fn agent(site: &Site, name: &str, features: Vec<Feature>) -> Self {
        let mut peer = Self::connect(site, "/ws/agent", &site.agents, None).await;
        let extensions = json!({
            "features": features, "agentKey": name, "instance": name, "journal": name,
        });
        let hello = json!({"agentId": name, "name": name, "extensions": extensions});
        peer.say("AGENT_CONNECT", hello).await;
        let _ = peer.hear("ACK").await;
        peer
    }

    pub async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }

    async fn say(&mut self, kind: &str, payload: Value) {
        self.said += 1;
        let message = json!({
            "type": kind, "id": self.said.to_string(), "timestamp": 1_700_000_000_000_u64, "payload": payload,
        });
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn until(&mut self, holds: impl Fn(&str, &Value) -> bool) -> Value {
        let found = async {
            while let Some(message) = self.socket.next().await {
                let Message::Text(text) = message.unwrap() else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                let kind = message["type"].as_str().unwrap();
                if holds(kind, &message["payload"]) {
                    return message["payload"].clone();
                }
            }
            panic!("the link ended");
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }

    pub async fn hear(&mut self, kind: &str) -> Value {
        self.until(|found, _| found == kind).await
    }

    pub async fn ask(&mut self, id: &str, agent: &str, text: &str, trace: Option<Value>) {
        let mut request = json!({"commandId": id, "command": text, "type": "NATURAL"});
        // By its name; the tests have one agent of each.
        request["agentId"] = json!(agent);
        if let Some(trace) = trace {
            request["traceparent"] = trace;
        }
        self.say("COMMAND_REQUEST", request).await;
    }

    pub async fn until_status(&mut self, id: &str, statuses: &[&str]) -> String {
        let holds = |kind: &str, payload: &Value| {
            kind == "COMMAND_STATUS"
                && payload["commandId"] == id
                && statuses.iter().any(|status| payload["status"] == *status)
        };
        self.until(holds).await["status"].as_str().unwrap().to_owned()
    }

    /// Runs it on our agent, and returns how it ended.
    pub async fn run(&mut self, id: &str, text: &str, trace: Option<Value>) -> String {
        self.ask(id, "ada", text, trace).await;
        self.until_status(id, &["completed", "failed", "cancelled", "lost"]).await
    }

    /// Why a command for this agent is refused.
    pub async fn refused(&mut self, id: &str, agent: &str) -> String {
        self.ask(id, agent, "true", None).await;
        self.hear("ERROR").await["message"].as_str().unwrap().to_owned()
    }
}
