//! The real binaries on loopback, with real kills, freezes and locks.
//!
//! Times here are real, so there is little of it and all of it is generous; exact times are the
//! business of the core's own tests, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod activity;
mod attach;
#[allow(dead_code, reason = "the suite of planted faults uses more of it")]
mod bench;
mod clones;
mod commands;
mod controls;
mod database;
mod doctor;
mod drain;
mod ends;
mod fence;
mod fleet;
mod freezes;
mod getting_started;
mod kills;
mod log;
mod lost_database;
mod machine;
mod markers;
mod masked;
mod one_way;
mod outcomes;
mod own_capability;
mod random_runs;
mod relay;
mod restoring;
mod screens;
mod secrets;
mod stand_in;
mod stops;
mod stored;
mod strays;
mod terminals;
mod tokens;
mod typed;
mod viewers;
mod waits;
