//! The real binaries with the programs and under the conditions of the field: proxies in front of the server and
//! of the agent, bad certificates, faulty name servers, clocks that jump, tokens that are renewed in files.
//!
//! `cargo test -p onsembl-agent-ref --test field` runs each case in a process of its own; with `-- NAME...` it runs
//! those whose names contain one of these, and with `-- fill` the runs of the fault matrix that are missing. A case whose programs are not installed is reported as skipped. The
//! whole suite may take [`BUDGET`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "../e2e/bench.rs"]
#[allow(dead_code, reason = "the other suites use more of it")]
mod bench;
mod certificates;
mod clocks;
mod combined;
mod connect;
#[path = "../e2e/crowd.rs"]
mod crowd;
mod faults;
mod filling;
mod haproxy;
mod incidents;
mod middlebox;
mod names;
mod nginx;
mod programs;
#[path = "../e2e/relay.rs"]
mod relay;
mod site;
mod surroundings;
mod tokens;
mod verdicts;

use programs::Need;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long all cases may take together: 250 s on two processors, and some of them only wait.
const BUDGET: Duration = Duration::from_secs(420);
/// How long one case may take before it is killed.
const LONGEST: Duration = Duration::from_secs(90);
/// How many cases run at once, unless `ONSEMBL_AT_ONCE` says another number: they mostly wait.
const AT_ONCE: usize = 4;

/// One condition of the field.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub needs: &'static [Need],
    pub run: fn(),
}

const KINDS: [&[Case]; 10] = [
    nginx::CASES,
    haproxy::CASES,
    connect::CASES,
    certificates::CASES,
    names::CASES,
    faults::CASES,
    clocks::CASES,
    tokens::CASES,
    verdicts::CASES,
    incidents::CASES,
];

enum Outcome {
    Held,
    Skipped(String),
    Failed(String),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let all: Vec<&Case> = KINDS.iter().copied().flatten().collect();
    if words.iter().any(|word| word == "--list") {
        all.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    if let [first, name] = words.as_slice()
        && first == "case"
    {
        let case = all.iter().find(|case| case.name == name).expect("a case of this name");
        programs::enter(case.needs);
        (case.run)();
        return ExitCode::SUCCESS;
    }
    if let Some(("fill", named)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let _ = bench::server_binary();
        return filling::fill(named);
    }
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted: Vec<&Case> = all
        .into_iter()
        .filter(|case| only.is_empty() || only.iter().any(|part| case.name.contains(*part)))
        .collect();
    // Otherwise the first case would wait for the build.
    let _ = bench::server_binary();
    run(&wanted)
}

fn run(cases: &[&Case]) -> ExitCode {
    let began = Instant::now();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let output = Mutex::new(std::io::stdout());
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let began = Instant::now();
                    let outcome = outcome(case, &[]);
                    let took = began.elapsed().as_secs_f32();
                    let (word, rest) = match outcome {
                        Outcome::Held => ("ok".to_owned(), String::new()),
                        Outcome::Skipped(why) => (format!("skipped: {why}"), String::new()),
                        Outcome::Failed(said) => {
                            let _ = failed.fetch_add(1, Ordering::SeqCst);
                            ("FAILED".to_owned(), said)
                        }
                    };
                    let mut output = output.lock().unwrap();
                    let _ = writeln!(output, "{:<64} {took:>5.1} s  {word}", case.name);
                    rest.lines().for_each(|line| drop(writeln!(output, "    {line}")));
                }
            });
        }
    });
    let took = began.elapsed();
    println!("{:.0} s of {} s", took.as_secs_f32(), BUDGET.as_secs());
    if took > BUDGET {
        println!("FAILED: the suite took longer than its budget; look for the slowest case");
    }
    match failed.into_inner() == 0 && took <= BUDGET {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn at_once() -> usize {
    let at_once = std::env::var("ONSEMBL_AT_ONCE").ok();
    at_once.and_then(|text| text.parse().ok()).unwrap_or(AT_ONCE)
}

/// Runs a case in a process of its own, with this in its environment. When that ends, so does everything that it
/// started.
fn outcome(case: &Case, environment: &[(&str, &OsStr)]) -> Outcome {
    if let Some(missing) = case.needs.iter().find_map(|need| need.missing()) {
        return Outcome::Skipped(missing);
    }
    let said = tempfile::tempfile().expect("a temporary file");
    let mut command = programs::within(case.needs, &std::env::current_exe().expect("this program"));
    let child = command
        .args(["case", case.name])
        .envs(environment.iter().copied())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a descriptor"))
        .stderr(said.try_clone().expect("a descriptor"))
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let by = Instant::now() + LONGEST;
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break Some(status),
            None if Instant::now() > by => break None,
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = child.wait();
    match status {
        Some(status) if status.success() => Outcome::Held,
        Some(_) => Outcome::Failed(text_of(said)),
        None => Outcome::Failed(format!("not over after {LONGEST:?}\n{}", text_of(said))),
    }
}

fn text_of(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
