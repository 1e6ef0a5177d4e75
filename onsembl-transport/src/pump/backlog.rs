//! What waits to be written: bytes of frames, of one link and of all links that share a bound; and the latest
//! heartbeat.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

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
}

/// What waits of one link.
#[derive(Debug)]
pub(super) struct Backlog {
    control: AtomicUsize,
    data: AtomicUsize,
    most_control: usize,
    most_data: usize,
    shared: Option<Arc<SharedBacklog>>,
    less_data: Notify,
    /// The latest heartbeat: the number of its frame while it waits, then when it was written.
    beat: AtomicU64,
}

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

impl Backlog {
    pub(super) fn new(
        (most_control, most_data): (usize, usize),
        shared: Option<Arc<SharedBacklog>>,
    ) -> Self {
        let (control, data) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (less_data, beat) = (Notify::new(), AtomicU64::new(0));
        Self { control, data, most_control, most_data, shared, less_data, beat }
    }

    /// The control frame of this number, counted from 1 and around, is a heartbeat.
    pub(super) fn beat_waits(&self, frame: u32) {
        self.beat.store(WAITS | u64::from(frame), Ordering::Release);
    }

    /// Whether the control frame of this number is a heartbeat.
    #[cfg(onsembl_faults)]
    pub(super) fn is_beat(&self, frame: u32) -> bool {
        self.beat.load(Ordering::Acquire) == WAITS | u64::from(frame)
    }

    /// All control frames up to this number were handed to the network.
    pub(super) fn flushed(&self, frames: u32) {
        let beat = self.beat.load(Ordering::Acquire);
        // The low half is the number; half of all numbers are behind.
        let is_behind = frames.wrapping_sub(beat as u32) < u32::MAX / 2;
        if beat & WAITS != 0 && is_behind {
            let written = micros();
            // Another one may wait by now, which says more.
            let _ = self.beat.compare_exchange(beat, written, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// When the latest heartbeat was written; `None` while it waits, or if there was none.
    pub(super) fn beat_written(&self) -> Option<WrittenAt> {
        let beat = self.beat.load(Ordering::Acquire);
        (beat != 0 && beat & WAITS == 0).then_some(WrittenAt(beat))
    }

    /// One more control frame waits. Whether there was room for it.
    pub(super) fn more_control(&self, bytes: usize) -> bool {
        let before = self.control.fetch_add(bytes, Ordering::Relaxed);
        // The first one is always taken: it may be larger than all that may wait behind it.
        let own = before == 0 || before.saturating_add(bytes) <= self.most_control;
        let shared = self.shared.as_ref().is_none_or(|shared| {
            let all = shared.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            before == 0 || all <= shared.most
        });
        own && shared
    }

    pub(super) fn more_data(&self, bytes: usize) {
        let _ = self.data.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A control frame was written.
    pub(super) fn less_control(&self, bytes: usize) {
        let _ = self.control.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(shared) = &self.shared {
            let _ = shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// A data frame was written.
    pub(super) fn less_data(&self, bytes: usize) {
        let _ = self.data.fetch_sub(bytes, Ordering::Relaxed);
        self.less_data.notify_one();
    }

    /// Whether a data frame may be put behind those that wait.
    pub(super) fn has_room(&self) -> bool {
        self.data.load(Ordering::Relaxed) < self.most_data
    }

    /// Waits until a data frame was written.
    pub(super) async fn until_less_data(&self) {
        self.less_data.notified().await;
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        // What was not written by now never will be.
        if let Some(shared) = &self.shared {
            let left = *self.control.get_mut();
            let _ = shared.bytes.fetch_sub(left, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_written_when_its_frame_was_flushed_and_not_before() {
        let link = Backlog::new((80, 10), None);
        assert!(link.beat_written().is_none());
        link.flushed(1);
        assert!(link.beat_written().is_none(), "it was no heartbeat");
        link.beat_waits(3);
        link.flushed(2);
        assert!(link.beat_written().is_none());
        link.flushed(3);
        assert!(link.beat_written().is_some());
        link.beat_waits(u32::MAX);
        link.flushed(u32::MAX - 1);
        assert!(link.beat_written().is_none());
        // The count has gone around.
        link.flushed(2);
        assert!(link.beat_written().is_some());
    }

    #[test]
    fn what_waits_of_many_links_has_one_bound() {
        let shared = SharedBacklog::new(100);
        let link = || Backlog::new((80, 10), Some(Arc::clone(&shared)));
        let (first, second) = (link(), link());
        assert!(first.more_control(80) && !first.more_control(1), "its own bound");
        assert!(second.more_control(15), "the first frame of a link is always taken");
        assert!(!second.more_control(15), "the bound of both");
        first.less_control(81);
        assert!(second.more_control(15));
        drop((first, second));
        assert_eq!(shared.bytes.load(Ordering::Relaxed), 0);
    }
}
