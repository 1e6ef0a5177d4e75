//! The heartbeats of one direction in few bytes: the latest with the times of their hops, of which the first is in
//! full and the others are milliseconds behind it; counts of all; and the last that missed each hop.

use crate::id::BeatSequence;
use crate::model::Hop;
use crate::time::Timestamp;
use core::time::Duration;

/// Heartbeats that are remembered of each direction: of two minutes and a half by default.
const REMEMBERED: usize = 5;

/// Most hops behind the first that one end sees of a heartbeat.
const BEHIND: usize = 6;

/// The hops that one end sees: the first, and those behind it.
const HOPS: usize = BEHIND + 1;

/// A hop that was not reached.
const NOT_REACHED: u16 = u16::MAX;
/// The longest time that is told apart: 65.5 s.
const LONGEST: u16 = u16::MAX - 1;

/// One heartbeat, as one end saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was due, or for a heartbeat of the other end, when it came.
    first: Timestamp,
    sequence: u32,
    behind: [u16; BEHIND],
}

impl Entry {
    const EMPTY: Self =
        Self { first: Timestamp::ORIGIN, sequence: 0, behind: [NOT_REACHED; BEHIND] };

    pub(super) const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// When it was at this hop, if it was.
    pub(super) fn at(&self, whose: Whose, hop: Hop) -> Option<Timestamp> {
        if hop == whose.first() {
            return Some(self.first);
        }
        let millis = *self.behind.get(whose.index(hop)?)?;
        let reached = millis != NOT_REACHED;
        reached.then(|| self.first.saturating_add(Duration::from_millis(u64::from(millis))))
    }

    /// When an own heartbeat was written, if that is known to the millisecond.
    pub(super) fn written(&self) -> Option<Timestamp> {
        let index = Whose::Own.index(Hop::Written)?;
        let exact = self.behind.get(index).is_some_and(|millis| *millis < LONGEST);
        self.at(Whose::Own, Hop::Written).filter(|_| exact)
    }

    /// Notes a hop; the first time counts. Whether it was new.
    fn reach(&mut self, whose: Whose, hop: Hop, at: Timestamp) -> bool {
        let Some(millis) = whose.index(hop).and_then(|index| self.behind.get_mut(index)) else {
            return false;
        };
        let is_new = *millis == NOT_REACHED;
        if is_new {
            let behind = at.saturating_since(self.first).as_millis();
            *millis = u16::try_from(behind).unwrap_or(LONGEST).min(LONGEST);
        }
        is_new
    }
}

/// Whose heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that this end makes.
    Own,
    /// Those of the other end.
    Peers,
}

impl Whose {
    /// The first hop that this end sees of them.
    pub(super) const fn first(self) -> Hop {
        match self {
            Self::Own => Hop::Due,
            Self::Peers => Hop::Received,
        }
    }

    /// Whether this end sees this hop of them.
    pub(super) const fn sees(self, hop: Hop) -> bool {
        self.slot(hop).is_some()
    }

    /// Where the count of a hop stands.
    const fn slot(self, hop: Hop) -> Option<usize> {
        match self.index(hop) {
            Some(index) => Some(index + 1),
            None if hop.index() == self.first().index() => Some(0),
            None => None,
        }
    }

    /// Where the time of a hop stands; `None` for one that this end does not see.
    const fn index(self, hop: Hop) -> Option<usize> {
        Some(match (self, hop) {
            (Self::Own, Hop::Made) | (Self::Peers, Hop::Handled) => 0,
            (Self::Own, Hop::Queued) | (Self::Peers, Hop::Recorded) => 1,
            (Self::Own, Hop::Written) | (Self::Peers, Hop::Answered) => 2,
            (Self::Own, Hop::Received) => 3,
            (Self::Own, Hop::Recorded) => 4,
            (Self::Own, Hop::AnswerReceived) => 5,
            (Self::Own, Hop::Due | Hop::Handled | Hop::Answered)
            | (
                Self::Peers,
                Hop::Due
                | Hop::Made
                | Hop::Queued
                | Hop::Written
                | Hop::Received
                | Hop::AnswerReceived,
            ) => return None,
        })
    }
}

/// The heartbeats of one direction: the latest, how many got to each hop, and which missed one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    whose: Whose,
    /// In no order; of the lowest number the slot is used again.
    entries: [Entry; REMEMBERED],
    passed: [u32; HOPS],
    missed: [Failure; HOPS],
}

/// The last time that a hop was missed, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    /// 0 if it never was.
    sequence: u32,
    after_secs: u32,
}

impl Direction {
    pub(super) const fn new(whose: Whose) -> Self {
        const NEVER: Failure = Failure { sequence: 0, after_secs: 0 };
        Self {
            whose,
            entries: [Entry::EMPTY; REMEMBERED],
            passed: [0; HOPS],
            missed: [NEVER; HOPS],
        }
    }

    /// A heartbeat appears. One that is remembered, or older than all that are, is only counted.
    pub(super) fn begin(&mut self, sequence: BeatSequence, at: Timestamp) {
        self.count(self.whose.first(), 1);
        let sequence = short(sequence);
        if sequence == 0 || self.find(sequence).is_some() {
            return;
        }
        if let Some(oldest) = self.entries.iter_mut().min_by_key(|entry| entry.sequence)
            && oldest.sequence < sequence
        {
            *oldest = Entry { first: at, sequence, ..Entry::EMPTY };
        }
    }

    /// A heartbeat gets to a hop.
    pub(super) fn reach(&mut self, hop: Hop, sequence: BeatSequence, at: Timestamp) {
        let sequence = short(sequence);
        self.reach_those(hop, at, |entry| entry.sequence == sequence);
    }

