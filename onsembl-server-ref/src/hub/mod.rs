//! The edge of the fleets: one task that hands every event to the fleet of its user
//! ([`onsembl_protocol::fleet`]) and performs what it decides. Nothing is decided here.

mod bearers;
mod fleets;
mod notes;
mod perform;
mod recovery;
mod request;
mod rows;
mod run;
mod seats;
#[cfg(feature = "otel")]
mod traces;
#[cfg(not(feature = "otel"))]
#[path = "no_traces.rs"]
mod traces;
mod watchdog;
mod write_queue;

pub use request::{BeatHop, BeatSeen, HubHandle, HubStats, Request};
pub(crate) use rows::origin;
pub(crate) use run::{ASKED_OF_USER, INBOX, INBOX_OF_USER};
pub use run::{Hub, HubParts};
pub use traces::Traces;
#[cfg(feature = "otel")]
pub(crate) use traces::{TRACE_BYTES, TRACED};
pub(crate) use write_queue::BOUND as WRITES;
