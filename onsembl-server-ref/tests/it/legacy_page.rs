//! The agents page of the existing dashboard: it shows one session for each agent, joins lists with commas,
//! keeps what it has when it comes back, and calls the API from another origin.

use crate::fixture::World;
use crate::frames::{
    command_complete, dashboard_hello, extended_dashboard_hello, extended_hello, page_command,
    wrapper_output,
};
use crate::legacy_agent::wrapper;
use crate::peer::{Peer, Request};
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::Duration;

async fn page(world: &World, hello_id: &str) -> Peer {
    let mut link = world.dashboard_link("ann").await;
    link.send(dashboard_hello("ann").replace("msg_1_1762080003000", hello_id)).await;
    let _ = link.expect("ACK").await;
    link
}

fn tab(agent: &str) -> String {
    format!("agent-session-{agent}")
}

/// The next text that is shown in this session.
async fn text(link: &mut Peer, session: &str) -> String {
    let shown = link.expect_that("TERMINAL_STREAM", |s| s["commandId"] == session).await;
    let lines = shown["content"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "a list would be joined with commas: {shown}");
    lines[0].as_str().unwrap().to_owned()
}

async fn texts(link: &mut Peer, session: &str, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(text(link, session).await);
    }
    all
}

#[tokio::test]
async fn command_output_comes_to_the_session_of_its_agent_too_line_by_line() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    for session in ["cmd-1", tab(&id).as_str()] {
        let mut link = page(&world, "msg_1_1762080003000").await;
        if session == "cmd-1" {
            link.send(page_command("cmd-1", &id, "work", &[])).await;
            let _ = agent.expect("COMMAND_REQUEST").await;
        }
        agent.send(wrapper_output("cmd-1", &id, 1, "one\ntwo\nthree\n")).await;
        assert_eq!(texts(&mut link, session, 3).await, ["one", "two", "three"], "{session}");
    }
}

#[tokio::test]
async fn a_question_is_shown_before_it_is_answered() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = page(&world, "msg_1_1762080003000").await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    agent.send(wrapper_output("cmd-1", &id, 1, "Proceed? [y/N] ")).await;
    assert_eq!(text(&mut link, &tab(&id)).await, "Proceed? [y/N] ");
    agent.send(wrapper_output("cmd-1", &id, 2, "y\ndone\n")).await;
    assert_eq!(texts(&mut link, &tab(&id), 2).await, ["y", "done"], "each character once");
}

#[tokio::test]
async fn a_page_that_comes_back_gets_only_what_is_new() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = page(&world, "msg_1_1762080003000").await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    agent.send(wrapper_output("cmd-1", &id, 1, "before\n")).await;
    assert_eq!(text(&mut link, "cmd-1").await, "before");
    let mut fresh = page(&world, "msg_1_1762080003999").await;
    assert_eq!(text(&mut fresh, "cmd-1").await, "before");
    let mut back = page(&world, "msg_26_1762080009000").await;
    agent.send(wrapper_output("cmd-1", &id, 2, "after\n")).await;
    assert_eq!(text(&mut back, "cmd-1").await, "after");
    assert_eq!(text(&mut fresh, "cmd-1").await, "after");
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_an_end_without_an_exit_code() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = page(&world, "msg_1_1762080003000").await;
    let mut ours = world.dashboard_link("ann").await;
    ours.send(extended_dashboard_hello()).await;
    for command in ["cmd-1", "cmd-2"] {
        link.send(page_command(command, &id, "work", &[])).await;
        let _ = agent.expect("COMMAND_REQUEST").await;
    }
    let over = |s: &Value| s["commandId"] == "cmd-1" && !s["completedAt"].is_null();
    let end = link.expect_that("COMMAND_STATUS", over).await;
    assert_eq!(end["status"], "completed");
    assert!(end.get("exitCode").is_none() && end.get("error").is_none(), "{end}");
    assert!(end["because"].as_str().unwrap().contains("next command"), "{end}");
    let complete = link.expect("COMMAND_COMPLETE").await;
    assert_eq!(
        (&complete["commandId"], &complete["status"]),
        (&json!("cmd-1"), &json!("COMPLETED"))
    );
    assert!(complete.get("exitCode").is_none_or(Value::is_null), "{complete}");
    let to_ours = ours.expect_that("COMMAND_STATUS", over).await;
    assert_eq!(to_ours["status"], "unknown", "our own dashboards see it as it is");
}

#[tokio::test]
async fn figures_come_under_the_names_and_units_of_the_page() {
    let world = World::serving_pages_of(&[PAGE]).await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    agent.send(crate::frames::beat(7, 1)).await;
    let _ = agent.expect_that("SERVER_HEARTBEAT", |b| b["recorded"]["sequence"] == 7).await;
    let mut link = page(&world, "msg_1_1762080003000").await;
    link.send(dashboard_hello("ann")).await;
    let status = link.expect_that("AGENT_STATUS", |s| s["agentId"] == *id).await;
    let metrics = &status["healthMetrics"];
    assert_eq!(metrics["commandsExecuted"], 7, "{status}");
    assert_eq!(metrics["memoryUsage"].as_f64(), Some(64.0 * 1024.0 * 1024.0), "{status}");
    let token = world.token("ann", TokenKind::Dashboard);
    let by_page = Request::get("/api/agents").header(&format!("Origin: {PAGE}"));
    let listed = by_page.bearer(Some(&token)).send(world.address()).await.json();
    let metrics = &listed["agents"][0]["last_metrics"];
    let memory = metrics["memoryUsage"].as_f64();
    assert_eq!((&metrics["commandsExecuted"], memory), (&json!(7), Some(64.0 * 1024.0 * 1024.0)));
    let to_others = world.agent("ann").await;
    assert_eq!(to_others["last_metrics"]["memoryUsage"].as_f64(), Some(64.0), "{to_others}");
    let mut ours = world.dashboard_link("ann").await;
    ours.send(extended_dashboard_hello()).await;
    let status = ours.expect("AGENT_STATUS").await;
    assert_eq!(status["healthMetrics"]["memoryUsage"].as_f64(), Some(64.0), "{status}");
    assert!(status["healthMetrics"].get("commandsExecuted").is_none(), "{status}");
}

