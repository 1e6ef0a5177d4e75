//! The existing dashboard: how it is greeted, what words it hears, and what keeps it from leaving.

use crate::fixture::{World, fast};
use crate::frames::{dashboard_hello, page_command, wrapper_hello};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn dashboard(world: &World, user: &str) -> Peer {
    let mut link = world.dashboard_link(user).await;
    link.send(dashboard_hello(user)).await;
    let _ = link.expect("ACK").await;
    link
}

fn is_iso(time: &Value) -> bool {
    time.as_str().is_some_and(|t| t.len() >= 20 && t.contains('T') && t.ends_with('Z'))
}

#[tokio::test]
async fn it_gets_the_list_then_each_status_then_the_acknowledgement() {
    let world = World::start().await;
    let (_one, first) = wrapper(&world, "ann", "mock-1").await;
    let (_two, second) = wrapper(&world, "ann", "mock-2").await;
    let mut link = world.dashboard_link("ann").await;
    link.send(dashboard_hello("ann")).await;

    let list = link.next().await;
    assert_eq!(list["type"], "DASHBOARD_CONNECTED");
    assert!(list["payload"].get("extensions").is_none());
    let agents = list["payload"]["agents"].as_array().unwrap().clone();
    let ids: Vec<&str> = agents.iter().map(|a| a["agentId"].as_str().unwrap()).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    for agent in &agents {
        assert_eq!((&agent["type"], &agent["status"]), (&json!("CUSTOM"), &json!("CONNECTED")));
        assert_eq!(agent["capabilities"], json!(["interrupt", "trace"]));
        assert!(is_iso(&agent["lastHeartbeat"]), "{agent}");
    }
    for id in ids {
        let status = link.next().await;
        assert_eq!(status["type"], "AGENT_STATUS");
        let status = &status["payload"];
        assert_eq!((&status["agentId"], &status["status"]), (&json!(id), &json!("online")));
        assert_eq!(
            (&status["activityState"], &status["queuedCommands"]),
            (&json!("IDLE"), &json!(0))
        );
        assert!(is_iso(&status["lastPing"]), "{status}");
    }
    let ack = link.next().await;
    assert_eq!(ack["type"], "ACK");
    assert_eq!(ack["payload"]["messageId"], "msg_1_1762080003000");
    assert_eq!(ack["payload"]["success"], true);
    assert_eq!(ack["payload"]["subscriptions"]["agents"], json!(["*"]));
}

