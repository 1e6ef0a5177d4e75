//! The server from outside: real sockets, literal frames.
//!
//! Everything that is sent here is text as a peer would send it, never made by our encoder, and
//! what comes back is read as plain JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod binary_output;
mod bursts;
mod claims;
mod command_line;
mod compat;
mod dashboard_stops;
mod database_held;
mod delivery;
mod embedded;
mod exec;
mod existing_service;
mod extended;
mod extended_work;
mod files;
mod findings;
mod fixture;
mod floods;
mod forgetting;
mod frames;
mod heartbeats;
mod hostile;
mod isolation;
mod legacy_agent;
mod legacy_dashboard;
mod legacy_links;
mod legacy_names;
mod legacy_page;
mod legacy_restart;
mod legacy_streams;
mod legacy_work;
mod log_floods;
mod long_output;
mod memory;
mod metrics;
mod open_requests;
mod own_store;
mod pauses;
mod peer;
mod recording;
mod restart;
mod room;
mod service;
mod shown;
mod terminals;
mod token_commands;
mod tokens;
mod user_cli;
mod why;
