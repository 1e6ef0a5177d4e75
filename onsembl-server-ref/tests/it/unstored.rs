//! Output that is relayed and not stored: over the wire, in the database, and in what people are told.

use crate::fixture::World;
use crate::frames::*;
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};

const PROCESS: u64 = 1_762_080_000_000;
const PIECE: usize = 30 * 1024;

fn chunk(sequence: u64, offset: u64, content: &str) -> String {
    let stream = "STDOUT";
    Chunk { command: "cmd-1", stream, sequence, offset, encoding: "utf-8", content }.text()
}

/// This message with something more in its payload.
fn with(message: &str, name: &str, value: Value) -> String {
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["payload"][name] = value;
    message.to_string()
}

fn features(message: &str, features: &[&str]) -> String {
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["payload"]["extensions"]["features"] = json!(features);
    message.to_string()
}

const OF_AGENT: [&str; 5] =
    ["heartbeats", "output-bytes", "output-spool", "command-reports", "unstored-output"];

fn request(agent: &str) -> String {
    with(&page_command("cmd-1", agent, "work", &[]), "unstored", json!(true))
}

/// An agent and a dashboard with these features.
async fn both(world: &World, of_agent: &[&str], of_dashboard: &[&str]) -> (Peer, Peer, String) {
    let mut link = world.agent_link("ann").await;
    link.send(features(&extended_hello("key-1", "run-1", &[]), of_agent)).await;
    let id = link.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(features(&extended_dashboard_hello(), of_dashboard)).await;
    let _ = watching.expect("ACK").await;
    (link, watching, id)
}

/// The same, and a command that runs and whose output is not stored.
async fn running(world: &World, of_dashboard: &[&str]) -> (Peer, Peer, String) {
    let (mut link, mut watching, id) = both(world, &OF_AGENT, of_dashboard).await;
    watching.send(request(&id)).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["unstored"], true);
    link.send(with(&command_ack("cmd-1", "EXECUTING"), "unstored", json!(true))).await;
    (link, watching, id)
}

fn ended(wrote: u64) -> String {
    let output =
        json!({"incarnation": PROCESS, "stdoutBytes": wrote, "stderrBytes": 0, "unstored": true});
    with(&command_complete("cmd-1", "COMPLETED", 0), "output", output)
}

/// The next credit; nothing before it is acknowledged as stored.
async fn credit(link: &mut Peer) -> u64 {
    loop {
        let next = link.next().await;
        assert_ne!(next["type"], "OUTPUT_ACK", "{next}");
        if next["type"] == "OUTPUT_CREDIT" {
            assert_eq!(next["payload"]["incarnation"], PROCESS);
            return next["payload"]["offset"].as_u64().unwrap();
        }
    }
}

