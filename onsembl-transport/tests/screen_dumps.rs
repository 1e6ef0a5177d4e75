//! Dumps of the screen, cut at each percent of what programs write, as a file for each program in
//! `onsembl-server-ref/web/test/dumps`. The tests of the page feed them to the emulator that the page has: a viewer that
//! begins by a dump must see what one sees that saw everything. A file that is not what the screen dumps now fails here;
//! `ONSEMBL_BLESS=1` writes it.

#![cfg(feature = "screen")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "screen_dumps/scripts.rs"]
mod scripts;

use onsembl_transport::protocol::model::TerminalSize;
use onsembl_transport::screen::Screen;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// What a program wrote into a terminal of a size.
struct Trace {
    name: String,
    columns: u64,
    rows: u64,
    bytes: Vec<u8>,
}

/// Bytes as the characters from U+0000 to U+00FF, so that a difference can be read.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Recordings: files `NAME-COLUMNSxROWS.trace`, byte for byte what a program wrote.
fn recorded() -> Vec<Trace> {
    let files = fs::read_dir(here().join("tests/screen_dumps")).expect("the folder");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let traces = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "trace"));
    let trace = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let (name, size) = stem.rsplit_once('-').expect("a size in the name");
        let (columns, rows) = size.split_once('x').expect("columns and rows");
        Trace {
            name: name.to_owned(),
            columns: columns.parse().expect("columns"),
            rows: rows.parse().expect("rows"),
            bytes: fs::read(path).expect("a trace"),
        }
    };
    traces.map(trace).collect()
}

fn scripted() -> impl Iterator<Item = Trace> {
    scripts::all().into_iter().map(|(name, columns, rows, bytes)| Trace {
        name: name.to_owned(),
        columns,
        rows,
        bytes,
    })
}

/// The dump at each percent, and where that is.
fn dumps(trace: &Trace) -> Vec<(usize, Vec<u8>)> {
    let size = TerminalSize::new(trace.columns, trace.rows).expect("a size");
    let mut screen = Screen::new(size);
    let mut fed = 0;
    let at = (1..100).map(|percent| trace.bytes.len() * percent / 100);
    let dumps = at.map(|cut| {
        screen.feed(trace.bytes.get(fed..cut).expect("a part"));
        fed = cut;
        (cut, screen.dump())
    });
    dumps.collect()
}

#[test]
fn dumps_for_the_tests_of_the_page_are_those_of_the_screen() {
    let folder = here().join("../onsembl-server-ref/web/test/dumps");
    let is_blessed = std::env::var_os("ONSEMBL_BLESS").is_some();
    if is_blessed {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut wrong = Vec::new();
    for trace in recorded().into_iter().chain(scripted()) {
        let dumps: Vec<_> = dumps(&trace)
            .iter()
            .map(|(at, dump)| json!({ "at": at, "dump": text(dump) }))
            .collect();
        let file = json!({
            "columns": trace.columns,
            "rows": trace.rows,
            "written": text(&trace.bytes),
            "dumps": dumps,
        });
        let mut json = serde_json::to_string_pretty(&file).unwrap();
        json.push('\n');
        let path = folder.join(format!("{}.json", trace.name));
        if is_blessed {
            fs::write(&path, json).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(json.as_str()) {
            wrong.push(trace.name);
        }
    }
    assert!(
        wrong.is_empty(),
        "not what the screen dumps now: {wrong:?}; write them by ONSEMBL_BLESS=1 cargo test -p onsembl-transport \
         --features screen --test screen_dumps, and run the tests of the page"
    );
}
