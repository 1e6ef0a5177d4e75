//! Credit for output that a server relays and does not store: when an agent may send more of it.
//!
//! Output is given credit in batches, once all viewers have taken it, so that one who keeps up is shown all of it. None of
//! them delays an agent for longer than [`PATIENCE`]: who is later than that is not waited for until it says that it has
//! caught up, and is shown a gap if what it missed is not there any more. Without viewers credit is given at once.

use super::stored::Cursor;
use crate::id::{ByteOffset, ChunkSequence, DashboardId, Incarnation};
use crate::model::{PerStream, Stream};
use crate::time::{Deadline, Timestamp};
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

/// How long output waits for viewers: 200 ms, after which a terminal is taken for late too (P-398). With a window of 1 MiB
/// an agent sends 5 MiB a second even if no viewer reads.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// Records after which credit is given, however small they are: an eighth of those that an agent has on its link.
const BATCH_RECORDS: u32 = 128;

/// Viewers that are waited for. With more of them the oldest links are not: one that is gone without a word is among them.
const MOST_VIEWERS: usize = 64;

/// The number of a record.
type Position = (Incarnation, ChunkSequence);

/// What was relayed of one command and is not given credit for.
#[derive(Debug)]
pub(crate) struct Credit {
    /// Bytes after which credit is given.
    batch: u64,
    open: Batch,
    /// Whole batches, the oldest first, with when they were.
    waiting: VecDeque<(Timestamp, Batch)>,
    waiting_bytes: u64,
    /// How far the viewers are that are waited for.
    viewers: BTreeMap<DashboardId, Cursor>,
    audience: Audience,
}

/// What is known of who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Nobody has said anything yet, and somebody may be about to. Since the first output, if there was any.
    Unknown(Option<Timestamp>),
    /// Who watches has said so.
    Known,
}

/// Consecutive records.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    /// Where the last record of each stream ends that has one in it.
    ends: PerStream<Option<ByteOffset>>,
    last: Option<Position>,
    bytes: u64,
    records: u32,
}

/// What an agent is given credit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) incarnation: Incarnation,
    /// Everything of these streams before these offsets.
    pub(crate) ends: PerStream<Option<ByteOffset>>,
    /// The last record of it.
    pub(crate) through: Position,
    /// Bytes that nobody watched.
    pub(crate) unwatched: u64,
}

impl Credit {
    /// Nothing was relayed yet. Credit is given each time after so many bytes.
    pub(crate) fn new(batch: u64) -> Self {
        Self {
            batch,
            open: Batch::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            viewers: BTreeMap::new(),
            audience: Audience::Unknown(None),
        }
    }

    /// A record was relayed that ends there. Whether credit may be due.
    pub(crate) fn relayed(
        &mut self,
        position: Position,
        stream: Stream,
        end: ByteOffset,
        bytes: u64,
        now: Timestamp,
    ) -> bool {
        if let Audience::Unknown(since @ None) = &mut self.audience {
            *since = Some(now);
        }
        let Batch { ends, last, bytes: sum, records } = &mut self.open;
        *ends.get_mut(stream) = Some(end);
        *last = Some(position);
        *sum = sum.saturating_add(bytes);
        *records += 1;
        let is_whole = *sum >= self.batch || *records >= BATCH_RECORDS;
        if is_whole {
            let whole = core::mem::take(&mut self.open);
            self.waiting_bytes = self.waiting_bytes.saturating_add(whole.bytes);
            self.waiting.push_back((now, whole));
        }
        is_whole
    }

    /// A viewer has taken everything up to this record, and is waited for from now on. Whether credit may be due.
    pub(crate) fn viewed(&mut self, by: DashboardId, through: Cursor) -> bool {
        self.audience = Audience::Known;
        let taken = self.viewers.entry(by).or_default();
        *taken = (*taken).max(through);
        while self.viewers.len() > MOST_VIEWERS {
            let _ = self.viewers.pop_first();
        }
        !self.waiting.is_empty()
    }

    /// What is given credit for now, with so much patience for viewers.
    pub(crate) fn take(&mut self, patience: Duration, now: Timestamp) -> Option<Granted> {
        let mut granted: Option<Granted> = None;
        while let Some((at, batch)) = self.waiting.front().copied() {
            let Some(through) = batch.last else { break };
            let is_late = at.saturating_add(patience) <= now;
            if is_late {
                self.viewers.retain(|_, taken| *taken >= Some(through));
            }
            let unwatched = match self.audience {
                Audience::Unknown(Some(since)) if since.saturating_add(patience) > now => break,
                Audience::Unknown(_) | Audience::Known if self.viewers.is_empty() => batch.bytes,
                Audience::Unknown(_) | Audience::Known => 0,
            };
            if self.viewers.values().any(|taken| *taken < Some(through)) {
                break;
            }
            let _ = self.waiting.pop_front();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(batch.bytes);
            let new = Granted { incarnation: through.0, ends: batch.ends, through, unwatched };
            granted = Some(match granted {
                Some(before) if before.incarnation == new.incarnation => before.and(new),
                Some(_) | None => new,
            });
        }
        granted
    }

    /// Up to where viewers are waited for, if they are.
    pub(crate) fn awaited(&self) -> Cursor {
        self.waiting.back().and_then(|(_, batch)| batch.last)
    }

    /// When credit is due whatever viewers do.
    pub(crate) fn deadline(&self) -> Deadline {
        self.waiting.front().map_or(Deadline::Never, |(at, _)| {
            let since = match self.audience {
                Audience::Unknown(Some(since)) => since,
                Audience::Unknown(None) | Audience::Known => *at,
            };
            Deadline::At(since.saturating_add(PATIENCE))
        })
    }

