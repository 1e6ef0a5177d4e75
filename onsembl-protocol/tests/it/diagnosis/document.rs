//! The document lists the causes there are, and what a command can wait for.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::document` writes the tables.

use onsembl_protocol::diagnosis::{Cause, WaitsFor};
use std::fs::{read_to_string, write};
use std::path::Path;

/// A table of the document, between its marks.
struct Table {
    begin: &'static str,
    end: &'static str,
    text: String,
}

fn causes() -> Table {
    let row = |cause: &Cause| format!("| `{cause}` | {} | {} |\n", cause.text(), cause.action());
    let rows: String = Cause::ALL.iter().map(row).collect();
    Table {
        begin: "<!-- The causes, written by a test. -->\n",
        end: "<!-- End of the causes. -->\n",
        text: format!("| cause | what happened | what to do |\n| --- | --- | --- |\n{rows}"),
    }
}

fn waits() -> Table {
    let row = |of: &WaitsFor| format!("| `{of}` | {} |\n", of.text());
    let rows: String = WaitsFor::ALL.iter().map(row).collect();
    Table {
        begin: "<!-- What a command waits for, written by a test. -->\n",
        end: "<!-- End of what a command waits for. -->\n",
        text: format!("| `waits_for` | what that means |\n| --- | --- |\n{rows}"),
    }
}

#[test]
fn the_document_lists_the_causes_and_what_a_command_waits_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVIDENCE.md");
    let is = read_to_string(&path).expect("the document");
    let mut should = is.clone();
    for Table { begin, end, text } in [causes(), waits()] {
        let (before, rest) = should.split_once(begin).expect("the mark where the table begins");
        let (_, after) = rest.split_once(end).expect("the mark where the table ends");
        should = format!("{before}{begin}{text}{end}{after}");
    }
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        write(&path, should).expect("the document can be written");
    } else {
        assert!(
            is == should,
            "{} lists something else; write it anew with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::document",
            path.display(),
        );
    }
}
