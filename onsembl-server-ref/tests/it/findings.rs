//! What an agent found while it was away: stored, confirmed, counted, and judged by, over a restart of the server.

use crate::fixture::World;
use crate::frames::extended_hello;
use crate::peer::Peer;
use crate::why::{drops, why_when};
use serde_json::{Value, json};
use std::time::Duration;

/// An agent that keeps a black box, in session.
async fn joined(world: &World, instance: &str, features: &[&str]) -> (Peer, String) {
    let mut hello: Value = serde_json::from_str(&extended_hello("key-1", instance, &[])).unwrap();
    let known = hello["payload"]["extensions"]["features"].as_array_mut().unwrap();
    known.extend(features.iter().map(|feature| json!(feature)));
    let mut link = world.agent_link("ann").await;
    link.send(hello.to_string()).await;
    let ack = link.expect("ACK").await;
    (link, ack["agentId"].as_str().unwrap().to_owned())
}

/// It could not resolve the server's name nine times.
fn told(number: u64) -> String {
    json!({
        "type": "AGENT_BLACK_BOX", "id": format!("told-{number}"), "timestamp": 1_762_080_000_000_u64,
        "payload": {"number": number, "entries": [{
            "cause": "name-resolution", "confidence": "high", "agoMs": 2000, "lastedMs": 1500, "times": 9,
            "evidence": {"stage": "resolve", "fault": "name-unknown", "said": "a word of the peer"},
        }]},
    })
    .to_string()
}

fn stored(world: &World) -> i64 {
    let count = "SELECT count(*) FROM findings";
    world.database().query_row(count, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_tells_is_confirmed_counted_and_judged_by_also_after_a_restart() {
    const DIALS: &str = r#"onsembl_agent_dials_failed_total{fault="name-unknown"}"#;
    let mut world = World::start().await;
    let (link, id) = joined(&world, "run-1", &["black-box"]).await;
    let _ = world.agent_is("ann", "online").await;
    drop(link);
    let _ = world.agent_is("ann", "reconnecting").await;
    let (mut link, _) = joined(&world, "run-1", &["black-box"]).await;
    let _ = world.agent_is("ann", "online").await;
    world.metric_when(DIALS, 0).await;
    // Told again under the same number, it takes the place of what was told before.
    for _ in 0..2 {
        link.send(told(1)).await;
        assert_eq!(link.expect("BLACK_BOX_ACK").await["number"], 1);
    }
    assert_eq!(stored(&world), 1);
    world.metric_when(DIALS, 18).await;
    assert!(!world.metrics().await.contains("a word of the peer"));
    let judged = [("name-resolution", "high", true)];
    let said = why_when(&world, "ann", &id, |said| drops(said) == judged).await;
    assert_eq!(said["drops"][0]["evidence"]["said"], "a word of the peer");
    world.restart_heard_by(&mut [&mut link]).await;
    let _ = why_when(&world, "ann", &id, |said| drops(said).first() == judged.first()).await;
    assert_eq!(stored(&world), 1);
}

#[tokio::test]
async fn an_agent_that_does_not_say_the_feature_keeps_its_findings() {
    let world = World::start().await;
    let (mut link, _) = joined(&world, "run-1", &[]).await;
    link.send(told(1)).await;
    let heard = link.all_within(Duration::from_millis(500)).await;
    assert!(heard.iter().all(|message| message["type"] != "BLACK_BOX_ACK"), "{heard:?}");
    assert_eq!(stored(&world), 0);
}
