//! Names, ids, texts and reasons that try to write into the terminals and logs of others.

use crate::command_line::{program, run, token};
use crate::fixture::PATIENCE;
use crate::peer::{Http, Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

/// Fills the clipboard, clears the screen, sets the title, ends a line, and turns the direction of writing.
const BAD: &str =
    "x\u{1b}]52;c;cm0=\u{7}\u{1b}[2J\u{9b}2J\r\nERROR forged\u{202e}\u{2028}\u{200b}y";

/// A server as a program of its own, with its log in a file.
pub(crate) struct ServerProgram {
    pub(crate) data: TempDir,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    child: Child,
    /// Of all its agents: one of another lineage could not come back as any of them.
    agent_token: OnceLock<String>,
}

impl ServerProgram {
    pub(crate) async fn start(rules: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let log = data.path().join("test.log");
        let mut child = program()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
                "--log",
                rules,
                "--data",
            ])
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().expect("an address");
        let address = line.parse().unwrap();
        Self { data, address, log, child, agent_token: OnceLock::new() }
    }

    pub(crate) fn token(&self, kind: TokenKind) -> String {
        token(self.data.path(), kind)
    }

    pub(crate) async fn agent(&self, hello: Value) -> Peer {
        let token = self.agent_token.get_or_init(|| self.token(TokenKind::Agent));
        let mut agent = Peer::open(self.address, "/ws/agent", Some(token)).await;
        agent.send(hello.to_string()).await;
        let _ = agent.expect("ACK").await;
        agent
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(std::fs::read(&self.log).unwrap()).unwrap()
    }

    /// Ends it in order, and gives its whole log.
    pub(crate) async fn end(mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
        self.log()
    }
}

pub(crate) fn hello(key: &str, name: &str) -> Value {
    json!({
        "type": "AGENT_CONNECT", "id": "hello", "timestamp": 1, "payload": {
            "agentId": key, "name": name, "agentType": "CUSTOM", "version": name, "hostMachine": name,
            "capabilities": { "maxTokens": 0, "supportsInterrupt": true, "supportsTrace": false },
            "extensions": {
                "features": ["heartbeats", "output-bytes", "command-reports"],
                "agentKey": key, "instance": "run-1", "maxParallel": 1000, "commands": [],
            },
        },
    })
}

/// What a terminal obeys, or what is not seen as what it is.
fn is_bad(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{200b}' | '\u{2028}' | '\u{202e}')
}

#[track_caller]
fn is_fit_for_a_terminal(what: &str, text: &str) {
    if let Some(bad) = text.chars().find(|c| is_bad(*c)) {
        panic!("{what} shows {bad:?}: {text:?}");
    }
    for line in text.lines() {
        assert!(!line.starts_with("ERROR forged"), "{what} has a line that nobody wrote: {text:?}");
    }
}

