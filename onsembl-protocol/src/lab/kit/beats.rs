//! When beats of one session are due, and how they are numbered.

use super::call::Call;
use super::violation::Violation;
use crate::id::BeatSequence;
use crate::lab::Invariant;
use crate::time::Timestamp;
use core::time::Duration;
use std::format;

#[derive(Clone, Copy, Debug)]
pub(super) struct Beats {
    interval: Duration,
    due: Timestamp,
    numbered: u64,
    /// The last two of the schedule, the older one first.
    recent: (Option<Timestamp>, Option<Timestamp>),
}

impl Beats {
    pub(super) const fn new(interval: Duration, at: Timestamp) -> Self {
        Self { interval, due: at, numbered: 0, recent: (None, None) }
    }

    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    /// Whether the other end has seen all of them, if it saw this one.
    pub(super) const fn all_seen(&self, seen: BeatSequence) -> bool {
        seen.0 >= self.numbered
    }

    /// The host slept, or there is news: the next one is due now, whatever the schedule said.
    pub(super) fn hurry(&mut self, at: Timestamp) {
        self.due = at;
        self.recent = (None, None);
    }

    /// Three beats within one interval are a burst: each point of the schedule has one beat, which
    /// leaves before the next point.
    pub(super) fn no_burst(&self, call: &Call<'_>) -> Result<(), Violation> {
        match self.recent.0 {
            Some(earlier) if call.at.saturating_since(earlier) < self.interval => call.blame(
                Invariant::BeatsEveryInterval,
                format!("one beat in {:?}", self.interval),
                format!("the third within {:?}", call.at.saturating_since(earlier)),
            ),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn sent(&mut self, at: Timestamp) {
        self.recent = (self.recent.1, Some(at));
        self.due = at.saturating_add(self.interval);
    }

    pub(super) fn number(&mut self, n: BeatSequence, call: &Call<'_>) -> Result<(), Violation> {
        self.numbered += 1;
        let expected = core::mem::replace(&mut self.numbered, n.0);
        if expected != n.0 {
            let (expected, happened) = (format!("beat {expected}"), format!("beat {n}"));
            call.blame(Invariant::BeatsAreNumbered, expected, happened)?;
        }
        Ok(())
    }
}
