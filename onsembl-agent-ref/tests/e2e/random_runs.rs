//! Random runs: real processes that are killed, frozen, cut and held up while commands write numbered
//! lines, and what must hold at the end whatever was done to them.
//!
//! `ONSEMBL_RUNS` says how many runs (2), `ONSEMBL_RUNS_SEED` with which seed the first (random), and
//! `ONSEMBL_RUNS_FILE` to which file a line about each is appended.

use crate::bench::{Bench, Running, eventually, server_binary};
use crate::relay::Relay;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Lines that a command writes before it ends by itself, 2,000 a second.
const LINES: usize = 8_000;
/// Faults of one run.
const FAULTS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillAgent,
    KillServer,
    RestartAgent,
    RestartServer,
    FreezeAgent,
    FreezeServer,
    Cut,
    Hang,
    Refuse,
    SlowDashboard,
    HoldDatabase,
    FullDisk,
}

const ALL: [Fault; 12] = [
    Fault::KillAgent,
    Fault::KillServer,
    Fault::RestartAgent,
    Fault::RestartServer,
    Fault::FreezeAgent,
    Fault::FreezeServer,
    Fault::Cut,
    Fault::Hang,
    Fault::Refuse,
    Fault::SlowDashboard,
    Fault::HoldDatabase,
    Fault::FullDisk,
];