async fn json_of(world: &World, path: &str) -> Value {
    let token = world.token("ann", TokenKind::Dashboard);
    let answer = world.get(path, Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn it_is_relayed_with_credit_and_gaps_and_nothing_of_it_is_stored() {
    let world = World::start().await;
    let new = ["output-bytes", "output-spool", "unstored-output"];
    let (mut link, mut watching, id) = running(&world, &new).await;
    let _ = watching.expect_that("COMMAND_STATUS", |s| s["unstored"] == true).await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(chunk(9, 50, "two\n")).await;
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "one\n");
    let gap = watching.expect("OUTPUT_GAP").await;
    assert_eq!((&gap["offset"], &gap["length"]), (&json!(4), &json!(46)));
    assert_eq!(gap["because"], "not-kept");
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "two\n");
    // Credit comes for many of them at once.
    let (piece, mut end) = ("x".repeat(PIECE), 54);
    for n in 10..15 {
        link.send(chunk(n, end, &piece)).await;
        end += PIECE as u64;
    }
    let given = credit(&mut link).await;
    assert!(given > 54 && given <= end, "{given} of {end}");
    let mut shown = 54;
    while shown < end {
        let piece = watching.expect("TERMINAL_STREAM").await;
        assert_eq!(piece["offset"], shown);
        shown += piece["content"].as_str().unwrap().len() as u64;
    }
    // What the agent dropped at the end is told too.
    link.send(ended(end + 6)).await;
    let gap = watching.expect("OUTPUT_GAP").await;
    assert_eq!((&gap["offset"], &gap["length"]), (&json!(end), &json!(6)));
    let over = watching.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    assert_eq!(over["unstored"], true);
    world.stored_when("SELECT status FROM commands", "completed").await;
    for table in ["output_records", "output_streams"] {
        let count = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}");
        world.stored_when(&count, "0").await;
    }

    assert_eq!(json_of(&world, "/api/commands/cmd-1").await["unstored"], true);
    let why = json_of(&world, "/api/commands/cmd-1/why").await;
    assert_eq!(why["output"], "not kept, as asked");
    let token = world.token("ann", TokenKind::Dashboard);
    let output = world.get("/api/commands/cmd-1/output", Some(&token)).await;
    assert!(output.body.contains(r#""unstored":true"#), "{}", output.body);
    assert!(!output.body.contains("content"), "{}", output.body);
    // The agent is not asked: it is gone.
    link.close(Some(4103)).await;
    let audit = json_of(&world, &format!("/api/agents/{id}/audit")).await;
    assert_eq!(audit["not_kept"], json!(["cmd-1"]), "{audit}");
}

#[tokio::test]
async fn an_older_dashboard_is_shown_it_and_knows_the_cause_of_each_gap() {
    let world = World::start().await;
    let (mut link, mut watching, _) = running(&world, &["output-bytes", "output-spool"]).await;
    let mut legacy = world.dashboard_link("ann").await;
    legacy.send(dashboard_hello("ann")).await;
    let _ = legacy.expect("COMMAND_STATUS").await;
    link.send(chunk(1, 0, "one\n")).await;
    link.send(chunk(2, 20, "two\n")).await;
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "one\n");
    assert_eq!(watching.expect("OUTPUT_GAP").await["because"], "never-came");
    let of_it = |stream: &Value| stream["commandId"] == "cmd-1";
    let missing = "[16 bytes of output are missing here: not kept, as asked]";
    for line in ["one", missing, "two"] {
        assert_eq!(legacy.expect_that("TERMINAL_STREAM", of_it).await["content"], json!([line]));
    }
    link.send(ended(24)).await;
    let over = watching.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    assert!(over.get("unstored").is_none(), "{over}");
}

/// Such an agent cannot leave it out, and its output is stored as always.
#[tokio::test]
async fn output_of_an_older_agent_is_stored() {
    let world = World::start().await;
    let new = ["output-bytes", "output-spool", "unstored-output"];
    let (mut link, mut watching, id) = both(&world, &OF_AGENT[..4], &new).await;
    watching.send(request(&id)).await;
    assert!(link.expect("COMMAND_REQUEST").await.get("unstored").is_none());
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    link.send(chunk(1, 0, "one\n")).await;
    assert_eq!(link.expect("OUTPUT_ACK").await["offset"], 4);
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "one\n");
    link.send(with(
        &command_complete("cmd-1", "COMPLETED", 0),
        "output",
        json!({"incarnation": PROCESS, "stdoutBytes": 4, "stderrBytes": 0}),
    ))
    .await;
    let over = watching.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    assert!(over.get("unstored").is_none(), "{over}");
    world.stored_when("SELECT CAST(bytes AS TEXT) FROM output_records", "one\n").await;
    assert_eq!(json_of(&world, "/api/commands/cmd-1/why").await.get("output"), None);
}

/// Who returns is told what it missed; nothing is sent again.
#[tokio::test]
async fn after_a_restart_of_the_server_what_it_relayed_is_a_gap() {
    let mut world = World::start().await;
    let new = ["output-bytes", "output-spool", "unstored-output"];
    let (mut link, mut watching, _) = running(&world, &new).await;
    link.send(chunk(1, 0, "one\n")).await;
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "one\n");
    world.restart_heard_by(&mut [&mut link, &mut watching]).await;
    let mut link = world.agent_link("ann").await;
    link.send(features(&extended_hello("key-1", "run-1", &["cmd-1"]), &OF_AGENT)).await;
    let _ = link.expect("ACK").await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(features(&extended_dashboard_hello(), &new)).await;
    let _ = watching.expect_that("COMMAND_STATUS", |s| s["commandId"] == "cmd-1").await;
    link.send(chunk(5, 40, "five\n")).await;
    let gap = watching.expect("OUTPUT_GAP").await;
    assert_eq!((&gap["offset"], &gap["length"]), (&json!(0), &json!(40)));
    assert_eq!(gap["because"], "not-kept");
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "five\n");
    link.send(ended(45)).await;
    let _ = watching.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    world.stored_when("SELECT CAST(COUNT(*) AS TEXT) FROM output_records", "0").await;
}