    /// Bytes for which viewers are waited for.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting_bytes
    }

    /// The process has ended, and needs no credit.
    pub(crate) fn end(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.open = Batch::default();
    }
}

impl Granted {
    fn and(mut self, later: Self) -> Self {
        for stream in Stream::ALL {
            let end = self.ends.get_mut(stream);
            *end = later.ends.get(stream).or(*end);
        }
        Self {
            through: later.through,
            unwatched: self.unwatched.saturating_add(later.unwatched),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BATCH: u64 = 100;

    fn ms(n: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(n))
    }

    fn at(n: u64) -> Position {
        (Incarnation(1), ChunkSequence(n))
    }

    /// The record of this number, of 50 bytes.
    fn relay(credit: &mut Credit, n: u64, now: u64) -> bool {
        credit.relayed(at(n), Stream::Stdout, ByteOffset(n * 50), 50, ms(now))
    }

    fn granted(credit: &mut Credit, now: u64) -> Option<u64> {
        let granted = credit.take(PATIENCE, ms(now))?;
        assert_eq!(granted.ends.stderr, None);
        granted.ends.stdout.map(|end| end.0)
    }

    fn watched() -> Credit {
        let mut credit = Credit::new(BATCH);
        assert!(!credit.viewed(DashboardId(1), None));
        credit
    }

    #[test]
    fn credit_is_given_for_whole_batches_that_every_viewer_has_taken() {
        let mut credit = watched();
        let _ = credit.viewed(DashboardId(2), None);
        assert!(!relay(&mut credit, 1, 0) && relay(&mut credit, 2, 0));
        assert_eq!((granted(&mut credit, 0), credit.awaited()), (None, Some(at(2))));
        assert!(credit.viewed(DashboardId(1), Some(at(2))));
        assert_eq!(granted(&mut credit, 1), None, "the other one has not");
        assert!(credit.viewed(DashboardId(2), Some(at(3))));
        assert_eq!((granted(&mut credit, 1), credit.deadline()), (Some(100), Deadline::Never));
        assert!(!relay(&mut credit, 3, 5));
        assert_eq!(granted(&mut credit, 1000), None, "half a batch");
    }

    #[test]
    fn a_viewer_that_is_late_is_not_waited_for_until_it_says_that_it_is_there() {
        let mut credit = watched();
        let _ = (relay(&mut credit, 1, 0), relay(&mut credit, 2, 10));
        assert_eq!(credit.deadline(), Deadline::At(ms(210)));
        assert_eq!(granted(&mut credit, 209), None);
        assert_eq!(granted(&mut credit, 210), Some(100));
        let _ = (relay(&mut credit, 3, 300), relay(&mut credit, 4, 300));
        assert_eq!(granted(&mut credit, 300), Some(200), "it is not waited for");
        let _ = credit.viewed(DashboardId(1), Some(at(4)));
        let _ = (relay(&mut credit, 5, 400), relay(&mut credit, 6, 400));
        assert_eq!(granted(&mut credit, 400), None, "it has caught up");
    }

    #[test]
    fn the_first_output_waits_for_somebody_who_may_be_about_to_watch() {
        let mut credit = Credit::new(BATCH);
        let _ = (relay(&mut credit, 1, 0), relay(&mut credit, 2, 150));
        assert_eq!((granted(&mut credit, 199), credit.deadline()), (None, Deadline::At(ms(200))));
        let all = credit.take(PATIENCE, ms(200)).unwrap();
        assert_eq!((all.ends.stdout, all.unwatched), (Some(ByteOffset(100)), 100));
        let _ = (relay(&mut credit, 3, 201), relay(&mut credit, 4, 201));
        assert_eq!(granted(&mut credit, 201), Some(200), "nobody watches");
    }

    #[test]
    fn under_pressure_nobody_is_waited_for() {
        let mut credit = watched();
        let _ = (relay(&mut credit, 1, 0), relay(&mut credit, 2, 0));
        assert_eq!(credit.waiting(), 100);
        assert!(credit.take(Duration::ZERO, ms(0)).is_some());
        assert_eq!(credit.waiting(), 0);
    }

    #[test]
    fn small_records_are_given_credit_by_their_number() {
        let mut credit = Credit::new(u64::MAX);
        let whole =
            (1..).find(|n| credit.relayed(at(*n), Stream::Stderr, ByteOffset(*n), 1, ms(1000)));
        assert_eq!(whole, Some(u64::from(BATCH_RECORDS)));
    }

    proptest! {
        /// Whatever viewers do: credit only grows, never beyond what was relayed, and all but an open batch is given in time.
        #[test]
        fn credit_is_true_and_comes_in_time(
            steps in prop::collection::vec((0..3_u8, 0..4_u64, 0..50_u64), 1..200),
        ) {
            let mut credit = Credit::new(BATCH);
            let (mut now, mut sent, mut given) = (0, 0, 0);
            let mut closed: Vec<(u64, u64)> = Vec::new();
            for (what, who, wait) in steps {
                now += wait;
                match what {
                    0 => drop(credit.viewed(DashboardId(who), Some(at(sent)))),
                    1 => drop(credit.viewed(DashboardId(who), None)),
                    _ => {
                        sent += 1;
                        if relay(&mut credit, sent, now) {
                            closed.push((now, sent * 50));
                        }
                    }
                }
                if let Some(end) = granted(&mut credit, now) {
                    prop_assert!(end > given && end <= sent * 50);
                    given = end;
                }
                let due = closed.iter().filter(|(at, _)| at + 200 <= now);
                prop_assert!(due.map(|(_, end)| *end).max().unwrap_or(0) <= given);
            }
        }
    }
}
