//! The store against a real database in a real directory.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod budget;
mod common;
mod file;
mod full;
mod output;
mod retention;
mod sessions;
mod stops;
mod trouble;
