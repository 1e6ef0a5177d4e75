//! The existing wrapper, as it connects, lives and comes back.

use crate::fixture::{World, fast, now};
use crate::frames::{named_wrapper_hello, wrapper_hello, wrapper_output, wrapper_pong};
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const OWN_ID: &str = "mock-mhgx2k3p-a1b2c3";

/// A wrapper that said hello; its link and the id it was taught.
pub(crate) async fn wrapper(world: &World, user: &str, own_id: &str) -> (Peer, String) {
    let mut link = world.agent_link(user).await;
    let taught = greet(&mut link, own_id).await;
    (link, taught)
}

async fn greet(link: &mut Peer, id: &str) -> String {
    link.send(wrapper_hello(id)).await;
    taught(&link.expect("ACK").await)
}

fn taught(ack: &Value) -> String {
    let id = ack["agentId"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36, "a UUID: {id}");
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "a UUID: {id}");
    id
}

#[tokio::test]
async fn it_is_welcomed_and_listed_with_token_in_header_and_query() {
    let world = World::start().await;
    let token = world.token("ann", TokenKind::Agent);
    let path = format!("/ws/agent?agentId={OWN_ID}&token={token}");
    let mut link = Peer::open(world.address(), &path, Some(&token)).await;
    link.send(wrapper_hello(OWN_ID)).await;
    let first = link.next().await;
    assert_eq!(first["type"], "ACK");
    assert!(first["id"].is_string() && first["timestamp"].is_i64());
    let ack = &first["payload"];
    assert_eq!(ack["messageId"], "connect-1762080000123");
    assert_eq!((&ack["success"], &ack["authenticated"]), (&json!(true), &json!(true)));
    assert!(ack["connectionId"].is_string());
    assert!(ack.get("extensions").is_none(), "nothing it does not know: {ack}");
    let id = taught(ack);

    let agent = world.agent_is("ann", "online").await;
    assert_eq!(agent["agent_id"], id);
    assert_eq!(agent["agent_type"], "custom");
    assert_eq!(agent["name"], OWN_ID);
    assert_eq!(agent["version"], "1.0.0");
    assert_eq!(agent["capabilities"], json!(["interrupt", "trace"]));
    assert_eq!(agent["because"], "session opened");
}

#[tokio::test]
async fn the_query_alone_is_enough_and_older_paths_lead_here() {
    let world = World::start().await;
    let token = world.token("ann", TokenKind::Agent);
    for path in ["/ws/agent", "/ws", "/v1/ws/agent", "/v1/ws/agent/some-id"] {
        let path = format!("{path}?agentId={OWN_ID}&token={token}");
        let mut link = Peer::open(world.address(), &path, None).await;
        let _id = greet(&mut link, OWN_ID).await;
    }
    assert_eq!(world.agents("ann").await.len(), 1);
}

#[tokio::test]
async fn it_is_probed_each_interval_and_its_pongs_are_its_recorded_heartbeats() {
    let world = World::with(fast()).await;
    let (mut link, _) = wrapper(&world, "ann", OWN_ID).await;
    let mut recorded = world.agent("ann").await["last_heartbeat"].clone();
    let began = Instant::now();
    for _ in 0..8 {
        let ping = link.expect("PING").await;
        assert!(ping["timestamp"].is_i64(), "{ping}");
        link.send(wrapper_pong(&ping["timestamp"])).await;
        let agent = world.agent_when("ann", |a| a["last_heartbeat"] != recorded).await;
        recorded = agent["last_heartbeat"].clone();
    }
    // The first one comes at once, then seven intervals of 400 ms follow; with the intervals that a server has
    // if nobody sets them, this would take minutes.
    let took = began.elapsed();
    let (least, most) = (Duration::from_millis(2000), Duration::from_secs(20));
    assert!((least..most).contains(&took), "{took:?}");
    let agent = world.agent("ann").await;
    assert_eq!((&agent["status"], &agent["because"]), (&json!("online"), &json!("session opened")));
}

