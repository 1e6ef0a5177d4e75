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

use needs::Need;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long all cases may take together.
const BUDGET: Duration = Duration::from_secs(180);
/// How long one case may take before it is killed.
const LONGEST: Duration = Duration::from_secs(120);
/// How many cases run at once, unless `ONSEMBL_AT_ONCE` says another number.
const AT_ONCE: usize = 3;
/// How many programs must be there for the suite to say anything.
const AT_LEAST: usize = 10;
/// A variable that everything a case starts has in its environment.
pub const CASE_MARK: &str = "PROGRAMS_CASE";

struct Case {
    name: String,
    needs: &'static [Need],
    run: Box<dyn Fn() + Sync>,
}

enum Outcome {
    Held,
    Skipped(String),
    Failed(String),
}

fn cases() -> Vec<Case> {
    let walks = coding::AGENTS.iter().chain(table::TOOLS).map(|program| Case {
        name: program.name.to_owned(),
        needs: program.needs,
        run: Box::new(|| walk::walk(program)),
    });
    let transcripts = transcripts::STORIES.iter().map(|story| Case {
        name: format!("transcript-{}", story.program.name),
        needs: story.program.needs,
        run: Box::new(|| transcripts::tell(story)),
    });
    walks.chain(transcripts).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let all = cases();
    if words.iter().any(|word| word == "--list") {
        all.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    if let [first, name] = words.as_slice()
        && first == "case"
    {
        let case = all.iter().find(|case| case.name == *name).expect("a case of this name");
        (case.run)();
        return ExitCode::SUCCESS;
    }
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted: Vec<&Case> = all
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|part| case.name.contains(*part)))
        .collect();
    // Otherwise the first case would wait for the build.
    let _ = bench::server_binary();
    run(&wanted, only.is_empty())
}

fn run(cases: &[&Case], whole: bool) -> ExitCode {
    let began = Instant::now();
    let [next, held, failed, skipped] = std::array::from_fn(|_| AtomicUsize::new(0));
    let output = Mutex::new(std::io::stdout());
    thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let began = Instant::now();
                    let outcome = outcome(case);
                    let took = began.elapsed().as_secs_f32();
                    let (count, word, rest) = match outcome {
                        Outcome::Held => (&held, "ok".to_owned(), String::new()),
                        Outcome::Skipped(why) => {
                            (&skipped, format!("skipped: {why}"), String::new())
                        }
                        Outcome::Failed(said) => (&failed, "FAILED".to_owned(), said),
                    };
                    let _ = count.fetch_add(1, Ordering::SeqCst);
                    let mut output = output.lock().unwrap();
                    let _ = writeln!(output, "{:<32} {took:>5.1} s  {word}", case.name);
                    rest.lines().for_each(|line| drop(writeln!(output, "    {line}")));
                }
            });
        }
    });
    let took = began.elapsed();
    let [held, failed, skipped] = [held, failed, skipped].map(AtomicUsize::into_inner);
    println!("{:.0} s of {} s", took.as_secs_f32(), BUDGET.as_secs());
    if took > BUDGET {
        println!("FAILED: the suite took longer than its budget; look for the slowest case");
    }
    let enough = !whole || held + failed >= AT_LEAST;
    if !enough {
        println!("FAILED: fewer than {AT_LEAST} programs are there; install them by .ci/programs");
    }
    println!("{held} passed, {failed} failed, {skipped} skipped");
    match failed == 0 && took <= BUDGET && enough {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn at_once() -> usize {
    let at_once = std::env::var("ONSEMBL_AT_ONCE").ok();
    at_once.and_then(|text| text.parse().ok()).unwrap_or(AT_ONCE)
}

/// Runs a case in a process of its own. When that ends, so does everything that it started.
fn outcome(case: &Case) -> Outcome {
    let tmux = Need::System("tmux");
    if let Some(missing) = case.needs.iter().chain([&tmux]).find_map(|need| need.missing()) {
        return Outcome::Skipped(missing);
    }
    let said = tempfile::tempfile().expect("a temporary file");
    let mark = format!("{}-{}", case.name, std::process::id());
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["case", &case.name])
        .env(CASE_MARK, &mark)
        // Not below a folder into which everybody writes: some programs trust nothing there.
        .env("TMPDIR", needs::runs())
        .env("RUST_BACKTRACE", "0")
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
    for pid in side::marked(&format!("{CASE_MARK}={mark}")) {
        let _ =
            Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    }
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
