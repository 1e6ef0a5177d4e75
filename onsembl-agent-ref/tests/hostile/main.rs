//! Attackers in every role against the real server, while a bystander keeps working.
//!
//! `cargo test --release -p onsembl-agent-ref --test hostile` runs every attack; with `-- NAME...` it runs those
//! whose names start with one of these. For each attack:
//! - the 99th percentile of the bystander's `exec` is at most three times its value beside processes that load all
//!   processors without using the server, plus 100 ms;
//! - the attack has the effects that it names: a counter of the server, rows or answers that it must move, so that one
//!   that does nothing fails;
//! - the memory of the server stays below what `onsembl-server limits` computes for two users, and below four times
//!   what the same attack took when it was last recorded in `docs/attacks.jsonl`;
//! - the agent of an attacker that is the program in its terminal stays in session, and its memory and its log stay below
//!   a bound;
//! - both hold again within ten seconds after the attack, and a second round takes no more memory than the first.
//!
//! `agents-return` is a fleet that returns while an attack runs: `ONSEMBL_FLEET=10000 … -- agents-return`.
//!
//! `ONSEMBL_ATTACK_SECONDS` is the length of a round (5), `ONSEMBL_ATTACK_ROUNDS` the number of rounds (2),
//! `ONSEMBL_ATTACK_TRIES` the number of attempts before an attack counts as failed (1), and `ONSEMBL_ATTACK_FILE`
//! a file to which a line about each attack is appended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod attacks;
#[path = "../e2e/bench.rs"]
#[allow(dead_code, reason = "the other suites use more of it")]
mod bench;
mod bystander;
#[path = "../e2e/crowd.rs"]
mod crowd;
mod effects;
mod in_terminal;
mod readers;
mod returning;
mod sources;
mod strangers;
mod target;
mod terminals;

use attacks::{ATTACKS, Attack, Serve};
use bench::{Bench, Running, Times, server_binary};
use bystander::Bystander;
use effects::Demand;
use in_terminal::Host;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use target::Target;

