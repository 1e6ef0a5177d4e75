//! Frames that nobody should send: each gets one clear answer, and nobody else feels it.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::{beat, dashboard_hello, extended_hello, quoted, wrapper_hello};
use crate::peer::{Ended, Peer};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// One link of each kind, before and after its hello.
async fn each_kind(world: &World) -> Vec<(&'static str, Peer)> {
    let mut agent = world.agent_link("eve").await;
    agent.send(wrapper_hello("mock-eve")).await;
    let _ = agent.expect("ACK").await;
    let mut dashboard = world.dashboard_link("eve").await;
    dashboard.send(dashboard_hello("eve")).await;
    let _ = dashboard.expect("ACK").await;
    vec![
        ("agent", agent),
        ("dashboard", dashboard),
        ("agent before its hello", world.agent_link("eve").await),
        ("dashboard before its hello", world.dashboard_link("eve").await),
    ]
}

/// A well-behaved agent that must not feel anything.
struct Bystander(Peer, u64);

impl Bystander {
    async fn new(world: &World) -> Self {
        Self(agent(world, "good", "key-1", "run-1").await.0, 0)
    }

    async fn stay_well(mut self, world: &World) {
        self.1 += 1;
        self.0.send(beat(self.1, 1)).await;
        let recorded = |b: &Value| b["recorded"]["sequence"] == 1;
        let _ = self.0.expect_that("SERVER_HEARTBEAT", recorded).await;
        let shown = world.agent("good").await;
        assert_eq!(
            (&shown["status"], &shown["because"]),
            (&json!("online"), &json!("session opened"))
        );
    }
}

const NONSENSE: [&str; 21] = [
    "",
    "nonsense",
    "{",
    "}",
    "[]",
    "null",
    "17",
    "\"AGENT_CONNECT\"",
    "{}",
    r#"{"type":null}"#,
    r#"{"type":17,"id":"x","timestamp":1,"payload":{}}"#,
    r#"{"type":["PING"],"id":"x","timestamp":1,"payload":{}}"#,
    r#"{"type":"PING","id":"x","timestamp":1,"payload":17}"#,
    r#"{"type":"PING","id":"x","timestamp":1,"payload":[]"#,
    r#"{"type":"PING","id":"x","timestamp":1,"payload":{}} trailing"#,
    r#"{"type":"PING","id":{"a":1},"timestamp":1,"payload":{}}"#,
    r#"{"type":"PING","id":"x","timestamp":1,"payload":"text"}"#,
    "{\"type\":\"PING\",\"id\":\"\u{0}\",",
    r#"{"type":"\ud800","id":"x","timestamp":1,"payload":{}}"#,
    r#"{"type":"PING" "id":"x"}"#,
    "\u{feff}{}",
];

