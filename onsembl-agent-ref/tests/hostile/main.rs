//! Attackers from every seat against the real server, beside a bystander who works on.
//!
//! `cargo test -p onsembl-agent-ref --test hostile` runs each attack; `-- NAME...` behind it only these, and
//! `ONSEMBL_ATTACK_SECONDS` says for how long. For each attack:
//! - the bystander's `exec` takes at most three times what it takes beside a process that burns as much of the
//!   processor without talking to the server, and 100 ms more;
//! - the server stays below [`MEMORY`];
//! - ten seconds after the attack both hold again, and a second round takes no more memory than the first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod attacks;
#[path = "../e2e/bench.rs"]
#[allow(dead_code, reason = "the other suites use more of it")]
mod bench;
mod bystander;
mod target;

use attacks::ATTACKS;
use bench::{Bench, Running, Times, server_binary};
use bystander::Bystander;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use target::Target;

/// Times of agents as people have them: no attack may bring an agent of somebody else near them.
const TIMES: Times = Times(["2s", "5s", "10s", "20s"]);
/// How much longer than beside a burning processor an `exec` may take, in all.
const SLACK: Duration = Duration::from_millis(100);
/// What the server may take, in KiB.
const MEMORY: u64 = 512 * 1024;
/// How soon after an attack all is as before.
const RECOVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if let [first, name, address, agent, dashboard] = words.as_slice()
        && first == "attack"
    {
        let target = Target::new(address, agent, dashboard);
        return attack(name, target);
    }
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut failed = false;
    for attack in ATTACKS {
        if only.is_empty() || only.iter().any(|name| *name == attack.name) {
            let began = Instant::now();
            let faults = round(attack.name);
            let took = began.elapsed().as_secs();
            println!(
                "{:<44} {:>3} s  {}",
                attack.name,
                took,
                if faults.is_empty() { "ok" } else { "FAILED" }
            );
            faults.iter().for_each(|fault| println!("    {fault}"));
            failed |= !faults.is_empty();
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Attacks until it is killed.
fn attack(name: &str, target: Target) -> ExitCode {
    let Some(attack) = ATTACKS.iter().find(|attack| attack.name == name) else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on((attack.run)(target));
    // What it holds open stays open.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// What was wrong.
fn round(name: &str) -> Vec<String> {
    let seconds = std::env::var("ONSEMBL_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs(seconds.unwrap_or(5));
    let mut bench = Bench::with(TIMES, &[]);
    bench.server_log = "info";
    let bystander = Bystander::start(&bench);
    let burner = niced("sh", &["-c", "while :; do :; done"]);
    let idle = bystander.slowest(Duration::from_secs(3));
    drop(burner);
    let most = idle * 3 + SLACK;
    let bound = MEMORY;

    let mut faults = Vec::new();
    let mut peaks = Vec::new();
    for round in ["first", "second"] {
        let attacker = attacker(name, &bench);
        std::thread::sleep(Duration::from_millis(500));
        let under_attack = bystander.slowest(seconds);
        let memory = bench.server().memory();
        peaks.push(memory.peak);
        drop(attacker);
        if under_attack > most {
            faults
                .push(format!("{round} round: an exec took {under_attack:?}, of at most {most:?}"));
        }
        if memory.peak > bound {
            faults.push(format!("{round} round: {} KiB, of at most {bound} KiB", memory.peak));
        }
        std::thread::sleep(RECOVERY);
        let after = bystander.slowest(Duration::from_secs(1));
        if after > most {
            faults.push(format!("{round} round: an exec took {after:?} ten seconds later"));
        }
    }
    if let [first, second] = peaks.as_slice()
        && second.saturating_sub(*first) > bound / 20
    {
        faults.push(format!("the second round took more memory: {first} KiB, then {second} KiB"));
    }
    println!("    exec {idle:?} beside a burner; peaks {peaks:?} KiB of {bound} KiB");
    faults.extend(bystander.faults(&bench));
    faults
}

fn attacker(name: &str, bench: &Bench) -> Running {
    let token = |kind: &str| {
        let made = Command::new(server_binary())
            .args(["token", "--user", "mallory", "--kind", kind, "--data"])
            .arg(bench.data())
            .output()
            .expect("it runs");
        String::from_utf8(made.stdout).expect("text").trim().to_owned()
    };
    let program = std::env::current_exe().expect("this program");
    let words = ["attack", name, &bench.address, &token("agent"), &token("dashboard")];
    niced(&program.to_string_lossy(), &words)
}

fn niced(program: &str, words: &[&str]) -> Running {
    let child = Command::new("nice")
        .args(["-n", "10", program])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("nice can be run");
    Running(child)
}

/// What a process takes, in KiB.
struct Memory {
    peak: u64,
}

impl Running {
    fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        let number = line.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        // The next peak is that of the next round.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5");
        Memory { peak: number.expect("a number") }
    }
}