/// Heartbeat times as in production: no attack may bring another user's agent near these limits.
const TIMES: Times = Times(["2s", "5s", "10s", "20s"]);
/// What an `exec` may take in addition to the multiple of its usual time. A debug build takes ten times as long for
/// a large message as a release build; longer waits still show.
const SLACK: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(3) } else { Duration::from_millis(100) };
/// What a server may take in KiB besides the multiple of what it took before: what an allocator keeps differs.
const MEMORY_SLACK: u64 = 32 * 1024;
/// How soon after an attack the server must have recovered.
const RECOVERY: Duration = Duration::from_secs(10);
/// The longest measurement of the usual times.
const USUAL: Duration = Duration::from_secs(2);
/// Flags of the server, and of `limits`.
const CONNECTIONS: [&str; 2] = ["--connections", "4096"];
const FEW_CONNECTIONS: [&str; 2] = ["--connections", "1024"];
/// The attacker, and the bystander.
const USERS: [&str; 2] = ["--users", "2"];
/// The path of the certificate that clients trust. Its key is beside it.
const CA: &str = "ONSEMBL_TLS_CA";

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
    if let [first, url, token, count] = words.as_slice()
        && first == "crowd"
    {
        let _crowd = crowd::Crowd::new(url, token, count.parse().expect("a number"));
        stay();
    }
    let Some(certificate) = std::env::var_os(CA) else { return with_certificate(&words) };
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let asked = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(*only));
    let mut failed = false;
    let tries = number("ONSEMBL_ATTACK_TRIES").unwrap_or(1);
    let mut case = |name: &str, run: &dyn Fn() -> Vec<String>| {
        let began = Instant::now();
        let mut faults = run();
        for _ in 1..tries {
            if faults.is_empty() {
                break;
            }
            faults = run();
        }
        let word = if faults.is_empty() { "ok" } else { "FAILED" };
        println!("{name:<52} {:>3} s  {word}", began.elapsed().as_secs());
        faults.iter().for_each(|fault| println!("    {fault}"));
        failed |= !faults.is_empty();
    };
    for attack in ATTACKS.iter().filter(|attack| asked(attack.name)) {
        case(attack.name, &|| rounds(attack, Path::new(&certificate)));
    }
    for attack in returning::ATTACKS {
        let name = format!("{}/{attack}", returning::NAME);
        if asked(&name) {
            case(&name, &|| returning::run(attack));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs this program again, with a certificate that all of its clients trust.
fn with_certificate(words: &[String]) -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = folder.path().join("certificate.pem");
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(certificate.with_extension("key"), made.signing_key.serialize_pem())
        .expect("a file");
    let program = std::env::current_exe().expect("this program");
    let done = Command::new(program).args(words).env(CA, certificate).status().expect("it runs");
    if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Attacks until it is killed.
fn attack(name: &str, target: Target) -> ExitCode {
    let Some(attack) = ATTACKS.iter().find(|attack| attack.name == name) else {
        return ExitCode::FAILURE;
    };
    let target = match attack.serve {
        Serve::Plain | Serve::Tls | Serve::Few | Serve::BehindProxy | Serve::InTerminal => target,
        Serve::OneAddress => target.beside_the_bystander(),
    };
    effects::write_notes();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on((attack.run)(target));
    // The sockets that it holds stay open.
    stay()
}

/// Until this process is killed.
fn stay() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Processes that load all processors without using the server.
fn burners() -> Vec<Running> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    (0..processors).map(|_| niced("sh", &["-c", "while :; do :; done"])).collect()
}

/// Appends a line to the file that was asked for.
fn record(line: &serde_json::Value) {
    if let Some(path) = std::env::var_os("ONSEMBL_ATTACK_FILE") {
        let mut file =
            std::fs::File::options().create(true).append(true).open(path).expect("a file");
        writeln!(file, "{line}").expect("a line");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The faults that were found.
fn rounds(attack: &Attack, certificate: &Path) -> Vec<String> {
    let seconds = Duration::from_secs(number("ONSEMBL_ATTACK_SECONDS").unwrap_or(5));
    let count = number("ONSEMBL_ATTACK_ROUNDS").unwrap_or(2);
    let mut bench = bench_for(attack, certificate);
    bench.server_log = "info";
    let bound = memory_bound();
    let usual_peak = recorded_peak(attack.name);
    let bystander = Bystander::start(&bench);
    let load = burners();
    let usual = bystander.works(USUAL.min(seconds));
    drop(load);
    let most = usual.p99() * 3 + SLACK;

    let mut faults = Vec::new();
    let (mut peaks, mut under_attack, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let mut execs = 0;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let heard = folder.path().join("heard.json");
    let before = effects::look(attack.effects, &bench, &heard);
    let tokens = Tokens::of_attacker(&bench);
    for round in 1..=count {
        let attacker = Attacker::start(attack, &bench, &tokens, &heard);
        std::thread::sleep(Duration::from_millis(300));
        let works = bystander.works(seconds);
        let peak = bench.server().peak_memory();
        faults.extend(attacker.faults(&bench).into_iter().map(|f| format!("round {round}: {f}")));
        drop(attacker);
        execs += works.count();
        if works.p99() > most {
            faults.push(format!(
                "round {round}: an exec took {:?}, of at most {most:?}",
                works.p99()
            ));
        }
        if peak > bound {
            faults.push(format!("round {round}: {peak} KiB, of at most {bound} KiB"));
        }
        if let Some(usual_peak) = usual_peak.filter(|usual| peak > usual * 4 + MEMORY_SLACK) {
            faults.push(format!(
                "round {round}: {peak} KiB, and {usual_peak} KiB when it was recorded last"
            ));
        }
        let recovered = recovery(&bystander, most);
        if recovered > RECOVERY {
            faults.push(format!(
                "round {round}: an exec takes more than {most:?} after {recovered:?}"
            ));
        }
        peaks.push(peak);
        under_attack.push(works.p99());
        after.push(recovered);
    }
    let seen = effects::look(attack.effects, &bench, &heard);
    let is_short = cfg!(debug_assertions) || seconds < Duration::from_secs(5);
    println!("    moved: {}", effects::moved(attack.effects, &before, &seen));
    let demand = if is_short { Demand::Trace } else { Demand::Whole };
    faults.extend(effects::missing(attack.effects, demand, &before, &seen));
    if let [first, .., last] = peaks.as_slice()
        && last.saturating_sub(*first) > bound / 20
    {
        faults.push(format!("the last round took more memory: {first} KiB, then {last} KiB"));
    }
    faults.extend(bystander.faults(&bench));
    let millis = |times: &[Duration]| times.iter().map(Duration::as_millis).collect::<Vec<_>>();
    println!(
        "    exec {} ms beside burners, at most {} ms; attacked {:?} ms ({execs} of them); peaks {peaks:?} KiB of {bound} KiB",
        usual.p99().as_millis(),
        most.as_millis(),
        millis(&under_attack),
    );
    record(&json!({
        "attack": attack.name,
        "commit": commit(),
        "seconds": seconds.as_secs(),
        "execs": execs,
        "usual_ms": usual.p99().as_millis() as u64,
        "most_ms": most.as_millis() as u64,
        "attacked_ms": millis(&under_attack),
        "recovered_ms": millis(&after),
        "peaks_kib": peaks,
        "bound_kib": bound,
        "faults": faults,
    }));
    faults
}

fn bench_for(attack: &Attack, certificate: &Path) -> Bench {
    let key = certificate.with_extension("key");
    let [certificate, key] = [certificate, &key].map(|path| path.to_str().expect("text"));
    match attack.serve {
        Serve::Plain | Serve::OneAddress | Serve::InTerminal => Bench::with(TIMES, &CONNECTIONS),
        Serve::Few => Bench::with(TIMES, &FEW_CONNECTIONS),
        Serve::BehindProxy => {
            let words = [&CONNECTIONS[..], &["--trusted-proxy", "127.0.0.2/32"]].concat();
            Bench::with(TIMES, &words)
        }
        Serve::Tls => {
            let words = [&CONNECTIONS[..], &["--tls-cert", certificate, "--tls-key", key]].concat();
            let mut bench = Bench::with(TIMES, &words);
            bench.scheme = "https";
            bench
        }
    }
}

/// How soon the bystander's commands are as fast as before.
fn recovery(bystander: &Bystander, most: Duration) -> Duration {
    let began = Instant::now();
    loop {
        let elapsed = began.elapsed();
        let works = bystander.works(Duration::from_millis(500));
        if works.p99() <= most || elapsed > RECOVERY {
            return elapsed;
        }
    }
}

/// The bound on its memory that the server reports, in KiB.
fn memory_bound() -> u64 {
    let said = Command::new(server_binary())
        .args(["limits", "--json"])
        .args(CONNECTIONS)
        .args(USERS)
        .output()
        .expect("the server can be run");
    let limits: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    limits["memory"]["total_bytes"].as_u64().expect("a bound") / 1024
}

/// The most memory in KiB that this attack took when it was last recorded.
fn recorded_peak(attack: &str) -> Option<u64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.jsonl");
    let text = std::fs::read_to_string(file).expect("the recorded runs");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line));
    let of_it = lines.flatten().filter(|line| line["attack"] == attack);
    let peaks = of_it.last()?["peaks_kib"].as_array()?.clone();
    peaks.iter().filter_map(serde_json::Value::as_u64).max()
}

fn commit() -> String {
    let said = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

/// The tokens of the attacker. Both rounds have the same: an agent belongs to whoever connected it first.
struct Tokens {
    agent: String,
    dashboard: String,
}

impl Tokens {
    fn of_attacker(bench: &Bench) -> Self {
        let token = |kind: &str| {
            let made = Command::new(server_binary())
                .args(["token", "--user", "mallory", "--kind", kind, "--data"])
                .arg(bench.data())
                .output()
                .expect("it runs");
            String::from_utf8(made.stdout).expect("text").trim().to_owned()
        };
        Self { agent: token("agent"), dashboard: token("dashboard") }
    }

    /// The words with which this program attacks.
    fn words<'a>(&'a self, attack: &'a str, bench: &'a Bench) -> [&'a str; 5] {
        ["attack", attack, &bench.address, &self.agent, &self.dashboard]
    }
}

/// One that runs.
enum Attacker {
    /// On its own, for as long as this is held.
    Alone { _process: Running },
    /// In the terminal of its agent.
    In(Host),
}

impl Attacker {
    fn start(attack: &Attack, bench: &Bench, tokens: &Tokens, heard: &Path) -> Self {
        match attack.serve {
            Serve::Plain | Serve::Tls | Serve::Few | Serve::BehindProxy | Serve::OneAddress => {
                Self::Alone { _process: attacker(attack.name, bench, tokens, Some(heard)) }
            }
            Serve::InTerminal => {
                let program = std::env::current_exe().expect("this program");
                let program = program.to_string_lossy();
                let words = tokens.words(attack.name, bench);
                let words = [&[&*program], &words[..]].concat();
                Self::In(Host::start(bench, &tokens.agent, heard, &words))
            }
        }
    }

    /// What it did to its own agent.
    fn faults(&self, bench: &Bench) -> Vec<String> {
        match self {
            Self::Alone { .. } => Vec::new(),
            Self::In(host) => host.faults(bench),
        }
    }
}

/// An attacker, who writes to this file what it hears.
fn attacker(name: &str, bench: &Bench, tokens: &Tokens, heard: Option<&Path>) -> Running {
    let program = std::env::current_exe().expect("this program");
    niced_with(&program.to_string_lossy(), &tokens.words(name, bench), heard)
}

fn niced(program: &str, words: &[&str]) -> Running {
    niced_with(program, words, None)
}

fn niced_with(program: &str, words: &[&str], heard: Option<&Path>) -> Running {
    let child = Command::new("nice")
        .envs(heard.map(|path| (effects::HEARD, path)))
        .args(["-n", "10", program])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("nice can be run");
    Running(child)
}

impl Running {
    /// The peak memory of a process since the last call, in KiB.
    fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        let number = line.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        // Resets the peak for the next round.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5");
        number.expect("a number")
    }
}
