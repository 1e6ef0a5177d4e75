//! The server's driver: many agents behind one timer.
//!
//! A [`Shard`] owns the links of its agents and their machines, performs what the machines decide,
//! and tells its owner what needs a store or a user: who said hello, what to record, what changed,
//! what was said. The owner answers by calling back; both live in one task, so there is nothing to
//! lock.
//!
//! Before the hello a link belongs to no agent: it has a deadline, and nothing it says has any effect.

mod events;
mod lanes;
mod link;
mod links;
mod machines;
mod perform;
mod receive;
mod shard;
mod unread;

pub use events::{HelloClaim, ShardEvent};
pub use lanes::{LANE_BACKLOG, LANE_FRAMES};
pub use link::{Lane, LinkTicket};
pub use machines::RECORDING;
#[doc(no_inline)]
pub use onsembl_protocol::session::frames::{Admission, SessionRules};
pub use shard::Shard;
