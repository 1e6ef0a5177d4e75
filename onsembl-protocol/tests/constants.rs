//! Every number of the programs stands in `docs/constants.txt`, with its file, name and value, and its file in
//! `docs/DEFAULTS.md`, where the reason is. A constant that is new or has another value fails here first.
//!
//! After a change that is meant, and after its row in DEFAULTS.md: `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test
//! constants`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates, and how documents call their sources.
const CRATES: [(&str, &str); 4] = [
    ("onsembl-protocol", "protocol"),
    ("onsembl-transport", "transport"),
    ("onsembl-server-ref", "server"),
    ("onsembl-agent-ref", "agent"),
];
/// Types of what bounds something.
const TYPES: [&str; 8] = ["usize", "u64", "u32", "u16", "u8", "i64", "f64", "Duration"];
/// Files whose numbers bound nothing that a peer or a person can grow, and why.
const NO_BOUNDS: [(&str, &str); 25] = [
    ("protocol/lab/", "the simulator, which no program contains"),
    ("protocol/wire/", "forms of JSON and of binary messages; the bounds are in limits.rs"),
    ("protocol/terminal/", "positions and codes of a terminal"),
    ("protocol/worker/terminal.rs", "the code of a key"),
    ("protocol/fleet/by_id.rs", "a factor of a hash"),
    ("protocol/model/lenient.rs", "which times of a peer are seconds"),
    ("protocol/model/mint.rs", "bits of an id"),
    ("protocol/replay/check.rs", "a factor and a block of a checksum"),
    ("protocol/replay/entry.rs", "a unit"),
    ("protocol/supervisor/", "the layout of machines in memory"),
    ("server/cli/exec_run.rs", "exit codes, and the columns of a name"),
    ("server/cli/replay.rs", "exit codes"),
    ("server/cli/serve.rs", "exit codes"),
    ("server/cli/service.rs", "exit codes"),
    ("server/cli/why/planted.rs", "an example"),
    ("server/http/frame_headers.rs", "the header of a frame"),
    ("protocol/fleet/fleets.rs", "ranges of numbers for seats"),
    (
        "server/limits.rs",
        "what `limits` computes; DEFAULTS has its table, which a test of its own compares",
    ),
    ("server/store/examine.rs", "the id of our files"),
    ("server/store/migrations", "versions of the schema"),
    ("agent/cli/mod.rs", "exit codes"),
    ("transport/beats.rs", "what following heartbeats takes, for a test"),
    ("transport/memory/network.rs", "links in memory, for tests"),
    ("transport/planted.rs", "faults that are planted for tests"),
    ("transport/pump/", "flags of a counter; what waits is in limits.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.contains("tests") {
            found.push(path);
        }
    }
}

/// The name and the value of each number in a source, without its tests.
fn constants(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        let line = line.trim_start();
        let line = match line.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ").map_or(line, |(_, rest)| rest),
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let Some((name, rest)) = line.strip_prefix("const ").and_then(|l| l.split_once(": "))
        else {
            continue;
        };
        let Some((kind, value)) = rest.split_once(" =") else { continue };
        if !TYPES.contains(&kind) || name.starts_with('_') {
            continue;
        }
        let mut value = value.to_owned();
        while !value.trim_end().ends_with(';') {
            let Some(more) = lines.next() else { break };
            value.push(' ');
            value.push_str(more.trim());
        }
        let value: Vec<&str> = value.split_whitespace().collect();
        found.push((name.to_owned(), value.join(" ").trim_end_matches(';').to_owned()));
    }
    found
}

/// By their files, as documents call them.
fn all() -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::new();
    for (name, short) in CRATES {
        let folder = root().join(name).join("src");
        let mut files = Vec::new();
        sources(&folder, &mut files);
        for file in files {
            let found = constants(&std::fs::read_to_string(&file).unwrap());
            let path = file.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            if !found.is_empty() {
                let _ = all.insert(format!("{short}/{path}"), found);
            }
        }
    }
    all
}

#[test]
fn every_number_is_written_down_with_its_value() {
    let mut lines = Vec::new();
    for (file, constants) in all() {
        lines.push(file);
        lines.extend(constants.into_iter().map(|(name, value)| format!("    {name} = {value}")));
    }
    let path = root().join("docs/constants.txt");
    let text = lines.join("\n") + "\n";
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let missing: Vec<&str> = text.lines().filter(|l| !written.lines().any(|w| w == *l)).collect();
    let gone: Vec<&str> = written.lines().filter(|w| !text.lines().any(|l| l == *w)).collect();
    assert!(
        written == text,
        "docs/constants.txt is not what the code has. Write the reason and per whom into docs/DEFAULTS.md, then bless \
         (see the head of this test). New: {missing:#?} gone: {gone:#?}"
    );
}

#[test]
fn each_file_with_a_bound_is_in_defaults() {
    let defaults = std::fs::read_to_string(root().join("docs/DEFAULTS.md")).unwrap();
    let is_exempt = |file: &str| NO_BOUNDS.iter().any(|(prefix, _)| file.starts_with(prefix));
    let missing: Vec<String> = all()
        .into_iter()
        .filter(|(file, _)| !is_exempt(file) && !defaults.contains(&format!("`{file}`")))
        .map(|(file, constants)| format!("{file}: {constants:?}"))
        .collect();
    assert!(missing.is_empty(), "not in DEFAULTS.md, with reason and per whom: {missing:#?}");
}

#[test]
fn a_constant_is_found_however_it_is_written() {
    let source = "const A: usize = 1;\n    pub(crate) const B: Duration =\n        Duration::from_secs(2);\n\
                  pub const C: &str = \"x\";\nconst _: () = ();\n#[cfg(test)]\nmod tests { const D: u8 = 1; }\n";
    let found = constants(source);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(found, [pair("A", "1"), pair("B", "Duration::from_secs(2)")]);
}
