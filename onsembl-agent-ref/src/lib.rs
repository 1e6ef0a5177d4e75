//! The reference agent of Onsembl: runs commands on this machine for a control server.
//!
//! [`engine::run`] is the agent; [`cli`] is its command line. A capability of your own plugs in as an
//! [`executor::Executor`]. The decisions are in
//! [`onsembl_protocol`], the links in [`onsembl_transport`].

#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod cli;
mod doctor;
pub mod engine;
pub mod executor;
mod hooks;
pub mod host_metrics;
mod journal;
mod local_terminal;
mod options;
pub mod preset;
pub mod process;
mod run_file;
mod service;
mod spool;
pub mod state_dir;
pub mod status_file;
mod traces;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
