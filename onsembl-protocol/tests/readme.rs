//! The README shows `examples/embed.rs`, and shows it as it is.

use std::fs::read_to_string;
use std::path::Path;

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = read_to_string(here.join("../README.md")).expect("the README can be read");
    let example = read_to_string(here.join("examples/embed.rs")).expect("the example can be read");
    let shown: Vec<&str> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown, [example], "copy examples/embed.rs into the README");
}

/// Pieces of code in the guide for embedders, each behind a comment that says of which example it is.
#[test]
fn the_guide_shows_pieces_of_the_examples_that_are_compiled() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = read_to_string(top.join("docs/EMBEDDING.md")).expect("the guide can be read");
    let mut pieces = 0;
    for part in guide.split("```rust\n").skip(1).zip(guide.split("```rust\n")) {
        let (behind, before) = part;
        let piece = behind.split("```").next().unwrap_or_default();
        let named = before.trim_end().lines().last().unwrap_or_default();
        let file = named.trim_start_matches("<!-- from ").trim_end_matches(" -->");
        let example = read_to_string(top.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(example.contains(piece), "docs/EMBEDDING.md shows what {file} has not:\n{piece}");
        pieces += 1;
    }
    assert!(pieces >= 4, "{pieces} pieces");
}
