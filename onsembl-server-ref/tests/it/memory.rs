//! What a peer can make the server keep, measured on the real program in a process of its own.

use crate::fixture::PATIENCE;
use crate::frames::{dashboard_hello, page_command, quoted, wrapper_hello, wrapper_output};
use crate::peer::{Peer, Request};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

const MIB: u64 = 1024 * 1024;

/// A server process that ends with the test.
struct Program {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

fn serve(data: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onsembl-server"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    (child, address)
}

impl Program {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, address) = serve(dir.path());
        Self { child, address, dir }
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        let _ = self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        (self.child, self.address) = serve(self.dir.path());
    }

    fn token(&self, kind: &str) -> String {
        self.token_of("eve", kind)
    }

    fn token_of(&self, user: &str, kind: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_onsembl-server"))
            .args(["token", "--user", user, "--kind", kind, "--data"])
            .arg(self.dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn link(&self, kind: &str) -> Peer {
        let path = format!("/ws/{kind}");
        Peer::open(self.address, &path, Some(&self.token(kind))).await
    }

    async fn wrapper(&self, id: &str) -> (Peer, String) {
        let mut link = self.link("agent").await;
        link.send(wrapper_hello(id)).await;
        let taught = link.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
        (link, taught)
    }

    /// Bytes of memory it has now, and has had at most.
    fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Agents that are away take no memory until their user is heard of.
#[tokio::test]
async fn a_start_with_many_agents_that_are_away_takes_no_more_memory_than_without() {
    const AGENTS: u64 = 20_000;
    let mut server = Program::start();
    let (link, _) = server.wrapper("mock-1").await;
    let (empty, _) = server.memory();
    link.close(Some(1000)).await;
    server.end();
    let db = rusqlite::Connection::open(server.dir.path().join("onsembl.db")).unwrap();
    let copied = db
        .execute(
            "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, version, host, capabilities, epoch,
                                 status, since, because, presence_version, created_at)
             WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             SELECT agent_id || n, user_id || (n % 4), agent_key || n, name || n, agent_type, version, host,
                    capabilities, epoch, 'offline', since, because, presence_version, created_at
             FROM n, (SELECT * FROM agents LIMIT 1)",
            [AGENTS as i64],
        )
        .unwrap();
    assert_eq!(copied as u64, AGENTS);
    drop(db);
    server.start_again();
    let (now, most) = server.memory();
    assert!(most < empty + 16 * MIB, "{} MiB, and {} without", most / MIB, empty / MIB);
    // The fleet of one user is read: a quarter of them.
    let token = server.token_of("eve1", "dashboard");
    let page = Request::get("/api/agents").bearer(Some(&token)).send(server.address).await;
    assert!(!page.json()["agents"].as_array().unwrap().is_empty());
    let (read, _) = server.memory();
    assert!(read > now, "{read} {now}");
}

/// An operating-system command of a terminal that never ends is swallowed, not kept.
#[tokio::test]
async fn an_escape_sequence_without_an_end_costs_nothing() {
    let server = Program::start();
    let (mut link, id) = server.wrapper("mock-1").await;
    let mut dashboard = server.link("dashboard").await;
    dashboard.send(dashboard_hello("eve")).await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    // Small pieces, so that those on their way do not count.
    let piece = "x".repeat(64 * 1024);
    link.send(wrapper_output("cmd-1", &id, 1, "\u{1b}]")).await;
    for n in 2..1026 {
        link.send(wrapper_output("cmd-1", &id, n, &piece)).await;
    }
    link.send(wrapper_output("cmd-1", &id, 1026, "\u{7}seen\n")).await;
    assert_eq!(dashboard.expect("TERMINAL_STREAM").await["content"], json!(["seen"]));
    let (_, most) = server.memory();
    assert!(most < 60 * MIB, "64 MiB sent, {} MiB kept", most / MIB);
}

/// Peers that send the largest messages as fast as they can fill no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_do_not_pile_up() {
    let server = Program::start();
    let large = format!(
        r#"{{"type":"NEW","id":"x","timestamp":1,"payload":{{"a":{}}}}}"#,
        quoted(&"y".repeat(1024 * 1024 - 200))
    );
    let mut links = Vec::new();
    for n in 0..24 {
        links.push(server.wrapper(&format!("mock-{n}")).await.0);
    }
    let until = Instant::now() + Duration::from_secs(3);
    let flood = links.into_iter().map(|mut link| {
        let large = large.clone();
        tokio::spawn(async move {
            let mut sent = 0u64;
            while Instant::now() < until {
                let send = link.send_message(Message::text(large.clone()));
                tokio::time::timeout(PATIENCE, send).await.expect("the server reads on").unwrap();
                sent += 1;
            }
            sent
        })
    });
    let mut sent = 0;
    for task in flood.collect::<Vec<_>>() {
        sent += task.await.unwrap();
    }
    let (_, most) = server.memory();
    assert!(sent > 100, "{sent}");
    assert!(most < 400 * MIB, "{sent} MiB sent, {} MiB kept", most / MIB);
}
