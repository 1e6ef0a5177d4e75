//! (crate doc to come)
#![no_std]
#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod close;
pub mod command;
pub mod id;
pub mod limits;
pub mod liveness;
pub mod output;
pub mod session;
pub mod step;
pub mod supervisor;
pub mod time;
pub mod wire;
