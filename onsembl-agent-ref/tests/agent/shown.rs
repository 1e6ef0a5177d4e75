//! Servers and proxies whose words try to write into the agent's terminal and log.

use super::binary::{TOKEN, program, signal, start, status};
use super::server::{Server, read_head};
use super::{PATIENCE, soon};
use onsembl_protocol::id::{AgentId, CommandId, StopId};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{Ack, EmergencyStop, ErrorCode, ErrorReply};
use std::process::Stdio;
use std::time::Instant;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// Fills the clipboard, clears the screen, ends a line, and turns the direction of writing.
const BAD: &str =
    "x\u{1b}]52;c;cm0=\u{7}\u{1b}[2J\u{9b}2J\r\nERROR forged\u{202e}\u{2028}\u{200b}y";

#[track_caller]
fn is_fit_for_a_terminal(what: &str, text: &str) {
    let is_bad = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{200b}' | '\u{2028}' | '\u{202e}')
    };
    if let Some(bad) = text.chars().find(|c| is_bad(*c)) {
        panic!("{what} shows {bad:?}: {text:?}");
    }
    assert!(!text.lines().any(|line| line.starts_with("ERROR forged")), "{what}: {text:?}");
}

#[tokio::test]
async fn what_a_server_says_reaches_neither_terminal_nor_log_as_it_is_nor_without_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    let child = start(dir.path(), &server.url, "builder");
    let mut peer = server.accept().await;
    let ack = Ack {
        message_id: peer.hello_id.clone(),
        success: true,
        agent_id: Some(AgentId::new(BAD)),
        authenticated: Some(true),
        ..Ack::default()
    };
    peer.send(ServerToAgent::Ack(ack)).await;
    peer.send(ServerToAgent::Error(ErrorReply::new(ErrorCode::parse(BAD), BAD))).await;
    peer.send(ServerToAgent::EmergencyStop(EmergencyStop {
        reason: Some(BAD.to_owned()),
        triggered_by: Some(BAD.to_owned()),
        stop_id: Some(StopId::new(BAD)),
        ..EmergencyStop::default()
    }))
    .await;
    peer.run(BAD, BAD).await;
    peer.cancel(BAD, true).await;
    let confirmed = Ack { success: true, command_id: Some(CommandId::new(BAD)), ..Ack::default() };
    peer.send(ServerToAgent::Ack(confirmed)).await;
    for n in 0..3000 {
        peer.send_text(format!(
            r#"{{"type":"COMMAND_REQUEST","id":"{n}","payload":{{"commandId":7}}}}"#
        ))
        .await;
    }
    let mut table = String::new();
    // The agent writes its status once a second.
    let by = Instant::now() + PATIENCE;
    while !table.contains("52;c") && Instant::now() < by {
        table = status(dir.path(), &["--name", "builder"]).await.1;
    }
    if !table.contains("52;c") {
        signal(&child, "-TERM");
        let done = soon("the end", child.wait_with_output()).await.unwrap();
        panic!("{table}\n{}", String::from_utf8_lossy(&done.stderr));
    }
    is_fit_for_a_terminal("status", &table);
    let (_, json) = status(dir.path(), &["--json"]).await;
    is_fit_for_a_terminal("status --json", &json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["agent_id"], BAD, "JSON means the same");
    is_fit_for_a_terminal("the list", &status(dir.path(), &[]).await.1);

    signal(&child, "-TERM");
    let done = soon("the end", child.wait_with_output()).await.unwrap();
    let log = String::from_utf8(done.stderr).unwrap();
    is_fit_for_a_terminal("the log", &log);
    assert!(log.contains("forged"), "the words are there to be seen");
    let undecodable = log.lines().filter(|line| line.contains("cannot be decoded")).count();
    // A burst of 200, and a few more in the time of the test: DEFAULTS.md.
    assert!((1..300).contains(&undecodable), "{undecodable} lines of one kind");
}

#[tokio::test]
async fn what_a_proxy_says_reaches_neither_terminal_nor_log_as_it_is() {
    for answer in [
        "HTTP/1.1 403 Go \u{1b}[2J\u{9b} away\r\nServer: x\u{1b}[2J\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{BAD}", BAD.len()),
        format!(
            "HTTP/1.1 503 No\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{BAD}",
            BAD.len()
        ),
        "HTTP/1.1 302 Found\r\nLocation: https://\u{9b}2J\u{1b}[2J/\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        format!("{BAD}\r\n\r\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let child = program(dir.path())
            .args(["run", "--server", &url, "--name", "builder", "--log", "trace"])
            .env("ONSEMBL_TOKEN", TOKEN)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..2 {
            let (mut stream, _) = soon("a dial", listener.accept()).await.unwrap();
            let _ = read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
            if answer.contains("401") {
                // It waits for another token now.
                break;
            }
        }
        let shown = loop {
            let (_, shown) = status(dir.path(), &["--name", "builder"]).await;
            if shown.contains("reconnecting") || shown.contains("closed") {
                break shown;
            }
        };
        is_fit_for_a_terminal(&format!("status after {answer:?}"), &shown);
        signal(&child, "-TERM");
        let done = soon("the end", child.wait_with_output()).await.unwrap();
        let log = String::from_utf8(done.stderr).unwrap();
        is_fit_for_a_terminal(&format!("the log after {answer:?}"), &log);
    }
}