#[tokio::test]
async fn the_id_it_was_taught_makes_it_the_same_agent_on_its_next_link() {
    let world = World::start().await;
    let (link, id) = wrapper(&world, "ann", OWN_ID).await;
    let _online = world.agent_is("ann", "online").await;
    link.close(Some(4000)).await;
    let lost = world.agent_is("ann", "reconnecting").await;
    assert!(lost["because"].as_str().unwrap().contains("4000"), "{lost}");

    let (_link, again) = wrapper(&world, "ann", &id).await;
    assert_eq!(again, id);
    assert_eq!(world.agent_is("ann", "online").await["agent_id"], id);
}

#[tokio::test]
async fn it_may_say_hello_again_on_the_same_link() {
    let world = World::start().await;
    let (mut link, id) = wrapper(&world, "ann", OWN_ID).await;
    let before = world.agent_is("ann", "online").await;
    let again = wrapper_hello(&id).replace("connect-1762080000123", "connect-1762080009999");
    link.send(again).await;
    let ack = link.expect("ACK").await;
    assert_eq!(ack["agentId"], id);
    assert_eq!(ack["messageId"], "connect-1762080009999");
    assert!(link.all_until_pong().await.is_empty());
    let after = world.agent("ann").await;
    assert_eq!((&after["status"], &after["since"]), (&before["status"], &before["since"]));
}

#[tokio::test]
async fn its_own_stop_is_offline_and_a_close_without_a_code_is_not() {
    let world = World::start().await;
    let (link, id) = wrapper(&world, "ann", OWN_ID).await;
    link.close(None).await;
    let away = world.agent_is("ann", "reconnecting").await;
    assert_eq!(away["because"], "closed by the peer: closed without a code");
    let (link, _) = wrapper(&world, "ann", &id).await;
    link.close(Some(1000)).await;
    let stopped = world.agent_is("ann", "offline").await;
    assert_eq!(stopped["because"], "the agent was stopped on its machine");
}

#[tokio::test]
async fn a_ping_of_an_older_wrapper_is_answered_with_its_echo() {
    let world = World::start().await;
    let (mut link, _) = wrapper(&world, "ann", OWN_ID).await;
    for echo in ["1762080000777", "17.25"] {
        let ping = r#"{"type":"PING","id":"ping-1","timestamp":1762080000777,"payload":{"timestamp":ECHO}}"#;
        link.send(ping.replace("ECHO", echo)).await;
        let pong = link.expect("PONG").await;
        assert_eq!(pong["timestamp"].to_string(), echo);
    }
}

#[tokio::test]
async fn a_heartbeat_of_an_older_wrapper_is_answered_and_recorded() {
    let world = World::start().await;
    let (mut link, id) = wrapper(&world, "ann", OWN_ID).await;
    link.send(format!(
        r#"{{"type":"AGENT_HEARTBEAT","id":"hb-1","timestamp":1762080000000,"payload":{{"agentId":"{id}","healthMetrics":{{"cpuUsage":3.5,"memoryUsage":120,"uptime":86400000,"commandsProcessed":2,"averageResponseTime":10}}}}}}"#
    ))
    .await;
    let answer = link.expect("SERVER_HEARTBEAT").await;
    assert!(answer["serverTime"].as_i64().unwrap() > 1_762_080_000_000);
    assert!(answer["nextPingExpected"].as_i64().unwrap() > answer["serverTime"].as_i64().unwrap());
    let agent = world.agent_when("ann", |a| !a["last_heartbeat"].is_null()).await;
    assert_eq!(agent["last_metrics"]["cpuUsage"], 3.5);
}

