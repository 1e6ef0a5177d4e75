//! The settings of an agent's driver.

use crate::pump::PumpConfig;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::AgentConfig;

/// Settings of a driver; the defaults suit.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverConfig {
    /// Times of the connection.
    pub agent: AgentConfig,
    /// Bounds on what the server may send.
    pub limits: Limits,
    /// Queues and deadlines of the link.
    pub pump: PumpConfig,
}
