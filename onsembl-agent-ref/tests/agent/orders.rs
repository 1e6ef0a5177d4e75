//! Orders from the server that are no commands.

use super::Agent;
use super::server::{Peer, Server};
use onsembl_agent_ref::engine::AgentEnd;
use onsembl_protocol::close::CloseCode;
use onsembl_protocol::wire::payload::{
    AgentControl, CommandAckStatus, CommandPhase, ControlAction, EmergencyStop, Feature,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::BTreeSet;

async fn order(peer: &mut Peer, action: &str) {
    peer.send(ServerToAgent::Control(AgentControl {
        agent_id: None,
        action: ControlAction::parse(action),
        reason: None,
        graceful_shutdown: None,
        timeout: None,
        size: None,
    }))
    .await;
}

#[tokio::test]
async fn stop_ends_the_commands_and_then_the_agent() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo $$; exec sleep 1000").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    order(&mut peer, "STOP").await;
    let report = peer.complete().await;
    assert_eq!(report.status, CommandPhase::Cancelled);
    assert!(report.error.unwrap().contains("the agent was stopped"));
    assert!(!super::is_alive(&pid));
    peer.confirm("c").await;
    assert_eq!(
        peer.end().await.reason.cause.code(),
        CloseCode::AGENT_STOPPED,
        "a server that knows no other"
    );
    assert_eq!(agent.ended().await.unwrap(), AgentEnd::StoppedByServer);
}

#[tokio::test]
async fn restart_ends_the_commands_and_asks_to_be_run_again() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo $$; exec sleep 1000").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    order(&mut peer, "RESTART").await;
    assert_eq!(peer.complete().await.status, CommandPhase::Cancelled);
    assert!(!super::is_alive(&pid));
    peer.confirm("c").await;
    assert_eq!(peer.end().await.reason.cause.code(), CloseCode::AGENT_STOPPED);
    assert_eq!(agent.ended().await.unwrap(), AgentEnd::RestartedByServer);
}

#[tokio::test]
async fn which_order_ended_the_agent_is_told_to_a_server_that_knows_the_codes() {
    let orders = [
        ("STOP", CloseCode::TOLD_TO_STOP, AgentEnd::StoppedByServer),
        ("RESTART", CloseCode::TOLD_TO_RESTART, AgentEnd::RestartedByServer),
    ];
    for (action, code, end) in orders {
        let mut server = Server::new().await;
        let agent = Agent::start(&server.url);
        let mut peer = server.accept().await;
        peer.welcome_with(vec![Feature::Heartbeats, Feature::EndOrders], 256 * 1024).await;
        order(&mut peer, action).await;
        assert_eq!(peer.end().await.reason.cause.code(), code);
        assert_eq!(agent.ended().await.unwrap(), end);
    }
}

#[tokio::test]
async fn a_paused_agent_starts_nothing_lets_run_what_runs_and_starts_what_waited_when_it_goes_on() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let go = agent.path("go");
    peer.run("before", &format!("until [ -e {} ]; do sleep 0.01; done", go.display())).await;
    peer.acknowledged().await;
    order(&mut peer, "pause").await;
    peer.run("waits", "echo on").await;
    assert_eq!(peer.acknowledged().await.status, CommandAckStatus::Queued);
    std::fs::write(&go, "").unwrap();
    let report = peer.complete().await;
    assert_eq!((report.command_id.as_str(), report.status), ("before", CommandPhase::Completed));
    peer.confirm("before").await;
    order(&mut peer, "RESUME").await;
    assert_eq!(peer.all().await.0, b"on\n");
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_paused_agent_says_so_at_once_and_again_in_its_next_session() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let first = peer.beat().await;
    assert!(!first.paused);
    order(&mut peer, "PAUSE").await;
    order(&mut peer, "PAUSE").await;
    // The beats of the schedule are half a minute apart; this one waits for the answer to the first.
    peer.answer(&first).await;
    let second = peer.beat().await;
    assert!(second.paused);
    peer.answer(&second).await;
    drop(peer);

    let mut peer = server.session().await;
    let first = peer.beat().await;
    assert!(first.paused, "the first beat says it");
    peer.answer(&first).await;
    order(&mut peer, "RESUME").await;
    assert!(!peer.beat().await.paused);
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn what_the_agent_cannot_do_it_says() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    for action in ["START", "DANCE"] {
        order(&mut peer, action).await;
        let AgentToServer::Fault(fault) = peer.next().await else { panic!("no fault") };
        assert!(fault.recoverable && fault.message.contains(action), "{}", fault.message);
    }
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn an_emergency_stop_kills_everything_at_once() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let mut pids = Vec::new();
    for id in ["a", "b"] {
        peer.run(id, "trap '' TERM; sleep 1000 & echo $!; wait").await;
        peer.acknowledged().await;
        pids.push(peer.line().await);
    }
    peer.send(ServerToAgent::EmergencyStop(EmergencyStop::default())).await;
    let mut stopped = BTreeSet::new();
    for _ in 0..2 {
        let report = peer.complete().await;
        assert_eq!((report.status, report.signal), (CommandPhase::Cancelled, Some(9)));
        assert!(report.error.unwrap().contains("emergency stop"));
        stopped.insert(report.command_id);
    }
    assert_eq!(stopped.len(), 2);
    assert!(!pids.iter().any(|pid| super::is_alive(pid)));
    agent.leave(&mut peer).await;
}
