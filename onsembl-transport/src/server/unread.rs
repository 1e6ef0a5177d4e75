//! The agents whose links are not read, because the owner of the shard holds them back. Their silence is ours.

use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Deadline, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Unread {
    keys: BTreeSet<Key>,
    /// When they are to be excused next, if there are any.
    excuse_at: Deadline,
}

impl Unread {
    pub(super) const NONE: Self = Self { keys: BTreeSet::new(), excuse_at: Deadline::Never };

    /// One more is not read, by machines with this interval of heartbeats.
    pub(super) fn insert(&mut self, key: Key, interval: Duration, now: Timestamp) {
        if self.keys.is_empty() {
            self.excuse_at = excuse_after(interval, now);
        }
        let _ = self.keys.insert(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
        let _ = self.keys.remove(&key);
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.excuse_at
    }

    /// Whose silence is to be excused now.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Key> {
        match self.excuse_at.is_due(now) {
            true => self.keys.iter().copied().collect(),
            false => Vec::new(),
        }
    }

    /// Whoever was due was excused.
    pub(super) fn excused(&mut self, interval: Duration, now: Timestamp) {
        if self.excuse_at.is_due(now) {
            self.excuse_at = match self.keys.is_empty() {
                true => Deadline::Never,
                false => excuse_after(interval, now),
            };
        }
    }
}

/// Twice in each interval: neither end may have been heard just now.
fn excuse_after(interval: Duration, now: Timestamp) -> Deadline {
    Deadline::At(now.saturating_add(interval / 2))
}
