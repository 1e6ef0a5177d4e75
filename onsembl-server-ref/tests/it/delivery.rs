//! Gaps, and going on where the output is stored.

use crate::extended::{agent, agent_with};
use crate::fixture::World;
use crate::frames::*;
use crate::peer::Peer;
use serde_json::{Value, json};

const PROCESS: u64 = 1_762_080_000_000;

fn chunk(sequence: u64, offset: u64, content: &str) -> String {
    let stream = "STDOUT";
    Chunk { command: "cmd-1", stream, sequence, offset, encoding: "utf-8", content }.text()
}

fn gap(sequence: u64, offset: u64, length: u64) -> String {
    json!({"type": "OUTPUT_GAP", "id": "g", "timestamp": 1, "payload": {
        "commandId": "cmd-1", "incarnation": PROCESS, "streamType": "STDOUT",
        "sequence": sequence, "offset": offset, "length": length, "because": "spool-full",
    }})
    .to_string()
}

fn state(produced: u64, stored: u64) -> String {
    json!({"type": "OUTPUT_STATE", "id": "s", "timestamp": 1, "payload": {
        "streams": [{"commandId": "cmd-1", "incarnation": PROCESS, "streamType": "STDOUT",
                     "produced": produced, "stored": stored, "gaps": 0}],
    }})
    .to_string()
}

/// A dashboard that takes gaps, an agent, and a command that runs on it.
async fn running(world: &World) -> (Peer, Peer) {
    let (mut link, ack) = agent(world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    let mut hello: Value = serde_json::from_str(&extended_dashboard_hello()).unwrap();
    hello["payload"]["extensions"]["features"] = json!(["output-bytes", "output-spool"]);
    watching.send(hello.to_string()).await;
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    (link, watching)
}

#[tokio::test]
async fn a_gap_is_stored_acknowledged_and_shown_in_its_place() {
    let world = World::start().await;
    let (mut link, mut watching) = running(&world).await;
    let mut legacy = world.dashboard_link("ann").await;
    legacy.send(dashboard_hello("ann")).await;
    let _ = legacy.expect("COMMAND_STATUS").await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(gap(2, 4, 96)).await;
    link.send(chunk(3, 100, "two\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 104).await;
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "one\n");
    let shown = watching.expect("OUTPUT_GAP").await;
    assert_eq!((&shown["offset"], &shown["length"]), (&json!(4), &json!(96)));
    assert_eq!(shown["because"], "spool-full");
    assert_eq!(watching.expect("TERMINAL_STREAM").await["offset"], 100);
    for lines in [json!(["one"]), json!(["[96 bytes of output are missing here: spool-full]"])] {
        assert_eq!(legacy.expect("TERMINAL_STREAM").await["content"], lines);
    }
    let sums = "SELECT next || ' = ' || delivered || ' + ' || gaps FROM output_streams";
    world.stored_when(sums, "104 = 8 + 96").await;
}

#[tokio::test]
async fn a_hole_that_nobody_declared_becomes_a_gap() {
    let world = World::start().await;
    let (mut link, mut watching) = running(&world).await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(chunk(9, 50, "two\n")).await;
    let shown = watching.expect("OUTPUT_GAP").await;
    assert_eq!((&shown["length"], &shown["because"]), (&json!(46), &json!("never-came")));
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 54).await;
}

#[tokio::test]
async fn after_a_restart_the_agent_is_told_where_to_go_on_and_overlaps_are_taken_once() {
    let mut world = World::start().await;
    let (mut link, mut watching) = running(&world).await;
    link.send(chunk(1, 0, "before\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 7).await;
    world.restart_heard_by(&mut [&mut link, &mut watching]).await;
    let (mut link, _) = agent_with(&world, "ann", "key-1", "run-1", &["cmd-1"]).await;
    link.send(state(13, 0)).await;
    let resume = link.expect("OUTPUT_RESUME").await;
    assert_eq!(resume["streams"][0]["offset"], 7);
    assert_eq!(resume["streams"][0]["incarnation"], PROCESS);
    assert!(resume.get("more").is_none());
    // Joined with what is stored already, as after a restart of the agent.
    link.send(chunk(2, 4, "re\nafter\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 13).await;
    let whole = "SELECT group_concat(CAST(bytes AS TEXT), '') FROM (SELECT bytes FROM output_records ORDER BY offset)";
    world.stored_when(whole, "before\nafter\n").await;
}

#[tokio::test]
async fn of_a_stream_that_is_not_stored_nothing_is_stored() {
    let world = World::start().await;
    let (mut link, _watching) = running(&world).await;
    link.send(state(900, 300)).await;
    assert_eq!(link.expect("OUTPUT_RESUME").await["streams"][0]["offset"], 0);
}
