//! Faults of heartbeats that are planted into both binaries: `why` and `doctor` each name the hop within two
//! intervals, every time.
//!
//! `.ci/planted-faults` builds with them and runs each; with NAME... it runs those faults. `ONSEMBL_RUNS` is the number
//! of runs of each (1), `ONSEMBL_RUNS_FILE` a file to which a line about each run is appended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "../e2e/bench.rs"]
#[allow(dead_code, reason = "the other suites use more of it")]
mod bench;

use bench::{AGENT, Bench, Running, Times};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Which fault a process has.
const VARIABLE: &str = "ONSEMBL_PLANTED_FAULT";

const INTERVAL: Duration = Duration::from_secs(1);
const TIMES: Times = Times(["1s", "2500ms", "8s", "10s"]);

/// Which end has a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faulty {
    Agent,
    Server,
}

struct Fault {
    name: &'static str,
    end: Faulty,
    /// The first hop that heartbeats miss.
    hop: &'static str,
    cause: &'static str,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "planted-timer-never-started",
        end: Faulty::Agent,
        hop: "made",
        cause: "heartbeat-never-started",
    },
    Fault {
        name: "planted-stays-queued",
        end: Faulty::Agent,
        hop: "written",
        cause: "heartbeat-not-written",
    },
    Fault {
        name: "planted-not-routed",
        end: Faulty::Server,
        hop: "handled",
        cause: "heartbeat-not-handled",
    },
    Fault {
        name: "planted-record-fails",
        end: Faulty::Server,
        hop: "recorded",
        cause: "heartbeat-not-recorded",
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if !cfg!(onsembl_faults) {
        eprintln!("this build has no faults planted; run .ci/planted-faults");
        return ExitCode::FAILURE;
    }
    let runs = std::env::var("ONSEMBL_RUNS").map_or(1, |runs| runs.parse().expect("a number"));
    let mut failed = 0;
    for run in 1..=runs {
        for fault in FAULTS.iter().filter(|f| words.is_empty() || words.iter().any(|w| w == f.name))
        {
            let line = look(fault, run);
            println!("{line}");
            failed += usize::from(line["named"] != true);
            if let Some(path) = std::env::var_os("ONSEMBL_RUNS_FILE") {
                let mut file =
                    std::fs::File::options().create(true).append(true).open(path).unwrap();
                writeln!(file, "{line}").unwrap();
            }
        }
    }
    println!("{failed} runs in which the hop was not named");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A session with the fault, and what is said of it.
fn look(fault: &Fault, run: u32) -> Value {
    let server = (fault.end == Faulty::Server).then_some(fault.name);
    let bench = Bench::with_environment(TIMES, &[], server.map(|name| (VARIABLE, name)));
    let mut agent = bench.agent_command("dev");
    if fault.end == Faulty::Agent {
        let _ = agent.env(VARIABLE, fault.name);
    }
    let _agent = Running(agent.spawn().expect("the agent can be run"));
    let view = bench.await_status("dev", "online");
    let began = millis_of(view["since"].as_str().expect("a time"));
    let why = why(&bench, fault, began);
    let doctor = doctor(&bench, fault, began);
    let named = why["within"] == true && doctor["named"] == true;
    json!({
        "fault": fault.name,
        "hop": fault.hop,
        "run": run,
        "interval_ms": INTERVAL.as_millis() as u64,
        "named": named,
        "why": why,
        "doctor": doctor,
    })
}

/// Asks `why` until it names the hop, and says after how long that is.
fn why(bench: &Bench, fault: &Fault, began: i64) -> Value {
    let deadline = Instant::now() + 6 * INTERVAL;
    let mut said = Value::Null;
    while Instant::now() < deadline {
        let output = bench.ask(&["why", "dev", "--json"]);
        said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let trouble = &said["beats"]["trouble"];
        if trouble["hop"] == fault.hop && trouble["cause"] == fault.cause {
            let after = now() - began;
            let text = String::from_utf8(bench.ask(&["why", "dev"]).stdout).unwrap_or_default();
            let is_told =
                text.contains(&format!("hop `{}`", fault.hop)) && text.contains(fault.cause);
            let within = is_told && after <= 2 * INTERVAL.as_millis() as i64;
            return json!({ "after_ms": after, "within": within });
        }
        sleep(Duration::from_millis(10));
    }
    json!({ "within": false, "said": said["beats"] })
}

/// Asks the doctor when two intervals are over.
fn doctor(bench: &Bench, fault: &Fault, began: i64) -> Value {
    let asked_at = began + 2 * INTERVAL.as_millis() as i64;
    sleep(Duration::from_millis(u64::try_from(asked_at - now()).unwrap_or(0)));
    let after = now() - began;
    let output = Command::new(AGENT)
        .args(["doctor", "--json", "--idle-hold", "1ms", "--server", &bench.url(), "--state-dir"])
        .arg(bench.folder.path().join("dev"))
        .env("ONSEMBL_TOKEN", &bench.agent_token)
        .output()
        .expect("the agent can be run");
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let check = checks.as_array().into_iter().flatten().find(|c| c["check"] == "running-agent");
    let found = check.and_then(|check| check["found"].as_str()).unwrap_or_default();
    let named = check.is_some_and(|check| check["verdict"] == "FAIL")
        && found.contains(&format!("hop `{}`", fault.hop))
        && found.contains(fault.cause);
    match named {
        true => json!({ "asked_after_ms": after, "named": true }),
        false => json!({ "asked_after_ms": after, "named": false, "found": found }),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_millis()).expect("a date")
}

fn millis_of(time: &str) -> i64 {
    onsembl_protocol::time::WallTime::parse_rfc3339(time).expect("a time").unix_millis()
}
