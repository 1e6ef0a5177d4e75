//! The server ends in order and comes back on the same data.

use crate::extended::{agent, agent_with};
use crate::fixture::{PATIENCE, World, rules};
use crate::frames::{
    Chunk, beat, command_ack, command_complete, dashboard_hello, extended_dashboard_hello,
    page_command,
};
use crate::legacy_agent::wrapper;
use crate::peer::{Ended, Peer};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

const GOING: &str = "the server is shutting down; come back";

#[tokio::test]
async fn its_agents_are_awaited_and_come_back_as_themselves() {
    let mut world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    link.send(beat(1, 1)).await;
    let _ = link.expect_that("SERVER_HEARTBEAT", |b| b["recorded"]["sequence"] == 1).await;
    let before = world.agent("ann").await;
    world.restart_heard_by(&mut [&mut link]).await;
    let away = world.agent("ann").await;
    assert_eq!(away["status"], "reconnecting");
    assert_eq!(away["because"], "server restarted");
    assert_eq!(away["agent_id"], before["agent_id"]);
    assert_eq!(away["last_heartbeat"], before["last_heartbeat"]);
    assert_eq!(away["last_metrics"], before["last_metrics"]);

    let (_link, again) = agent(&world, "ann", "key-1", "run-1").await;
    assert_eq!(again["agentId"], ack["agentId"]);
    assert_eq!(again["extensions"]["epoch"], 3, "the new run awaited it under one of its own");
    assert_ne!(again["extensions"]["serverInstance"], ack["extensions"]["serverInstance"]);
    let back = world.agent_is("ann", "online").await;
    assert_eq!(back["because"], "session opened");
}

#[tokio::test]
async fn a_wrapper_comes_back_by_the_id_it_was_taught_and_by_its_own() {
    let mut world = World::start().await;
    let (mut link, id) = wrapper(&world, "ann", "mock-1").await;
    for name in [id.as_str(), "mock-1"] {
        world.restart_heard_by(&mut [&mut link]).await;
        assert_eq!(world.agent("ann").await["status"], "reconnecting");
        let again;
        (link, again) = wrapper(&world, "ann", name).await;
        assert_eq!(again, id);
        let _ = world.agent_is("ann", "online").await;
    }
}

#[tokio::test]
async fn who_does_not_come_back_is_offline_after_the_resume_window_and_stays_so() {
    let mut world = World::with(rules(200, 500, 1000, 700)).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    world.restart_heard_by(&mut [&mut link]).await;
    let restarted = Instant::now();
    assert_eq!(world.agent("ann").await["status"], "reconnecting");
    let lost = world.agent_is("ann", "offline").await;
    assert!(restarted.elapsed() > Duration::from_millis(500), "{:?}", restarted.elapsed());
    assert_eq!(lost["because"], "not back within the resume window of 700ms");
    world.restart().await;
    let still = world.agent("ann").await;
    assert_eq!((&still["status"], &still["since"]), (&lost["status"], &lost["since"]));
    assert_eq!(still["because"], lost["because"]);
}

