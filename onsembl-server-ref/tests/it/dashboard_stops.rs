//! Emergency stops that a dashboard orders and releases over its link.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::{
    command_ack, dashboard_hello, extended_dashboard_hello, named_wrapper_hello, page_command,
};
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};

const STOP: &str = r#"{"type":"EMERGENCY_STOP","id":"stop","timestamp":1,"payload":{"reason":"it went wild","affectedAgents":AGENTS}}"#;

fn stop(agents: &Value) -> String {
    STOP.replace("AGENTS", &agents.to_string())
}

fn release(what: &Value) -> String {
    json!({"type": "STOP_RELEASE", "id": "release", "timestamp": 1, "payload": what}).to_string()
}

/// A dashboard that knows stops that hold.
async fn dashboard(world: &World) -> Peer {
    let mut dashboard = world.dashboard_link("ann").await;
    let features = r#"["output-bytes","stop-latch"]"#;
    dashboard.send(extended_dashboard_hello().replace(r#"["output-bytes"]"#, features)).await;
    let offered = dashboard.expect("DASHBOARD_CONNECTED").await["extensions"]["features"].clone();
    assert!(offered.as_array().unwrap().contains(&json!("stop-latch")), "{offered}");
    dashboard
}

/// An agent that latches stops, and the id that it was taught.
async fn latching(world: &World, key: &str) -> (Peer, String, Value) {
    let mut link = world.agent_link("ann").await;
    let features = r#""command-reports","stop-latch"]"#;
    let hello = crate::frames::extended_hello(key, &format!("run-of-{key}"), &[]);
    link.send(hello.replace(r#""command-reports"]"#, features)).await;
    let ack = link.expect("ACK").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    (link, id, ack)
}

async fn receipt(link: &mut Peer, stop: &Value, stage: &str) {
    let payload = json!({"stopId": stop, "stage": stage});
    let heard = json!({"type": "STOP_RECEIPT", "id": "r", "timestamp": 1, "payload": payload});
    link.send(heard.to_string()).await;
}

/// The status of this agent once it shows this state of a stop.
async fn shown(dashboard: &mut Peer, agent: &str, state: &str) -> Value {
    let want = |s: &Value| s["agentId"] == agent && s["stopped"]["state"] == state;
    dashboard.expect_that("AGENT_STATUS", want).await["stopped"].clone()
}

async fn acknowledged(dashboard: &mut Peer, id: &str) {
    let _ = dashboard.expect_that("ACK", |a| a["messageId"] == id).await;
}

#[tokio::test]
async fn a_stop_over_the_link_holds_shows_how_far_it_is_and_is_released_over_the_link() {
    let mut world = World::start().await;
    let (mut link, id, _) = latching(&world, "key-1").await;
    let mut ordering = dashboard(&world).await;
    let mut watching = dashboard(&world).await;
    ordering.send(page_command("c", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(command_ack("c", "EXECUTING")).await;
    ordering.send(stop(&json!([]))).await;
    let order = link.expect("EMERGENCY_STOP").await;
    let stop_id = order["stopId"].clone();
    assert_eq!((&order["reason"], &order["triggeredBy"]), (&json!("it went wild"), &json!("ann")));
    acknowledged(&mut ordering, "stop").await;
    let report = shown(&mut watching, &id, "told").await;
    assert_eq!((&report["stopId"], &report["all"]), (&stop_id, &json!(true)));
    assert_eq!((&report["by"], &report["reason"]), (&json!("ann"), &json!("it went wild")));
    for (stage, state) in [("RECEIVED", "received"), ("ACTED", "acted"), ("VERIFIED", "verified")] {
        receipt(&mut link, &stop_id, stage).await;
        let _ = shown(&mut watching, &id, state).await;
    }
    ordering.send(page_command("d", &id, "work", &[])).await;
    let refused = ordering.expect("ERROR").await;
    assert_eq!(refused["code"], "AGENT_STOPPED", "{refused}");

    // It is durable: another server knows it, and so does who comes to it.
    world.restart_heard_by(&mut [&mut link, &mut ordering, &mut watching]).await;
    let mut ordering = dashboard(&world).await;
    assert_eq!(shown(&mut ordering, &id, "away").await["stopId"], stop_id);
    let (mut link, _, ack) = latching(&world, "key-1").await;
    assert_eq!(ack["extensions"]["stopped"], stop_id, "{ack}");
    let _ = shown(&mut ordering, &id, "told").await;

    for (what, code) in [
        (json!({}), "INVALID_MESSAGE"),
        (json!({"agentId": id, "all": true}), "INVALID_MESSAGE"),
        (json!({"agentId": "nobody"}), "AGENT_NOT_FOUND"),
        (json!({"agentId": id}), "AGENT_STOPPED"),
    ] {
        ordering.send(release(&what)).await;
        let error = ordering.expect("ERROR").await;
        assert_eq!(
            (&error["code"], &error["originalMessageId"]),
            (&json!(code), &json!("release"))
        );
    }
    ordering.send(release(&json!({"all": true}))).await;
    assert_eq!(link.expect("STOP_RELEASE").await["stopId"], stop_id);
    let want = |s: &Value| s["agentId"] == id.as_str() && s["stopped"].is_null();
    let _ = ordering.expect_that("AGENT_STATUS", want).await;
    ordering.send(page_command("e", &id, "work", &[])).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], "e");
}

#[tokio::test]
async fn a_stop_of_some_agents_leaves_the_others_and_names_those_that_do_not_exist() {
    let world = World::start().await;
    let (mut ada, ada_id, _) = latching(&world, "ada").await;
    let (mut bob, bob_id, _) = latching(&world, "bob").await;
    let mut ordering = dashboard(&world).await;
    ordering.send(stop(&json!([ada_id, "nobody", ada_id]))).await;
    let error = ordering.expect("ERROR").await;
    assert_eq!(
        (&error["code"], &error["context"]["agentId"]),
        (&json!("AGENT_NOT_FOUND"), &json!("nobody"))
    );
    // Those that exist are stopped anyway.
    let stop_id = ada.expect("EMERGENCY_STOP").await["stopId"].clone();
    assert_eq!(shown(&mut ordering, &ada_id, "told").await["all"], false);
    ordering.send(page_command("b", &bob_id, "work", &[])).await;
    assert_eq!(bob.expect("COMMAND_REQUEST").await["commandId"], "b");
    ordering.send(release(&json!({"agentId": ada_id}))).await;
    assert_eq!(ada.expect("STOP_RELEASE").await["stopId"], stop_id);
    acknowledged(&mut ordering, "release").await;
}

#[tokio::test]
async fn who_cannot_release_a_stop_gets_one_of_the_moment() {
    let world = World::start().await;
    let (mut link, id) = {
        let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
        (link, ack["agentId"].as_str().unwrap().to_owned())
    };
    for (command, hello) in [("c", dashboard_hello("ann")), ("d", extended_dashboard_hello())] {
        let mut plain = world.dashboard_link("ann").await;
        plain.send(hello).await;
        plain.send(stop(&json!([]))).await;
        acknowledged(&mut plain, "stop").await;
        assert!(link.expect("EMERGENCY_STOP").await["stopId"].is_null());
        plain.send(release(&json!({"all": true}))).await;
        assert_eq!(plain.expect("ERROR").await["code"], "NOT_SUPPORTED");
        plain.send(page_command(command, &id, "work", &[])).await;
        assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], command);
    }
}

#[tokio::test]
async fn a_legacy_wrapper_is_shown_as_not_confirmed_by_stop_by_commands_and_by_dashboards() {
    let world = World::start().await;
    let mut wrapper = world.agent_link("ann").await;
    wrapper.send(named_wrapper_hello("mock-1", "old")).await;
    let id = wrapper.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut ordering = dashboard(&world).await;
    ordering.send(page_command("c", &id, "work", &[])).await;
    let _ = wrapper.expect("COMMAND_REQUEST").await;
    ordering.send(stop(&json!([id]))).await;
    acknowledged(&mut ordering, "stop").await;
    let _ = shown(&mut ordering, &id, "not-confirmed").await;
    let _ = wrapper.expect("COMMAND_CANCEL").await;
    world.stored_when("SELECT status FROM commands WHERE command_id = 'c'", "cancelling").await;
    let token = world.token("ann", TokenKind::Dashboard);
    let listed = world.get("/api/commands", Some(&token)).await.json()["commands"][0].clone();
    assert_eq!(listed["status"], "cancelling", "{listed}");
    assert_eq!(listed["cause"], "cancel not confirmed: this agent cannot confirm");
    let view = world.agent("ann").await;
    assert_eq!(view["stopped"]["state"], "not-confirmed", "{view}");
}
