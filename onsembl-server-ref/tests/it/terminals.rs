//! Terminals that agents open by themselves: how many, in which order, and what becomes of output that
//! belongs to nothing.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::{
    Chunk, command_complete, extended_dashboard_hello, extended_hello, page_command,
};
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// As many as the server keeps open for one agent.
const OPEN: usize = 1024;

/// Ids that grow as those of our agents do.
fn terminal(number: usize) -> String {
    format!("terminal-{number:08}")
}

fn opened(number: usize) -> String {
    let payload =
        json!({"commandId": terminal(number), "openedAt": 1_762_080_000_000_u64, "program": "cat"});
    json!({"type": "TERMINAL_OPENED", "id": "t", "timestamp": 1, "payload": payload}).to_string()
}

fn chunk<'a>(command: &'a str, sequence: u64, offset: u64, content: &'a str) -> Chunk<'a> {
    Chunk { command, stream: "TERMINAL", sequence, offset, encoding: "utf-8", content }
}

async fn with_features(world: &World, features: &[&str]) -> (Peer, String) {
    let mut link = world.agent_link("ann").await;
    let mut hello: Value = serde_json::from_str(&extended_hello("key-1", "run-1", &[])).unwrap();
    hello["payload"]["extensions"]["features"] = json!(features);
    hello["payload"]["extensions"]["journal"] = json!("journal-1");
    link.send(hello.to_string()).await;
    let ack = link.expect("ACK").await;
    (link, ack["agentId"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn output_of_an_unknown_command_is_never_acknowledged_and_its_agent_is_told_once() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    link.send(chunk("nobody", 1, 0, "lost").text()).await;
    let error = link.expect("ERROR").await;
    assert_eq!(
        (&error["code"], &error["context"]["commandId"]),
        (&json!("COMMAND_NOT_FOUND"), &json!("nobody"))
    );
    link.send(chunk("nobody", 2, 4, "again").text()).await;
    link.send(opened(1)).await;
    let id = terminal(1);
    link.send(chunk(&id, 1, 0, "kept").text()).await;
    loop {
        let next = link.next().await;
        assert_ne!(next["type"], "ERROR", "it was told already: {next}");
        if next["type"] == "OUTPUT_ACK" {
            assert_eq!(
                (&next["payload"]["commandId"], &next["payload"]["offset"]),
                (&json!(id), &json!(4))
            );
            break;
        }
    }
    world.metric_when("onsembl_unwritten", 0).await;
    world
        .stored_when("SELECT count(*) || max(command_id) FROM output_records", &format!("1{id}"))
        .await;
}

#[tokio::test]
async fn the_newest_terminal_is_taken_however_many_are_open_and_the_oldest_is_given_up_aloud() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    for number in 0..=OPEN {
        link.send(opened(number)).await;
    }
    let newest = terminal(OPEN);
    link.send(chunk(&newest, 1, 0, "alive").text()).await;
    let error = link.expect("ERROR").await;
    assert_eq!(
        (&error["code"], &error["context"]["commandId"]),
        (&json!("COMMAND_NOT_FOUND"), &json!(terminal(0)))
    );
    let ack = link.expect_that("OUTPUT_ACK", |ack| ack["commandId"] == newest).await;
    assert_eq!((&ack["offset"], ack.get("openGap")), (&json!(5), None));
    let kept = format!(
        "SELECT group_concat(CAST(bytes AS TEXT)) FROM output_records WHERE command_id = '{newest}'"
    );
    world.stored_when(&kept, "alive").await;
    let oldest = "SELECT status || (SELECT gap_because FROM output_records r WHERE r.command_id = c.command_id AND stream = 'terminal') FROM commands c WHERE command_id = 'terminal-00000000'";
    world.stored_when(oldest, "lostagent-died").await;
    // What its agent had sent before it heard of that ends it nowhere else, and is not acknowledged.
    link.send(chunk(&terminal(0), 1, 0, "late").text()).await;
    link.send(chunk(&newest, 2, 5, "more").text()).await;
    let acked = |ack: &Value| ack["commandId"] != newest || ack["offset"] == 9;
    let ack = link.expect_that("OUTPUT_ACK", acked).await;
    assert_eq!(ack["commandId"], newest, "{ack}");
    let ends = "SELECT group_concat(gap_because) FROM output_records WHERE command_id = 'terminal-00000000'";
    world.stored_when(ends, "agent-died").await;

    // One that is older than all that are open is not taken instead of any of them.
    link.send(opened(0).replace("terminal-00000000", "terminal-")).await;
    let error = link.expect("ERROR").await;
    assert_eq!(error["context"]["commandId"], "terminal-");
}

#[tokio::test]
async fn keys_and_sizes_are_for_agents_that_have_terminals() {
    let world = World::start().await;
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    let (mut link, id) = with_features(&world, &["command-reports", "command-journal"]).await;
    let asking = |command: &str, input: &str| {
        let mut request: Value =
            serde_json::from_str(&page_command(command, &id, "ctrl-c", &[])).unwrap();
        request["payload"]["input"] = json!(input);
        request.to_string()
    };
    let size = json!({"type": "AGENT_CONTROL", "id": "m", "timestamp": 1, "payload":
        {"agentId": id, "action": "RESIZE", "size": {"columns": 100, "rows": 30}}});
    for refused in [asking("c-1", "keys"), asking("c-2", "gestures"), size.to_string()] {
        dashboard.send(refused).await;
        assert_eq!(dashboard.expect("ERROR").await["code"], "NOT_SUPPORTED");
    }
    dashboard.send(asking("c-3", "text")).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], "c-3");
}

