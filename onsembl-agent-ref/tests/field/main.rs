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
#[path = "../common/cases.rs"]
mod cases;
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

use cases::{IsolatedCase, Suite};
use programs::Need;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

const SUITE: Suite = Suite {
    budget: BUDGET,
    longest: Duration::from_secs(90),
    // They mostly wait.
    at_once: 4,
    at_least: 0,
};
/// How long all cases may take together: 250 s on two processors, and some of them only wait.
const BUDGET: Duration = Duration::from_secs(420);

/// One condition of the field.
#[derive(Clone, Copy, Debug)]
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

impl IsolatedCase for Case {
    fn name(&self) -> &str {
        self.name
    }

    fn missing(&self) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing())
    }

    fn process(&self, program: &Path) -> Command {
        let mut command = programs::within(self.needs, program);
        command.process_group(0);
        command
    }

    fn clean_up(&self, process: &Child) {
        cases::kill(&format!("-{}", process.id()));
    }

    fn run(&self) {
        programs::enter(self.needs);
        (self.run)();
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("fill", named)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let _ = bench::server_binary();
        return filling::fill(named);
    }
    let all: Vec<Case> = KINDS.iter().copied().flatten().copied().collect();
    SUITE.main(&all, &words)
}
