//! The edge of the fleets: one task that hands every event to the fleet of its user
//! ([`onsembl_protocol::fleet`]) and performs what it decides. Nothing is decided here.

mod gathered;
mod inputs;
mod links;
mod notes;
mod perform;
mod recovery;
mod request;
mod rows;
mod run;
mod seats;
mod unread;
mod watchdog;
mod write_queue;

pub(crate) use request::Joining;
pub use request::{BeatHop, BeatSeen, HubHandle, HubStats, Request, WeakHubHandle};
pub(crate) use rows::origin;
pub(crate) use run::{ASKED_OF_USER, INBOX, INBOX_OF_USER};
pub use run::{Hub, HubParts};
pub(crate) use write_queue::{BOUND as WRITES, PRESENCE_OF_AGENT};
