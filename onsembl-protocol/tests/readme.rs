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
