//! An emergency stop of a whole fleet: some agents are away, some have much that was not sent yet. A
//! small one runs with the tests. `ONSEMBL_FLEET=200 ONSEMBL_FLEET_SPOOL=33554432` in a release build is
//! the one that DELIVERY.md promises; the time is printed, not asserted.

use crate::bench::{Bench, PATIENCE, eventually, runs, server_binary};
use onsembl_agent_ref::engine::{self, AgentOptions, TokenSourceKind};
use onsembl_protocol::wire::payload::OfflinePolicy;
use onsembl_server_ref::client::RemoteCommand;
use onsembl_transport::ProxyRule;
use onsembl_transport::secret::Secret;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

struct Fleet {
    bench: Bench,
    runtime: Runtime,
    agents: Vec<JoinHandle<()>>,
}

impl Fleet {
    fn of(count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut fleet = Self { bench: Bench::start(), runtime, agents: Vec::new() };
        for n in 0..count {
            let agent = fleet.agent(n);
            fleet.agents.push(agent);
        }
        fleet.await_online(count);
        fleet
    }

    fn agent(&self, n: usize) -> JoinHandle<()> {
        let token = TokenSourceKind::Literal(Secret::new(&self.bench.agent_token));
        let mut options = AgentOptions::new(self.bench.url(), token, format!("a{n}"));
        options.state_dir = Some(self.bench.folder.path().join(format!("a{n}")));
        self.runtime.spawn(async move {
            engine::run(options, std::future::pending()).await.unwrap();
        })
    }

    fn await_online(&self, count: usize) {
        eventually("all are online", || {
            let agents = self.bench.agents().unwrap_or_default();
            agents.iter().filter(|a| a["status"] == "online").count() == count
        });
    }

    /// Has an agent run something, in the background.
    fn ask(&self, n: usize, text: String) {
        let token = Secret::new(&self.bench.dashboard_token);
        let limit = Duration::from_secs(600);
        let mut command = RemoteCommand::new(self.bench.url(), token, format!("a{n}"), text, limit);
        command.proxy = ProxyRule::direct();
        command.offline = OfflinePolicy::Queue;
        drop(self.runtime.spawn(async move {
            let _its_end_is_looked_up_in_the_list =
                command.run(tokio::io::sink(), tokio::io::sink(), std::future::pending()).await;
        }));
    }

    fn api(&self, arguments: &[&str]) -> Value {
        let output = Command::new(server_binary())
            .args(arguments)
            .args(["--json", "--server", &self.bench.url()])
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .unwrap();
        // `stop` says so of agents that are away.
        assert!(matches!(output.status.code(), Some(0 | 4)), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn first_open(&self) -> Option<Value> {
        let listing = self.api(&["commands", "--limit", "10000"]);
        let all = listing["commands"].as_array().unwrap();
        all.iter().find(|c| c["ended_at"].is_null()).cloned()
    }

    fn audit_of(&self, command: &Value) -> String {
        let output = Command::new(server_binary())
            .args(["audit", command["agent_id"].as_str().unwrap(), "--server", &self.bench.url()])
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .unwrap();
        format!("{output:?}")
    }

    fn statuses(&self) -> Vec<String> {
        let listing = self.api(&["commands", "--limit", "10000"]);
        let all = listing["commands"].as_array().unwrap();
        all.iter().map(|c| c["status"].as_str().unwrap().to_owned()).collect()
    }

    fn count(&self, status: &str) -> usize {
        self.statuses().iter().filter(|s| *s == status).count()
    }
}

#[test]
fn a_stop_of_all_is_verified_by_who_is_there_and_kept_for_who_is_not() {
    let count = setting("ONSEMBL_FLEET", 20);
    let spooled = setting("ONSEMBL_FLEET_SPOOL", 1 << 20);
    let tenth = count / 10;
    let mut fleet = Fleet::of(count);
    let id = std::process::id();

    // The first tenth goes away, with something waiting for each.
    for agent in fleet.agents.iter_mut().take(tenth) {
        agent.abort();
    }
    eventually("a tenth is away", || {
        let agents = fleet.bench.agents().unwrap_or_default();
        agents.iter().filter(|a| a["status"] == "online").count() == count - tenth
    });
    for n in 0..tenth {
        let mark = fleet.bench.folder.path().join(format!("mark-{n}"));
        fleet.ask(n, format!("touch {}", mark.display()));
    }
    eventually("they wait", || fleet.count("queued") == tenth);
    // The second one writes more than goes out while the database is held.
    let db = rusqlite::Connection::open(fleet.bench.data().join("onsembl.db")).unwrap();
    for n in tenth..count {
        let spool = if n < 2 * tenth { spooled } else { 0 };
        fleet.ask(n, format!("sleep 2; yes | head -c {spool}; exec sleep 98765.{id}"));
    }
    eventually("all others run", || fleet.count("running") == count - tenth);
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    eventually("everything is written", || {
        (tenth..2 * tenth).all(|n| {
            let folder = fleet.bench.folder.path().join(format!("a{n}/spool"));
            size_of(&folder) >= spooled.saturating_sub(300_000) as u64
        })
    });
    db.execute_batch("ROLLBACK").unwrap();

    let begin = Instant::now();
    let report = fleet.api(&["stop", "--all", "--reason", "acceptance"]);
    let took = begin.elapsed();
    assert!(!runs(&format!("sleep 98765.{id}")), "verified means that nothing runs");
    let states: Vec<&str> =
        report["agents"].as_array().unwrap().iter().map(|a| a["state"].as_str().unwrap()).collect();
    let in_state = |state| states.iter().filter(|s| **s == state).count();
    eprintln!("{count} agents, {spooled} bytes spooled by {tenth}: stopped in {took:?}");
    assert_eq!((in_state("verified"), in_state("away")), (count - tenth, tenth), "{report}");

    // A returning agent starts nothing.
    for n in 0..tenth {
        let agent = fleet.agent(n);
        fleet.agents.push(agent);
    }
    fleet.await_online(count);
    let begin = Instant::now();
    while let Some(open) = fleet.first_open() {
        // Their output is stored before that, hundreds of MiB.
        assert!(begin.elapsed() < 3 * PATIENCE, "{open:#}: {}", fleet.audit_of(&open));
        std::thread::sleep(Duration::from_millis(100));
    }
    let commands = fleet.api(&["commands", "--limit", "9999"]);
    assert_eq!(fleet.count("cancelled"), count, "{commands:#}");
    let marks =
        || (0..tenth).filter(|n| fleet.bench.folder.path().join(format!("mark-{n}")).exists());
    assert_eq!(marks().count(), 0);
    let refused = fleet.bench.exec("a0", "true");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("acceptance"), "{refused:?}");
}

/// Bytes of the files in a folder and those below.
fn size_of(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