    /// All heartbeats up to this one get to a hop, because a link keeps their order.
    pub(super) fn reach_all(&mut self, hop: Hop, through: BeatSequence, at: Timestamp) {
        let through = short(through);
        self.reach_those(hop, at, |entry| entry.sequence <= through);
    }

    fn reach_those(&mut self, hop: Hop, at: Timestamp, which: impl Fn(&Entry) -> bool) {
        let mut new = 0;
        for entry in self.entries.iter_mut().filter(|entry| entry.sequence > 0 && which(entry)) {
            new += u32::from(entry.reach(self.whose, hop, at));
        }
        self.count(hop, new);
    }

    pub(super) fn find(&self, sequence: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.sequence == sequence && sequence != 0)
    }

    /// The heartbeats that are remembered, the oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Entry> {
        let mut order: [&Entry; REMEMBERED] = self.entries.each_ref();
        order.sort_unstable_by_key(|entry| entry.sequence);
        order.into_iter().filter(|entry| entry.sequence != 0)
    }

    pub(super) fn latest(&self) -> Option<&Entry> {
        self.entries.iter().max_by_key(|entry| entry.sequence).filter(|entry| entry.sequence != 0)
    }

    /// The oldest remembered heartbeat that was at one hop and not at the next, and since when it is there.
    pub(super) fn stuck(&self, at: Hop, next: Hop) -> Option<(BeatSequence, Timestamp)> {
        let (here, there) = (self.whose.index(at), self.whose.index(next));
        let was = |entry: &Entry, index: Option<usize>, hop: Hop| match index {
            Some(index) => entry.behind.get(index).is_some_and(|millis| *millis != NOT_REACHED),
            None => hop == self.whose.first(),
        };
        let is_stuck = |entry: &&Entry| {
            entry.sequence != 0 && was(entry, here, at) && !was(entry, there, next)
        };
        let entry = self.entries.iter().filter(is_stuck).min_by_key(|entry| entry.sequence)?;
        Some((BeatSequence(u64::from(entry.sequence)), entry.at(self.whose, at)?))
    }

    pub(super) fn passed(&self, hop: Hop) -> u32 {
        self.whose.slot(hop).and_then(|slot| self.passed.get(slot)).copied().unwrap_or_default()
    }

    fn count(&mut self, hop: Hop, by: u32) {
        if let Some(count) = self.whose.slot(hop).and_then(|slot| self.passed.get_mut(slot)) {
            *count = count.saturating_add(by);
        }
    }

    /// Notes that a heartbeat missed a hop, so long after the connection began.
    pub(super) fn miss(&mut self, hop: Hop, sequence: BeatSequence, after: Duration) {
        if let Some(failure) = self.whose.slot(hop).and_then(|slot| self.missed.get_mut(slot)) {
            let after_secs = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
            *failure = Failure { sequence: short(sequence), after_secs };
        }
    }

    /// The last heartbeat that missed a hop, and when that was noticed.
    pub(super) fn missed(&self, hop: Hop) -> Option<(BeatSequence, Duration)> {
        let failure = self.missed.get(self.whose.slot(hop)?)?;
        (failure.sequence != 0).then(|| {
            let after = Duration::from_secs(u64::from(failure.after_secs));
            (BeatSequence(u64::from(failure.sequence)), after)
        })
    }
}

/// Numbers are counted from 1 in each session; none gets so far as to be cut.
pub(super) fn short(sequence: BeatSequence) -> u32 {
    u32::try_from(sequence.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn it_keeps_the_latest_whatever_the_order() {
        let mut ring = Direction::new(Whose::Own);
        for n in [1, 2, 5, 3, 4, 9, 7, 8, 6, 6, 2] {
            ring.begin(BeatSequence(n), at(n));
        }
        let kept: alloc::vec::Vec<u32> = ring.in_order().map(Entry::sequence).collect();
        assert_eq!(kept, [5, 6, 7, 8, 9]);
        assert_eq!(ring.latest().unwrap().sequence(), 9);
        assert_eq!(ring.passed(Hop::Due), 11);
    }

    #[test]
    fn the_first_time_of_a_hop_counts_and_a_long_one_is_kept_as_the_longest() {
        let mut ring = Direction::new(Whose::Own);
        ring.begin(BeatSequence(1), at(1000));
        ring.reach(Hop::Made, BeatSequence(1), at(1005));
        ring.reach(Hop::Made, BeatSequence(1), at(2000));
        ring.reach(Hop::Handled, BeatSequence(1), at(2000));
        ring.reach(Hop::Written, BeatSequence(1), at(900_000));
        assert_eq!([Hop::Made, Hop::Handled].map(|hop| ring.passed(hop)), [1, 0]);
        let entry = ring.find(1).unwrap();
        assert_eq!(entry.at(Whose::Own, Hop::Due), Some(at(1000)));
        assert_eq!(entry.at(Whose::Own, Hop::Made), Some(at(1005)));
        assert_eq!(entry.at(Whose::Own, Hop::Queued), None);
        assert_eq!(entry.at(Whose::Own, Hop::Written), Some(at(1000 + 65_534)));
        assert_eq!(entry.written(), None, "it is not known when");
    }

    #[test]
    fn what_missed_a_hop_last_is_kept() {
        let mut ring = Direction::new(Whose::Peers);
        assert_eq!(ring.missed(Hop::Recorded), None);
        ring.miss(Hop::Recorded, BeatSequence(7), Duration::from_millis(90_900));
        assert_eq!(ring.missed(Hop::Recorded), Some((BeatSequence(7), Duration::from_secs(90))));
        assert_eq!(ring.missed(Hop::Answered), None);
    }
}