/// At the start nothing of a fleet is read whose agents are all away.
#[tokio::test]
async fn a_fleet_that_is_away_at_a_start_is_read_for_whoever_comes_first() {
    let mut world = World::with(rules(200, 500, 1000, 300)).await;
    for user in ["ann", "bob", "eve"] {
        let (link, _) = agent(&world, user, "key-1", "run-1").await;
        link.close(Some(1000)).await;
        let (link, _) = wrapper(&world, user, "mock-1").await;
        link.close(Some(1000)).await;
    }
    let away = async |world: &World, user: &str| {
        let begin = Instant::now();
        loop {
            let agents = world.agents(user).await;
            if agents.len() == 2 && agents.iter().all(|agent| agent["status"] == "offline") {
                return agents;
            }
            assert!(begin.elapsed() < PATIENCE, "{agents:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut before = Vec::new();
    for user in ["ann", "bob", "eve"] {
        before.push(away(&world, user).await);
    }
    world.restart().await;
    world.metric_when(r#"onsembl_agents{status="offline"}"#, 6).await;

    // One agent comes first.
    let (_link, ack) = agent(&world, "ann", "key-1", "run-2").await;
    let of = |agents: &[Value], name: &str| {
        let with = |agent: &&Value| agent["name"].as_str().unwrap().contains(name);
        agents.iter().find(with).unwrap()["agent_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(ack["agentId"], of(&before[0], "key-1"));
    assert_eq!(ack["extensions"]["epoch"], 3);
    assert_eq!(world.agents("ann").await.len(), 2, "with those that are away");
    // A wrapper comes first, by the id of its own making.
    let (_link, id) = wrapper(&world, "bob", "mock-1").await;
    assert_eq!(id, of(&before[1], "mock-1"));
    // A reader comes first, and many at one moment.
    let readers = (0..32).map(|_| world.agents("eve"));
    for seen in futures::future::join_all(readers).await {
        assert_eq!(seen.len(), 2, "{seen:?}");
        for agent in &seen {
            let same = before[2].iter().find(|same| same["agent_id"] == agent["agent_id"]).unwrap();
            assert_eq!((&agent["since"], &agent["because"]), (&same["since"], &same["because"]));
        }
    }
    world.metric_when(r#"onsembl_agents{status="offline"}"#, 4).await;
}

#[tokio::test]
async fn a_running_command_goes_on_and_its_end_is_heard() {
    let mut world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(dashboard_hello("ann")).await;
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    let chunk = |sequence, offset, content| {
        Chunk { command: "cmd-1", stream: "STDOUT", sequence, offset, encoding: "utf-8", content }
            .text()
    };
    link.send(chunk(1, 0, "before\n")).await;
    let _ = link.expect("OUTPUT_ACK").await;
    world.restart_heard_by(&mut [&mut link, &mut watching]).await;

    let mut watching = world.dashboard_link("ann").await;
    watching.send(dashboard_hello("ann")).await;
    let waiting = watching.expect("COMMAND_STATUS").await;
    assert_eq!((&waiting["commandId"], &waiting["status"]), (&json!("cmd-1"), &json!("running")));
    assert!(waiting["because"].as_str().unwrap().starts_with("server restarted"), "{waiting}");
    let (mut link, _) = agent_with(&world, "ann", "key-1", "run-1", &["cmd-1"]).await;
    let _ = watching
        .expect_that("COMMAND_STATUS", |s| s["because"].as_str().unwrap().contains("still has it"))
        .await;
    // The acknowledgement was lost with the server: the agent sends it again.
    link.send(chunk(1, 0, "before\n")).await;
    link.send(chunk(2, 7, "after\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 13).await;
    link.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = watching.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    let _ = link.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
    let whole = "SELECT group_concat(CAST(bytes AS TEXT), '') FROM (SELECT bytes FROM output_records ORDER BY offset)";
    world.stored_when(whole, "before\nafter\n").await;
}

#[tokio::test]
async fn a_command_that_was_not_acknowledged_is_sent_to_the_same_process_again() {
    let mut world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    world.restart_heard_by(&mut [&mut link, &mut watching]).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], "cmd-1");
}

/// To a server that starts with a clock that is two days ahead, all that is stored looks two days older.
#[tokio::test]
async fn a_clock_that_is_ahead_at_the_start_refuses_no_command_that_waits() {
    let mut world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap();
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    dashboard.send(page_command("cmd-1", id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    drop((link, dashboard));
    world.stop().await;
    let older = "UPDATE commands SET created_at = created_at - 172800000;
                 UPDATE meta SET value = value - 172800000 WHERE key = 'retention_clock'";
    world.database().execute_batch(older).unwrap();
    world.boot().await;
    // Overdue is said at the next deadline, which is at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let sent = link.expect("COMMAND_REQUEST").await;
    assert_eq!(sent["commandId"], "cmd-1");
}

#[tokio::test]
async fn everybody_is_told_within_a_second_that_it_goes() {
    let mut world = World::start().await;
    let (mut extended, _) = agent(&world, "ann", "key-1", "run-1").await;
    let (mut legacy, _) = wrapper(&world, "ann", "mock-1").await;
    let mut nobody_yet = world.agent_link("ann").await;
    let mut nobody_yet_either = world.dashboard_link("ann").await;
    let mut old = world.dashboard_link("ann").await;
    old.send(dashboard_hello("ann")).await;
    let mut new = world.dashboard_link("ann").await;
    new.send(extended_dashboard_hello()).await;
    let _ = new.expect("ACK").await;
    // A peer that is frozen must not keep the others waiting.
    let (_frozen, _) = agent(&world, "ann", "key-2", "run-1").await;

    let address = world.address();
    let peers =
        [&mut extended, &mut legacy, &mut nobody_yet, &mut nobody_yet_either, &mut old, &mut new];
    let report = async {
        let heard = async |peer: &mut Peer| {
            let (ended, _) = peer.ended_by(Duration::from_secs(1)).await;
            assert_eq!(ended, Ended::With(1001, GOING.to_owned()));
        };
        let _ = futures::future::join_all(peers.into_iter().map(heard)).await;
    };
    let began = Instant::now();
    let (_, ()) = tokio::join!(world.stop(), report);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn the_end_of_each_session_is_written_before_it_goes() {
    let mut world = World::start().await;
    let mut links = Vec::new();
    for n in 0..100 {
        links.push(agent(&world, "ann", &format!("key-{n}"), "run-1").await.0);
    }
    let listening = futures::future::join_all(links.iter_mut().map(Peer::ended));
    let _ = tokio::join!(world.stop(), listening);
    let (sessions, left): (i64, i64) = world
        .database()
        .query_row(
            "SELECT count(*), count(*) FILTER (WHERE closed_at IS NULL) FROM sessions",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .unwrap();
    assert_eq!((sessions, left), (100, 0));
}

#[tokio::test]
async fn a_request_that_is_half_sent_does_not_hold_it() {
    let mut world = World::start().await;
    let mut half = tokio::net::TcpStream::connect(world.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET /ws/agent HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    world.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn tokens_outlive_the_server() {
    let mut world = World::start().await;
    let token = world.token("ann", TokenKind::Dashboard);
    world.restart().await;
    let answer = world.get("/api/agents", Some(&token)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "agents": [], "total": 0 })));
    assert_eq!(world.agents("ann").await, Vec::<Value>::new());
}
