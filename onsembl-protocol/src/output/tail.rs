//! The end of a command's output as readers see it: every record that is not stored yet, and a little of
//! what is. Nothing is decided here; the numbers are given by an [`OutputLog`](super::OutputLog).
//!
//! A reader is a cursor. Where it stands within this end it reads here; where it is further back it reads
//! from the store. Of output that is relayed and not stored, this end is all there is: who is further back is told what of
//! each stream is not kept.

use super::live::Mark;
use super::log::LogRecord;
use super::stored::{Cursor, StoredBody};
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::model::{GapCause, PerStream, Stream};
use crate::time::WallTime;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Stored bytes that are kept for readers that follow closely.
const KEPT_BYTES: usize = 256 * 1024;
/// Stored records that are kept for them.
const KEPT_RECORDS: usize = 4096;
/// What a record counts besides its bytes.
const RECORD_COST: usize = 128;

/// What a reader gets.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Fetch {
    UpToDate,
    Records(Vec<LogRecord>),
    /// The next records are in the store.
    InStore,
    /// The next records are nowhere any more.
    NotKept(NotKept),
}

/// How much of an unstored command is not kept: a reader has the beginning of each stream, which only it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct NotKept {
    pub incarnation: Incarnation,
    /// Everything before these offsets is not kept.
    pub ends: PerStream<ByteOffset>,
    /// The last record that is not kept. The reader continues behind it.
    pub through: (Incarnation, ChunkSequence),
    /// When that was received.
    pub at: WallTime,
}

impl NotKept {
    /// The gaps for a reader that has everything before these offsets.
    pub fn gaps(&self, had: &PerStream<ByteOffset>) -> Vec<LogRecord> {
        let gap = |stream: Stream| {
            let offset = *had.get(stream);
            let length = self.ends.get(stream).0.checked_sub(offset.0).filter(|more| *more > 0)?;
            Some(LogRecord {
                incarnation: self.incarnation,
                sequence: self.through.1,
                stream,
                offset,
                body: StoredBody::Gap { length: Some(length), because: GapCause::NotKept },
                at: self.at,
            })
        };
        Stream::ALL.into_iter().filter_map(gap).collect()
    }
}

/// The last records of one command.
#[derive(Clone, Debug, Default)]
pub struct OutputTail {
    records: VecDeque<Kept>,
    bytes: usize,
    unstored: usize,
    /// Records that are not stored.
    waiting: usize,
    /// The last record that only the store has.
    dropped: Cursor,
    last: Cursor,
    /// Where the last record of a terminal ends that came.
    written: Option<Mark>,
    /// Of output that is relayed and not stored.
    relayed: Option<Box<Relayed>>,
}

/// What is known of output of which nothing is stored.
#[derive(Clone, Debug, Default)]
struct Relayed {
    /// The process that wrote it.
    incarnation: Incarnation,
    /// Where each stream continues.
    ends: PerStream<ByteOffset>,
    /// Where what is kept of each stream begins.
    begins: PerStream<ByteOffset>,
    /// When the last record was received that is not kept.
    dropped_at: WallTime,
    /// Up to where its fleet waits for readers.
    awaited: Cursor,
}

impl Relayed {
    fn on_pushed(&mut self, record: &LogRecord) {
        if record.incarnation != self.incarnation {
            *self = Self { incarnation: record.incarnation, ..Self::default() };
        }
        *self.ends.get_mut(record.stream) = record.end();
    }

    fn on_dropped(&mut self, record: &LogRecord) {
        if record.incarnation == self.incarnation {
            *self.begins.get_mut(record.stream) = record.end();
        }
        self.dropped_at = record.at;
    }
}

#[derive(Clone, Debug)]
struct Kept {
    record: LogRecord,
    durability: Durability,
}

/// Where a record is besides here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// On its way to the store, which cannot serve it yet: it must stay. Of output that is not stored: its agent has no
    /// credit for it, because of readers.
    Waiting,
    Stored,
}

impl OutputTail {
    /// A tail whose records up to `end` only the store has.
    pub(crate) fn behind(end: Cursor) -> Self {
        Self { dropped: end, last: end, ..Self::default() }
    }