struct Scene {
    random: fastrand::Rng,
    bench: Bench,
    relay: Relay,
    agent: Option<Running>,
    /// Each follows one command as a dashboard.
    watchers: Vec<Running>,
    asked: usize,
    faults: BTreeMap<Fault, usize>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let bench = Bench::start();
        let relay = Relay::to(&bench.address);
        let random = fastrand::Rng::with_seed(seed);
        let mut scene = Self {
            random,
            bench,
            relay,
            agent: None,
            watchers: Vec::new(),
            asked: 0,
            faults: BTreeMap::new(),
        };
        scene.start_agent();
        let _ = scene.bench.await_status("ada", "online");
        scene
    }

    fn start_agent(&mut self) {
        let server = std::mem::replace(&mut self.bench.address, self.relay.address.clone());
        self.agent = Some(self.bench.agent("ada"));
        self.bench.address = server;
    }

    fn happened(&self, fault: Fault) -> bool {
        self.faults.contains_key(&fault)
    }

    fn pause(&mut self, from: u64, to: u64) {
        sleep(Duration::from_millis(self.random.u64(from..to)));
    }

    /// Asks for one more command. Each leaves a mark when it starts.
    fn ask(&mut self) {
        let number = self.asked;
        self.asked += 1;
        let mark = self.bench.folder.path().join(format!("mark-{number}"));
        let text = format!(
            "echo ran >> {}; i=0; while [ $i -lt {LINES} ]; do j=0; while [ $j -lt 20 ]; do \
             echo \"{}\"; i=$((i+1)); j=$((j+1)); done; sleep 0.01; done",
            mark.display(),
            line("$i", number),
        );
        let offline = if self.random.bool() { "queue" } else { "refuse" };
        let shown = |what: &str| {
            let name = format!("{what}-{number}");
            std::fs::File::create(self.bench.folder.path().join(name)).unwrap()
        };
        let child = self
            .bench
            .exec_command("ada", &["--offline", offline], &text)
            .stdout(shown("seen"))
            .stderr(shown("said"))
            .spawn()
            .unwrap();
        self.watchers.push(Running(child));
    }

    fn listed(&self) -> Option<Vec<Value>> {
        let output = Command::new(server_binary())
            .args(["commands", "--json", "--server", &self.bench.url()])
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .unwrap();
        let listing: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(listing["commands"].as_array()?.clone())
    }

    /// Keeps something running while the faults continue.
    fn keep_busy(&mut self) {
        let open = |c: &Value| c["ended_at"].is_null();
        if self.listed().is_some_and(|all| !all.iter().any(open)) {
            self.ask();
        }
    }

    fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::KillAgent => {
                self.agent.take().unwrap().signal("-KILL");
                self.pause(0, 1000);
                self.start_agent();
            }
            Fault::RestartAgent => {
                let mut agent = self.agent.take().unwrap();
                agent.signal("-TERM");
                let _ = agent.wait();
                self.start_agent();
            }
            Fault::KillServer => {
                self.bench.server.take().unwrap().signal("-KILL");
                self.pause(0, 1000);
                self.bench.start_server();
            }
            Fault::RestartServer => {
                let mut server = self.bench.server.take().unwrap();
                server.signal("-TERM");
                let _ = server.wait();
                self.bench.start_server();
            }
            Fault::FreezeAgent => {
                self.agent.as_ref().unwrap().freeze();
                self.pause(200, 3000);
                self.agent.as_ref().unwrap().thaw();
            }
            Fault::FreezeServer => {
                self.bench.server().freeze();
                self.pause(200, 3000);
                self.bench.server().thaw();
            }
            Fault::Cut => self.relay.cut(),
            Fault::Hang => {
                self.relay.hang();
                self.pause(200, 3000);
                self.relay.cut();
            }
            Fault::Refuse => {
                self.relay.refuse(true);
                self.relay.cut();
                self.pause(200, 2000);
                self.relay.refuse(false);
            }
            Fault::SlowDashboard => {
                if let Some(watcher) = self.watchers.last_mut()
                    && watcher.0.try_wait().unwrap().is_none()
                {
                    watcher.freeze();
                    sleep(Duration::from_millis(500));
                    watcher.thaw();
                }
            }
            Fault::FullDisk => {
                self.limit_files("8192:unlimited");
                self.pause(200, 2000);
                self.limit_files("unlimited:unlimited");
            }
            Fault::HoldDatabase => {
                let path = self.bench.data().join("onsembl.db");
                let db = rusqlite::Connection::open(path).unwrap();
                db.busy_timeout(Duration::from_secs(5)).unwrap();
                if db.execute_batch("BEGIN IMMEDIATE").is_ok() {
                    self.pause(200, 2000);
                    let _ = db.execute_batch("ROLLBACK");
                }
            }
        }
    }

    /// To the agent a limit on the size of files is a disk that is full from there on.
    fn limit_files(&self, limit: &str) {
        let agent = self.agent.as_ref().unwrap().0.id().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &agent, &format!("--fsize={limit}")])
            .status()
            .expect("prlimit can be run");
        assert!(limited.success());
    }

    /// Everything that must hold when the faults are over.
    fn settle(&mut self) -> Value {
        let begin = Instant::now();
        // Who asks for a command may be slow to ask: until all are gone, one more may come.
        for watcher in &mut self.watchers {
            let _ = watcher.wait();
        }
        let scene = &*self;
        eventually("every command has its outcome", || {
            scene.listed().is_some_and(|all| all.iter().all(|c| !c["ended_at"].is_null()))
        });
        let _ = self.bench.await_status("ada", "online");
        let spool = self.bench.folder.path().join("ada/spool");
        eventually("the spool is empty", || std::fs::read_dir(&spool).unwrap().count() == 0);
        let settled = begin.elapsed();

        for number in 0..self.asked {
            let mark = self.bench.log(&format!("mark-{number}"));
            assert!(mark.is_empty() || mark == "ran\n", "command {number} ran twice: {mark:?}");
        }
        let commands = self.listed().unwrap();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        let (mut bytes, mut gaps) = (0, BTreeMap::<String, u64>::new());
        for command in &commands {
            let status = command["status"].as_str().unwrap();
            *outcomes.entry(status.to_owned()).or_default() += 1;
            let known = ["completed", "failed", "cancelled", "lost", "unknown"];
            assert!(known.contains(&status), "{command}");
            bytes += self.check_output(command, &mut gaps);
        }
        let audit = Command::new(server_binary())
            .args(["audit", "ada", "--server", &self.bench.url()])
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .unwrap();
        assert!(audit.status.success(), "{audit:?}");
        json!({ "commands": commands.len(), "outcomes": outcomes, "bytes": bytes, "gaps": gaps,
                "settled_ms": settled.as_millis() as u64 })
    }

    /// What is stored is what the process wrote, but for what is declared.
    fn check_output(&self, command: &Value, gaps: &mut BTreeMap<String, u64>) -> u64 {
        let id = command["command_id"].as_str().unwrap();
        let text = command["text"].as_str().unwrap();
        let number: usize =
            text.split("mark-").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        let whole: String = (0..LINES).map(|n| line(&n.to_string(), number) + "\n").collect();
        let db = rusqlite::Connection::open(self.bench.data().join("onsembl.db")).unwrap();
        let mut query = db
            .prepare(
                "SELECT offset, bytes, gap_length, gap_because FROM output_records
                 WHERE command_id = ?1 AND stream = 'stdout' ORDER BY incarnation, offset, sequence",
            )
            .unwrap();
        let mut rows = query.query([id]).unwrap();
        let (mut next, mut delivered, mut open) = (0_usize, 0_u64, false);
        while let Some(row) = rows.next().unwrap() {
            assert!(!open, "{id}: something stands behind its end");
            let offset = row.get::<_, i64>(0).unwrap() as usize;
            assert_eq!(offset, next, "{id}: a hole or an overlap");
            match row.get::<_, Option<Vec<u8>>>(1).unwrap() {
                Some(bytes) => {
                    let end = next + bytes.len();
                    assert!(whole.as_bytes().get(next..end) == Some(&bytes[..]), "{id} at {next}");
                    next = end;
                    delivered += bytes.len() as u64;
                }
                None => {
                    let because: String = row.get(3).unwrap();
                    let for_a_reason = match because.as_str() {
                        "agent-died" => self.happened(Fault::KillAgent),
                        "spool-failed" => {
                            self.happened(Fault::KillAgent) && self.happened(Fault::FullDisk)
                        }
                        _ => false,
                    };
                    assert!(for_a_reason, "{id}: a gap because {because}");
                    match row.get::<_, Option<i64>>(2).unwrap().map(|length| length as usize) {
                        Some(length) => {
                            *gaps.entry(because).or_default() += length as u64;
                            next += length;
                        }
                        None => {
                            open = true;
                            *gaps.entry(format!("{because}, open")).or_default() += 1;
                        }
                    }
                }
            }
        }
        if command["status"] == "completed" {
            assert_eq!((next, open), (whole.len(), false), "{id} is completed and not whole");
        }
        // The client that asked for it saw the same, however often the link was lost.
        let seen = self.bench.log(&format!("seen-{number}"));
        if command["status"] == "completed" {
            let printed = self.bench.log(&format!("said-{number}"));
            assert!(
                seen == whole,
                "{id}: {} of {} bytes were seen; {printed}",
                seen.len(),
                whole.len()
            );
        } else if next as u64 == delivered {
            assert!(whole.starts_with(&seen), "{id}: what was seen is not what was written");
        }
        let shown = Command::new(server_binary())
            .args(["output", id, "--stream", "stdout", "--server", &self.bench.url()])
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .unwrap();
        assert!(shown.status.success(), "{shown:?}");
        assert_eq!(shown.stdout.len() as u64, delivered, "{id}: what is shown is what is stored");
        delivered
    }
}

