//! Agents that say that they are paused: who is shown that, and for how long it holds.

use crate::extended::{agent, watched};
use crate::fixture::World;
use crate::frames::{beat, command_ack, page_command};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

fn paused_beat(sequence: u64, paused: bool) -> String {
    let mut beat: Value = serde_json::from_str(&beat(sequence, 0)).unwrap();
    beat["payload"]["paused"] = json!(paused);
    beat.to_string()
}

async fn listed(world: &World, command: &str) -> Value {
    let token = world.token("ann", TokenKind::Dashboard);
    let answer = world.get("/api/commands", Some(&token)).await.json();
    let found = answer["commands"].as_array().unwrap().iter().find(|c| c["command_id"] == command);
    let detail = world.get(&format!("/api/commands/{command}"), Some(&token)).await.json();
    let found = found.unwrap().clone();
    assert_eq!(found["cause"], detail["cause"], "the same in both places");
    found
}

#[tokio::test]
async fn a_pause_is_shown_to_who_looks_and_to_who_watches_and_explains_what_waits() {
    let (world, mut agent, id, mut dashboard) = watched().await;
    let status = |command: &'static str, why: &'static str| {
        move |s: &Value| {
            s["commandId"] == command && s["because"].as_str().is_some_and(|b| b.contains(why))
        }
    };
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    agent.send(command_ack("cmd-1", "QUEUED")).await;
    let report = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "delivered").await;
    assert_eq!(report["because"], "acknowledged by the agent");
    assert_eq!(world.agent("ann").await["paused"], false);

    agent.send(paused_beat(1, true)).await;
    // Changes of agents are gathered, so that of the command comes first.
    let report = dashboard.expect_that("COMMAND_STATUS", status("cmd-1", "paused")).await;
    let shown = dashboard.expect_that("AGENT_STATUS", |s| s["paused"] == true).await;
    assert_eq!((&shown["agentId"], &shown["status"]), (&json!(id), &json!("online")));
    assert_eq!(world.agent("ann").await["paused"], true);
    // What waited already is explained now, and what comes is at once.
    let name = world.agent("ann").await["name"].as_str().unwrap().to_owned();
    let why = format!(
        "its agent is paused, and starts nothing until `control {name} resume`; acknowledged by the agent"
    );
    assert_eq!((&report["because"], &report["status"]), (&json!(why), &json!("delivered")));
    assert_eq!(listed(&world, "cmd-1").await["cause"], why);
    dashboard.send(page_command("cmd-2", &id, "more", &[])).await;
    let _ = dashboard.expect_that("COMMAND_STATUS", status("cmd-2", "paused")).await;
    agent.send(command_ack("cmd-2", "EXECUTING")).await;
    let running = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "running").await;
    assert!(!running["because"].as_str().unwrap().contains("paused"), "{running}");

    // Beats that say the same change nothing, and one that does not say it ends it.
    agent.send(paused_beat(2, true)).await;
    agent.send(beat(3, 0)).await;
    let report = dashboard.expect_that("COMMAND_STATUS", |s| s["commandId"] == "cmd-1").await;
    assert_eq!(report["because"], "acknowledged by the agent");
    let shown = dashboard.expect_that("AGENT_STATUS", |s| s["paused"] != true).await;
    assert_eq!(shown["paused"], Value::Null);
    assert_eq!(world.agent("ann").await["paused"], false);
    assert_eq!(listed(&world, "cmd-1").await["cause"], "acknowledged by the agent");
}

#[tokio::test]
async fn a_pause_is_of_its_session_and_the_next_one_says_it_again_or_not() {
    let (world, mut agent_link, _, _dashboard) = watched().await;
    agent_link.send(paused_beat(1, true)).await;
    let _ = world.agent_when("ann", |a| a["paused"] == true).await;
    agent_link.close(None).await;
    let away = world.agent_is("ann", "reconnecting").await;
    assert_eq!(away["paused"], false, "nobody knows");

    let (mut again, _) = agent(&world, "ann", "key-1", "run-1").await;
    again.send(paused_beat(1, true)).await;
    let _ = world.agent_when("ann", |a| a["paused"] == true).await;
    let (mut third, _) = agent(&world, "ann", "key-1", "run-1").await;
    let _ = world.agent_when("ann", |a| a["paused"] == false).await;
    third.send(paused_beat(1, true)).await;
    let _ = world.agent_when("ann", |a| a["paused"] == true).await;
    // A late word on the link that was taken over says nothing of the agent.
    let _ = again.send_message(Message::text(paused_beat(2, false))).await;
    let _ = again.ended().await;
    let shown = world.agent("ann").await;
    assert_eq!((&shown["paused"], &shown["status"]), (&json!(true), &json!("online")));
}
