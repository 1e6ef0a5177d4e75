//! How large and how slow a link may be. Every number of the link layer that is not a time-out of
//! one caller stands here.

use onsembl_protocol::limits::Limits;
use std::time::Duration;

/// Memory that each link of its own holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// Bytes that are read at once. Allocated for as long as the link lives.
    pub read: usize,
    /// Bytes that are gathered before a write, unless a flush comes first.
    pub write: usize,
}

impl BufferSizes {
    /// 4 KiB each: 6.7 KiB per idle WebSocket link, where the defaults of the library cost 135 KiB
    /// (measured over 5,000 links). Small frames are as fast as with large buffers.
    pub const SMALL: Self = Self { read: 4 * 1024, write: 4 * 1024 };
    /// 8 KiB each, for peers that get output in batches of 16 KiB (dashboards): 10.7 KiB per idle
    /// link, a third faster with such batches.
    pub const LARGE: Self = Self { read: 8 * 1024, write: 8 * 1024 };
}

impl Default for BufferSizes {
    fn default() -> Self {
        Self::SMALL
    }
}

/// Bounds of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Messages as in [`Limits::DEFAULT`], small buffers, 10 s for the handshake (what HTTP
    /// servers give to a request head), 1 s for the farewell.
    pub const DEFAULT: Self = Self {
        message_bytes: Limits::DEFAULT.message_bytes,
        buffers: BufferSizes::SMALL,
        handshake: Duration::from_secs(10),
        farewell: Duration::from_secs(1),
    };

    /// Room for pongs and close frames beside one message of ours that waits to be written.
    const HEADROOM: usize = 16 * 1024;

    /// These limits with the message size of the wire limits.
    #[must_use]
    pub const fn with_message_bytes(self, limits: &Limits) -> Self {
        Self { message_bytes: limits.message_bytes, ..self }
    }

    /// These limits with other buffers.
    #[must_use]
    pub const fn with_buffers(self, buffers: BufferSizes) -> Self {
        Self { buffers, ..self }
    }

    /// The most bytes that may wait to be written: one message behind a full buffer, and pongs.
    pub(crate) const fn write_bound(&self) -> usize {
        self.write_buffer().saturating_add(self.message_bytes).saturating_add(Self::HEADROOM)
    }

    /// The write buffer, kept below [`write_bound`](Self::write_bound) for any input.
    pub(crate) const fn write_buffer(&self) -> usize {
        if self.buffers.write > 1 << 24 { 1 << 24 } else { self.buffers.write }
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