fn line(number: &str, command: usize) -> String {
    format!("line {number} of command {command}")
}

fn run(seed: u64) -> Value {
    let mut scene = Scene::new(seed);
    let can_limit = Command::new("prlimit").arg("--version").output().is_ok();
    let begin = Instant::now();
    scene.ask();
    scene.pause(500, 1000);
    for _ in 0..FAULTS {
        let fault = match ALL[scene.random.usize(..ALL.len())] {
            Fault::FullDisk if !can_limit => Fault::Cut,
            fault => fault,
        };
        *scene.faults.entry(fault).or_default() += 1;
        scene.inflict(fault);
        scene.pause(100, 1200);
        scene.keep_busy();
    }
    let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.settle()));
    match settled {
        Ok(mut result) => {
            result["seed"] = json!(seed);
            let faults: BTreeMap<String, usize> =
                scene.faults.iter().map(|(fault, times)| (format!("{fault:?}"), *times)).collect();
            result["faults"] = json!(faults);
            result["ms"] = json!(begin.elapsed().as_millis() as u64);
            result
        }
        Err(panic) => {
            let folder = std::mem::replace(&mut scene.bench.folder, tempfile::tempdir().unwrap());
            println!("seed {seed}, faults {:?}, see {}", scene.faults, folder.keep().display());
            std::panic::resume_unwind(panic)
        }
    }
}

#[test]
fn whatever_is_done_to_them_nothing_is_lost_unsaid_and_nothing_runs_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("ONSEMBL_RUNS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    for seed in first..first + number("ONSEMBL_RUNS").unwrap_or(2) {
        println!("seed {seed}");
        let result = run(seed);
        println!("{result}");
        if let Some(path) = std::env::var_os("ONSEMBL_RUNS_FILE") {
            let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
            writeln!(file, "{result}").unwrap();
        }
    }
}
