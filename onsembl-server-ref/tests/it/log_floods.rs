//! Peers that repeat whatever writes a line into the server's log.

use crate::fixture::PATIENCE;
use crate::peer::{Peer, Request};
use crate::shown::{ServerProgram, hello};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};

/// Of each kind, far more than the log may take.
const MANY: usize = 6000;
/// What a peer may have written of a warning: a burst, a little more, and the counts.
const WARNINGS: usize = 48 * 1024;
/// The same of the course of things, of which more is kept.
const COURSE: usize = 400 * 1024;

fn frame(kind: &str, payload: &Value) -> String {
    json!({ "type": kind, "id": "m", "timestamp": 1, "payload": payload }).to_string()
}

/// Sends it over and over, and reads what comes. What breaks the protocol ends the link; then another is opened.
async fn flood(server: &ServerProgram, many: usize, text: impl Fn(usize) -> String) {
    let mut links = 0;
    let mut link = None;
    for n in 0..many {
        let agent = match &mut link {
            Some(agent) => agent,
            none => {
                links += 1;
                if links > 20 {
                    return;
                }
                none.insert(server.agent(hello("key-1", "flood")).await)
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

/// What writes a line, each time it comes.
fn message(what: &str, n: usize) -> String {
    let opened = |id: String| {
        frame("TERMINAL_OPENED", &json!({ "commandId": id, "program": "sh", "incarnation": n }))
    };
    let fault = |text: &str| {
        let payload = json!({ "errorType": "x", "message": text, "recoverable": true });
        frame("AGENT_ERROR", &payload)
    };
    match what {
        "faults" => fault(""),
        "long faults" => fault(&"y".repeat(60_000)),
        "gaps of nothing" => frame(
            "OUTPUT_GAP",
            &json!({
                "commandId": "c", "streamType": "STDOUT", "incarnation": 7, "sequence": n + 1,
                "offset": 0, "length": 0, "because": "spool-full",
            }),
        ),
        "terminals" => opened(format!("terminal-{n}")),
        "terminals under other ids" => opened(format!("c-{n}")),
        "ends of commands of nobody" => frame(
            "COMMAND_COMPLETE",
            &json!({
                "commandId": format!("c-{n}"), "status": "FAILED", "exitCode": 1,
                "executionTime": 1, "duration": 1, "tokensUsed": 0,
            }),
        ),
        "what cannot be read" => format!("{{ nonsense {n}"),
        "wrong fields" => frame("COMMAND_COMPLETE", &json!({ "commandId": 7 })),
        other => panic!("no such kind: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_can_be_repeated_without_a_limit() {
    for (what, many, most) in [
        ("faults", MANY, WARNINGS),
        ("long faults", MANY / 10, WARNINGS),
        ("gaps of nothing", MANY, WARNINGS),
        ("terminals", MANY, COURSE),
        ("terminals under other ids", MANY, WARNINGS),
        ("ends of commands of nobody", MANY, COURSE),
        ("what cannot be read", MANY, WARNINGS),
        ("wrong fields", MANY, WARNINGS),
    ] {
        let server = ServerProgram::start("info").await;
        flood(&server, many, |n| message(what, n)).await;
        let counters = counters(&server).await;
        let log = server.end().await;
        let begin: String = log.chars().take(4000).collect();
        assert!(log.len() < most, "{what}: {} bytes of log: {begin}", log.len());
        assert!(log.lines().all(|line| line.len() < 8192), "{what}: a long line: {begin}");
        if what == "faults" {
            assert_eq!(counters["agent_faults"], many, "counters count all of them: {counters}");
            assert!(log.contains("left out"), "{begin}");
        }
    }
}

async fn counters(server: &ServerProgram) -> Value {
    let log = server.log();
    let (_, rest) = log.split_once("serving metrics address=").expect("it serves metrics");
    let address = rest.split_whitespace().next().unwrap().parse().unwrap();
    let page = Request::get("/metrics").send(address).await.body;
    let events = page.lines().filter_map(|line| line.strip_prefix("onsembl_events_total{event=\""));
    let counted = events.filter_map(|line| {
        let (event, count) = line.split_once("\"} ")?;
        Some((event.to_owned(), count.parse::<u64>().ok()?.into()))
    });
    Value::Object(counted.collect())
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
    let begin: String = log.chars().take(4000).collect();
    assert!(log.len() < COURSE, "{} bytes of log: {begin}", log.len());
}