#[tokio::test]
async fn keys_that_waited_for_an_agent_that_comes_back_without_terminals_are_not_sent() {
    let world = World::start().await;
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    let plain = ["command-reports", "command-journal"];
    let (link, id) = with_features(&world, &[&plain[..], &["terminal"]].concat()).await;
    link.close(Some(1000)).await;
    let _ = world.agent_when("ann", |agent| agent["status"] != "online").await;
    let mut request: Value =
        serde_json::from_str(&page_command("c-1", &id, "ctrl-c", &[])).unwrap();
    request["payload"]["input"] = json!("keys");
    dashboard.send(request.to_string()).await;
    let _ = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "queued").await;
    let (mut link, _) = with_features(&world, &plain).await;
    let failed = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "failed").await;
    assert!(failed["because"].as_str().unwrap().contains("has no terminal support"), "{failed}");
    let sent = link.all_until_pong().await;
    assert!(sent.iter().all(|message| message["type"] != "COMMAND_REQUEST"), "{sent:?}");
}

/// It is taught the id of the extended agent before it: what waited for that one fails, once and for
/// good, and the database says so too.
#[tokio::test]
async fn keys_that_waited_for_an_agent_that_comes_back_as_a_legacy_wrapper_fail_and_stay_failed() {
    let world = World::start().await;
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    let features = ["command-reports", "command-journal", "terminal"];
    let (link, id) = with_features(&world, &features).await;
    link.close(Some(1000)).await;
    let _ = world.agent_when("ann", |agent| agent["status"] != "online").await;
    let mut request: Value =
        serde_json::from_str(&page_command("c-1", &id, "ctrl-c", &[])).unwrap();
    request["payload"]["input"] = json!("keys");
    dashboard.send(request.to_string()).await;
    let _ = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "queued").await;
    let (mut link, taught) = crate::legacy_agent::wrapper(&world, "ann", &id).await;
    assert_eq!(taught, id);
    let failed = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "failed").await;
    assert!(failed["because"].as_str().unwrap().contains("legacy wrapper"), "{failed}");
    let sent = link.all_until_pong().await;
    assert!(sent.iter().all(|message| message["type"] != "COMMAND_REQUEST"), "{sent:?}");
    world.stored_when("SELECT status FROM commands WHERE ended_at IS NOT NULL", "failed").await;
    let token = world.token("ann", TokenKind::Dashboard);
    let command = world.get("/api/commands/c-1", Some(&token)).await.json();
    assert_eq!(command["status"], "failed", "{command}");
    let history = command["history"].as_array().unwrap();
    assert!(history.iter().all(|step| step["status"] != "running"), "{command}");
}

/// More of them than the database's queue has room for, so that most wait for it while their output comes.
#[tokio::test]
async fn what_a_terminal_writes_first_is_stored_behind_the_terminal() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let held = world.hold_database();
    for number in 0..40 {
        link.send(opened(number).replace("cat", &"x".repeat(60_000))).await;
        link.send(chunk(&terminal(number), 1, 0, "first").text()).await;
    }
    let _ = link.all_until_pong().await;
    held.release();
    // In any order: of each the database is asked first where it continues.
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < 40 {
        let ack = link.expect("OUTPUT_ACK").await;
        assert_eq!(ack["offset"], 5);
        acknowledged.insert(ack["commandId"].as_str().unwrap().to_owned());
    }
    let kept = "SELECT count(*) || group_concat(DISTINCT CAST(bytes AS TEXT)) FROM output_records";
    world.stored_when(kept, "40first").await;
}

