//! What docs/CLI.md shows of these commands: lists as a terminal of 80 columns has them, with names of 30 characters. And
//! how a test keeps a part of that document as it is.

use super::view::View;
use super::{agents, commands};
use onsembl_protocol::time::WallTime;
use std::fs::{self, File};
use std::path::Path;

const BEGIN: &str = "<!-- The captures: written by a test (ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib captures). -->";
const END: &str = "<!-- End of the captures. -->";

/// Compares what stands between two marks of docs/CLI.md, or writes it with `ONSEMBL_BLESS=1`, as `how` says.
pub(super) fn keep_in_document(begin: &str, end: &str, text: &str, how: &str) {
    // As it is published the crate has no documents beside it.
    if Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml.orig")).exists() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CLI.md");
    // Several tests write into it.
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let is = fs::read_to_string(&path).unwrap();
    let (before, rest) = is.split_once(begin).expect("the mark where it begins");
    let (_, after) = rest.split_once(end).expect("the mark where it ends");
    let should = format!("{before}{begin}\n\n{text}\n{end}{after}");
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        fs::write(&path, should).unwrap();
    } else {
        assert!(
            is == should,
            "docs/CLI.md shows something else; write it again with\n    {how}\n{text}"
        );
    }
}

#[test]
fn the_document_shows_lists_of_eighty_columns() {
    let now = WallTime::parse_rfc3339("2026-11-30T12:00:00.000Z").unwrap();
    let columns = 80;
    let view = View::of_columns(columns);
    let lists = [
        ("agents", agents::tests::capture(now, view)),
        ("commands", commands::tests::capture(now, view)),
    ];
    let mut text = format!("```text\n{}\n", "·".repeat(columns));
    for (command, lines) in lists {
        text.push_str(&format!("$ onsembl {command}\n{}\n\n", lines.join("\n")));
    }
    let text = text.trim_end().to_owned() + "\n```\n";
    let how = "ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib captures";
    keep_in_document(BEGIN, END, &text, how);
}
