//! No sequence of messages of one user makes a server hold more than its limits say, counted at the allocator. A
//! test binary of its own with one test, because it counts what the whole process allocates.
//!
//! `ONSEMBL_FLEETS=n` draws n stories (60) besides the committed corpus of the fuzz target.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

#[path = "../../fuzz/harness/mod.rs"]
mod harness;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn held() -> usize {
    let counted = ALLOCATOR.stats();
    counted.bytes_allocated.saturating_sub(counted.bytes_deallocated)
}

#[test]
fn a_user_makes_a_server_hold_no_more_than_the_limits_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/fleet");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    for path in files {
        let bytes = std::fs::read(&path).expect("a readable file");
        eprintln!("{}", path.display());
        harness::fleet::bounded(&bytes, held);
    }
    let stories = std::env::var("ONSEMBL_FLEETS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..stories {
        eprintln!("story {seed}");
        harness::fleet::bounded(&harness::bytes::drawn(seed), held);
    }
}
