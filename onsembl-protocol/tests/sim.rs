//! The simulated world: that it is what it says, and that the machines live well in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "sim/seeds.rs"]
mod seeds;
#[path = "sim/tools.rs"]
mod tools;
#[path = "sim/watch.rs"]
mod watch;