    /// A record came; its position is behind all others.
    pub fn push(&mut self, record: LogRecord) {
        self.bytes += record.body.byte_count();
        self.unstored += record.body.byte_count();
        self.waiting += 1;
        self.last = Some(record.position());
        if record.stream == Stream::Terminal {
            self.written = Some(record.mark());
        }
        if let Some(relayed) = &mut self.relayed {
            relayed.on_pushed(&record);
        }
        self.records.push_back(Kept { record, durability: Durability::Waiting });
    }

    /// The store has the record of this position.
    pub(crate) fn on_stored(&mut self, position: (Incarnation, ChunkSequence)) {
        let is_it = |kept: &Kept| kept.record.position() == position;
        // A process that is older than the last one may still be heard of; then they are not in order.
        let found = self
            .records
            .binary_search_by_key(&position, |kept| kept.record.position())
            .ok()
            .or_else(|| self.records.iter().position(is_it));
        if let Some(at) = found
            && let Some(kept) = self.records.get_mut(at)
            && kept.durability == Durability::Waiting
        {
            kept.durability = Durability::Stored;
            self.unstored -= kept.record.body.byte_count();
            self.waiting -= 1;
        }
        self.keep_the_last();
    }

    /// Nothing of it is stored, from now on: what is not kept here is nowhere.
    pub(crate) fn relay(&mut self) {
        let _ = self.relayed.get_or_insert_default();
    }

    /// Whether nothing of it is stored.
    pub const fn is_relayed(&self) -> bool {
        self.relayed.is_some()
    }

    /// Its fleet waits for readers to take everything up to this record.
    pub(crate) fn wait_for(&mut self, position: (Incarnation, ChunkSequence)) {
        if let Some(relayed) = &mut self.relayed {
            relayed.awaited = relayed.awaited.max(Some(position));
        }
    }

    /// Up to where its fleet waits for readers.
    pub(crate) fn awaited(&self) -> Cursor {
        self.relayed.as_ref().and_then(|relayed| relayed.awaited)
    }

    /// Readers are not waited for any more up to this record, of output that is not stored.
    pub(crate) fn on_credit(&mut self, through: (Incarnation, ChunkSequence)) {
        let first = self.records.len().saturating_sub(self.waiting);
        for kept in self.records.range_mut(first..) {
            if kept.record.position() > through {
                break;
            }
            kept.durability = Durability::Stored;
            self.unstored -= kept.record.body.byte_count();
            self.waiting -= 1;
        }
        self.keep_the_last();
    }

    fn keep_the_last(&mut self) {
        while (self.bytes > KEPT_BYTES || self.records.len() > KEPT_RECORDS)
            && let Some(Kept { durability: Durability::Stored, .. }) = self.records.front()
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(Kept { record, durability }) = self.records.pop_front() else { return };
        self.bytes -= record.body.byte_count();
        if durability == Durability::Waiting {
            self.unstored -= record.body.byte_count();
            self.waiting -= 1;
        }
        self.dropped = Some(record.position());
        if let Some(relayed) = &mut self.relayed {
            relayed.on_dropped(&record);
        }
    }

    /// What is kept here and in the store too, with something for each record; of output that is not stored, all of it,
    /// since all of it may be left out.
    pub(crate) fn kept(&self) -> usize {
        let waiting = self.waiting.saturating_mul(RECORD_COST).saturating_add(self.unstored);
        let all = self.records.len().saturating_mul(RECORD_COST).saturating_add(self.bytes);
        if self.is_relayed() { all } else { all.saturating_sub(waiting) }
    }

    /// Leaves to the store what it has, as far as nothing that waits for it comes before; of output that is not stored,
    /// everything is left out.
    pub(crate) fn leave_to_store(&mut self) {
        while let Some(Kept { durability, .. }) = self.records.front()
            && (*durability == Durability::Stored || self.is_relayed())
        {
            self.drop_first();
        }
        self.records.shrink_to_fit();
    }

    /// At most about `limit` bytes behind the cursor.
    pub fn after(&self, cursor: Cursor, limit: usize) -> Fetch {
        if cursor >= self.last {
            return Fetch::UpToDate;
        }
        if cursor < self.dropped {
            return self.not_kept().map_or(Fetch::InStore, Fetch::NotKept);
        }
        let begin = self.records.partition_point(|kept| Some(kept.record.position()) <= cursor);
        let mut taken = 0;
        let records: Vec<LogRecord> = self
            .records
            .range(begin..)
            .map(|kept| &kept.record)
            .take_while(|record| {
                let fits = taken == 0 || taken + record.body.byte_count() <= limit;
                taken += record.body.byte_count().max(1);
                fits
            })
            .cloned()
            .collect();
        Fetch::Records(records)
    }

