//! A server of the existing kind: it acknowledges the hello without extensions, probes by JSON
//! `PING`, answers what it does not know with an `ERROR`, and stores nothing that it would say.

use super::binary::program;
use super::server::{AGENT, Peer, Server, upgrade};
use super::{Agent, soon};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{self, AgentToServer};
use serde_json::Value;
use std::process::Stdio;
use tokio::net::TcpListener;

/// The next message as it travels.
async fn raw(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.text().await.unwrap()).unwrap()
}

async fn session(server: &mut Server) -> Peer {
    let mut peer = server.accept().await;
    peer.send_text(format!(
        r#"{{"type":"ACK","id":"msg-1","timestamp":1,"payload":{{"messageId":"x","success":true,"connectionId":"agent-1","agentId":"{AGENT}","authenticated":true}}}}"#
    ))
    .await;
    peer
}

#[tokio::test]
async fn a_legacy_server_gets_what_it_understands_and_nothing_else() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = session(&mut server).await;

    peer.send_text(
        r#"{"type":"PING","id":"ping-1","timestamp":1,"payload":{"timestamp":1762041600123}}"#,
    )
    .await;
    let pong = raw(&mut peer).await;
    assert_eq!(
        (&pong["type"], &pong["payload"]["timestamp"]),
        (&"PONG".into(), &1762041600123_u64.into())
    );

    peer.send_text(
        r#"{"type":"COMMAND_REQUEST","id":"msg-2","timestamp":1,"payload":{"commandId":"cmd-1-x","content":"printf 'a\\377b'; printf err >&2; exit 2","command":"printf 'a\\377b'; printf err >&2; exit 2","type":"NATURAL","priority":5,"args":[],"executionConstraints":{"timeLimitMs":300000,"maxRetries":1},"dashboardId":"d","userId":"u"}}"#,
    )
    .await;
    let mut seen = Vec::new();
    let (mut stdout, mut stderr, mut sequences) = (String::new(), String::new(), Vec::new());
    loop {
        let message = raw(&mut peer).await;
        let payload = &message["payload"];
        let kind = message["type"].as_str().unwrap().to_owned();
        seen.push(kind.clone());
        match kind.as_str() {
            "TERMINAL_OUTPUT" => {
                for extension in ["offset", "incarnation", "encoding"] {
                    assert!(payload.get(extension).is_none(), "{message}");
                }
                assert_eq!(payload["agentId"], AGENT);
                let content = payload["content"].as_str().unwrap();
                match payload["streamType"].as_str().unwrap() {
                    "STDOUT" => stdout.push_str(content),
                    "STDERR" => stderr.push_str(content),
                    other => panic!("{other}"),
                }
                sequences.push(payload["sequence"].as_u64().unwrap());
            }
            "COMMAND_COMPLETE" => {
                assert_eq!(
                    (&payload["status"], &payload["exitCode"]),
                    (&"FAILED".into(), &2.into())
                );
                break;
            }
            "COMMAND_ACK" => {}
            other => panic!("{other} is not for a legacy server"),
        }
    }
    assert_eq!((stdout.as_str(), stderr.as_str()), ("a\u{fffd}b", "err"));
    assert_eq!(seen.last().unwrap(), "COMMAND_COMPLETE");
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert!(sequences.iter().all(|n| (1 << 16..1 << 31).contains(n)), "{sequences:?}");
    assert!(peer.controls > 0, "its heartbeat is a native ping");
    drop(peer);

    // What was sent counts as confirmed: nothing is said twice.
    let mut peer = session(&mut server).await;
    assert!(peer.hello.extensions.clone().unwrap().commands.is_empty());
    peer.send_text(r#"{"type":"PING","id":"ping-2","timestamp":1,"payload":{"timestamp":5}}"#)
        .await;
    assert_eq!(raw(&mut peer).await["type"], "PONG");
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn output_of_any_size_stays_in_order_and_in_pieces_that_a_legacy_server_takes() {
    const LINES: usize = 200_000;
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = session(&mut server).await;
    peer.run("c", &format!("seq {LINES}")).await;
    let mut stdout = String::new();
    loop {
        let text = peer.text().await.unwrap();
        match wire::decode::<AgentToServer>(&text, &Limits::DEFAULT).unwrap().message {
            AgentToServer::Output(output) => {
                let piece = output.content.to_text();
                assert!(piece.len() <= 32 * 1024);
                stdout.push_str(&piece);
            }
            AgentToServer::CommandComplete(_) => break,
            AgentToServer::CommandAck(_) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    let wanted: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    assert!(stdout == wanted, "{} bytes instead of {}", stdout.len(), wanted.len());
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn what_was_handed_to_the_link_last_still_arrives_when_the_agent_stops() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = session(&mut server).await;
    peer.run("c", "exec 2>/dev/null; trap 'echo bye; exit 4' TERM; echo on; while :; do :; done")
        .await;
    peer.acknowledged().await;
    assert_eq!(peer.output().await.content.to_text(), "on\n");
    let stopping = tokio::spawn(agent.stop());
    assert_eq!(peer.output().await.content.to_text(), "bye\n");
    assert_eq!(peer.complete().await.exit_code, Some(4));
    peer.end().await;
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_doctor_goes_as_far_as_a_legacy_server_does() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", tcp.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let doctor = program(dir.path())
        .args(["doctor", "--json", "--idle-hold", "200ms", "--server", &url])
        .env("ONSEMBL_TOKEN", "t")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The first connection only shows that there is one to be had.
    drop(soon("a connection", tcp.accept()).await.unwrap());
    let (stream, _) = soon("a dial", tcp.accept()).await.unwrap();
    let mut peer = Peer::greet(upgrade(stream).await.1).await;
    peer.send_text(format!(
        r#"{{"type":"ACK","id":"msg-1","timestamp":1,"payload":{{"messageId":"x","success":true,"agentId":"{AGENT}"}}}}"#
    ))
    .await;
    while let Ok(text) = peer.text().await {
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["type"], "PING", "a legacy server gets nothing else: {text}");
        peer.send_text(r#"{"type":"PONG","id":"p","timestamp":1,"payload":{"timestamp":1}}"#).await;
    }
    let output = soon("the doctor", doctor.wait_with_output()).await.unwrap();
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| {
        checks.as_array().unwrap().iter().find(|check| check["check"] == name).unwrap().clone()
    };
    for name in ["hello", "heartbeat", "large-frame", "idle"] {
        assert_eq!(of(name)["verdict"], "PASS", "{checks:#}");
    }
    assert!(of("hello")["found"].as_str().unwrap().contains("legacy"), "{checks:#}");
    assert_eq!(output.status.code(), Some(0), "{checks:#}");
}
