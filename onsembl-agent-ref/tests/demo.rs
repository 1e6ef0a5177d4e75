//! What the demo prints: its unit tests, since an example that has tests of its own is not built as a program beside them.

#[allow(dead_code, reason = "the demo is not run here")]
#[path = "../examples/demo.rs"]
mod demo;
