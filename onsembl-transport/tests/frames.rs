//! Replays the committed corpus of the fuzz target `frames` on whatever compiler runs the tests: bytes of WebSocket clients,
//! in any pieces, held against tungstenite.
#![cfg(feature = "websocket")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../../fuzz/harness/frames.rs"]
mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

#[test]
fn the_corpus_of_the_frame_reader_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frames");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} inputs in {}", files.len(), folder.display());
    for path in &files {
        let bytes = std::fs::read(path).expect("a readable file");
        let (cuts, bytes) = bytes.split_at(bytes.len().min(2));
        // As it was found, and in other pieces.
        for other in [cuts, &[0, 0], &[1, 3], &[6, 255]] {
            let input = [other, bytes].concat();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| harness::frames(&input))) {
                eprintln!("failed: {}, in pieces as {other:?} say", path.display());
                resume_unwind(panic);
            }
        }
    }
}
