//! What an agent found while it was away, and what became of its process: told by the process behind it, from the file
//! that the one before left.

use super::server::{Peer, Server};
use super::{soon, until};
use onsembl_agent_ref::engine::{self, AgentEnd, AgentError, AgentOptions, TokenSourceKind};
use onsembl_protocol::model::{Cause, PastFinding};
use onsembl_protocol::wire::payload::{AgentBlackBox, BlackBoxAck, Feature};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_transport::secret::Secret;
use serde_json::Value;
use std::path::Path;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// One process of an agent, with this state directory.
struct Run {
    task: JoinHandle<Result<AgentEnd, AgentError>>,
    stop: oneshot::Sender<()>,
}

impl Run {
    fn start(url: &str, state: &Path) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let token = TokenSourceKind::Literal(Secret::new("token-1"));
        let options = {
            let mut it = AgentOptions::new(url, token, "builder");
            it.state_dir = Some(state.to_owned());
            it
        };
        let task = tokio::spawn(engine::run(options, async {
            let _ = stopped.await;
        }));
        Self { task, stop }
    }

    async fn stops(self, peer: &mut Peer) {
        let _ = self.stop.send(());
        let (_, ended) = tokio::join!(peer.end(), soon("the end of the agent", self.task));
        assert_eq!(ended.unwrap().unwrap(), AgentEnd::Shutdown);
    }
}

/// The next link, in session with a server that keeps findings.
async fn session(server: &mut Server) -> Peer {
    let mut peer = server.accept().await;
    let features = vec![Feature::Heartbeats, Feature::CommandReports, Feature::BlackBox];
    peer.welcome_with(features, 256 * 1024).await;
    peer
}

async fn told(peer: &mut Peer) -> AgentBlackBox {
    match peer.next().await {
        AgentToServer::BlackBox(told) => told,
        other => panic!("no findings: {other:?}"),
    }
}

fn causes(told: &[PastFinding]) -> Vec<Cause> {
    told.iter().map(|told| told.finding.cause).collect()
}

fn file(state: &Path) -> Value {
    let json = std::fs::read(state.join("run.json")).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

fn found(state: &Path) -> Vec<String> {
    let file = file(state);
    let findings = file["findings"].as_array().into_iter().flatten();
    findings.map(|told| told["cause"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_not_confirmed_and_how_the_process_ended_is_told_by_the_one_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut server = Server::new().await;
    let first = Run::start(&server.url, &state);
    drop(session(&mut server).await);
    let mut peer = session(&mut server).await;
    let before = told(&mut peer).await;
    assert_eq!(causes(&before.entries), [Cause::NetworkCut]);
    until("it is written down", || found(&state) == ["network-cut"]).await;
    first.stops(&mut peer).await;
    assert_eq!(file(&state)["ended"], "stopped");

    let second = Run::start(&server.url, &state);
    let mut peer = session(&mut server).await;
    let after = told(&mut peer).await;
    let is = causes(&after.entries);
    assert_eq!((is.first(), is.last()), (Some(&Cause::NetworkCut), Some(&Cause::AgentRestarted)));
    assert!(after.entries[0].ago > before.entries[0].ago, "{after:?}");
    let restarted = &after.entries[is.len() - 1].finding;
    assert_eq!(restarted.evidence.text("version_before"), None, "it is the same version");
    until("its own file says that it runs", || {
        file(&state).is_object() && file(&state)["ended"].is_null()
    })
    .await;
    peer.send(ServerToAgent::BlackBoxAck(BlackBoxAck { number: after.number })).await;
    until("nothing is left to tell", || file(&state)["findings"] == serde_json::json!([])).await;
    second.stops(&mut peer).await;
}
