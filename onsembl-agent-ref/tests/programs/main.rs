//! The real binaries with real programs in the terminal: shells, editors, pagers, coding agents. Each goes through
//! start, texts, keys, a resize, an attached terminal, a cancel, a stop and a kill, and its screen is compared with what
//! tmux shows of the same program.
//!
//! `cargo test -p onsembl-agent-ref --test programs` runs each case in a process of its own; with `-- NAME...` it runs
//! those whose names contain one of these. `.ci/programs` installs the programs; a case whose program is not there is
//! reported as skipped. The whole suite may take [`BUDGET`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_debug_implementations,
    reason = "tests"
)]

mod attached;
#[path = "../e2e/bench.rs"]
#[allow(dead_code, reason = "the other suites use more of it")]
mod bench;
#[path = "../common/cases.rs"]
mod cases;
mod coding;
mod needs;
mod page;
mod side;
mod stand_in;
mod table;
mod tmux;
mod transcripts;
mod walk;
mod wrapped;

use cases::{IsolatedCase, Suite};
use needs::Need;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

const SUITE: Suite = Suite {
    budget: BUDGET,
    longest: Duration::from_secs(120),
    at_once: 3,
    // `.ci/programs` installs them.
    at_least: 10,
};
/// How long all cases may take together.
const BUDGET: Duration = Duration::from_secs(180);
/// A variable that everything a case starts has in its environment.
pub const CASE_MARK: &str = "PROGRAMS_CASE";

struct Case {
    name: String,
    /// The name of its program.
    program: &'static str,
    needs: &'static [Need],
    run: Box<dyn Fn() + Sync>,
}

impl Case {
    fn mark(&self) -> String {
        format!("{}-{}", self.name, std::process::id())
    }
}

impl IsolatedCase for Case {
    fn name(&self) -> &str {
        &self.name
    }

    fn about(&self) -> &str {
        self.program
    }

    fn missing(&self) -> Option<String> {
        let tmux = Need::System("tmux");
        self.needs.iter().chain([&tmux]).find_map(|need| need.missing())
    }

    fn process(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env(CASE_MARK, self.mark())
            // Not below a folder into which everybody writes: some programs trust nothing there.
            .env("TMPDIR", needs::runs())
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// By their mark: programs under terminals are in sessions of their own.
    fn clean_up(&self, _: &Child) {
        let all = side::marked(&format!("{CASE_MARK}={}", self.mark()));
        all.iter().for_each(|pid| cases::kill(&pid.to_string()));
    }

    fn run(&self) {
        (self.run)();
    }
}

fn cases() -> Vec<Case> {
    let walks = coding::AGENTS.iter().chain(table::TOOLS).map(|program| Case {
        name: program.name.to_owned(),
        program: program.name,
        needs: program.needs,
        run: Box::new(|| walk::walk(program)),
    });
    let transcripts = transcripts::STORIES.iter().map(|story| Case {
        name: format!("transcript-{}", story.program.name),
        program: story.program.name,
        needs: story.program.needs,
        run: Box::new(|| transcripts::tell(story)),
    });
    let masking = Case {
        name: "masking".to_owned(),
        program: "the page",
        needs: &[],
        run: Box::new(page::cut_paths),
    };
    walks.chain(transcripts).chain([masking]).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    SUITE.main(&cases(), &words)
}
