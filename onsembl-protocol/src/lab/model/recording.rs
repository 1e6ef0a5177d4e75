//! Heartbeats that wait for a confirmation. It demands, through the ends that use it: a lag is named
//! within two intervals, only if it is one, and healed when it is over.
//!
//! [`Open`] remembers when each open beat happened, as far as a few slots go; beyond them it
//! answers with the bounds that are certain.

use crate::lab::fact::{LocalNanos, Sequence};

const SLOTS: usize = 8;

/// The beats of one session that are not confirmed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    slots: [(Sequence, LocalNanos); SLOTS],
    taken: usize,
    latest: (Sequence, LocalNanos),
    confirmed: Sequence,
    /// No open beat is older than this.
    none_before: LocalNanos,
}

impl Open {
    #[inline]
    pub(super) fn happened(&mut self, sequence: Sequence, now: LocalNanos) {
        if sequence <= self.latest.0 {
            return;
        }
        if self.confirmed == self.latest.0 {
            self.none_before = now;
        }
        self.latest = (sequence, now);
        if let Some(slot) = self.slots.get_mut(self.taken) {
            *slot = self.latest;
            self.taken += 1;
        }
    }

    #[inline]
    pub(super) fn confirmed(&mut self, upto: Sequence) {
        if upto <= self.confirmed {
            return;
        }
        self.confirmed = upto.min(self.latest.0);
        let done = self.slots.iter().take(self.taken).take_while(|p| p.0 <= upto).count();
        if let Some((_, at)) = done.checked_sub(1).and_then(|last| self.slots.get(last)) {
            self.none_before = *at;
        }
        self.slots.copy_within(done..self.taken, 0);
        self.taken -= done;
    }

    /// Whether every beat is confirmed.
    pub(super) const fn none(&self) -> bool {
        self.confirmed >= self.latest.0
    }

    /// The oldest open beat happened then, or before.
    #[inline]
    pub(super) fn oldest_at_latest(&self) -> Option<LocalNanos> {
        (!self.none()).then(|| match (self.taken, self.slots.first()) {
            (1.., Some((_, at))) => *at,
            _ => self.latest.1,
        })
    }

    /// The oldest open beat happened then, or later.
    pub(super) fn oldest_at_earliest(&self) -> Option<LocalNanos> {
        (!self.none()).then(|| match (self.taken, self.slots.first()) {
            (1.., Some((first, at))) if *first == self.confirmed + 1 => *at,
            _ => self.none_before,
        })
    }
}
