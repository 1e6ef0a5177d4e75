//! Replays the committed fuzzing corpora on whatever compiler runs the tests, and beside them inputs
//! that are drawn from fixed seeds.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

#[path = "../../fuzz/harness/mod.rs"]
mod harness;

use std::path::Path;

/// Drawn inputs a target.
const DRAWN: u64 = 300;

fn replay(name: &str, least: usize) {
    let run = harness::TARGETS.iter().find(|(target, _)| *target == name).expect("a target").1;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    for path in &files {
        let bytes = std::fs::read(path).expect("a readable file");
        guarded(&path.display().to_string(), || run(&bytes));
    }
    assert!(files.len() >= least, "only {} inputs in {}", files.len(), folder.display());
    for seed in 0..DRAWN {
        let bytes = harness::bytes::drawn(seed);
        guarded(&format!("drawn input {seed} of {name}"), || run(&bytes));
    }
}

/// Says which input it was before the panic continues.
fn guarded(what: &str, run: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    if let Err(panic) = outcome {
        eprintln!("failed: {what}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_corpus_of_the_decoder_holds() {
    replay("decode", 100);
}

#[test]
fn the_corpus_of_the_fleet_holds() {
    replay("fleet", 20);
}

#[test]
fn the_corpus_of_the_round_trip_holds() {
    replay("roundtrip", 100);
}

#[test]
fn the_corpus_of_the_agent_holds() {
    replay("agent", 50);
}

#[test]
fn the_corpus_of_the_server_holds() {
    replay("server", 40);
}

#[test]
fn the_corpus_of_the_supervisor_holds() {
    replay("supervisor", 60);
}

#[cfg(feature = "sim")]
#[test]
fn the_corpus_of_the_model_holds() {
    replay("model", 20);
}

#[test]
fn every_target_is_replayed_here() {
    let names: Vec<&str> = harness::TARGETS.iter().map(|(name, _)| *name).collect();
    let all = ["agent", "decode", "fleet", "model", "roundtrip", "server", "supervisor"];
    let built = all.into_iter().filter(|name| cfg!(feature = "sim") || *name != "model");
    assert_eq!(names, built.collect::<Vec<_>>());
    for name in names {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no fuzz target");
    }
}
