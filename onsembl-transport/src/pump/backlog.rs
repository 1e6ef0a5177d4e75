//! The bound that links share, and the latest heartbeat of one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What waits of all links that were spawned with it. Links of one user share one, so that a user who reads
/// nothing takes no more memory with many links.
#[derive(Debug)]
pub struct SharedBacklog {
    bytes: AtomicUsize,
    most: usize,
}

impl SharedBacklog {
    /// With room for this many bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), most })
    }

    /// More bytes wait. Whether there was room for them.
    pub(super) fn more(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.most
    }

    /// Bytes were written, or never will be.
    pub(super) fn less(&self, bytes: usize) {
        let _ = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The latest heartbeat of a link: the number of its frame while it waits, then when it was written.
#[derive(Debug, Default)]
pub(super) struct LatestBeat(AtomicU64);

/// A heartbeat that waits.
const WAITS: u64 = 1 << 63;

/// Microseconds of a clock that is this process's own. None was read at zero.
fn micros() -> u64 {
    static BEGAN: OnceLock<std::time::Instant> = OnceLock::new();
    let began = BEGAN.get_or_init(std::time::Instant::now);
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1) & !WAITS
}

/// When something was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenAt(u64);

impl WrittenAt {
    /// How long ago that is.
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_micros(micros().saturating_sub(self.0))
    }
}

impl LatestBeat {
    /// The control frame of this number, counted from 1 and around, is a heartbeat.
    pub(super) fn waits(&self, frame: u32) {
        self.0.store(WAITS | u64::from(frame), Ordering::Release);
    }

    /// Whether the control frame of this number is a heartbeat.
    #[cfg(onsembl_faults)]
    pub(super) fn is(&self, frame: u32) -> bool {
        self.0.load(Ordering::Acquire) == WAITS | u64::from(frame)
    }

    /// All control frames up to this number were handed to the network.
    pub(super) fn flushed(&self, frames: u32) {
        let beat = self.0.load(Ordering::Acquire);
        // The low half is the number; half of all numbers are behind.
        let is_behind = frames.wrapping_sub(beat as u32) < u32::MAX / 2;
        if beat & WAITS != 0 && is_behind {
            let written = micros();
            // Another one may wait by now, which says more.
            let _ = self.0.compare_exchange(beat, written, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// When the latest heartbeat was written; `None` while it waits, or if there was none.
    pub(super) fn written(&self) -> Option<WrittenAt> {
        let beat = self.0.load(Ordering::Acquire);
        (beat != 0 && beat & WAITS == 0).then_some(WrittenAt(beat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_written_when_its_frame_was_flushed_and_not_before() {
        let beat = LatestBeat::default();
        assert!(beat.written().is_none());
        beat.flushed(1);
        assert!(beat.written().is_none(), "it was no heartbeat");
        beat.waits(3);
        beat.flushed(2);
        assert!(beat.written().is_none());
        beat.flushed(3);
        assert!(beat.written().is_some());
        beat.waits(u32::MAX);
        beat.flushed(u32::MAX - 1);
        assert!(beat.written().is_none());
        // The count has gone around.
        beat.flushed(2);
        assert!(beat.written().is_some());
    }
}
