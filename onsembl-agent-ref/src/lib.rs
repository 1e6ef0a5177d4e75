//! The reference agent of Onsembl: runs commands on this machine for a control server.
//!
//! [`engine::run`] is the agent; [`cli`] is its command line. A capability of your own plugs in as an
//! [`executor::Executor`]. The decisions are in
//! [`onsembl_protocol`], the links in [`onsembl_transport`].

#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod cli;
mod doctor;
pub mod engine;
pub mod executor;
pub mod host_metrics;
mod hooks;
mod journal;
mod local_terminal;
pub mod preset;
pub mod process;
mod run_file;
mod spool;
pub mod state_dir;
pub mod status_file;
