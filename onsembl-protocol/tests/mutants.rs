//! The mutants still fit the core: each patch of `tests/mutants/` finds the lines that it changes,
//! and names the historical defect that it brings back. `.ci/mutants` builds each of them and has
//! the simulator catch it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

const FEWEST: usize = 12;

/// The lines that a hunk expects to find, in a row.
struct Hunk {
    file: PathBuf,
    before: Vec<String>,
    changes: bool,
}

fn hunks(patch: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut file = None;
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- a/") {
            file = Some(PathBuf::from(path));
        } else if line.starts_with("@@") {
            let file = file.clone().expect("a hunk belongs to a file");
            hunks.push(Hunk { file, before: Vec::new(), changes: false });
        } else if let Some(hunk) = hunks.last_mut() {
            match line.split_at_checked(1) {
                Some((" ", text)) => hunk.before.push(text.to_owned()),
                Some(("-", text)) => {
                    hunk.before.push(text.to_owned());
                    hunk.changes = true;
                }
                Some(("+", _)) => hunk.changes = true,
                Some(_) => {}
                None => hunk.before.push(String::new()),
            }
        }
    }
    hunks
}

fn mutants() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "patch"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_mutant_still_applies() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, patch) in mutants() {
        let hunks = hunks(&patch);
        assert!(!hunks.is_empty(), "{name} changes nothing");
        for hunk in hunks {
            let source = fs::read_to_string(workspace.join(&hunk.file)).unwrap();
            let lines: Vec<&str> = source.lines().collect();
            let positions = lines.windows(hunk.before.len()).filter(|w| *w == hunk.before).count();
            let file = hunk.file.display();
            assert_eq!(
                positions,
                1,
                "{name} does not fit {file}; it expects\n{}",
                hunk.before.join("\n")
            );
            assert!(hunk.changes, "{name} leaves {file} as it is");
            assert!(hunk.file.starts_with("onsembl-protocol/src"), "{name} changes {file}");
            assert!(!hunk.file.starts_with("onsembl-protocol/src/lab"), "{name} changes {file}");
        }
    }
}

#[test]
fn every_mutant_names_the_defect_it_brings_back() {
    let mutants = mutants();
    assert!(mutants.len() >= FEWEST, "only {} mutants", mutants.len());
    for (name, patch) in mutants {
        let head = patch.lines().next().unwrap_or_default();
        let number =
            head.strip_prefix("Field defect ").and_then(|rest| rest.split([':', ',']).next());
        assert!(
            number.is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=74).contains(&n))),
            "{name} begins with {head:?}, not with \"Field defect N: what it does\""
        );
    }
}