const PAGE: &str = "https://dashboard.example";

#[tokio::test]
async fn configured_origins_may_use_the_api_and_others_may_not() {
    let world = World::serving_pages_of(&[PAGE]).await;
    let token = world.token("ann", TokenKind::Dashboard);
    for (origin, allowed) in [(PAGE, true), ("https://evil.example", false)] {
        let preflight = Request::new("OPTIONS", "/api/agents")
            .header(&format!("Origin: {origin}"))
            .header("Access-Control-Request-Method: GET")
            .header("Access-Control-Request-Headers: authorization");
        let answer = preflight.send(world.address()).await;
        assert_eq!(answer.status, if allowed { 204 } else { 403 }, "{origin}");
        let get =
            Request::get("/api/agents").header(&format!("Origin: {origin}")).bearer(Some(&token));
        let answer = get.send(world.address()).await;
        assert_eq!(answer.status, 200);
        let says = |line: &str| answer.head.to_ascii_lowercase().contains(line);
        let line = format!("access-control-allow-origin: {origin}");
        assert_eq!(says(&line), allowed, "{}", answer.head);
        assert!(says("vary: origin"), "{}", answer.head);
    }
    // A refusal can be read by the page too.
    let refused = Request::get("/api/agents").header(&format!("Origin: {PAGE}"));
    let answer = refused.send(world.address()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.head.to_ascii_lowercase().contains("access-control-allow-origin"));
}

#[tokio::test]
async fn without_configured_origins_nothing_is_allowed() {
    let world = World::start().await;
    let token = world.token("ann", TokenKind::Dashboard);
    let get = Request::get("/api/agents").header(&format!("Origin: {PAGE}")).bearer(Some(&token));
    let answer = get.send(world.address()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{}", answer.head);
}

#[tokio::test]
async fn the_latest_output_of_an_agent_can_be_read() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = page(&world, "msg_1_1762080003000").await;
    for (n, command) in ["cmd-1", "cmd-2"].into_iter().enumerate() {
        link.send(page_command(command, &id, "work", &[])).await;
        let _ = agent.expect("COMMAND_REQUEST").await;
        let content = format!("\u{1b}[31mred {n}\u{1b}[0m\nnext\n");
        let chunk = crate::frames::Chunk {
            command,
            stream: "STDOUT",
            sequence: 1,
            offset: 0,
            encoding: "utf-8",
            content: &content,
        };
        agent.send(chunk.text()).await;
        let _ = agent.expect("OUTPUT_ACK").await;
        agent.send(command_complete(command, "COMPLETED", 0)).await;
        let _ = agent.expect_that("ACK", |a| a["commandId"] == command).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = |limit: &str| format!("/api/agents/{id}/terminal-output{limit}");
    let token = world.token("ann", TokenKind::Dashboard);
    let answer = world.get(&path(""), Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let all = answer.json()["outputs"].as_array().unwrap().clone();
    let said: Vec<_> = all.iter().map(|o| (o["command_id"].clone(), o["output"].clone())).collect();
    assert_eq!(
        said,
        [
            (json!("cmd-1"), json!("red 0")),
            (json!("cmd-1"), json!("next")),
            (json!("cmd-2"), json!("red 1")),
            (json!("cmd-2"), json!("next")),
        ]
    );
    assert!(all.iter().all(|o| o["agent_id"] == id && o["type"] == "stdout"), "{all:?}");
    let last = world.get(&path("?limit=1"), Some(&token)).await.json();
    assert_eq!(last["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(last["outputs"][0]["command_id"], "cmd-2");
    assert_eq!(
        (&last["total"], &last["limit"], &last["offset"]),
        (&json!(4), &json!(1), &json!(0))
    );
    let of_one = world.get(&path("?commandId=cmd-1&type=stdout"), Some(&token)).await.json();
    assert_eq!(of_one["total"], 2);
    let first = all[1]["timestamp"].as_str().unwrap();
    let millis = WallTime::parse_rfc3339(first).unwrap().unix_millis().to_string();
    for since in [first, &millis] {
        let later = world.get(&path(&format!("?since={since}")), Some(&token)).await.json();
        assert_eq!(later["total"], 2, "since {since}: {later}");
        assert_eq!(later["outputs"][0]["command_id"], "cmd-2");
    }
    let last_at = all[3]["timestamp"].as_str().unwrap();
    assert_eq!(
        world.get(&path(&format!("?since={last_at}")), Some(&token)).await.json()["total"],
        0
    );
    assert_eq!(world.get(&path("?since=lately"), Some(&token)).await.status, 400);
    assert_eq!(world.get(&path("?limit=10001"), Some(&token)).await.status, 400);
    let bob = world.token("bob", TokenKind::Dashboard);
    assert_eq!(world.get(&path(""), Some(&bob)).await.status, 404);
}
