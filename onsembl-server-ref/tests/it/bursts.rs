//! Much at once, all of it allowed: nobody is taken for a peer that does not read.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::{command_ack, extended_dashboard_hello, page_command};
use crate::peer::Peer;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn dashboard(world: &World) -> Peer {
    let mut link = world.dashboard_link("ann").await;
    link.send(extended_dashboard_hello()).await;
    let _ = link.expect("ACK").await;
    link
}

async fn commands(link: &mut Peer, count: usize) -> BTreeSet<String> {
    let mut got = BTreeSet::new();
    while got.len() < count {
        let command = link.expect("COMMAND_REQUEST").await;
        let new = got.insert(command["commandId"].as_str().unwrap().to_owned());
        assert!(new, "twice: {command}");
    }
    got
}

/// Commands of several dashboards that are all stored at the same moment, and all sent again when
/// the agent comes back.
#[tokio::test]
async fn hundreds_of_commands_at_once_reach_the_agent_now_and_after_a_lost_link() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut dashboards = Vec::new();
    for _ in 0..8 {
        dashboards.push(dashboard(&world).await);
    }
    let held = world.hold_database();
    for (d, dashboard) in dashboards.iter_mut().enumerate() {
        for n in 0..60 {
            dashboard.send(page_command(&format!("cmd-{d}-{n}"), &id, "x", &[])).await;
        }
    }
    world.metric_when("onsembl_open_commands", 480).await;
    held.release();
    let first = commands(&mut link, 480).await;

    // None was acknowledged, so all are sent again.
    link.close(Some(4106)).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    assert_eq!(commands(&mut link, 480).await, first);
    for command in &first {
        link.send(command_ack(command, "EXECUTING")).await;
    }
    assert!(link.all_until_pong().await.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"));

    // All at once cancelled.
    dashboards[0].send(r#"{"type":"EMERGENCY_STOP","id":"stop","timestamp":1,"payload":{}}"#).await;
    for _ in 0..480 {
        assert_eq!(link.expect("COMMAND_CANCEL").await["force"], true);
    }
    let _ = link.expect("EMERGENCY_STOP").await;
    for dashboard in &mut dashboards {
        let _ = dashboard.all_within(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(world.agent("ann").await["because"], "session opened");
}

/// As many requests as one dashboard may have in progress, answered at the same moment.
#[tokio::test]
async fn a_dashboard_gets_all_its_answers_and_a_limit_it_can_read() {
    let world = World::start().await;
    let (_link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = dashboard(&world).await;
    let held = world.hold_database();
    for n in 0..80 {
        watching.send(page_command(&format!("cmd-{n}"), &id, "x", &[])).await;
    }
    for n in 0..100 {
        watching
            .send(format!(
                r#"{{"type":"PING","id":"p","timestamp":1,"payload":{{"timestamp":{}}}}}"#,
                1_762_080_000_000i64 + n
            ))
            .await;
    }
    let (mut acks, mut errors, mut pongs) = (0, 0, 0);
    let mut held = Some(held);
    while acks + errors < 80 || pongs < 100 {
        let next = watching.next().await;
        match next["type"].as_str().unwrap() {
            "ACK" => acks += 1,
            "PONG" => pongs += 1,
            "ERROR" => {
                assert_eq!(next["payload"]["code"], "QUEUE_FULL");
                assert!(next["payload"]["context"]["commandId"].is_string());
                errors += 1;
            }
            _ => {}
        }
        if errors == 16
            && let Some(held) = held.take()
        {
            held.release();
        }
    }
    assert_eq!((acks, errors), (64, 16));
}

/// The list comes before the acknowledgement on a second hello as well.
#[tokio::test]
async fn a_second_hello_of_a_dashboard_is_answered_in_the_same_order() {
    let world = World::start().await;
    let (_link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let mut watching = dashboard(&world).await;
    watching.send(extended_dashboard_hello()).await;
    let kinds: Vec<Value> = vec![
        watching.next().await["type"].clone(),
        watching.next().await["type"].clone(),
        watching.next().await["type"].clone(),
    ];
    assert_eq!(kinds, [json!("DASHBOARD_CONNECTED"), json!("AGENT_STATUS"), json!("ACK")]);
}
