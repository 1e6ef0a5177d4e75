//! Replays the committed fuzzing corpus on whatever compiler runs the tests.

#[path = "../../fuzz/harness/decode.rs"]
mod harness;

#[test]
fn the_corpus_of_the_decoder_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/decode");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("a file").path();
        harness::decode(&std::fs::read(&path).expect("a readable file"));
        replayed += 1;
    }
    assert!(replayed >= 14, "only {replayed} inputs in {folder}");
}
