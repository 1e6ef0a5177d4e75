//! docs/WRAP.md: where transcripts go, what in them is of one run or of one machine, and the comparison.
//!
//! `ONSEMBL_BLESS=1` writes transcripts into the page, behind the lines `<!-- transcript: NAME -->`. Without it the
//! commands of the page are compared with those that were run. What programs answered is not compared, since it changes
//! with their versions.

use crate::bench::{Bench, agent_binary};
use crate::side::Side;
use std::path::{Path, PathBuf};

/// What stands on the page in the place of the folder of the run.
const HOME: &str = "/home/ann";
/// Lines of the page are at most this long.
const LINE: usize = 200;
/// So much of a path is taken for the beginning of one.
const CUT: usize = 3;
/// Random or timed text, and its replacement on the page. An `x` is a digit of base 16, a `d` one of
/// base 10. The longer ones go first.
const VARIES: &[(&str, &str)] = &[
    ("terminal-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "terminal-01a2"),
    ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "01a22c7f-6084-761c-abe0-7a00cb289a33"),
    ("dddd-dd-ddTdd:dd:dd.dddZ", "2026-12-01T09:30:00.000Z"),
    (" dd:dd ", " 09:30 "),
    (" d:dd ", " 9:30 "),
];

/// Knows what of a text is of one run or of this machine.
#[derive(Debug)]
pub struct Settled {
    named: Vec<(String, &'static str)>,
}

impl Settled {
    pub fn new(bench: &Bench, side: &Side) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let binaries = agent_binary().parent().expect("a folder").to_owned();
        let named = [
            (side.folder().display().to_string(), HOME),
            (bench.folder.path().display().to_string(), HOME),
            (bench.address.clone(), "127.0.0.1:8080"),
            (binaries.display().to_string(), "/usr/local/bin"),
            (host.trim().to_owned(), "desk"),
        ];
        Self { named: named.into_iter().filter(|(name, _)| !name.is_empty()).collect() }
    }

    /// The text as it stands on the page.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, instead) in &self.named {
            text = text.replace(name, instead);
        }
        let lines = text.lines().map(|line| settled(&self.without_cut_paths(line)));
        let lines: Vec<String> = lines.collect();
        lines.join("\n").trim().to_owned() + "\n"
    }
}

impl Settled {
    /// A line whose end, as of a screen that is no wider, is the beginning of a path that is named: it stands there as
    /// the beginning of what is named instead.
    fn without_cut_paths(&self, line: &str) -> String {
        let line = line.trim_end();
        let paths = self.named.iter().filter(|(name, _)| name.starts_with('/'));
        let cut = paths.filter_map(|(name, instead)| {
            let lengths = (CUT..name.len()).filter(|at| name.is_char_boundary(*at));
            let longest = lengths.rev().find(|at| line.ends_with(&name[..*at]))?;
            let before = &line[..line.len() - longest];
            let is_path =
                !before.ends_with(|last: char| last.is_alphanumeric() || "/._-".contains(last));
            is_path.then(|| (longest, format!("{before}{}", cut_to(instead, longest))))
        });
        cut.max_by_key(|(longest, _)| *longest).map_or_else(|| line.to_owned(), |(_, line)| line)
    }
}

/// As many bytes of it, all of which are ASCII.
fn cut_to(instead: &str, length: usize) -> &str {
    instead.get(..length).unwrap_or(instead)
}

/// A path that is cut by the edge of a screen is none of this machine.
pub fn cut_paths() {
    let named = vec![
        ("/build/of/somebody/debug".to_owned(), "/usr/local/bin"),
        ("/tmp/of-this-run".to_owned(), HOME),
    ];
    let settled = Settled { named };
    for (line, shown) in [
        ("hook prompt, '/build/of/some", "hook prompt, '/usr/local/bin"),
        ("hook prompt, '/build", "hook prompt, '/usr/l"),
        ("hook prompt, '/tmp/of-th  ", "hook prompt, '/home/ann"),
        ("a/build and /", "a/build and /"),
        ("in a/build", "in a/build"),
    ] {
        assert_eq!(settled.text(line), format!("{shown}\n"));
    }
}

fn settled(line: &str) -> String {
    // A blank behind it, for what stands at the end.
    let mut line = format!("{line} ");
    for (pattern, instead) in VARIES {
        line = replaced(&line, pattern, instead);
    }
    let line = line.trim_end();
    match line.char_indices().nth(LINE) {
        Some((at, _)) => format!("{} …", &line[..at]),
        None => line.to_owned(),
    }
}

fn replaced(line: &str, pattern: &str, instead: &str) -> String {
    let pattern: Vec<char> = pattern.chars().collect();
    let characters: Vec<char> = line.chars().collect();
    let (mut text, mut at) = (String::new(), 0);
    while at < characters.len() {
        let here = characters.get(at..at + pattern.len()).unwrap_or_default();
        let fits = !here.is_empty()
            && here.iter().zip(&pattern).all(|(found, wanted)| match wanted {
                'x' => found.is_ascii_hexdigit(),
                'd' => found.is_ascii_digit(),
                other => found == other,
            });
        match fits {
            true => text += instead,
            false => text.push(characters[at]),
        }
        at += if fits { pattern.len() } else { 1 };
    }
    text
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/WRAP.md")
}

/// The page before a transcript, the transcript in its fence, and the page behind it.
fn parts<'a>(page: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let marker = format!("<!-- transcript: {name} -->\n");
    let at = page.find(&marker).unwrap_or_else(|| panic!("docs/WRAP.md has no {marker}"));
    let (before, rest) = page.split_at(at + marker.len());
    let fenced = rest.strip_prefix("```text\n").and_then(|rest| rest.split_once("```\n"));
    fenced.map_or((before, "", rest), |(transcript, after)| (before, transcript, after))
}

/// Writes transcripts, each behind its marker, or compares them.
pub fn put_or_compare(transcripts: &[(&str, String)]) {
    // Cases write to the page one after another.
    let lock = std::fs::File::open(page()).expect("the page");
    lock.lock().expect("a lock");
    let mut text = std::fs::read_to_string(page()).expect("the page");
    if std::env::var_os("ONSEMBL_BLESS").is_none() {
        transcripts.iter().for_each(|(name, transcript)| compare(&text, name, transcript));
        return;
    }
    for (name, transcript) in transcripts {
        let (before, _, after) = parts(&text, name);
        text = format!("{before}```text\n{transcript}```\n{after}");
    }
    std::fs::write(page(), text).expect("the page can be written");
}

/// The commands of the page are those that were run.
fn compare(page: &str, name: &str, transcript: &str) {
    let (_, of_page, _) = parts(page, name);
    let commands = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("$ ")).map(ToOwned::to_owned).collect()
    };
    assert_eq!(
        commands(of_page),
        commands(transcript),
        "docs/WRAP.md tells other commands than were run; ONSEMBL_BLESS=1 writes them"
    );
    assert!(of_page.contains("stand-in"), "docs/WRAP.md does not say who answered");
}