fn command(id: &str, agent: &str) -> String {
    json!({
        "type": "COMMAND_REQUEST", "id": BAD, "timestamp": 1, "payload": {
            "agentId": agent, "commandId": id, "command": BAD, "args": [BAD], "env": {},
            "type": "NATURAL", "priority": 5,
        },
    })
    .to_string()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// One agent whose every word is bad, a command with a bad id that failed for a bad reason, and one that runs.
async fn hostile(server: &ServerProgram) -> (Peer, Peer) {
    let mut agent = server.agent(hello("key-1", BAD)).await;
    let bearer = server.token(TokenKind::Dashboard);
    let mut dashboard = Peer::open(server.address, "/ws/dashboard", Some(&bearer)).await;
    dashboard.send(crate::frames::extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    for id in [BAD, "plain"] {
        dashboard.send(command(id, BAD)).await;
        let _ = agent.expect_that("COMMAND_REQUEST", |request| request["commandId"] == id).await;
        let ack = json!({ "commandId": id, "status": "executing" });
        agent
            .send(
                json!({ "type": "COMMAND_ACK", "id": "a", "timestamp": 1, "payload": ack })
                    .to_string(),
            )
            .await;
    }
    let failed = json!({
        "commandId": BAD, "status": "failed", "exitCode": 1, "error": BAD, "executionTime": 1,
        "duration": 1, "tokensUsed": 0,
    });
    for (kind, payload) in [
        ("AGENT_ERROR", json!({ "errorType": BAD, "message": BAD, "recoverable": true })),
        (BAD, json!({})),
        ("COMMAND_ACK", json!({ "commandId": 7, "status": BAD })),
        ("TERMINAL_OPENED", json!({ "commandId": BAD, "columns": 80, "rows": 24 })),
        (
            "OUTPUT_GAP",
            json!({
                "commandId": BAD, "streamType": "STDOUT", "incarnation": 7, "sequence": 1, "offset": 0,
                "length": 5, "because": BAD,
            }),
        ),
        ("COMMAND_COMPLETE", failed),
    ] {
        agent
            .send(
                json!({ "type": kind, "id": BAD, "timestamp": 1, "payload": payload }).to_string(),
            )
            .await;
    }
    let ended = |status: &Value| status["commandId"] == BAD && status["status"] == "failed";
    let _ = dashboard.expect_that("COMMAND_STATUS", ended).await;
    (agent, dashboard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_peer_chose_reaches_a_terminal_or_the_log_as_it_is() {
    let server = ServerProgram::start("debug").await;
    let (agent, dashboard) = hostile(&server).await;
    let url = format!("http://{}", server.address);
    let bearer = server.token(TokenKind::Dashboard);
    let verbs: &[&[&str]] = &[
        &["agents"],
        &["agents", "--json"],
        &["commands"],
        &["commands", "--json"],
        &["commands", BAD],
        &["commands", "--json", BAD],
        &["commands", "--agent", BAD],
        &["commands", &format!("no {BAD}")],
        &["output", &format!("no {BAD}")],
        &["output", BAD],
        &["cancel", &format!("no {BAD}")],
        &["control", &format!("no {BAD}"), "pause"],
        &["control", BAD, "pause", "--reason", BAD],
        &["audit", BAD],
        &["audit", "--json", BAD],
        &["export", BAD],
        &["exec", "--timeout", "1s", &format!("no {BAD}"), "--", BAD],
        &["exec", "--timeout", "1s", BAD, "--", "wait"],
        &["stop", BAD, "--reason", BAD],
        &["stop", "--all", "--json", "--reason", BAD],
        &["agents"],
        &["exec", "--timeout", "1s", BAD, "--", "refused"],
        &["release", BAD],
        &["release", "--all"],
        &["revoke", BAD],
        &["replay", BAD],
    ];
    let mut shown = 0;
    for verb in verbs {
        let mut command = program();
        let _ = command.arg(verb[0]);
        if matches!(verb[0], "revoke") {
            let _ = command.arg("--data").arg(server.data.path());
        } else if verb[0] != "replay" {
            let _ = command.args(["--server", &url]).env("ONSEMBL_TOKEN", &bearer);
        }
        let (code, text) = run(command.args(&verb[1..])).await;
        assert_ne!(code, Some(2).filter(|_| verb[0] != "replay"), "{verb:?}: {text}");
        is_fit_for_a_terminal(&format!("{verb:?}"), &text);
        shown += usize::from(text.contains("\\u{1b}") || text.contains("\\u001b"));
    }
    assert!(shown >= 10, "the words are there to be seen: {shown}");
    tokio::join!(agent.close(None), dashboard.close(None));

    let bad_header = format!("{}/api/commands/{}", "", percent(BAD));
    let page: Http = Request::get(&bad_header).bearer(Some(&bearer)).send(server.address).await;
    is_fit_for_a_terminal("the head of a page", &page.head.replace("\r\n", "\n"));

    let log = server.end().await;
    is_fit_for_a_terminal("the log", &log);
    assert!(log.contains("forged"), "the words are there to be seen");
    for line in log.lines() {
        let is_ours = line.starts_with("20") && line.contains("Z ");
        assert!(is_ours, "a line of the log that nobody wrote: {line:?}");
    }
}

/// A server of somebody else, or a proxy, says what it likes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_foreign_server_answers_is_shown_escaped() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let head = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let bad = "x\u{1b}]52;c;cm0=\u{7}\u{9b}2J\nERROR forged\u{202e}";
    let answers = [
        head("500 Oops \u{1b}[2J", "", bad),
        head("500 Oops", "", &json!({ "error": bad }).to_string()),
        head("404 Not \u{9b}2J Found", "", bad),
        head("302 Found", "Location: https://x/\u{1b}[2J\u{9b}\r\n", ""),
        head("200 OK", "", bad),
        head(
            "200 OK",
            "",
            &json!({ "agents": [{ "agent_id": bad, "name": bad, "agent_type": bad,
            "status": bad, "since": bad, "because": bad, "paused": true }] })
            .to_string(),
        ),
        format!("nonsense {bad}\r\n\r\n"),
    ];
    let verbs: [&[&str]; 9] = [
        &["agents"],
        &["agents", "--json"],
        &["commands"],
        &["commands", "c-1"],
        &["output", "c-1"],
        &["audit", "a"],
        &["stop", "--all"],
        &["cancel", "c-1"],
        &["exec", "--timeout", "2s", "a", "--", "true"],
    ];
    for answer in answers {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let said = answer.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        for verb in verbs {
            let mut command = program();
            let _ = command.arg(verb[0]).args(["--server", &url]).args(&verb[1..]);
            let (_, text) =
                run(command.env("ONSEMBL_TOKEN", "t.o.k").env("ONSEMBL_LOG", "debug")).await;
            is_fit_for_a_terminal(&format!("{verb:?} on {answer:?}"), &text);
        }
        serving.abort();
    }
}