#[tokio::test]
async fn twenty_undecodable_texts_are_answered_and_one_more_ends_the_link() {
    let world = World::start().await;
    let good = Bystander::new(&world).await;
    for (who, mut link) in each_kind(&world).await {
        let (last, answered) = NONSENSE.split_last().unwrap();
        for text in answered {
            link.send(*text).await;
            let error = link.expect("ERROR").await;
            assert_eq!(error["code"], "INVALID_MESSAGE", "{who}: {text}");
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
        link.send(*last).await;
        let (ended, after) = link.ended_by(Duration::from_secs(5)).await;
        let why = "too many messages that could not be decoded".to_owned();
        assert_eq!(ended, Ended::With(1008, why), "{who}");
        assert!(after.iter().all(|m| m["type"] != "ERROR"), "{who}: {after:#?}");
    }
    good.stay_well(&world).await;
}

#[tokio::test]
async fn an_error_names_what_could_still_be_read() {
    let world = World::start().await;
    for (who, mut link) in each_kind(&world).await {
        link.send(r#"{"type":"COMMAND_CANCEL","id":"m-17","timestamp":1,"payload":{"commandId":"cmd-4","force":"yes"}}"#).await;
        link.send(r#"{"type":"COMMAND_ACK","id":"m-17","timestamp":1,"payload":{"commandId":"cmd-4","status":17}}"#).await;
        let error = link.expect("ERROR").await;
        let wanted = [&error["code"], &error["originalMessageId"], &error["context"]["commandId"]];
        assert_eq!(wanted, ["INVALID_MESSAGE", "m-17", "cmd-4"], "{who}");
    }
}

#[tokio::test]
async fn unknown_types_and_values_are_borne_in_silence() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let _ = link.expect("SERVER_HEARTBEAT").await;
    for text in [
        r#"{"type":"SOMETHING_NEW","id":"x","timestamp":1,"payload":{"a":[1,2,{"b":null}]}}"#,
        r#"{"type":"COMMAND_REQUEST","id":"x","timestamp":1,"payload":{"commandId":"c","command":"x"}}"#,
        r#"{"type":"COMMAND_ACK","id":"x","timestamp":"2025-11-02T10:00:00Z","payload":{"commandId":"c","status":"PONDERING"}}"#,
        r#"{"type":"TRACE_EVENT","id":"x","timestamp":1,"payload":{"anything":true}}"#,
        r#"{"type":"PONG","timestamp":1}"#,
        r#"{"type":"PONG","id":"x","timestamp":1,"payload":null}"#,
        r#"{"type":"AGENT_HEARTBEAT","id":"x","timestamp":1,"payload":{"sequence":1,"new_field":1}}"#,
    ] {
        link.send(text).await;
    }
    let heard = link.all_until_pong().await;
    assert!(heard.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"), "{heard:#?}");
}

#[tokio::test]
async fn binary_is_refused_with_a_code_and_a_reason() {
    let world = World::start().await;
    let good = Bystander::new(&world).await;
    for (who, mut link) in each_kind(&world).await {
        link.send_message(Message::binary(vec![0u8, 159, 146, 150])).await.unwrap();
        let reason = "only text messages are accepted here".to_owned();
        assert_eq!(link.ended().await, Ended::With(1003, reason), "{who}");
    }
    good.stay_well(&world).await;
}

#[tokio::test]
async fn a_message_over_a_mebibyte_ends_the_link_and_one_below_is_taken() {
    let world = World::start().await;
    let good = Bystander::new(&world).await;
    for (who, mut link) in each_kind(&world).await {
        let large = |bytes| {
            format!(
                r#"{{"type":"NEW","id":"x","timestamp":1,"payload":{{"a":{}}}}}"#,
                quoted(&"x".repeat(bytes))
            )
        };
        link.send(large(1024 * 1024 - 100)).await;
        let _ = link.send_message(Message::text(large(2 * 1024 * 1024))).await;
        let (ended, before) = link.ended_by(Duration::from_secs(10)).await;
        assert_eq!(
            ended,
            Ended::With(1009, "a message was larger than the limit".to_owned()),
            "{who}"
        );
        assert!(
            before.iter().all(|m| m["payload"]["code"] != "INVALID_MESSAGE"),
            "{who}: {before:#?}"
        );
    }
    good.stay_well(&world).await;
}

#[tokio::test]
async fn nesting_ten_thousand_deep_is_one_error() {
    let world = World::start().await;
    let good = Bystander::new(&world).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for (who, mut link) in each_kind(&world).await {
            let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
            link.send(format!(
                r#"{{"type":"PING","id":"x","timestamp":1,"payload":{{"a":{deep}}}}}"#
            ))
            .await;
            let error = link.expect("ERROR").await;
            assert!(
                error["message"].as_str().unwrap().contains("nests deeper than 32"),
                "{who}: {error}"
            );
            link.send(
                r#"{"type":"PING","id":"x","timestamp":5,"payload":{"timestamp":1762080000000}}"#,
            )
            .await;
            if !who.starts_with("agent before") {
                let next = link.expect("PONG").await;
                assert_eq!(next["timestamp"], 1_762_080_000_000i64, "{who}");
            }
        }
    }
    good.stay_well(&world).await;
}

#[tokio::test]
async fn ids_names_and_texts_have_bounds() {
    let world = World::start().await;
    let long = "x".repeat(300);
    let mut link = world.agent_link("ann").await;
    link.send(wrapper_hello(&long)).await;
    assert!(link.expect("ERROR").await["message"].as_str().unwrap().contains("agentId"));
    link.send(extended_hello(&long, "i", &[])).await;
    let _ = link.expect("ERROR").await;
    link.send(extended_hello("key-1", &long, &[])).await;
    let _ = link.expect("ERROR").await;
    link.send(extended_hello("key-1", "run-1", &[])).await;
    let ack = link.expect("ACK").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(dashboard_hello("ann")).await;
    let _ = dashboard.expect("ACK").await;
    for (command, text) in [(long.as_str(), "x".to_owned()), ("cmd-1", "x".repeat(64 * 1024 + 1))] {
        dashboard.send(crate::frames::page_command(command, &id, &text, &[])).await;
        assert_eq!(dashboard.expect("ERROR").await["code"], "INVALID_MESSAGE");
    }
    assert!(link.all_until_pong().await.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"));
}

#[tokio::test]
async fn bytes_that_break_the_framing_end_the_link_with_a_code() {
    let world = World::start().await;
    let good = Bystander::new(&world).await;
    let token = world.token("eve", onsembl_server_ref::auth::TokenKind::Agent);
    let cases: [(&str, &[u8], u16); 4] = [
        ("an unmasked frame", b"\x81\x02hi", 1002),
        ("a reserved opcode", b"\x83\x80\0\0\0\0", 1002),
        ("reserved bits", b"\xf1\x80\0\0\0\0", 1002),
        ("text that is no UTF-8", b"\x81\x82\0\0\0\0\xff\xfe", 1007),
    ];
    for (what, bytes, code) in cases {
        let mut stream = TcpStream::connect(world.address()).await.unwrap();
        let request = format!(
            "GET /ws/agent?token={token} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect(what).unwrap();
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{what}");
        // An unmasked close frame with a code and a text.
        let frame = &answer[head..];
        assert_eq!(frame.first(), Some(&0x88), "{what}: {frame:?}");
        assert_eq!(u16::from_be_bytes([frame[2], frame[3]]), code, "{what}");
        assert!(frame.len() > 4, "{what}: with a text");
    }
    good.stay_well(&world).await;
}
