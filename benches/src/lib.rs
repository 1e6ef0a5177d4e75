//! Benchmarks of Onsembl. They live in the `benches` folder beside this file; run all of them with
//! `cargo bench --package onsembl-benches`.
//!
//! Compare measurements of one run with each other, not with those of another machine or day.
