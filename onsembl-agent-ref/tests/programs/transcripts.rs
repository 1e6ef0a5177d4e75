//! The transcripts of docs/WRAP.md: each coding agent wrapped, watched, answered and stopped.
//!
//! `ONSEMBL_BLESS=1` writes them into the page, behind the lines `<!-- transcript: NAME -->`. Without it the suite runs
//! the same commands, and compares them with those of the page; what programs answered is not compared, since it
//! changes with their versions.

use crate::bench::{Bench, FAST};
use crate::needs;
use crate::side::Side;
use crate::stand_in::StandIn;
use crate::table::{Input, Program};
use crate::walk::within;
use crate::wrapped::Wrapped;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

const SIZE: (u16, u16) = (80, 24);
/// What stands on the page in the place of the folder of the run.
const HOME: &str = "/home/ann";

/// The transcript of one program, while it grows.
struct Transcript<'a> {
    bench: &'a Bench,
    side: &'a Side,
    text: String,
}

/// Runs a coding agent as the page tells, and writes the page or compares it.
pub fn tell(program: &Program) {
    let bench = Bench::with(FAST, &[]);
    let root = bench.folder.path().join("t");
    let stand_in = StandIn::start();
    let side = Side::new(&root, 'a', program, &stand_in.address);
    let mut transcript = Transcript { bench: &bench, side: &side, text: String::new() };
    transcript.line(&format!(
        "# {}; a stand-in on this machine answers in the place of its service",
        version(program)
    ));

    let words = side.words().join(" ");
    transcript.line(&format!("$ onsembl-agent run --name ada --runner terminal -- {words} &"));
    let wrapped = Wrapped::start(&bench, "ada", &side, SIZE);
    let _ = bench.await_status("ada", "online");
    shows(&wrapped, program.ready);
    transcript.asks(&["agents"]);
    for turn in program.turns {
        match turn.input {
            Input::Text(text) => transcript.asks(&["exec", "ada", "--", text]),
            Input::Keys(keys) => transcript.asks(&["exec", "--keys", "ada", "--", keys]),
        }
        shows(&wrapped, turn.shows);
        transcript.asks(&["screen", "ada"]);
    }
    transcript.asks(&["stop", "ada"]);
    assert_eq!(side.processes(), Vec::<u32>::new(), "lives after a verified stop");
    transcript.asks(&["release", "ada"]);
    shows(&wrapped, program.ready);
    wrapped.end();

    let name = program.name;
    let told = transcript.told();
    match std::env::var_os("ONSEMBL_BLESS") {
        Some(_) => write(name, &told),
        None => compare(name, &told),
    }
}

fn shows(wrapped: &Wrapped<'_>, text: &str) {
    let seen = RefCell::new(String::new());
    within(
        &format!("its screen shows {text:?}"),
        || {
            *seen.borrow_mut() = wrapped.screen();
            seen.borrow().contains(text)
        },
        || seen.borrow().clone(),
    );
}

/// What a program says of its version.
fn version(program: &Program) -> String {
    let name = program.words.first().expect("a program");
    let asked = Command::new(name).arg("--version").env("PATH", needs::path()).output();
    let said = String::from_utf8(asked.expect("it can be run").stdout).expect("text");
    let said = said.trim();
    // Some say only the number.
    match said.starts_with(|first: char| first.is_ascii_digit()) && !said.contains(' ') {
        true => format!("{name} {said}"),
        false => said.to_owned(),
    }
}

impl Transcript<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Runs a command of people, and notes it with all that it says.
    fn asks(&mut self, words: &[&str]) {
        let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.line(&format!("\n$ onsembl-server {}", shown.join(" ")));
        let mut command = self.bench.client();
        let output = command
            .args(words)
            .env("ONSEMBL_SERVER", self.bench.url())
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .expect("the server can be run");
        assert!(output.status.success(), "{words:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        let mut empty = true;
        for line in String::from_utf8_lossy(&said).lines() {
            // Many lines of a screen are empty; one of them says as much.
            if !(empty && line.trim().is_empty()) {
                self.line(line);
            }
            empty = line.trim().is_empty();
        }
    }

    /// The transcript, without what is of this machine or this run.
    fn told(&self) -> String {
        let folder = self.side.folder().display().to_string();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut text =
            self.text.replace(&folder, HOME).replace(&self.bench.address, "127.0.0.1:8080");
        if !host.trim().is_empty() {
            text = text.replace(host.trim(), "desk");
        }
        let lines =
            text.lines().map(|line| without_clock(&without_ids(line)).trim_end().to_owned());
        let lines: Vec<String> = lines.collect();
        lines.join("\n").trim().to_owned() + "\n"
    }
}

fn quoted(word: &str) -> String {
    match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.to_owned(),
    }
}

/// Ids of terminals are drawn by lot.
fn without_ids(line: &str) -> String {
    let mut parts = line.split("terminal-");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '-');
        let is_id = part.len() - rest.len() >= 8;
        text += if is_id { "terminal-7f3a" } else { "terminal-" };
        text += if is_id { rest } else { part };
    }
    text
}

/// `12:34`, whatever the clock showed.
fn without_clock(line: &str) -> String {
    let mut characters: Vec<char> = line.chars().collect();
    for at in 0..characters.len().saturating_sub(4) {
        let is_clock = characters[at..at + 5].iter().enumerate().all(|(place, c)| match place {
            2 => *c == ':',
            _ => c.is_ascii_digit(),
        });
        let stands_alone = at.checked_sub(1).is_none_or(|before| characters[before] == ' ')
            && characters.get(at + 5).is_none_or(|c| *c == ' ');
        if is_clock && stands_alone {
            for (place, c) in "12:34".chars().enumerate() {
                characters[at + place] = c;
            }
        }
    }
    characters.into_iter().collect()
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/WRAP.md")
}

/// The page before a transcript, the transcript in its fence, and the page behind it.
fn parts<'a>(page: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let marker = format!("<!-- transcript: {name} -->\n");
    let at = page.find(&marker)? + marker.len();
    let (before, rest) = page.split_at(at);
    let Some(fenced) = rest.strip_prefix("```text\n") else { return Some((before, "", rest)) };
    let (transcript, after) = fenced.split_once("```\n")?;
    Some((before, transcript, after))
}

/// Cases write to the page one after another.
fn write(name: &str, transcript: &str) {
    let lock = std::fs::File::open(page()).expect("the page");
    lock.lock().expect("a lock");
    let text = std::fs::read_to_string(page()).expect("the page");
    let (before, _, after) = parts(&text, name).expect("a place for it in docs/WRAP.md");
    let text = format!("{before}```text\n{transcript}```\n{after}");
    std::fs::write(page(), text).expect("the page can be written");
}

/// The commands of the page are those that were run.
fn compare(name: &str, transcript: &str) {
    let text = std::fs::read_to_string(page()).expect("the page");
    let (_, of_page, _) = parts(&text, name).expect("a place for it in docs/WRAP.md");
    let commands = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("$ ")).map(ToOwned::to_owned).collect()
    };
    assert_eq!(
        commands(of_page),
        commands(transcript),
        "docs/WRAP.md tells other commands than were run; ONSEMBL_BLESS=1 writes them"
    );
    assert!(of_page.contains("stand-in"), "the page does not say who answered");
}
