//! Heartbeats are followed over their hops: what `why` says of them while the session lives, and what is kept of it
//! when the session ends.

use crate::extended::agent;
use crate::fixture::{World, rules};
use crate::frames::beat;
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(400);
/// The close code of an end that heard nothing any more.
const SILENT: u16 = 4100;

async fn why(world: &World, id: &str) -> Value {
    let token = world.token("ann", TokenKind::Dashboard);
    let answer = world.get(&format!("/api/agents/{id}/why"), Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// What `why` says as soon as it is as wanted, and after how long.
async fn why_when(world: &World, id: &str, wanted: impl Fn(&Value) -> bool) -> (Value, Duration) {
    let began = Instant::now();
    loop {
        let said = why(world, id).await;
        if wanted(&said) {
            return (said, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An agent in session.
async fn session(world: &World) -> (Peer, String) {
    let (link, ack) = agent(world, "ann", "key-1", "run-1").await;
    (link, ack["agentId"].as_str().unwrap().to_owned())
}

fn trouble(said: &Value) -> (&Value, &Value) {
    let trouble = &said["beats"]["trouble"];
    (&trouble["hop"], &trouble["cause"])
}

/// A heartbeat that says that the agent sees no further one of the server.
fn deaf(sequence: u64, age_ms: u128) -> String {
    json!({
        "type": "AGENT_HEARTBEAT", "id": format!("beat-{sequence}"), "timestamp": 1_762_080_000_000_u64,
        "payload": { "agentId": "x", "sequence": sequence, "seen": { "sequence": 1, "ageMs": age_ms } },
    })
    .to_string()
}

#[tokio::test]
async fn each_hop_is_counted_and_one_that_is_missed_is_named_within_two_intervals() {
    let world = World::with(rules(400, 10_000, 20_000, 10_000)).await;
    let (mut link, id) = session(&world).await;
    link.send(beat(1, 1)).await;
    let (said, _) =
        why_when(&world, &id, |said| said["beats"]["agent_heartbeats"]["answered"] == 1).await;
    let beats = &said["beats"];
    let passed = ["received", "handled", "recorded", "answered"];
    assert!(passed.iter().all(|hop| beats["agent_heartbeats"][hop] == 1), "{beats}");
    assert!(beats["server_heartbeats"]["written"].as_u64() >= Some(1), "{beats}");
    assert!(beats["i_hear_you"].is_string() && beats["you_hear_me"].is_string(), "{beats}");
    assert_eq!((&beats["trouble"], &beats["ways"]), (&Value::Null, &json!("both")));
    assert_eq!(world.agent("ann").await["beats"], json!({ "ways": "both" }));

    let held = world.hold_database();
    link.send(beat(2, 1)).await;
    let recorded = (&json!("recorded"), &json!("heartbeat-not-recorded"));
    let (said, after) = why_when(&world, &id, |said| trouble(said) == recorded).await;
    assert!(after <= 2 * INTERVAL + Duration::from_secs(1), "{after:?}");
    assert_eq!(said["presence"]["state"], "online", "{said}");
    assert_eq!(said["presence"]["evidence"]["heartbeats_miss"], "recorded", "{said}");
    let told = link.expect_that("SERVER_HEARTBEAT", |b| b.get("stoppedAt").is_some()).await;
    assert_eq!(told["stoppedAt"], "recorded");
    let shown = world.agent("ann").await;
    assert_eq!(shown["beats"]["stopped"]["hop"], "recorded", "{shown}");
    let missed =
        r#"onsembl_heartbeats_missed_total{hop="recorded",cause="heartbeat-not-recorded"}"#;
    world.metric_when(missed, 1).await;

    held.release();
    let (said, _) = why_when(&world, &id, |said| said["beats"]["trouble"].is_null()).await;
    assert_eq!(said["beats"]["missed"][0]["hop"], "recorded", "the last failure is kept: {said}");
}

#[tokio::test]
async fn what_the_ledger_said_is_kept_with_the_end_of_the_session() {
    let mut world = World::with(rules(400, 10_000, 20_000, 10_000)).await;
    let (mut link, id) = session(&world).await;
    // Our heartbeats do not reach it, and its own reach us.
    let began = Instant::now();
    for n in 1..=6 {
        link.send(deaf(n, began.elapsed().as_millis())).await;
        tokio::time::sleep(INTERVAL).await;
    }
    let (said, _) = why_when(&world, &id, |said| said["beats"]["ways"] == "to-agent-lost").await;
    assert!(said["beats"]["ways_confidence"].is_string(), "{said}");
    assert!(world.agent("ann").await["beats"]["ways"]["outward-lost"].is_string());
    link.close(Some(SILENT)).await;
    let (said, _) = why_when(&world, &id, |said| said["drops"][0].is_object()).await;
    let drop = &said["drops"][0];
    let sure = (&drop["cause"], &drop["confidence"], &drop["evidence"]["lost"]);
    let one_way = (&json!("network-one-way"), &json!("high"), &json!("to-agent"));
    assert_eq!(sure, one_way, "{said}");
    assert_eq!(said["beats"].get("ways"), None, "there is no session: {said}");

    // It is in the log, and not only in memory.
    world.restart().await;
    let (said, _) = why_when(&world, &id, |said| said["drops"][0].is_object()).await;
    assert_eq!(said["drops"][0]["confidence"], "high", "{said}");
}

#[tokio::test]
async fn an_agent_says_where_its_own_heartbeats_stop() {
    let world = World::with(rules(400, 1000, 2000, 10_000)).await;
    let (mut link, id) = session(&world).await;
    let told = json!({
        "type": "AGENT_ERROR", "id": "e-1", "timestamp": 1_762_080_000_000_u64,
        "payload": {
            "errorType": "CONNECTION", "message": "heartbeats stop", "recoverable": true,
            "details": { "stoppedAt": "written" },
        },
    });
    link.send(told.to_string()).await;
    let written = (&json!("written"), &json!("heartbeat-not-written"));
    let (said, _) = why_when(&world, &id, |said| trouble(said) == written).await;
    assert_eq!(said["presence"]["state"], "online", "{said}");
    // Nothing else comes, so its session ends, and that is why.
    let (said, _) = why_when(&world, &id, |said| said["drops"][0].is_object()).await;
    let drop = &said["drops"][0];
    assert_eq!((&drop["cause"], &drop["confidence"]), (written.1, &json!("high")), "{said}");

    // What only the server can see is not for an agent to say.
    let (mut link, id) = session(&world).await;
    link.send(told.to_string().replace("written", "handled")).await;
    link.send(beat(1, 1)).await;
    let answered = |said: &Value| said["beats"]["agent_heartbeats"]["answered"] == 1;
    let (said, _) = why_when(&world, &id, answered).await;
    assert_eq!(said["beats"]["trouble"], Value::Null, "{said}");
}