#[tokio::test]
async fn an_empty_list_and_a_list_of_ids_subscribe_as_they_always_did() {
    let world = World::start().await;
    let (_one, first) = wrapper(&world, "ann", "mock-1").await;
    let (_two, _second) = wrapper(&world, "ann", "mock-2").await;
    let cases = [
        ("[]".to_owned(), 2),
        (format!("[\"{first}\"]"), 1),
        (format!("{{\"all\":false,\"ids\":[\"{first}\"]}}"), 1),
        ("true".to_owned(), 2),
        ("\"*\"".to_owned(), 2),
        ("null".to_owned(), 0),
    ];
    for (agents, count) in cases {
        let mut link = world.dashboard_link("ann").await;
        link.send(format!(r#"{{"type":"DASHBOARD_INIT","id":"i","timestamp":1,"payload":{{"userId":"ann","subscriptions":{{"agents":{agents}}}}}}}"#)).await;
        let list = link.expect("DASHBOARD_CONNECTED").await;
        assert_eq!(list["agents"].as_array().unwrap().len(), count, "{agents}");
    }
}

#[tokio::test]
async fn it_hears_only_words_it_knows_while_an_agent_falls_silent_and_is_given_up() {
    let world = World::with(fast()).await;
    let (_silent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = dashboard(&world, "ann").await;
    let mut heard = Vec::new();
    let mut because = Vec::new();
    while heard.last().is_none_or(|word| word != "offline") {
        let status = link.expect_that("AGENT_STATUS", |s| s["agentId"] == *id).await;
        assert!(is_iso(&status["lastPing"]), "{status}");
        heard.push(status["status"].as_str().unwrap().to_owned());
        because.push(status["because"].as_str().unwrap().to_owned());
    }
    heard.dedup();
    assert_eq!(heard, ["online", "connecting", "offline"], "{because:?}");
    assert!(because.iter().any(|b| b.contains("no frame from the agent for 1.2s")), "{because:?}");
    assert!(because.iter().any(|b| b.contains("no frame from the agent for 2.5s")), "{because:?}");
    assert!(because.last().unwrap().contains("resume window"), "{because:?}");
}

#[tokio::test]
async fn an_agent_that_goes_and_one_that_comes_back_are_told() {
    let world = World::start().await;
    let mut link = dashboard(&world, "ann").await;
    let (agent, id) = wrapper(&world, "ann", "mock-1").await;
    let list = link.expect("DASHBOARD_CONNECTED").await;
    assert_eq!(list["agents"][0]["agentId"], id);
    let online = |s: &Value| s["status"] == "online";
    let _ = link.expect_that("AGENT_STATUS", online).await;
    agent.close(Some(1000)).await;
    let disconnect = link.expect("AGENT_DISCONNECT").await;
    assert_eq!(disconnect["agentId"], id);
    assert_eq!(disconnect["reason"], "the agent was stopped on its machine");
    assert_eq!(link.expect("AGENT_STATUS").await["status"], "offline");
    let (_agent, same) = wrapper(&world, "ann", &id).await;
    assert_eq!(same, id);
    let _ = link.expect_that("AGENT_STATUS", online).await;
}

#[tokio::test]
async fn a_new_agent_is_shown_live_by_a_list_with_only_that_agent() {
    let world = World::start().await;
    let (_old, _) = wrapper(&world, "ann", "mock-old").await;
    let mut link = dashboard(&world, "ann").await;
    let began = Instant::now();
    let (_new, id) = wrapper(&world, "ann", "mock-new").await;
    let list = link.expect("DASHBOARD_CONNECTED").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let agents = list["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 1, "{agents:?}");
    assert_eq!(agents[0]["agentId"], id);
    let connected = link.expect("AGENT_CONNECTED").await;
    assert_eq!(
        (&connected["agentId"], &connected["hostMachine"]),
        (&json!(id), &json!("workstation"))
    );
    let online = |s: &Value| s["agentId"] == *id && s["status"] == "online";
    assert!(is_iso(&link.expect_that("AGENT_STATUS", online).await["lastPing"]));
}

#[tokio::test]
async fn its_ping_is_answered_at_once_also_before_its_hello() {
    let world = World::start().await;
    let mut link = world.dashboard_link("ann").await;
    for (n, echo) in [1_762_080_007_000i64, 1_762_080_037_000].into_iter().enumerate() {
        let began = Instant::now();
        link.send(format!(r#"{{"type":"PING","id":"msg_{n}_1","timestamp":{echo},"payload":{{"timestamp":{echo},"sequence":{n}}}}}"#)).await;
        let pong = link.expect("PONG").await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!((&pong["timestamp"], &pong["sequence"]), (&json!(echo), &json!(n)));
        link.send(dashboard_hello("ann")).await;
        let _ = link.expect("ACK").await;
    }
}

#[tokio::test]
async fn its_token_refresh_is_accepted() {
    let world = World::start().await;
    let mut link = dashboard(&world, "ann").await;
    let refresh = |token: &str| {
        format!(
            r#"{{"type":"TOKEN_REFRESH","id":"msg_4_1","timestamp":1,"payload":{{"accessToken":"{token}","expiresIn":3600000}}}}"#
        )
    };
    link.send(refresh(&world.token("ann", TokenKind::Dashboard))).await;
    let ack = link.expect("ACK").await;
    assert_eq!((&ack["messageId"], &ack["success"]), (&json!("msg_4_1"), &json!(true)));
    for bad in [world.token("bob", TokenKind::Dashboard), world.token("ann", TokenKind::Agent)] {
        link.send(refresh(&bad)).await;
        let error = link.expect("ERROR").await;
        assert_eq!(error["code"], "UNAUTHORIZED");
        assert!(!error.to_string().contains(&bad));
    }
    link.send(page_command("cmd-1", "none", "x", &[])).await;
    assert_eq!(link.expect("ERROR").await["code"], "AGENT_NOT_FOUND", "the old token stays");
}

#[tokio::test]
async fn a_hello_in_the_name_of_another_user_is_refused_and_may_be_corrected() {
    let world = World::start().await;
    let (_agent, _) = wrapper(&world, "bob", "mock-1").await;
    let mut link = world.dashboard_link("ann").await;
    link.send(dashboard_hello("bob")).await;
    let refused = link.next().await;
    assert_eq!(refused["type"], "ERROR");
    assert_eq!(refused["payload"]["code"], "UNAUTHORIZED");
    link.send(dashboard_hello("ann")).await;
    let list = link.next().await;
    assert_eq!(list["type"], "DASHBOARD_CONNECTED");
    assert_eq!(list["payload"]["agents"], json!([]));
}

#[tokio::test]
async fn a_command_flushed_before_its_hello_fails_by_its_id() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = world.dashboard_link("ann").await;
    link.send(page_command("cmd-1", &id, "x", &[])).await;
    let error = link.expect("ERROR").await;
    assert_eq!(error["code"], "UNAUTHORIZED");
    assert_eq!(error["context"]["commandId"], "cmd-1");
    assert!(agent.all_until_pong().await.iter().all(|m| m["type"] == "PING"));
}

#[tokio::test]
async fn a_wrapper_on_the_wrong_door_is_told_and_shut_out() {
    let world = World::start().await;
    let mut link = world.dashboard_link("ann").await;
    link.send(wrapper_hello("mock-1")).await;
    assert_eq!(link.expect("ERROR").await["code"], "UNAUTHORIZED");
    assert!(world.agents("ann").await.is_empty());
}
