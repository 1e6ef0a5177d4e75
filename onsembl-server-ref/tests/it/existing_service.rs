//! The example of a service that takes agents and dashboards in, as it is.

#[path = "../../examples/existing_service.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod service;

use crate::fixture::PATIENCE;
use crate::frames::{Chunk, command_complete, extended_dashboard_hello, extended_hello};
use crate::peer::{Peer, Request};
use onsembl_protocol::id::UserId;
use onsembl_server_ref::auth::{Identity, TokenKind};
use service::ApiKeys;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Scene {
    address: SocketAddr,
    keys: ApiKeys,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<anyhow::Result<()>>,
    _data: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let keys = ApiKeys::default();
        let ann = |kind, name| Identity::new(UserId::new("ann"), kind, name);
        keys.add("ann-key", ann(TokenKind::Dashboard, "ann")).await;
        keys.add("agent-key", ann(TokenKind::Agent, "laptop")).await;
        let bob = Identity::new(UserId::new("bob"), TokenKind::Dashboard, "bob");
        keys.add("bob-key", bob).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, ended) = oneshot::channel();
        let until = async { drop(ended.await) };
        let service = service::serve(listener, data.path().join("new"), keys.clone(), until);
        Self { address, keys, shutdown, served: tokio::spawn(service), _data: data }
    }

    async fn get(&self, path: &str, key: Option<&str>) -> (u16, String) {
        let mut request = Request::get(path);
        if let Some(key) = key {
            request = request.header(&format!("X-Api-Key: {key}"));
        }
        let answer = request.send(self.address).await;
        (answer.status, answer.body)
    }

    /// An agent that said hello, and its id.
    async fn agent(&self) -> (Peer, String) {
        let mut agent = Peer::open(self.address, "/ws/agent", Some("agent-key")).await;
        agent.send(extended_hello("key-1", "run-1", &[])).await;
        let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
        (agent, id)
    }
}

#[tokio::test]
async fn its_own_route_runs_a_command_on_an_agent_and_shows_the_output() {
    let scene = Scene::start().await;
    assert_eq!(scene.get("/", None).await, (200, "a service that was here before\n".to_owned()));
    let (mut agent, id) = scene.agent().await;
    let work = async {
        let request = agent.expect("COMMAND_REQUEST").await;
        assert_eq!((&request["command"], &request["userId"]), (&"uname -a".into(), &"ann".into()));
        let command = request["commandId"].as_str().unwrap();
        let (stream, encoding, content) = ("STDOUT", "utf-8", "Linux laptop\n");
        let chunk = Chunk { command, stream, sequence: 1, offset: 0, encoding, content };
        agent.send(chunk.text()).await;
        agent.send(command_complete(command, "COMPLETED", 0)).await;
    };
    let page = format!("/report/{id}");
    let (shown, ()) = tokio::join!(scene.get(&page, Some("ann-key")), work);
    assert_eq!(shown, (200, "Linux laptop\n".to_owned()));
    let (status, why) = scene.get(&page, Some("bob-key")).await;
    assert_eq!(status, 502, "bob has no such agent: {why}");
}

#[tokio::test]
async fn its_keys_open_links_and_pages_and_close_them_when_they_are_deleted() {
    let scene = Scene::start().await;
    for (path, key, status, why) in [
        ("/api/agents", None, 401, "no API key"),
        ("/api/agents", Some("wrong"), 401, "unknown API key"),
        ("/api/agents", Some("agent-key"), 401, "of kind `agent`"),
        ("/ws/agent", Some("ann-key"), 401, "of kind `dashboard`"),
        ("/ws/dashboard", Some("agent-key"), 401, "of kind `agent`"),
        ("/api/agents", Some("ann-key"), 200, ""),
    ] {
        let (got, body) = scene.get(path, key).await;
        assert_eq!(got, status, "{path} {key:?}: {body}");
        assert!(body.contains(why), "{path} {key:?}: {body}");
    }
    let (mut agent, id) = scene.agent().await;
    let mut dashboard = Peer::open(scene.address, "/ws/dashboard?token=ann-key", None).await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    assert!(scene.get("/api/agents", Some("ann-key")).await.1.contains(&id));
    assert!(!scene.get("/api/agents", Some("bob-key")).await.1.contains(&id));

    let _ = scene.keys.0.write().await.remove("agent-key").unwrap();
    assert_eq!(agent.ended().await.code(), 4201);
    assert_eq!(scene.get("/ws/agent", Some("agent-key")).await.0, 401);
}

#[tokio::test]
async fn it_ends_with_a_goodbye_to_each_link() {
    let scene = Scene::start().await;
    let (mut agent, _) = scene.agent().await;
    let mut dashboard = Peer::open(scene.address, "/ws/dashboard?token=ann-key", None).await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    scene.shutdown.send(()).unwrap();
    let ended = async { tokio::join!(agent.ended(), dashboard.ended(), scene.served) };
    let (agent, dashboard, served) = timeout(PATIENCE, ended).await.unwrap();
    assert_eq!((agent.code(), dashboard.code()), (1001, 1001));
    served.unwrap().unwrap();
}