    fn not_kept(&self) -> Option<NotKept> {
        let (relayed, through) = (self.relayed.as_ref()?, self.dropped?);
        let Relayed { incarnation, begins, dropped_at, .. } = **relayed;
        Some(NotKept { incarnation, ends: begins, through, at: dropped_at })
    }

    /// Where what is kept of each stream of output that is not stored begins.
    pub fn begins(&self) -> PerStream<ByteOffset> {
        self.relayed.as_ref().map(|relayed| relayed.begins).unwrap_or_default()
    }

    /// Where each stream of output that is not stored continues.
    pub fn ends(&self) -> PerStream<ByteOffset> {
        self.relayed.as_ref().map(|relayed| relayed.ends).unwrap_or_default()
    }

    /// Where a reader of output that is not stored begins who wants a stream from this offset on, and what it has then of
    /// each stream. `incarnation`: the process, or the one there is.
    pub fn seek(
        &self,
        incarnation: Option<Incarnation>,
        stream: Stream,
        offset: ByteOffset,
    ) -> (Cursor, PerStream<ByteOffset>) {
        let mut had = PerStream::default();
        let Some(relayed) = &self.relayed else { return (None, had) };
        if incarnation.is_some_and(|wanted| wanted != relayed.incarnation) {
            return (None, had);
        }
        if offset < *relayed.begins.get(stream) {
            *had.get_mut(stream) = offset;
            return (None, had);
        }
        let is_of = |kept: &Kept| kept.record.stream == stream && kept.record.end() > offset;
        let at = self.records.iter().position(is_of).unwrap_or(self.records.len());
        let before = at.checked_sub(1).and_then(|before| self.records.get(before));
        for of in Stream::ALL {
            let next = self.records.range(at..).find(|kept| kept.record.stream == of);
            *had.get_mut(of) = next.map_or(*relayed.ends.get(of), |kept| kept.record.offset);
        }
        (before.map_or(self.dropped, |kept| Some(kept.record.position())), had)
    }

    /// The last record there is.
    pub const fn end(&self) -> Cursor {
        self.last
    }

    /// The last record that only the store has. A reader that found nothing more there continues behind it.
    pub const fn begin(&self) -> Cursor {
        self.dropped
    }

    /// Everything of a terminal before this is written, as far as it came since this was made.
    pub(crate) const fn written(&self) -> Option<Mark> {
        self.written
    }

    /// Bytes that the store does not have yet.
    pub const fn unstored(&self) -> usize {
        self.unstored
    }
}

#[cfg(test)]
mod tests {
    use super::super::stored::StoredBody;
    use super::*;
    use crate::id::ByteOffset;
    use crate::model::Stream;
    use crate::time::WallTime;
    use bytes::Bytes;

    const PIECE: usize = 32 * 1024;

    fn piece(n: u64) -> LogRecord {
        LogRecord {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(n),
            stream: Stream::Stdout,
            offset: ByteOffset((n - 1) * PIECE as u64),
            body: StoredBody::Chunk(Bytes::from_static(&[0; PIECE])),
            at: WallTime::default(),
        }
    }

    #[test]
    fn unstored_records_stay_and_of_the_others_only_the_last() {
        let mut tail = OutputTail::default();
        (1..=20).for_each(|n| tail.push(piece(n)));
        assert_eq!(tail.unstored(), 20 * PIECE);
        (1..=20).for_each(|n| tail.on_stored((Incarnation(1), ChunkSequence(n))));
        assert_eq!(tail.unstored(), 0);
        assert!(matches!(tail.after(None, 1), Fetch::InStore));
        let at = |n| Some((Incarnation(1), ChunkSequence(n)));
        assert!(matches!(tail.after(at(20), 1), Fetch::UpToDate));
        let Fetch::Records(next) = tail.after(at(15), 2 * PIECE) else { panic!("no records") };
        let numbers: Vec<u64> = next.iter().map(|record| record.sequence.0).collect();
        assert_eq!(numbers, [16, 17]);
    }
}
