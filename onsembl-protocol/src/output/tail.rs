//! The end of a command's output as readers see it: every record that is not stored yet, and a little of
//! what is. Nothing is decided here; the numbers are given by an [`OutputLog`](super::OutputLog).
//!
//! A reader is a cursor. Where it stands within this end it reads here; where it is further back it reads
//! from the store.

use super::live::Mark;
use super::log::LogRecord;
use super::stored::Cursor;
use crate::id::{ChunkSequence, Incarnation};
use crate::model::Stream;
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
}

#[derive(Clone, Debug)]
struct Kept {
    record: LogRecord,
    durability: Durability,
}

/// Where a record is besides here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// On its way to the store, which cannot serve it yet: it must stay.
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
        while (self.bytes > KEPT_BYTES || self.records.len() > KEPT_RECORDS)
            && let Some(Kept { record, durability: Durability::Stored }) = self.records.front()
        {
            self.bytes -= record.body.byte_count();
            self.dropped = Some(record.position());
            let _ = self.records.pop_front();
        }
    }

    /// What is kept here and in the store too, with something for each record.
    pub(crate) fn kept(&self) -> usize {
        let waiting = self.waiting.saturating_mul(RECORD_COST).saturating_add(self.unstored);
        let all = self.records.len().saturating_mul(RECORD_COST).saturating_add(self.bytes);
        all.saturating_sub(waiting)
    }

    /// Leaves to the store what it has, as far as nothing that waits for it comes before.
    pub(crate) fn leave_to_store(&mut self) {
        while let Some(Kept { record, durability: Durability::Stored }) = self.records.front() {
            self.bytes -= record.body.byte_count();
            self.dropped = Some(record.position());
            let _ = self.records.pop_front();
        }
        self.records.shrink_to_fit();
    }

    /// At most about `limit` bytes behind the cursor.
    pub fn after(&self, cursor: Cursor, limit: usize) -> Fetch {
        if cursor >= self.last {
            return Fetch::UpToDate;
        }
        if cursor < self.dropped {
            return Fetch::InStore;
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
