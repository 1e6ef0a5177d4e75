//! The backlogs of all runs with their sums, and which of them have something to do, so that no event looks at
//! every run. Bounds, windows and the disk are the outbox's.

use super::backlog::Backlog;
use crate::id::CommandId;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use core::ops::Bound;

/// The backlogs of all runs, by command.
#[derive(Debug, Default)]
pub(super) struct Runs {
    all: BTreeMap<CommandId, Backlog>,
    memory: u64,
    total: u64,
    /// What the pages will take in memory that were asked for.
    asked: u64,
    unsettled: usize,
    ready: BTreeSet<CommandId>,
    /// Sent as far as there is a record, and at the newest end something was not taken.
    growing: BTreeSet<CommandId>,
    /// The oldest that waits is only on disk, and was not asked for.
    cold: BTreeSet<CommandId>,
    /// Their processes are not being read.
    paused: BTreeSet<CommandId>,
    /// Nothing of these goes out in this session.
    withheld: BTreeSet<CommandId>,
}

/// What one backlog counts in the sums and sets.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share {
    memory: u64,
    total: u64,
    asked: u64,
    is_unsettled: bool,
    is_ready: bool,
    is_growing: bool,
    is_cold: bool,
}

impl Share {
    const NONE: Self = Self {
        memory: 0,
        total: 0,
        asked: 0,
        is_unsettled: false,
        is_ready: false,
        is_growing: false,
        is_cold: false,
    };

    fn of(backlog: &Backlog) -> Self {
        Self {
            memory: backlog.memory(),
            total: backlog.total(),
            asked: backlog.asked(),
            is_unsettled: !backlog.is_settled(),
            is_ready: backlog.has_ready(),
            is_growing: backlog.has_growing() && backlog.is_drained(),
            is_cold: backlog.has_page(),
        }
    }
}

impl Runs {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            memory: 0,
            total: 0,
            asked: 0,
            unsettled: 0,
            ready: BTreeSet::new(),
            growing: BTreeSet::new(),
            cold: BTreeSet::new(),
            paused: BTreeSet::new(),
            withheld: BTreeSet::new(),
        }
    }

    /// Takes a run up. Another one of the same command makes room.
    pub(super) fn insert(&mut self, backlog: Backlog) {
        let command = backlog.run.command.clone();
        let _ = self.remove(&command);
        self.count(&command, Share::NONE, Share::of(&backlog));
        let _ = self.all.insert(command, backlog);
    }

    pub(super) fn remove(&mut self, command: &CommandId) -> Option<Backlog> {
        let backlog = self.all.remove(command)?;
        self.count(command, Share::of(&backlog), Share::NONE);
        let _ = self.paused.remove(command);
        let _ = self.withheld.remove(command);
        Some(backlog)
    }

    pub(super) fn get(&self, command: &CommandId) -> Option<&Backlog> {
        self.all.get(command)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Backlog> {
        self.all.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Changes a run, and keeps sums and sets.
    pub(super) fn change<R>(
        &mut self,
        command: &CommandId,
        change: impl FnOnce(&mut Backlog) -> R,
    ) -> Option<R> {
        let backlog = self.all.get_mut(command)?;
        let before = Share::of(backlog);
        let result = change(backlog);
        let after = Share::of(backlog);
        if before != after {
            self.count(command, before, after);
        }
        Some(result)
    }

    /// Nothing of a run goes out until the next link.
    pub(super) fn withhold(&mut self, command: &CommandId) {
        if self.all.contains_key(command) && self.withheld.insert(command.clone()) {
            let _ = self.ready.remove(command);
            let _ = self.growing.remove(command);
            let _ = self.cold.remove(command);
        }
    }

    /// A new link: nothing is on the wire, and nothing withheld.
    pub(super) fn rewind(&mut self) {
        for command in core::mem::take(&mut self.withheld) {
            if let Some(share) = self.all.get(&command).map(Share::of) {
                mark(&mut self.ready, &command, false, share.is_ready);
                mark(&mut self.growing, &command, false, share.is_growing);
                mark(&mut self.cold, &command, false, share.is_cold);
            }
        }
        let all: alloc::vec::Vec<CommandId> = self.all.keys().cloned().collect();
        for command in all {
            let _ = self.change(&command, Backlog::rewind);
        }
    }

    fn count(&mut self, command: &CommandId, before: Share, after: Share) {
        let moved = |sum: u64, before: u64, after: u64| sum.saturating_sub(before) + after;
        self.memory = moved(self.memory, before.memory, after.memory);
        self.total = moved(self.total, before.total, after.total);
        self.asked = moved(self.asked, before.asked, after.asked);
        self.unsettled -= usize::from(before.is_unsettled);
        self.unsettled += usize::from(after.is_unsettled);
        let goes_out = !self.withheld.contains(command);
        mark(&mut self.ready, command, before.is_ready, after.is_ready && goes_out);
        mark(&mut self.growing, command, before.is_growing, after.is_growing && goes_out);
        // What does not go out is not read back either: it would stay in memory.
        mark(&mut self.cold, command, before.is_cold, after.is_cold && goes_out);
    }

    /// Bytes in memory, and the cost of each record.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// The same with what the pages will take that are being read.
    pub(super) const fn memory_to_come(&self) -> u64 {
        self.memory.saturating_add(self.asked)
    }

    /// Whether no page is being read.
    pub(super) const fn is_reading_nothing(&self) -> bool {
        self.asked == 0
    }

    /// What is in memory and on disk.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing waits at all.
    pub(super) const fn are_settled(&self) -> bool {
        self.unsettled == 0
    }

    pub(super) fn have_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The run whose turn it is behind that of `last`: one that has a record to send, or `with_growing` one whose
    /// newest gap can become one.
    pub(super) fn next_behind(
        &self,
        last: Option<&CommandId>,
        with_growing: bool,
    ) -> Option<CommandId> {
        let behind = |set: &'_ BTreeSet<CommandId>| -> Option<CommandId> {
            let last = last?;
            set.range::<CommandId, _>((Bound::Excluded(last), Bound::Unbounded)).next().cloned()
        };
        let first = |set: &BTreeSet<CommandId>| set.first().cloned();
        let of_both = |ready: Option<CommandId>, growing: Option<CommandId>| match growing {
            Some(growing) if with_growing => {
                Some(ready.map_or(growing.clone(), |ready| ready.min(growing)))
            }
            Some(_) | None => ready,
        };
        // Behind the last of them it is the turn of the first again.
        of_both(behind(&self.ready), behind(&self.growing))
            .or_else(|| of_both(first(&self.ready), first(&self.growing)))
    }

    /// The first run behind `last` with a page that may be read back.
    pub(super) fn cold_behind(&self, last: Option<&CommandId>) -> Option<CommandId> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.cold.range::<CommandId, _>((from, Bound::Unbounded)).next().cloned()
    }

    /// Its process is not to be read. Whether that is new.
    pub(super) fn pause(&mut self, command: &CommandId) -> bool {
        self.all.contains_key(command) && self.paused.insert(command.clone())
    }

    /// Those whose processes are read again from now on.
    pub(super) fn resume_all(&mut self) -> BTreeSet<CommandId> {
        core::mem::take(&mut self.paused)
    }
}

