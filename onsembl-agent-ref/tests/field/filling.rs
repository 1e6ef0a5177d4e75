//! Fills `docs/verdicts.jsonl`: `fill` makes those runs of the fault matrix that are missing or outdated, in
//! parallel, and saves after each, so that an interrupted fill resumes. `fill FAULT...` repeats the runs of these faults
//! only.
//!
//! Outdated are runs of faults that expect another cause by now, and with `ONSEMBL_RUNS_SINCE=COMMIT` those that were made
//! without that commit. `ONSEMBL_RUNS` is the number of runs of each (20).

use crate::cases::Outcome;
use crate::verdicts::{CASES, EXPECTED};
use crate::{Case, SUITE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// One run that is to be made.
struct Job {
    fault: &'static str,
    case: &'static Case,
    run: u64,
}

/// The runs that there are, and where they are kept.
struct Kept {
    file: PathBuf,
    runs: Vec<Value>,
    missing: usize,
}

impl Kept {
    fn read(named: &[String]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdicts.jsonl");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut commits = BTreeMap::new();
        let mut runs: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a run")).collect();
        runs.retain(|run| is_current(run, named, &mut commits));
        Self { file, runs, missing: 0 }
    }

    fn has(&self, fault: &str, number: u64) -> bool {
        let number = number.to_string();
        self.runs.iter().any(|run| run["fault"] == fault && run["run"] == number)
    }

    fn write(&mut self) {
        let place = |run: &Value| {
            let number = run["run"].as_str().and_then(|text| text.parse::<u64>().ok());
            (run["fault"].as_str().unwrap_or_default().to_owned(), number)
        };
        // Those of the simulator stand behind, as the test writes them.
        let all = std::mem::take(&mut self.runs).into_iter();
        let (simulated, mut real): (Vec<_>, Vec<_>) = all.partition(|run| run["simulated"] == true);
        real.sort_by_key(place);
        self.runs = real.into_iter().chain(simulated).collect();
        let text: String = self.runs.iter().map(|run| format!("{run}\n")).collect();
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }
}

/// Whether a run still tells what comes of its fault. Those of the simulator are its own.
fn is_current(run: &Value, named: &[String], commits: &mut BTreeMap<String, bool>) -> bool {
    if run["simulated"] == true {
        return true;
    }
    let fault = run["fault"].as_str().unwrap_or_default();
    if !named.is_empty() {
        return named.iter().all(|name| name != fault);
    }
    let Some((_, expected)) = EXPECTED.iter().find(|(name, _)| *name == fault) else {
        return false;
    };
    if run["expected"] != json!(expected) {
        return false;
    }
    let Ok(since) = std::env::var("ONSEMBL_RUNS_SINCE") else { return true };
    let commit = run["commit"].as_str().unwrap_or_default().to_owned();
    *commits.entry(commit.clone()).or_insert_with(|| {
        let mut git = Command::new("git");
        let _ = git.args(["merge-base", "--is-ancestor", &since, &commit]);
        git.status().is_ok_and(|status| status.success())
    })
}

pub fn fill(named: &[String]) -> ExitCode {
    let wanted = std::env::var("ONSEMBL_RUNS").map_or(20, |runs| runs.parse().expect("a number"));
    let kept = Kept::read(named);
    let case = |fault: &str| {
        let name = format!("verdicts/{fault}");
        CASES.iter().find(|case| case.name == name).expect("each fault has a case")
    };
    let mut jobs = Vec::new();
    for run in 1..=wanted {
        let is_wanted = |fault: &str| named.is_empty() || named.iter().any(|name| name == fault);
        let due = EXPECTED.iter().filter(|(fault, _)| is_wanted(fault) && !kept.has(fault, run));
        jobs.extend(due.map(|(fault, _)| Job { fault, case: case(fault), run }));
    }
    println!("{} runs are kept, {} are to be made", kept.runs.len(), jobs.len());
    let (kept, next) = (Mutex::new(kept), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..SUITE.at_once() {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    make(job, &kept);
                }
            });
        }
    });
    let mut kept = kept.into_inner().unwrap();
    kept.write();
    println!("{} runs are missing", kept.missing);
    if kept.missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn make(job: &Job, kept: &Mutex<Kept>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("run");
    let run = job.run.to_string();
    let more = [("ONSEMBL_VERDICT_FILE", file.as_os_str()), ("ONSEMBL_RUN", run.as_ref())];
    let outcome = SUITE.outcome(job.case, |command| drop(command.envs(more)));
    let made: Option<Value> =
        std::fs::read(&file).ok().and_then(|line| serde_json::from_slice(&line).ok());
    let mut kept = kept.lock().unwrap();
    match (made, outcome) {
        (Some(made), _) => {
            println!("{} {run}: {} ({})", job.fault, made["cause"], made["confidence"]);
            kept.runs.push(made);
            kept.write();
        }
        (None, Outcome::Skipped(why) | Outcome::Failed(why)) => {
            println!("{} {run}: none: {why}", job.fault);
            kept.missing += 1;
        }
        (None, Outcome::Held) => kept.missing += 1,
    }
}
