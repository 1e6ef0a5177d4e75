//! Agents, server, network, store and the sleep of hosts in one seeded simulation.
//!
//! A [`World`] is the thinnest possible driver of the machines of both ends: it sleeps exactly to
//! the deadline that a machine gave, samples the clocks of the host, hands over what has arrived
//! before a deadline that has come, and performs what the machine answers. The server's process holds the
//! [`Fleet`](crate::fleet::Fleet) of one user, which decides whose a hello is. Everything else is
//! weather: a network, a store, clocks and processes that fail in the ways of [`FaultKind`].
//!
//! A [`Scenario`] is a world in a few numbers; its seed decides the rest. Whatever happens is told
//! to a [`Witness`](crate::lab::fact::Witness) as [`Fact`](crate::lab::fact::Fact)s. [`shrink()`] cuts a failing scenario down to the faults
//! that it needs. Nothing here reads an environment, a clock or a file.
#![allow(clippy::indexing_slicing, reason = "all indices are the world's own numbers")]

mod agents;
mod codec;
mod coverage;
mod dials;
mod env;
mod failure;
mod fault;
mod hello;
mod host;
mod hub;
mod links;
mod network;
mod perform;
mod queue;
mod random;
mod rows;
mod scenario;
mod seats;
mod server;
mod shrink;
mod store;
mod trace;
mod translate;
mod weather;
mod wire;
mod work;
mod world;

pub use coverage::{AGENT_EDGES, Coverage, SERVER_EDGES};
pub use failure::Failure;
pub use fault::{Fault, FaultKind, Planned};
pub use scenario::{Faults, Planted, Scenario};
pub use shrink::shrink;
pub use trace::{Digest, Trace};
pub use world::Outcome;

use agents::Agents;
use alloc::vec::Vec;
use env::Env;
use server::Server;

/// A millisecond of true time.
const MILLI: u64 = 1_000_000;
/// A second of true time.
const SECOND: u64 = 1_000_000_000;

/// A server, its agents, and all that is between them.
#[derive(Debug)]
pub struct World<W> {
    env: Env<W>,
    agents: Agents,
    server: Server,
    faults: Vec<Planned>,
    /// What each fault struck, while it lasts.
    struck: Vec<Option<u32>>,
    calm: bool,
    ends: u64,
}
