//! Suites whose cases need programs that are not of this workspace: each case in a process of its own, several at once,
//! those without their programs skipped, and all of it within a budget of time.

use crate::bench;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What holds for all cases of a suite.
pub struct Suite {
    /// How long all cases may take together.
    pub budget: Duration,
    /// How long one case may take before it is killed.
    pub longest: Duration,
    /// How many cases run at once, unless `ONSEMBL_AT_ONCE` says another number.
    pub at_once: usize,
    /// The fewest cases that must run for a run of all to count, unless no program is installed.
    pub at_least: usize,
}

/// A case, which is run in a process of its own.
pub trait IsolatedCase: Sync {
    fn name(&self) -> &str;

    /// What it is about: of several cases about the same one counts.
    fn about(&self) -> &str {
        self.name()
    }

    /// What it needs that is not there.
    fn missing(&self) -> Option<String>;

    /// The process that is to run it, without its arguments: `program`, in surroundings of the case.
    fn process(&self, program: &Path) -> Command;

    /// Ends everything that it started.
    fn clean_up(&self, process: &Child);

    /// Runs it, in its own process.
    fn run(&self);
}

/// How a case went.
pub enum Outcome {
    Held,
    Skipped(String),
    Failed(String),
}

impl Suite {
    /// Lists the cases, runs the one case for which this process was started, or runs those whose names contain one of
    /// these words, each in a process of its own.
    pub fn main<C: IsolatedCase>(&self, cases: &[C], words: &[String]) -> ExitCode {
        if words.iter().any(|word| word == "--list") {
            cases.iter().for_each(|case| println!("{}: test", case.name()));
            return ExitCode::SUCCESS;
        }
        if let [first, name] = words
            && first == "case"
        {
            let case = cases.iter().find(|case| case.name() == name).expect("a case of this name");
            case.run();
            return ExitCode::SUCCESS;
        }
        let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
        let is_wanted = |name: &str| only.iter().any(|part| name.contains(*part));
        let wanted: Vec<&C> =
            cases.iter().filter(|c| only.is_empty() || is_wanted(c.name())).collect();
        // Otherwise the first case would wait for the build.
        let _ = bench::server_binary();
        self.run(&wanted, only.is_empty())
    }

    fn run<C: IsolatedCase>(&self, cases: &[&C], whole: bool) -> ExitCode {
        let began = Instant::now();
        let [next, held, failed, skipped] = std::array::from_fn(|_| AtomicUsize::new(0));
        let output = Mutex::new(std::io::stdout());
        let [ran, left_out] = std::array::from_fn(|_| Mutex::new(BTreeSet::new()));
        let width = cases.iter().map(|case| case.name().len()).max().unwrap_or_default();
        thread::scope(|scope| {
            for _ in 0..self.at_once() {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let began = Instant::now();
                        let outcome = self.outcome(*case, |_| {});
                        let took = began.elapsed().as_secs_f32();
                        let about = match outcome {
                            Outcome::Held | Outcome::Failed(_) => &ran,
                            Outcome::Skipped(_) => &left_out,
                        };
                        let _ = about.lock().unwrap().insert(case.about());
                        let (count, word, rest) = match outcome {
                            Outcome::Held => (&held, "ok".to_owned(), String::new()),
                            Outcome::Skipped(why) => {
                                (&skipped, format!("skipped: {why}"), String::new())
                            }
                            Outcome::Failed(said) => (&failed, "FAILED".to_owned(), said),
                        };
                        let _ = count.fetch_add(1, Ordering::SeqCst);
                        let mut output = output.lock().unwrap();
                        let _ = writeln!(output, "{:<width$} {took:>5.1} s  {word}", case.name());
                        rest.lines().for_each(|line| drop(writeln!(output, "    {line}")));
                    }
                });
            }
        });
        let took = began.elapsed();
        let [held, failed, skipped] = [held, failed, skipped].map(AtomicUsize::into_inner);
        println!("{:.0} s of {} s", took.as_secs_f32(), self.budget.as_secs());
        if took > self.budget {
            println!("FAILED: the suite took longer than its budget; look for the slowest case");
        }
        let [ran, left_out] = [ran, left_out].map(|about| about.into_inner().unwrap());
        if !left_out.is_empty() {
            let names: Vec<&str> = left_out.into_iter().collect();
            println!("skipped: {}", names.join(", "));
        }
        let enough = !whole || ran.is_empty() || ran.len() >= self.at_least;
        if ran.is_empty() {
            println!("skipped: nothing of it can be run here");
        } else if !enough {
            let (ran, at_least) = (ran.len(), self.at_least);
            println!("FAILED: only {ran} of at least {at_least} ran; install their programs");
        }
        println!("{held} passed, {failed} failed, {skipped} skipped");
        match failed == 0 && took <= self.budget && enough {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    pub fn at_once(&self) -> usize {
        let at_once = std::env::var("ONSEMBL_AT_ONCE").ok();
        at_once.and_then(|text| text.parse().ok()).unwrap_or(self.at_once)
    }

    /// Runs a case in a process of its own, to which `prepare` may add. When that ends, so does everything that it
    /// started.
    pub fn outcome(&self, case: &impl IsolatedCase, prepare: impl FnOnce(&mut Command)) -> Outcome {
        if let Some(missing) = case.missing() {
            return Outcome::Skipped(missing);
        }
        let said = tempfile::tempfile().expect("a temporary file");
        let mut command = case.process(&std::env::current_exe().expect("this program"));
        command
            .args(["case", case.name()])
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said.try_clone().expect("a descriptor"));
        prepare(&mut command);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let by = Instant::now() + self.longest;
        let status = loop {
            match child.try_wait().expect("it is our child") {
                Some(status) => break Some(status),
                None if Instant::now() > by => break None,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        case.clean_up(&child);
        let _ = child.wait();
        match status {
            Some(status) if status.success() => Outcome::Held,
            Some(_) => Outcome::Failed(text_of(said)),
            None => {
                Outcome::Failed(format!("not over after {:?}\n{}", self.longest, text_of(said)))
            }
        }
    }
}

/// Kills a process, or a group by its number with a minus.
pub fn kill(process: &str) {
    let _ = Command::new("kill").args(["-KILL", "--", process]).stderr(Stdio::null()).status();
}

fn text_of(mut file: File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
