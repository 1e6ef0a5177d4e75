//! The document lists the causes there are, what a command can wait for, and what came of the fault matrix.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::document` writes the tables.

use super::simulated;
use crate::support::is_packaged;
use onsembl_protocol::diagnosis::{Cause, WaitsFor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
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

/// What came of one run of one fault, as `docs/verdicts.jsonl` has it.
#[derive(Debug, Deserialize)]
struct Run {
    fault: String,
    cause: String,
    confidence: String,
    right: bool,
    ms: u64,
    #[serde(default)]
    simulated: bool,
}

/// The runs of the fault matrix: `.ci/verdicts` makes those of the binaries.
fn runs() -> Vec<Run> {
    let text = read_to_string(simulated::file()).expect("the runs");
    let all = text.lines().map(|line| serde_json::from_str(line).expect("a run"));
    let of_binaries = all.filter(|run: &Run| !run.simulated);
    let simulated = simulated::runs().into_iter();
    of_binaries.chain(simulated.map(|run| serde_json::from_value(run).expect("a run"))).collect()
}

fn matrix() -> Table {
    let mut by_fault: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in runs() {
        let of = if run.simulated { " (simulated)" } else { "" };
        by_fault.entry(format!("{}{of}", run.fault)).or_default().push(run);
    }
    let row = |(fault, runs): (&String, &Vec<Run>)| {
        let right = runs.iter().filter(|run| run.right).count();
        let sure = runs.iter().filter(|run| run.right && run.confidence == "high").count();
        let wrong = runs.iter().filter(|run| !run.right && run.confidence == "high").count();
        let causes: BTreeSet<&str> = runs.iter().map(|run| run.cause.as_str()).collect();
        let causes: Vec<String> = causes.iter().map(|cause| format!("`{cause}`")).collect();
        let mut times: Vec<u64> = runs.iter().map(|run| run.ms).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default() / 1000;
        format!(
            "| {fault} | {} | {} | {right} | {sure} | {wrong} | {median} s |\n",
            runs.len(),
            causes.join(", ")
        )
    };
    let rows: String = by_fault.iter().map(row).collect();
    Table {
        begin: "<!-- The fault matrix, written by a test. -->\n",
        end: "<!-- End of the fault matrix. -->\n",
        text: format!(
            "| fault | runs | verdicts | right | of them high | wrong and high | median |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n{rows}"
        ),
    }
}

#[test]
fn each_fault_of_the_matrix_is_named_and_no_wrong_cause_is_called_sure() {
    if is_packaged() {
        return;
    }
    let runs = runs();
    let faults: BTreeSet<&str> = runs.iter().map(|run| run.fault.as_str()).collect();
    assert!(faults.len() >= 24, "{} faults", faults.len());
    for fault in faults {
        let count = runs.iter().filter(|run| run.fault == fault).count();
        assert!(count >= 20, "{fault} was run {count} times");
    }
    let right = runs.iter().filter(|run| run.right).count();
    let sure = runs.iter().filter(|run| run.right && run.confidence == "high").count();
    assert!(right * 100 >= runs.len() * 95, "{right} of {} are right", runs.len());
    assert!(sure * 100 >= right * 80, "{sure} of {right} are sure");
    let wrong: Vec<&Run> =
        runs.iter().filter(|run| !run.right && run.confidence == "high").collect();
    assert!(wrong.is_empty(), "called sure, and wrong: {wrong:?}");
}

#[test]
fn the_document_lists_the_causes_and_what_a_command_waits_for() {
    if is_packaged() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVIDENCE.md");
    let is = read_to_string(&path).expect("the document");
    let mut should = is.clone();
    for Table { begin, end, text } in [causes(), waits(), matrix()] {
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
