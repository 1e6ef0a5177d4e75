//! Output in binary messages: from agents that agreed on it, and from others.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::*;
use crate::peer::Peer;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const PROCESS: u64 = 1_762_080_000_000;

/// A chunk of `cmd-1`, written byte by byte as PROTOCOL.md says.
fn chunk(sequence: u64, offset: u64, bytes: &[u8]) -> Message {
    let mut message = vec![1, 0, 0, 5];
    for number in [PROCESS, sequence, offset] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(b"cmd-1");
    message.extend_from_slice(bytes);
    Message::binary(message)
}

/// An agent that agreed on binary messages, and a command that runs on it.
async fn running(world: &World) -> (Peer, Peer) {
    let mut link = world.agent_link("ann").await;
    let mut hello: Value = serde_json::from_str(&extended_hello("key-1", "run-1", &[])).unwrap();
    let features = json!(["output-bytes", "output-binary", "command-reports"]);
    hello["payload"]["extensions"]["features"] = features.clone();
    link.send(hello.to_string()).await;
    let ack = link.expect("ACK").await;
    assert_eq!(ack["extensions"]["features"], features);
    let id = ack["agentId"].as_str().unwrap();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    watching.send(page_command("cmd-1", id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    (link, watching)
}

#[tokio::test]
async fn it_is_stored_acknowledged_and_shown_as_if_it_had_come_in_a_text() {
    let world = World::start().await;
    let (mut link, mut watching) = running(&world).await;
    let mut legacy = world.dashboard_link("ann").await;
    legacy.send(dashboard_hello("ann")).await;
    let _ = legacy.expect("COMMAND_STATUS").await;
    link.send_message(chunk(1, 0, b"one\n")).await.unwrap();
    link.send_message(chunk(2, 4, b"\xff\x00\n")).await.unwrap();
    link.send_message(chunk(2, 4, b"\xff\x00\n")).await.unwrap();
    let _ =
        link.expect_that("OUTPUT_ACK", |a| a["offset"] == 7 && a["incarnation"] == PROCESS).await;
    let first = watching.expect("TERMINAL_STREAM").await;
    assert_eq!((&first["content"], &first["offset"]), (&json!("one\n"), &json!(0)));
    let second = watching.expect("TERMINAL_STREAM").await;
    assert_eq!((&second["content"], &second["encoding"]), (&json!("/wAK"), &json!("base64")));
    assert_eq!(legacy.expect("TERMINAL_STREAM").await["content"], json!(["one"]));
    let stored = "SELECT group_concat(hex(bytes), '') FROM output_records ORDER BY offset";
    world.stored_when(stored, "6F6E650AFF000A").await;
}

#[tokio::test]
async fn what_is_no_output_is_answered_as_any_text_that_cannot_be_decoded() {
    let world = World::start().await;
    let (mut link, _watching) = running(&world).await;
    for wrong in [&b""[..], &[1; 10], &[9; 40]] {
        link.send_message(Message::binary(wrong.to_vec())).await.unwrap();
        assert_eq!(link.expect("ERROR").await["code"], "INVALID_MESSAGE");
    }
    link.send_message(chunk(1, 0, b"on we go")).await.unwrap();
    let _ = link.expect_that("OUTPUT_ACK", |a| a["offset"] == 8).await;
    for _ in 0..18 {
        link.send_message(Message::binary(vec![9; 40])).await.unwrap();
    }
    assert_eq!(link.ended().await.code(), 1008, "too many of them");
}

#[tokio::test]
async fn who_did_not_agree_on_it_is_closed() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    link.send_message(chunk(1, 0, b"no")).await.unwrap();
    assert_eq!(link.expect("ERROR").await["code"], "INVALID_MESSAGE");
    assert_eq!(link.ended().await.code(), 1003);
}
