//! Where agents, commands, the store and the boards meet: one task, nothing to lock.
//!
//! The hub owns the shard of agents and the life of every open command. It writes the boards that
//! dashboards and the API read, hands everything durable to the [`Ledger`], and tells agents what
//! the store has. It waits for nothing but events.

mod agents;
mod audit;
mod commands;
mod control;
mod ledger;
mod output;
mod placing;
mod queue;
mod recovery;
mod request;
mod run;
mod stops;
mod terminals;

pub use audit::AuditReport;
pub use request::{BeatHop, BeatSeen, HubHandle, HubStats, Request};
pub use run::{Hub, HubParts};
pub use stops::{ReleaseReport, StopReport, StopState};
