//! The example of a service with a store of its own, as it is: an agent of the transport's driver is in session, its
//! heartbeats are on disk before they are called recorded, and a restart continues with the versions that it had.

#[path = "../../examples/own_store.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod service;

use crate::fixture::PATIENCE;
use crate::peer::Request;
use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile};
use onsembl_transport::protocol::id::{AgentKey, InstanceId};
use onsembl_transport::protocol::session::AgentStatus;
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::TlsConfig;
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{DialError, ProxyRule};
use serde_json::Value;
use service::Store;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

async fn start(file: &Path) -> (SocketAddr, JoinHandle<anyhow::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::open(file.to_owned()).unwrap();
    (address, tokio::spawn(service::serve(listener, store)))
}

fn agent(address: SocketAddr, token: &str) -> AgentDriver {
    let url = format!("http://{address}");
    let dialer = WebSocketDialer::new(&url, "/ws/agent", TlsConfig::native()).unwrap();
    let dialer = dialer.with_proxy(&ProxyRule::direct()).unwrap().with_token(Secret::new(token));
    let profile = AgentProfile::new("laptop", AgentKey::new("key-1"), InstanceId::new("run-1"));
    let mut agent = AgentDriver::new(dialer, profile);
    agent.start();
    agent
}

async fn until<T>(agent: &mut AgentDriver, mut find: impl FnMut(AgentNotice) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find(agent.next().await) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("it took too long")
}

async fn row(address: SocketAddr) -> Value {
    let page = Request::get("/agents").send(address).await;
    serde_json::from_str::<Value>(&page.body).unwrap()["ann/key-1"].clone()
}

#[tokio::test]
async fn an_agent_is_in_session_its_beats_are_stored_and_a_restart_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agents.json");
    let mut last = (0, 0);
    for _ in 0..2 {
        let (address, served) = start(&file).await;
        let mut agent = agent(address, "key-of-ann");
        until(&mut agent, |notice| match notice {
            AgentNotice::BeatAnswered { recorded, .. } => recorded,
            _ => None,
        })
        .await;
        let row = row(address).await;
        assert_eq!(row["status"], "online", "{row}");
        assert!(row["last_beat_ms"].as_i64() > Some(0), "{row}");
        let now = (row["version"].as_u64().unwrap(), row["epoch"].as_u64().unwrap());
        assert!(now.0 > last.0 && now.1 > last.1, "{now:?} after {last:?}");
        last = now;
        served.abort();
    }
}

#[tokio::test]
async fn a_key_that_is_nobodys_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (address, served) = start(&folder.path().join("agents.json")).await;
    let mut agent = agent(address, "swordfish");
    let error: DialError = until(&mut agent, |notice| match notice {
        AgentNotice::DialFailed(error) => Some(error),
        _ => None,
    })
    .await;
    assert!(error.to_string().contains("unknown key"), "{error}");
    assert!(!matches!(agent.status(), AgentStatus::Connected { .. }));
    served.abort();
}