/// Its numbers need not grow with what the database has: holes that were declared have numbers too.
#[tokio::test]
async fn what_comes_late_of_a_terminal_that_is_long_over_stands_behind_what_is_stored() {
    let mut world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let id = terminal(1);
    link.send(opened(1)).await;
    link.send(chunk(&id, 7, 0, "first").text()).await;
    let _ = link.expect_that("OUTPUT_ACK", |ack| ack["offset"] == 5).await;
    link.send(command_complete(&id, "COMPLETED", 0)).await;
    world.stored_when("SELECT count(*) || '' FROM commands WHERE ended_at IS NOT NULL", "1").await;
    world.database().execute("UPDATE commands SET ended_at = ended_at - 3600000", []).unwrap();
    world.restart_heard_by(&mut [&mut link]).await;

    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    link.send(opened(1)).await;
    link.send(chunk(&id, 2, 5, "late").text()).await;
    let ack = link.expect_that("OUTPUT_ACK", |ack| ack["commandId"] == id).await;
    assert_eq!(ack["offset"], 9);
    let read = "SELECT group_concat(CAST(bytes AS TEXT), '') FROM
        (SELECT bytes FROM output_records ORDER BY incarnation, sequence, offset)";
    world.stored_when(read, "firstlate").await;
}

fn sized(number: usize, offset: u64, columns: u64, rows: u64) -> String {
    let payload = json!({"commandId": terminal(number), "incarnation": 1_762_080_000_000_u64, "offset": offset,
        "size": {"columns": columns, "rows": rows}});
    json!({"type": "TERMINAL_SIZE", "id": "s", "timestamp": 1, "payload": payload}).to_string()
}

#[tokio::test]
async fn the_screen_of_a_terminal_is_drawn_at_its_sizes_and_is_there_while_its_agent_is_away() {
    let world = World::start().await;
    let features =
        ["output-bytes", "command-reports", "command-journal", "terminal", "terminal-size"];
    let mut dashboard = world.dashboard_link("ann").await;
    let hello = extended_dashboard_hello()
        .replace("\"output-bytes\"", "\"output-bytes\",\"terminal-size\"");
    dashboard.send(hello).await;
    let _ = dashboard.expect("ACK").await;
    let mut old = world.dashboard_link("ann").await;
    old.send(extended_dashboard_hello()).await;
    let _ = old.expect("ACK").await;
    let (mut link, agent) = with_features(&world, &features).await;
    let id = terminal(1);
    link.send(opened(1)).await;
    link.send(sized(1, 0, 40, 3)).await;
    // Its place is in the middle of what comes behind it.
    link.send(sized(1, 10, 50, 5)).await;
    link.send(chunk(&id, 1, 0, "\u{1b}[99;1Hlow\u{1b}[99;1H\u{1b}[32mlower").text()).await;
    let _ = link.expect_that("OUTPUT_ACK", |ack| ack["offset"] == 27).await;
    let told = dashboard.expect_that("TERMINAL_SIZE", |size| size["offset"] == 10).await;
    assert_eq!((&told["commandId"], &told["agentId"]), (&json!(id), &json!(agent)));
    let seen = old.all_until_pong().await;
    assert!(seen.iter().all(|message| message["type"] != "TERMINAL_SIZE"), "{seen:?}");
    assert!(seen.iter().any(|message| message["type"] == "TERMINAL_STREAM"), "{seen:?}");
    link.close(Some(1000)).await;
    let _ = world.agent_when("ann", |agent| agent["status"] != "online").await;

    let token = world.token("ann", TokenKind::Dashboard);
    for path in [format!("/api/commands/{id}/screen"), format!("/api/agents/{agent}/screen")] {
        let shown = world.get(&path, Some(&token)).await;
        assert_eq!(shown.status, 200, "{}", shown.body);
        let shown = shown.json();
        assert_eq!(shown["size"], json!({"columns": 50, "rows": 5}), "{shown}");
        assert_eq!(
            (&shown["rows"][2]["text"], &shown["rows"][4]["text"]),
            (&json!("low"), &json!("lower"))
        );
        assert_eq!(shown["rows"][4]["runs"][0]["foreground"], "2", "{shown}");
        assert_eq!((&shown["whole"], &shown["offset"]), (&json!(true), &json!(27)));
        let text = world.get(&format!("{path}?format=text"), Some(&token)).await.body;
        assert_eq!(text, "\n\nlow\n\nlower\n");
    }
    let other = world.token("bob", TokenKind::Dashboard);
    assert_eq!(world.get(&format!("/api/commands/{id}/screen"), Some(&other)).await.status, 404);
    assert_eq!(world.get(&format!("/api/agents/{agent}/screen"), Some(&other)).await.status, 404);
}
