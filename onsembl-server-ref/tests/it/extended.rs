//! An agent that speaks the extensions: its welcome, its heartbeats, its sessions.

use crate::fixture::{World, fast, rules};
use crate::frames::{beat, extended_dashboard_hello, extended_hello};
use crate::peer::{Ended, Peer};
use onsembl_protocol::time::WallTime;
use serde_json::{Value, json};
use std::time::Duration;

/// An agent that said hello; its link and its welcome.
pub(crate) async fn agent(world: &World, user: &str, key: &str, instance: &str) -> (Peer, Value) {
    agent_with(world, user, key, instance, &[]).await
}

/// The same, with commands that it has not finished.
pub(crate) async fn agent_with(
    world: &World,
    user: &str,
    key: &str,
    instance: &str,
    commands: &[&str],
) -> (Peer, Value) {
    let mut link = world.agent_link(user).await;
    link.send(extended_hello(key, instance, commands)).await;
    let ack = link.expect("ACK").await;
    (link, ack)
}

/// An agent that said hello, its id, and a dashboard that watches everything.
pub(crate) async fn watched() -> (World, Peer, String, Peer) {
    let world = World::start().await;
    let (agent, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    (world, agent, id, dashboard)
}

fn epoch(ack: &Value) -> u64 {
    ack["extensions"]["epoch"].as_u64().unwrap()
}

#[tokio::test]
async fn its_welcome_names_the_session_and_its_rules() {
    let world = World::with(rules(2000, 3000, 4000, 5000)).await;
    let (_link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    assert_eq!((&ack["success"], &ack["authenticated"]), (&json!(true), &json!(true)));
    assert_eq!(ack["messageId"], "hello-run-1");
    let agreed = ack["extensions"].as_object().unwrap();
    let numbers = [
        ("heartbeatIntervalMs", 2000),
        ("staleAfterMs", 3000),
        ("timeoutAfterMs", 4000),
        ("resumeWindowMs", 5000),
        ("epoch", 1),
    ];
    for (name, value) in numbers {
        assert_eq!(agreed[name], value, "{name}");
    }
    let window = agreed["outputWindowBytes"].as_u64().unwrap();
    assert!(window > 0 && window <= 1 << 20, "{window}");
    for name in ["sessionId", "serverInstance"] {
        assert!(agreed[name].as_str().is_some_and(|s| !s.is_empty()), "{name}");
    }
    assert_eq!(agreed["features"], json!(["heartbeats", "output-bytes", "command-reports"]));
    let shown = world.agent_is("ann", "online").await;
    assert_eq!(shown["agent_id"], ack["agentId"]);
    assert_eq!(shown["name"], "name of key-1");
}

#[tokio::test]
async fn its_beat_is_answered_with_seen_and_recorded_and_stands_in_the_database() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let first = link.expect("SERVER_HEARTBEAT").await;
    assert_eq!(first["sequence"], 1, "the server's own, at once");
    assert!(first.get("seen").is_none() && first.get("recorded").is_none(), "{first}");
    for n in 1..=3 {
        link.send(beat(n, n)).await;
        let answer = link.expect("SERVER_HEARTBEAT").await;
        assert_eq!(answer["sequence"], n + 1);
        assert_eq!(answer["seen"]["sequence"], n);
        assert!(answer["seen"]["ageMs"].is_u64());
        assert_eq!(answer["recorded"]["sequence"], n, "it waited for the commit: {answer}");
        assert!(answer.get("recordingLag").is_none(), "{answer}");
        let shown = world.agent("ann").await;
        assert_eq!(shown["last_metrics"]["commandsProcessed"], n);
        assert_eq!(shown["last_metrics"]["cpuUsage"], 12.5);
        let recorded = WallTime::from_unix_millis(answer["recorded"]["at"].as_i64().unwrap());
        assert_eq!(shown["last_heartbeat"], recorded.to_string());
    }
    assert_eq!(ack["extensions"]["epoch"], 1);
}

#[tokio::test]
async fn the_server_beats_by_itself_each_interval() {
    let world = World::with(fast()).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let mut own = 0;
    for n in 1..=10 {
        link.send(beat(n, 0)).await;
        let all = link.all_within(Duration::from_millis(400)).await;
        own += all.iter().filter(|m| m["type"] == "SERVER_HEARTBEAT").count();
        assert!(all.iter().all(|m| m["type"] != "PING"), "no probe for an agent that beats");
    }
    assert!(own >= 15, "answers and its own, in ten intervals: {own}");
}

#[tokio::test]
async fn beats_that_the_agent_does_not_see_are_named() {
    let world = World::with(fast()).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let mut named = Value::Null;
    for n in 1..=20 {
        link.send(beat(n, 0)).await;
        let _ = link.all_within(Duration::from_millis(200)).await;
        named = world.agent("ann").await;
        if named["because"].as_str().unwrap().starts_with("heartbeats sent but not seen") {
            break;
        }
    }
    assert!(
        named["because"].as_str().unwrap().starts_with("heartbeats sent but not seen"),
        "{named}"
    );
    assert_eq!(named["status"], "online");
    for n in 21..=25 {
        link.send(beat(n, 1_000)).await;
        let _ = link.all_within(Duration::from_millis(50)).await;
    }
    assert_eq!(world.agent("ann").await["because"], "session opened");
}

#[tokio::test]
async fn each_session_has_a_greater_epoch_and_the_same_process_takes_over_its_link() {
    let world = World::start().await;
    let (mut first, one) = agent(&world, "ann", "key-1", "run-1").await;
    let (mut second, two) = agent(&world, "ann", "key-1", "run-1").await;
    assert_eq!(one["agentId"], two["agentId"]);
    assert!(epoch(&two) > epoch(&one));
    assert_ne!(one["extensions"]["sessionId"], two["extensions"]["sessionId"]);
    assert_eq!(first.ended().await.code(), 4101);
    assert_eq!(world.agent("ann").await["because"], "a newer link of the same process took over");

    let (_third, three) = agent(&world, "ann", "key-1", "run-2").await;
    assert!(epoch(&three) > epoch(&two));
    let replaced = "another process of the same agent took over; stay away".to_owned();
    assert_eq!(second.ended().await, Ended::With(4200, replaced));
    assert_eq!(world.agent("ann").await["status"], "online");
    assert_eq!(world.agents("ann").await.len(), 1);
}

#[tokio::test]
async fn a_late_word_on_a_link_that_was_taken_over_changes_nothing() {
    let world = World::start().await;
    let (mut old, _) = agent(&world, "ann", "key-1", "run-1").await;
    let (_new, _) = agent(&world, "ann", "key-1", "run-2").await;
    let _ = old.send_message(tokio_tungstenite::tungstenite::Message::text(beat(99, 1))).await;
    let _ = old.ended().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let shown = world.agent("ann").await;
    assert_eq!((&shown["status"], &shown["last_heartbeat"]), (&json!("online"), &Value::Null));
}

#[tokio::test]
async fn it_stops_with_a_code_of_its_own_and_is_offline_at_once() {
    let world = World::start().await;
    let (link, _) = agent(&world, "ann", "key-1", "run-1").await;
    link.close(Some(4103)).await;
    let shown = world.agent_is("ann", "offline").await;
    assert_eq!(shown["because"], "the agent was stopped on its machine");
    for (code, order) in [(4107, "stopped by an order"), (4108, "restarted by an order")] {
        let (link, _) = agent(&world, "ann", "key-1", "run-1").await;
        world.agent_is("ann", "online").await;
        link.close(Some(code)).await;
        let shown = world.agent_is("ann", "offline").await;
        assert!(shown["because"].as_str().unwrap().contains(order), "{shown}");
    }
}

#[tokio::test]
async fn a_fault_it_cannot_recover_from_is_its_status() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    link.send(r#"{"type":"AGENT_ERROR","id":"e","timestamp":1,"payload":{"agentId":"x","errorType":"RESOURCE","message":"disk gone","recoverable":true}}"#).await;
    assert!(link.all_until_pong().await.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"));
    assert_eq!(world.agent("ann").await["status"], "online");
    link.send(r#"{"type":"AGENT_ERROR","id":"e","timestamp":1,"payload":{"agentId":"x","errorType":"RESOURCE","message":"disk gone","recoverable":false}}"#).await;
    let shown = world.agent_is("ann", "error").await;
    assert_eq!(shown["because"], "the agent reported that it cannot continue");
}

#[tokio::test]
async fn a_probe_is_welcomed_but_never_listed_stored_or_taken_for_a_second_process() {
    let world = World::start().await;
    let (mut real, _) = agent(&world, "ann", "key-1", "run-1").await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let _ = watching.expect("ACK").await;

    for key in ["key-1", "key-2"] {
        let mut probe = world.agent_link("ann").await;
        let hello = extended_hello(key, "probe-1", &[]);
        probe.send(hello.replace(r#""instance""#, r#""probe":true,"instance""#)).await;
        let ack = probe.expect("ACK").await;
        assert_eq!(ack["success"], true);
        assert!(ack["extensions"]["heartbeatIntervalMs"].is_u64(), "{ack}");
        probe.send(beat(1, 0)).await;
        probe.close(Some(1000)).await;
    }
    assert!(real.all_until_pong().await.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"));
    let shown = world.agent("ann").await;
    assert_eq!((&shown["status"], &shown["because"]), (&json!("online"), &json!("session opened")));
    assert_eq!(shown["last_heartbeat"], Value::Null);
    let report = watching.all_within(Duration::from_millis(300)).await;
    assert!(report.is_empty(), "{report:#?}");
    let (agents, sessions): (i64, i64) = world
        .database()
        .query_row(
            "SELECT (SELECT count(*) FROM agents), (SELECT count(*) FROM sessions)",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .unwrap();
    assert_eq!((agents, sessions), (1, 1));
}

#[tokio::test]
async fn a_probe_that_stays_silent_does_not_keep_its_socket() {
    let world = World::with(fast()).await;
    let mut probe = world.agent_link("ann").await;
    let hello = extended_hello("key-1", "probe-1", &[]);
    probe.send(hello.replace(r#""instance""#, r#""probe":true,"instance""#)).await;
    let _ = probe.expect("ACK").await;
    let (ended, _) = probe.ended_by(Duration::from_secs(8)).await;
    assert_eq!(ended.code(), 4100);
}

#[tokio::test]
async fn a_dashboard_with_extensions_gets_the_words_of_the_api() {
    let world = World::with(fast()).await;
    let (_link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let list = watching.expect("DASHBOARD_CONNECTED").await;
    assert_eq!(
        list["extensions"]["features"],
        json!([
            "output-bytes",
            "output-binary",
            "output-spool",
            "output-replay",
            "stop-latch",
            "presence-why",
            "secret-input",
            "typing",
            "terminal-size",
            "live-view",
            "activity",
            "long-text"
        ])
    );
    assert_eq!(list["extensions"]["serverInstance"], ack["extensions"]["serverInstance"]);
    assert_eq!(list["agents"][0]["status"], "online");
    let mut heard: Vec<String> = Vec::new();
    let mut version = 0;
    while heard.last().is_none_or(|word| word != "offline") {
        let status = watching.expect("AGENT_STATUS").await;
        let newer = status["presenceVersion"].as_u64().unwrap();
        assert!(newer >= version, "{status}");
        version = newer;
        assert!(status["since"].is_string() && status["because"].is_string());
        heard.push(status["status"].as_str().unwrap().to_owned());
    }
    heard.dedup();
    assert_eq!(heard, ["online", "stale", "timed-out", "offline"]);
}
