//! Gaps, and continuing where the output is stored.

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

/// A legacy dashboard is shown it in the session of the agent too.
fn of_it(stream: &Value) -> bool {
    stream["commandId"] == "cmd-1"
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
        assert_eq!(legacy.expect_that("TERMINAL_STREAM", of_it).await["content"], lines);
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

#[tokio::test]
async fn a_late_legacy_dashboard_sees_what_open_commands_wrote_and_how_others_ended() {
    let mut world = World::start().await;
    let (mut link, mut watching) = running(&world).await;
    link.send(chunk(1, 0, "one\ntwo\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 8).await;
    let mut late = world.dashboard_link("ann").await;
    late.send(dashboard_hello("ann")).await;
    for line in ["one", "two"] {
        assert_eq!(late.expect_that("TERMINAL_STREAM", of_it).await["content"], json!([line]));
    }
    link.send(chunk(2, 8, "three\n")).await;
    assert_eq!(late.expect_that("TERMINAL_STREAM", of_it).await["content"], json!(["three"]));
    link.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = late.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    let _ = link.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;

    let mut later = world.dashboard_link("ann").await;
    later.send(dashboard_hello("ann")).await;
    let _ = later.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    let heard = later.all_until_pong().await;
    assert!(heard.iter().all(|m| m["type"] != "TERMINAL_STREAM"), "{heard:?}");

    world.restart_heard_by(&mut [&mut link, &mut watching, &mut late, &mut later]).await;
    let mut latest = world.dashboard_link("ann").await;
    latest.send(dashboard_hello("ann")).await;
    let _ = latest.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
}

/// It cannot tell repeated text apart, so it gets no more than it can show, whenever it begins to watch.
#[tokio::test]
async fn a_legacy_dashboard_that_begins_to_watch_gets_a_megabyte_at_most() {
    let world = World::start().await;
    let mut early = world.dashboard_link("ann").await;
    let all = r#""agents":{"all":true},"commands":{"all":true},"#;
    early.send(dashboard_hello("ann").replace(all, "")).await;
    let _ = early.expect("ACK").await;
    let (mut link, _watching) = running(&world).await;
    let piece = format!("{}\n", "x".repeat(32 * 1024 - 1));
    let size = piece.len() as u64;
    for n in 0..96 {
        link.send(chunk(n + 1, n * size, &piece)).await;
    }
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 96 * size).await;
    let heard = early.all_until_pong().await;
    assert!(heard.iter().all(|m| m["type"] != "TERMINAL_STREAM"), "it watches nothing");
    let watch = r#"{"type":"DASHBOARD_SUBSCRIBE","id":"s","timestamp":1,"payload":{"type":"command","all":true}}"#;
    early.send(watch).await;
    let mut got = 0;
    link.send(chunk(97, 96 * size, "the last\n")).await;
    loop {
        let content = early.expect_that("TERMINAL_STREAM", of_it).await["content"].clone();
        if content == json!(["the last"]) {
            break;
        }
        got += content[0].as_str().unwrap().len() as u64 + 1;
    }
    assert!(got > 0 && got <= 1 << 20, "{got}");
}

#[tokio::test]
async fn an_extended_dashboard_gets_stored_output_when_it_asks_and_from_where_it_asks() {
    let world = World::start().await;
    let (mut link, _watching) = running(&world).await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(chunk(2, 4, "two\n")).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 8).await;
    let mut late = world.dashboard_link("ann").await;
    late.send(extended_dashboard_hello()).await;
    let heard = late.all_until_pong().await;
    assert!(heard.iter().all(|m| m["type"] != "TERMINAL_STREAM"), "{heard:?}");
    let ask = |id: &str, from: Value| {
        json!({"type": "DASHBOARD_SUBSCRIBE", "id": "s", "timestamp": 1,
               "payload": {"type": "command", "id": id, "replay": from}})
        .to_string()
    };
    late.send(ask("cmd-1", json!({}))).await;
    for content in ["one\n", "two\n"] {
        assert_eq!(late.expect("TERMINAL_STREAM").await["content"], content);
    }
    late.send(ask("cmd-1", json!({"offset": 5}))).await;
    let again = late.expect("TERMINAL_STREAM").await;
    assert_eq!((&again["content"], &again["offset"]), (&json!("two\n"), &json!(4)));
    link.send(chunk(3, 8, "three\n")).await;
    assert_eq!(late.expect("TERMINAL_STREAM").await["content"], "three\n");
    late.send(ask("cmd-2", json!({}))).await;
    assert_eq!(late.expect("ERROR").await["code"], "COMMAND_NOT_FOUND");
}

#[tokio::test]
async fn an_audit_asks_the_agent_and_balances_and_never_shows_another_users() {
    let world = World::start().await;
    let (mut link, _watching) = running(&world).await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(gap(2, 4, 96)).await;
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 100).await;
    let id = world.agent("ann").await["agent_id"].as_str().unwrap().to_owned();
    let path = format!("/api/agents/{id}/audit");
    let stranger = world.token("bob", onsembl_server_ref::auth::TokenKind::Dashboard);
    assert_eq!(world.get(&path, Some(&stranger)).await.status, 404);

    let token = world.token("ann", onsembl_server_ref::auth::TokenKind::Dashboard);
    let answer = async {
        let query = link.expect("OUTPUT_QUERY").await["query"].clone();
        let mut heard: Value = serde_json::from_str(&state(150, 90)).unwrap();
        heard["payload"]["query"] = query;
        heard["payload"]["streams"][0]["gaps"] = json!(20);
        link.send(heard.to_string()).await;
    };
    let (report, ()) = tokio::join!(world.get(&path, Some(&token)), answer);
    let report = report.json();
    assert_eq!((&report["agent_heard"], &report["balanced"]), (&json!(true), &json!(true)));
    let stream = &report["streams"][0];
    for (what, bytes) in
        [("produced", 150), ("delivered", 4), ("spooled", 30), ("gaps", 116), ("unaccounted", 0)]
    {
        assert_eq!(stream[what], bytes, "{what} of {stream}");
    }
}

#[tokio::test]
async fn a_flood_of_tiny_records_is_held_back_while_the_database_is_and_stored_to_the_last() {
    let world = World::start().await;
    let (mut link, _watching) = running(&world).await;
    let lock = world.hold_database();
    let hold = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        lock.release();
    };
    let flood = async {
        for n in 0..20_000 {
            let text = if n % 2 == 0 { chunk(n + 1, n, "x") } else { gap(n + 1, n, 1) };
            link.send(text).await;
        }
        let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 20_000).await;
    };
    tokio::join!(flood, hold);
    let sums = "SELECT next || ' = ' || delivered || ' + ' || gaps FROM output_streams";
    world.stored_when(sums, "20000 = 10000 + 10000").await;
}
