//! The settings of an agent's driver.

use crate::pump::PumpConfig;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::AgentConfig;

/// Settings of a driver; the defaults suit.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DriverConfig {
    /// Times of the connection.
    pub agent: AgentConfig,
    /// Bounds on what the server may send.
    pub limits: Limits,
    /// Queues and deadlines of the link.
    pub pump: PumpConfig,
}

/// A seed that differs between processes, without a dependency for it: the standard library seeds
/// its hash maps from the operating system.
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
