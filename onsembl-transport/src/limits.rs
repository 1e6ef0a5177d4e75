//! How large and how slow a link may be. Every number of the link layer that is not a time-out of
//! one caller stands here, and the time-out of a dial, which dialers of every kind have.

use onsembl_protocol::limits::Limits;
use std::time::Duration;

/// How long a dial may take in all. Nearly 10 s: several retransmissions of a lost first packet, and
/// still well below the time after which a person thinks that nothing happens. Half a second less than
/// [the machine](onsembl_protocol::session::AgentConfig) waits, which can only say that there was no answer:
/// the dialer says which step hung, and where.
#[cfg(any(feature = "websocket", feature = "framed"))]
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(9_500);

/// Memory that each link of its own may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// Bytes that are read at once. A WebSocket link has them while it reads, and keeps of them what belongs to a message
    /// that is not complete, or to the next one; a framed link has them for as long as it lives.
    pub read: usize,
    /// Bytes that are gathered before a write, unless a flush comes first.
    pub write: usize,
}

impl BufferSizes {
    /// 4 KiB each. Small frames are as fast as with large buffers.
    pub const SMALL: Self = Self { read: 4 * 1024, write: 4 * 1024 };
    /// 8 KiB each, for peers that get output in batches of 16 KiB (dashboards): a third faster with
    /// such batches.
    pub const LARGE: Self = Self { read: 8 * 1024, write: 8 * 1024 };
}

impl Default for BufferSizes {
    fn default() -> Self {
        Self::SMALL
    }
}

/// Bounds of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkLimits {
    /// Largest message in bytes, both ways; also the largest single frame, because legacy wrappers
    /// send a whole message in one. A larger one from the peer ends the link with 1009.
    pub message_bytes: usize,
    /// Memory per link.
    pub buffers: BufferSizes,
    /// Within this a peer that connects must have finished TLS and the upgrade request.
    pub handshake: Duration,
    /// How long a link that ends may still try to get its close frame across, and to read away
    /// what the peer is sending, before the connection is dropped. (Dropped at once, unread bytes
    /// would make the operating system reset the connection, and the close frame would be lost.)
    pub farewell: Duration,
}

impl LinkLimits {
    /// The same with this largest message, in bytes.
    #[must_use]
    pub const fn with_message_bytes(self, message_bytes: usize) -> Self {
        Self { message_bytes, ..self }
    }

    /// Messages as in [`Limits::DEFAULT`], small buffers, 10 s for the handshake (what HTTP
    /// servers give to a request head), 1 s for the farewell.
    pub const DEFAULT: Self = Self {
        message_bytes: Limits::DEFAULT.message_bytes,
        buffers: BufferSizes::SMALL,
        handshake: Duration::from_secs(10),
        farewell: Duration::from_secs(1),
    };

    /// These limits with the message size of the wire limits.
    #[must_use]
    pub const fn with_limits(self, limits: &Limits) -> Self {
        Self { message_bytes: limits.message_bytes, ..self }
    }

    /// These limits with other buffers.
    #[must_use]
    pub const fn with_buffers(self, buffers: BufferSizes) -> Self {
        Self { buffers, ..self }
    }

    /// The write buffer, in bytes, with a bound for any input.
    #[cfg(any(feature = "websocket", feature = "framed"))]
    pub(crate) const fn write_buffer(&self) -> usize {
        if self.buffers.write > 1 << 24 { 1 << 24 } else { self.buffers.write }
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
