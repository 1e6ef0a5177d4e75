//! The proof of the core: what is read and written, what the machines do, what always holds, and
//! how the behaviours that people rely on look in virtual time.
//!
//! No clock is read and nothing sleeps: time is a number that the tests move.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity
)]

mod diagnosis;
mod frames;
mod lifecycle;
mod machines;
mod properties;
mod record;
mod supervisor;
mod support;
mod wire;
