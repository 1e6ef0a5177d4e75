//! The reference control server of Onsembl: agents connect to it, dashboards watch and steer.
//!
//! Decisions are made in `onsembl-protocol`, links are driven by `onsembl-transport`. What is here
//! is wiring: a store, tokens, HTTP, and the hub in which they meet.
//!
//! [`server::Server`] embeds the whole in another process.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod auth;
mod bounds;
pub mod cli;
pub mod client;
mod dashboard;
mod fleet_view;
mod forgetting;
mod http;
mod hub;
mod limits;
mod metrics;
mod own_faults;
pub mod retention;
mod screens;
pub mod server;
mod service;
pub mod store;
mod token_view;
mod traces;
mod turned_away;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
