//! The document lists the causes there are.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::document` writes the table.

use onsembl_protocol::diagnosis::Cause;
use std::fs::{read_to_string, write};
use std::path::Path;

const BEGIN: &str = "<!-- The causes, written by a test. -->\n";
const END: &str = "<!-- End of the causes. -->\n";

fn table() -> String {
    let row = |cause: &Cause| format!("| `{cause}` | {} | {} |\n", cause.text(), cause.action());
    let rows: String = Cause::ALL.iter().map(row).collect();
    format!("| cause | what happened | what to do |\n| --- | --- | --- |\n{rows}")
}

#[test]
fn the_document_lists_the_causes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVIDENCE.md");
    let is = read_to_string(&path).expect("the document");
    let (before, rest) = is.split_once(BEGIN).expect("the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("the mark where the table ends");
    let should = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        write(&path, should).expect("the document can be written");
    } else {
        assert!(
            is == should,
            "{} does not list the causes; write it anew with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::document",
            path.display(),
        );
    }
}