#[tokio::test]
async fn what_was_queued_before_its_hello_has_no_effect() {
    let world = World::start().await;
    let (mut settled, id) = wrapper(&world, "ann", OWN_ID).await;
    let mut link = world.agent_link("ann").await;
    link.send(wrapper_output("cmd-1", &id, 1, "never seen\n")).await;
    link.send(wrapper_pong(&json!(1))).await;
    link.send(r#"{"type":"AGENT_ERROR","id":"e","timestamp":1,"payload":{"agentId":"x","errorType":"RESOURCE","message":"m","recoverable":false}}"#).await;
    link.send(r#"{"type":"COMMAND_COMPLETE","id":"c","timestamp":1,"payload":{"commandId":"cmd-1","status":"COMPLETED","exitCode":0,"duration":1}}"#).await;
    link.send(r#"{"type":"AGENT_HEARTBEAT","id":"h","timestamp":1,"payload":{}}"#).await;
    assert_eq!(greet(&mut link, "mock-other").await.len(), 36);
    assert!(settled.all_until_pong().await.iter().all(|m| m["type"] == "PING"));
    let agents = world.agents("ann").await;
    assert_eq!(agents.len(), 2);
    assert!(agents.iter().all(|a| a["status"] == "online"), "{agents:?}");
    assert!(agents.iter().all(|a| a["last_heartbeat"].is_null()), "{agents:?}");
    let stored: i64 = world
        .database()
        .query_row("SELECT count(*) FROM output_records", [], |r| r.get(0))
        .unwrap();
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn frames_right_behind_its_hello_count() {
    let world = World::start().await;
    let mut link = world.agent_link("ann").await;
    link.send(wrapper_hello(OWN_ID)).await;
    link.send(wrapper_pong(&json!(1_762_080_000_000i64))).await;
    let _ack = link.expect("ACK").await;
    let _recorded = world.agent_when("ann", |a| !a["last_heartbeat"].is_null()).await;
}

#[tokio::test]
async fn an_agent_that_was_deleted_stays_away() {
    let world = World::start().await;
    let (mut link, id) = wrapper(&world, "ann", OWN_ID).await;
    let answer = world.delete(&format!("/api/agents/{id}"), "ann").await;
    assert_eq!(answer.status, 204);
    assert_eq!(link.ended().await.code(), 4202);
    assert!(world.agents("ann").await.is_empty());

    // Its token ended with it, and another one does not bring it back.
    let (other, _) = world.token_from("ann", TokenKind::Agent, now());
    let mut again = Peer::open(world.address(), "/ws/agent", Some(&other)).await;
    again.send(wrapper_hello(&id)).await;
    assert_eq!(again.expect("ERROR").await["code"], "FORBIDDEN");
    assert_eq!(again.ended().await.code(), 4202);
    assert!(world.agents("ann").await.is_empty());
}

#[tokio::test]
async fn a_deleted_agent_that_names_itself_at_the_door_is_refused_there() {
    let world = World::start().await;
    let (_link, id) = wrapper(&world, "ann", OWN_ID).await;
    assert_eq!(world.delete(&format!("/api/agents/{id}"), "ann").await.status, 204);
    for (user, status) in [("ann", 403), ("bob", 101)] {
        let token = world.token(user, TokenKind::Agent);
        let door = Request::upgrade(&format!("/ws/agent?agentId={id}")).bearer(Some(&token));
        assert_eq!(door.send(world.address()).await.status, status, "{user}");
    }
}

/// It is found by the id that it made for itself, once its machine is there already.
#[tokio::test]
async fn one_that_was_renamed_is_shown_as_it_is() {
    let mut world = World::start().await;
    for restarts in [false, true] {
        let user = if restarts { "ann" } else { "bob" };
        let (link, id) = wrapper(&world, user, OWN_ID).await;
        let _online = world.agent_is(user, "online").await;
        link.close(Some(1000)).await;
        let _lost = world.agent_is(user, "offline").await;
        if restarts {
            world.restart().await;
        }
        let mut link = world.agent_link(user).await;
        link.send(named_wrapper_hello(OWN_ID, "another name")).await;
        assert_eq!(taught(&link.expect("ACK").await), id);
        let after = world.agent_is(user, "online").await;
        assert_eq!((&after["agent_id"], &after["name"]), (&json!(id), &json!("another name")));
        let stored = format!("SELECT status FROM agents WHERE agent_id = '{id}'");
        world.stored_when(&stored, "online").await;
        assert_eq!(world.get("/readyz", None).await.status, 200);
    }
}
