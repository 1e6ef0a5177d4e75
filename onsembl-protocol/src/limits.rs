//! What a peer may grow, and how far. Every bound of the wire is a field here.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use core::time::Duration;

/// Most unacknowledged bytes of output on the wire, of one agent, until its server says otherwise: 1 MiB.
pub const OUTPUT_WINDOW: u64 = 1 << 20;

/// Bounds on what is decoded and on how much nonsense is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest text message in bytes. 1 MiB: what legacy wrappers send in one frame and what the
    /// existing server accepts.
    pub message_bytes: usize,
    /// Deepest nesting of arrays and objects. The deepest real message has 6.
    pub depth: usize,
    /// Longest identifier, name, version or host, in bytes.
    pub name_bytes: usize,
    /// Longest command text in bytes (the existing schema holds 10,000 characters).
    pub command_bytes: usize,
    /// Most entries of any list in a message (capabilities, arguments, subscriptions).
    pub list_entries: usize,
    /// Undecodable messages that are answered with an `ERROR` within
    /// [`undecodable_window`](Self::undecodable_window); one more closes the link with 1008.
    pub undecodable: u32,
    /// The window in which [`undecodable`](Self::undecodable) messages count.
    pub undecodable_window: Duration,
}

impl Limits {
    /// The limits that both reference binaries use.
    pub const DEFAULT: Self = Self {
        message_bytes: 1 << 20,
        depth: 32,
        name_bytes: 256,
        command_bytes: 64 * 1024,
        list_entries: 1024,
        undecodable: 20,
        undecodable_window: Duration::from_secs(60),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
