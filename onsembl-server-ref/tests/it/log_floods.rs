//! Peers that repeat whatever writes a line into the server's log.

use crate::fixture::PATIENCE;
use crate::peer::{Peer, Request};
use crate::shown::{ServerProgram, hello};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};

/// Of each kind, far more than the log may take.
const MANY: usize = 3000;
/// What a peer may have written of one kind: a burst, a little more, and the counts.
const MOST: usize = 48 * 1024;

fn frame(kind: &str, payload: &Value) -> String {
    json!({ "type": kind, "id": "m", "timestamp": 1, "payload": payload }).to_string()
}

/// Sends it over and over, and reads what comes. What breaks the protocol ends the link; then another is opened.
async fn flood(server: &ServerProgram, number: usize, text: impl Fn(usize) -> String) {
    let mut links = 0;
    let mut link = None;
    for n in 0..MANY {
        let agent = match &mut link {
            Some(agent) => agent,
            none => {
                links += 1;
                if links > 20 {
                    return;
                }
                none.insert(server.agent(hello(&format!("key-{number}"), "flood")).await)
            }
        };
        if agent.send_message(text(n).into()).await.is_err() {
            link = None;
        } else if n % 100 == 99
            && let Some(Err(_)) = agent.next_by(tokio::time::Instant::now()).await
        {
            link = None;
        }
    }
    if let Some(mut agent) = link {
        // All of it was heard when this is answered; or the link ended, which is an answer too.
        agent.send(frame("PING", &json!({ "timestamp": 7 }))).await;
        let by = tokio::time::Instant::now() + PATIENCE;
        while let Some(Ok(next)) = agent.next_by(by).await {
            if next["type"] == "PONG" {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_can_be_repeated_without_a_limit() {
    let long = "y".repeat(60_000);
    let kinds: Vec<(&str, Box<dyn Fn(usize) -> String>)> = vec![
        (
            "faults",
            Box::new(|_| {
                frame(
                    "AGENT_ERROR",
                    &json!({ "errorType": "x", "message": "", "recoverable": true }),
                )
            }),
        ),
        (
            "long faults",
            Box::new(move |_| {
                frame(
                    "AGENT_ERROR",
                    &json!({ "errorType": "x", "message": long, "recoverable": true }),
                )
            }),
        ),
        (
            "gaps of nothing",
            Box::new(|n| {
                frame(
                    "OUTPUT_GAP",
                    &json!({
                        "commandId": "c", "streamType": "STDOUT", "incarnation": 7, "sequence": n + 1, "offset": 0,
                        "length": 0, "because": "spool-full",
                    }),
                )
            }),
        ),
        (
            "terminals",
            Box::new(|n| {
                frame(
                    "TERMINAL_OPENED",
                    &json!({
                        "commandId": format!("terminal-{n}"), "columns": 80, "rows": 24, "incarnation": n,
                    }),
                )
            }),
        ),
        (
            "terminals under other ids",
            Box::new(|n| {
                frame(
                    "TERMINAL_OPENED",
                    &json!({
                        "commandId": format!("c-{n}"), "columns": 80, "rows": 24, "incarnation": n,
                    }),
                )
            }),
        ),
        (
            "reports on commands of nobody",
            Box::new(|n| {
                frame(
                    "COMMAND_COMPLETE",
                    &json!({
                        "commandId": format!("c-{n}"), "status": "failed", "exitCode": 1, "executionTime": 1,
                        "duration": 1, "tokensUsed": 0,
                    }),
                )
            }),
        ),
        ("what cannot be read", Box::new(|n| format!("{{ nonsense {n}"))),
        ("wrong fields", Box::new(|_| frame("COMMAND_COMPLETE", &json!({ "commandId": 7 })))),
    ];
    for (number, (what, text)) in kinds.iter().enumerate() {
        let server = ServerProgram::start("info").await;
        flood(&server, number, text).await;
        let (before, counters) = (server.log().len(), counters(&server).await);
        let log = server.end().await;
        assert!(
            log.len() < MOST,
            "{what}: {} bytes of log, {before} before the end: {}",
            log.len(),
            &log[..2000]
        );
        assert!(log.lines().all(|line| line.len() < 8192), "{what}: a long line");
        if *what == "faults" {
            assert_eq!(counters["agent_faults"], MANY, "counters count all of them: {counters}");
            assert!(log.contains("left out"), "{log}");
        }
    }
}

async fn counters(server: &ServerProgram) -> Value {
    let page = Request::get("/healthz").send(server.address).await.json();
    page["counters"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_by_links_and_requests() {
    let server = ServerProgram::start("info").await;
    let bearer = server.token(TokenKind::Dashboard);
    for n in 0..600 {
        let path = format!("/api/commands/no-{n}");
        for token in [Some(bearer.as_str()), Some("nonsense"), None] {
            let _ = Request::get(&path).bearer(token).send(server.address).await;
        }
        let mut dashboard = Peer::open(server.address, "/ws/dashboard", Some(&bearer)).await;
        dashboard.send("nonsense").await;
        dashboard.close(None).await;
        let _ = Request::upgrade("/ws/agent").version_1_0().send(server.address).await;
    }
    let log = server.end().await;
    assert!(log.len() < 256 * 1024, "{} bytes of log: {}", log.len(), &log[..2000]);
}