fn mark(set: &mut BTreeSet<CommandId>, command: &CommandId, before: bool, after: bool) {
    match (before, after) {
        (false, true) => drop(set.insert(command.clone())),
        (true, false) => drop(set.remove(command)),
        (true, true) | (false, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
    use crate::limits::OUTPUT_WINDOW;
    use crate::model::{GapCause, PerStream, Stream};
    use crate::output::outbox::Outbox;
    use crate::output::{
        CHUNK_BYTES, Record, RecordBody, RecoveredRun, Run, SpoolAction, SpoolBounds, SpoolPolicy,
    };
    use crate::time::Timestamp;
    use bytes::Bytes;
    use core::time::Duration;
    use std::format;
    use std::vec::Vec;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    fn run(n: usize) -> Run {
        Run { command: CommandId::new(format!("c-{n:04}")), incarnation: Incarnation(1) }
    }

    fn chunk(n: u64) -> Record {
        let body = RecordBody::Chunk(Bytes::from(std::vec![1; CHUNK_BYTES]));
        let offset = ByteOffset((n - 1) * CHUNK_BYTES as u64);
        Record { sequence: ChunkSequence(n), stream: Stream::Stdout, offset, body }
    }

    /// A number of runs of an earlier process, each with a page on disk.
    fn left(runs: usize) -> Outbox {
        let mut outbox = Outbox::new(SpoolBounds::DEFAULT);
        for n in 0..runs {
            let mut left = RecoveredRun::new(run(n), SpoolPolicy::Block, PerStream::default());
            (1..=8).for_each(|n| left.add(&chunk(n)));
            outbox.recover(left);
        }
        outbox
    }

    fn asked(outbox: &mut Outbox) -> Vec<(Run, ChunkSequence)> {
        core::iter::from_fn(|| outbox.poll_action())
            .filter_map(|action| match action {
                SpoolAction::Read { run, from, .. } => Some((run, from)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn no_more_is_read_back_than_has_room_in_memory_and_all_runs_have_their_turn() {
        let mut outbox = left(300);
        let (mut reads, mut sent) = (asked(&mut outbox), 0);
        assert!((2..=8).contains(&reads.len()), "{} pages at once", reads.len());
        while let Some((run, from)) = reads.pop() {
            outbox.on_page(&run, from, (1..=8).map(chunk).collect());
            assert!(outbox.in_memory() <= SpoolBounds::DEFAULT.memory);
            while let Some(next) = outbox.next_to_send() {
                sent += 1;
                let (run, record) = (next.run, next.record);
                outbox.on_stored(&run.command, run.incarnation, record.stream, record.end());
            }
            reads.extend(asked(&mut outbox));
        }
        assert_eq!((sent, outbox.unstored(), outbox.is_empty()), (300 * 8, 0, true));
    }

    #[test]
    fn a_page_that_cannot_be_read_is_asked_for_again_and_missing_after_a_minute() {
        let mut outbox = left(1);
        let mut now = 0;
        for _ in 0..59 {
            let [(run, from)] = &asked(&mut outbox)[..] else { panic!("at {now} s") };
            outbox.on_not_read(run, *from, at(now));
            assert_eq!(asked(&mut outbox), [], "at {now} s");
            now += 1;
            outbox.on_time(at(now));
        }
        assert_eq!(outbox.next_to_send(), None);
        let mut again = left(1);
        let [(run, from)] = &asked(&mut again)[..] else { panic!() };
        again.on_not_read(run, *from, at(0));
        again.on_time(at(1));
        let [(run, from)] = &asked(&mut again)[..] else { panic!() };
        again.on_page(run, *from, (1..=8).map(chunk).collect());
        assert!(again.next_to_send().is_some_and(|next| next.record == chunk(1)));

        let [(run, from)] = &asked(&mut outbox)[..] else { panic!() };
        outbox.on_not_read(run, *from, at(now));
        let gap = outbox.next_to_send().map(|next| next.record.body);
        let (length, because) = (8 * CHUNK_BYTES as u64, GapCause::SpoolFailed);
        assert_eq!(gap, Some(RecordBody::Gap { length, because }));
        assert!(length < OUTPUT_WINDOW);
    }
}
