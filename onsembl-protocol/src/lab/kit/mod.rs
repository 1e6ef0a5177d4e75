//! A test kit for what you build around the machines: your own wrapper loop, your own agent
//! machine, your server policy (feature `testing`; needs std).
//!
//! It tells your thing scripts in virtual time: links that open, break and come back, silences that
//! end just before, at and just after the instants that matter, wake-ups that are early, late or
//! missing, clocks that step back, a host that sleeps, events of old links, events twice. After each
//! call it judges the published [`Invariant`]s. A failure names the invariant, and shows the shortest
//! script found and the seed that finds it again.
//!
//! - [`agent::check`] tests a machine with the types of
//!   [`AgentConnection`](crate::session::AgentConnection), [`agent::check_wrapper`] any wrapper that
//!   can tell what it dialled, sent, closed and showed, and [`agent::check_text_wrapper`] one that reads
//!   and writes the texts itself. [`agent::check_orders`] gives such a one stops and pauses.
//! - [`server::check`] tests a policy around [`ServerConnection`](crate::session::ServerConnection).
//! - [`strategies`] has single values, [`agent::scripts`] and [`server::scripts`] whole stories, for
//!   tests of your own; [`agent::Judge`] and [`server::Judge`] judge calls that you made yourself.
//!
//! ```
//! use onsembl_protocol::session::{AgentConfig, AgentConnection};
//! use onsembl_protocol::lab::kit::agent;
//!
//! agent::check(|| AgentConnection::new(AgentConfig::DEFAULT, 7));
//! ```
//!
//! Here may live what makes, tells and judges stories. Nothing here is used by the machines, and
//! nothing here imports their insides.

pub mod agent;
mod beats;
mod call;
mod drive;
mod plan;
mod reaction;
mod script;
pub mod server;
mod silence;
pub mod strategies;
mod violation;

pub use crate::lab::Invariant;
pub use plan::{Failure, Passed, Plan, Verdict};
pub use reaction::Reaction;
pub use script::{Habit, Moment, Script, What, delays};
pub use violation::Violation;
