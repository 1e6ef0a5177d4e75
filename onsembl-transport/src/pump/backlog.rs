//! Bytes of frames that wait to be written: of one link, and of all links that share a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
}

impl Backlog {
    pub(super) fn new(
        (most_control, most_data): (usize, usize),
        shared: Option<Arc<SharedBacklog>>,
    ) -> Self {
        let (control, data) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { control, data, most_control, most_data, shared, less_data: Notify::new() }
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
