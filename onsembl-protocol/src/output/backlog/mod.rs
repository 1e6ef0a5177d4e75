//! The unacknowledged records of one run, from the oldest to the newest: what is on the wire, what is
//! in memory and goes out next, what is only on disk, and what is being written there.
//!
//! Knows nothing of other runs, of bounds and of the link; the outbox tells it when there is room.

mod block;
mod order;
mod recovered;

pub use recovered::RecoveredRun;

use super::record::{Record, RecordBody, Run};
use super::spool::{RECORD_COST, SpoolPolicy};
use crate::id::{ByteOffset, ChunkSequence};
use crate::model::{GapCause, PerStream, Stream};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use block::Block;
use bytes::{Bytes, BytesMut};

/// Small writes that wait together become one record up to this size.
const JOINED: usize = 4 * 1024;

/// A page that could not be read so often is given up. Attempts are a second apart.
const READ_ATTEMPTS: u32 = 60;

/// What a record counts against the bounds.
pub(super) fn cost(record: &Record) -> u64 {
    record.byte_count().saturating_add(RECORD_COST)
}

/// A record that goes out next, or is on the wire.
#[derive(Debug)]
struct Ready {
    record: Record,
    /// The first of the numbers that were joined in it.
    from: ChunkSequence,
    shape: Shape,
}

/// Whether a record may be joined with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Open,
    /// It was on the wire before: the server may have it as it was.
    Fixed,
}

/// Neighbours of one stream on their way to be one record. A single one is not copied.
#[derive(Debug)]
struct Joined {
    first: Ready,
    /// The bytes of all of them, as soon as there are two.
    more: BytesMut,
}

/// Bytes that were not taken, at the newest end of a stream; it grows until something is taken again.
#[derive(Clone, Copy, Debug)]
struct Growing {
    length: u64,
    because: GapCause,
}

/// The process whose output it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Runs,
    /// It ended: nothing is added.
    Ended,
}

/// The unacknowledged records of one run.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) run: Run,
    pub(super) policy: SpoolPolicy,
    pub(super) writer: Writer,
    next: ChunkSequence,
    written: PerStream<ByteOffset>,
    stored: PerStream<ByteOffset>,
    /// Where each stream continues behind what is in memory from its beginning.
    reached: PerStream<ByteOffset>,
    sent: PerStream<VecDeque<Ready>>,
    /// What was dropped at the oldest end of a stream and not sent yet.
    dropped: PerStream<Option<Record>>,
    ready: VecDeque<Ready>,
    cold: VecDeque<Block>,
    writing: VecDeque<Record>,
    growing: PerStream<Option<Growing>>,
    reading: Option<ChunkSequence>,
    /// How often the page at the front could not be read.
    failed_reads: u32,
    memory: u64,
    on_disk: u64,
    forgotten: ChunkSequence,
    unforgotten: u64,
}

impl Backlog {
    pub(super) fn new(run: Run, policy: SpoolPolicy) -> Self {
        Self {
            run,
            policy,
            writer: Writer::Runs,
            next: ChunkSequence(1),
            written: PerStream::default(),
            stored: PerStream::default(),
            reached: PerStream::default(),
            sent: PerStream::default(),
            dropped: PerStream::default(),
            ready: VecDeque::new(),
            cold: VecDeque::new(),
            writing: VecDeque::new(),
            growing: PerStream::default(),
            reading: None,
            failed_reads: 0,
            memory: 0,
            on_disk: 0,
            forgotten: ChunkSequence(1),
            unforgotten: 0,
        }
    }

    /// What it costs in memory.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// What it costs in memory and on disk.
    pub(super) const fn total(&self) -> u64 {
        self.memory.saturating_add(self.on_disk)
    }

    pub(super) const fn written(&self, stream: Stream) -> ByteOffset {
        *self.written.get(stream)
    }

    pub(super) const fn stored(&self, stream: Stream) -> ByteOffset {
        *self.stored.get(stream)
    }

    /// How many bytes of a stream that is not stored yet are gaps.
    pub(super) fn gaps(&self, stream: Stream) -> u64 {
        let ready = self.ready.iter().map(|r| &r.record);
        let sent = self.sent.get(stream).iter().map(|r| &r.record);
        let records = sent.chain(self.dropped.get(stream)).chain(ready);
        let in_memory: u64 = records
            .chain(&self.writing)
            .filter(|r| r.stream == stream)
            .map(|r| r.length() - r.byte_count())
            .sum();
        let on_disk: u64 = self.cold.iter().map(|b| *b.gaps.get(stream)).sum();
        let growing = self.growing.get(stream).map_or(0, |g| g.length);
        in_memory.saturating_add(on_disk).saturating_add(growing)
    }

    /// The end of the gap that is the oldest on the wire, if all before it is stored.
    pub(super) fn gap_in_front(&self, stream: Stream) -> Option<ByteOffset> {
        let front = &self.sent.get(stream).front()?.record;
        let is_gap = matches!(front.body, RecordBody::Gap { .. });
        (is_gap && front.offset <= *self.stored.get(stream)).then(|| front.end())
    }

    /// Whether nothing waits any more, here or on the wire.
    pub(super) fn is_settled(&self) -> bool {
        Stream::ALL.iter().all(|s| self.stored.get(*s) == self.written.get(*s))
    }

    /// Numbers what the process wrote. What was not taken before it becomes a gap first.
    pub(super) fn take(&mut self, stream: Stream, bytes: Bytes) -> (Option<Record>, Record) {
        let gap = self.close_gap(stream);
        let chunk = self.number(stream, *self.written.get(stream), RecordBody::Chunk(bytes));
        *self.written.get_mut(stream) = chunk.end();
        (gap, chunk)
    }

    /// Does not take what the process wrote.
    pub(super) fn skip(
        &mut self,
        stream: Stream,
        length: u64,
        because: GapCause,
    ) -> Option<Record> {
        let closed = match self.growing.get(stream) {
            // A gap has one cause, and is declared with it.
            Some(growing) if growing.because != because => self.close_gap(stream),
            Some(_) | None => None,
        };
        let growing = self.growing.get_mut(stream).get_or_insert(Growing { length: 0, because });
        growing.length = growing.length.saturating_add(length);
        let end = self.written.get_mut(stream);
        *end = ByteOffset(end.0.saturating_add(length));
        closed
    }

    /// The gap at the newest end of a stream, as a record.
    pub(super) fn close_gap(&mut self, stream: Stream) -> Option<Record> {
        let Growing { length, because } = self.growing.get_mut(stream).take()?;
        let offset = ByteOffset(self.written.get(stream).0.saturating_sub(length));
        Some(self.number(stream, offset, RecordBody::Gap { length, because }))
    }

    fn number(&mut self, stream: Stream, offset: ByteOffset, body: RecordBody) -> Record {
        let sequence = self.next;
        self.next = sequence.next();
        Record { sequence, stream, offset, body }
    }

    /// Puts a new record at the newest end. With `room` it may stay in memory until it is sent;
    /// otherwise it stays until it is appended.
    pub(super) fn enqueue(&mut self, record: Record, room: bool) {
        // Nothing may overtake what is on disk, or on its way there.
        if room && self.cold.is_empty() && self.writing.is_empty() {
            self.make_ready(record);
        } else {
            self.memory = self.memory.saturating_add(cost(&record));
            self.writing.push_back(record);
        }
    }

    /// Everything up to `through` is in the spool.
    pub(super) fn on_appended(&mut self, through: ChunkSequence, room: bool) {
        while let Some(record) = self.writing.pop_front_if(|r| r.sequence <= through) {
            self.memory = self.memory.saturating_sub(cost(&record));
            // While there is room it need not be read back.
            if room && self.cold.is_empty() {
                self.make_ready(record);
            } else {
                self.on_disk = self.on_disk.saturating_add(cost(&record));
                Block::add(&mut self.cold, &record);
            }
        }
    }

    /// Everything that is in memory, by number: what of it is in the spool too is unknown here.
    pub(super) fn in_memory(&self) -> Vec<Record> {
        let sent = Stream::ALL.iter().flat_map(|s| self.sent.get(*s)).map(|r| &r.record);
        let dropped = Stream::ALL.iter().filter_map(|s| self.dropped.get(*s).as_ref());
        let ready = self.ready.iter().map(|r| &r.record);
        let mut all: Vec<Record> =
            sent.chain(dropped).chain(ready).chain(&self.writing).cloned().collect();
        all.sort_by_key(|r| (r.sequence, r.offset));
        all
    }

    /// The oldest page that is only on disk, if little waits in memory and it was not asked for yet.
    pub(super) fn ask_for_page(&mut self, low: u64) -> Option<(ChunkSequence, ChunkSequence)> {
        let waiting: u64 = self.ready.iter().map(|r| cost(&r.record)).take(256).sum();
        if self.reading.is_some() || waiting >= low {
            return None;
        }
        let block = self.cold.front_mut()?;
        // What is appended from now on would not be in the page.
        block.sealed = true;
        self.reading = Some(block.from);
        Some((block.from, block.through))
    }

    /// Whether there is a page that is only on disk, and none was asked for.
    pub(super) fn has_page(&self) -> bool {
        self.reading.is_none() && !self.cold.is_empty()
    }

    /// What the page will cost in memory that was asked for.
    pub(super) fn asked(&self) -> u64 {
        let front = self.cold.front().filter(|block| self.reading == Some(block.from));
        front.map_or(0, |block| block.cost)
    }

    /// Whether something at the newest end was not taken and is no record yet.
    pub(super) fn has_growing(&self) -> bool {
        Stream::ALL.iter().any(|s| self.growing.get(*s).is_some())
    }

    /// Whether something is in memory that can be sent.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || Stream::ALL.iter().any(|s| self.dropped.get(*s).is_some())
    }

    /// The page that was asked for could not be read. A disk may come back, so it is asked for again; in the end
    /// it is missing, because the end of its command waits for it.
    pub(super) fn on_not_read(&mut self, from: ChunkSequence) {
        if self.reading != Some(from) {
            return;
        }
        self.failed_reads += 1;
        if self.failed_reads < READ_ATTEMPTS {
            self.reading = None;
        } else {
            self.on_page(from, []);
        }
    }

    /// The records of the page that was asked for. What is missing of it becomes a gap.
    pub(super) fn on_page(
        &mut self,
        from: ChunkSequence,
        records: impl IntoIterator<Item = Record>,
    ) {
        if self.reading != Some(from) {
            return;
        }
        self.reading = None;
        self.failed_reads = 0;
        let Some(block) = self.cold.pop_front_if(|b| b.from == from) else { return };
        self.on_disk = self.on_disk.saturating_sub(block.cost);
        let mut joined: Option<Joined> = None;
        let records: Vec<Record> = records.into_iter().collect();
        let is_gap = |r: &&Record| matches!(r.body, RecordBody::Gap { .. });
        let gaps: Vec<Record> = records.iter().filter(is_gap).cloned().collect();
        for record in records {
            // More than was asked for: taken from here it would come twice.
            if record.sequence < block.from || record.sequence > block.through {
                continue;
            }
            if record.offset > *self.reached.get(record.stream) {
                self.declare_dropped(record.stream, &gaps, &mut joined);
            }
            let reached = *self.reached.get(record.stream);
            // A spool that was written again after a failure has some bytes twice.
            let Some(record) = record.behind(reached) else { continue };
            self.declare_missing(record.stream, record.offset, record.sequence, &mut joined);
            *self.reached.get_mut(record.stream) = record.end();
            self.join(record, &mut joined);
        }
        for stream in Stream::ALL {
            let end = *block.ends.get(stream);
            self.declare_missing(stream, end, block.through, &mut joined);
            let reached = self.reached.get_mut(stream);
            *reached = (*reached).max(end);
        }
        self.flush(&mut joined);
        if self.cold.is_empty() {
            // In memory already, and nothing is before them now.
            for record in core::mem::take(&mut self.writing) {
                self.memory = self.memory.saturating_sub(cost(&record));
                self.make_ready(record);
            }
        }
    }

    /// What is missing from here on may have been dropped, and a gap with a higher number says so.
    fn declare_dropped(&mut self, stream: Stream, gaps: &[Record], joined: &mut Option<Joined>) {
        let reached = *self.reached.get(stream);
        let covers = |g: &&Record| g.stream == stream && g.offset <= reached && g.end() > reached;
        let gap = gaps.iter().find(covers).and_then(|gap| gap.clone().behind(reached));
        if let Some(gap) = gap {
            self.flush(joined);
            self.make_ready(gap);
        }
    }

    fn declare_missing(
        &mut self,
        stream: Stream,
        end: ByteOffset,
        sequence: ChunkSequence,
        joined: &mut Option<Joined>,
    ) {
        let reached = *self.reached.get(stream);
        if end > reached {
            self.flush(joined);
            let body =
                RecordBody::Gap { length: end.0 - reached.0, because: GapCause::SpoolFailed };
            self.make_ready(Record { sequence, stream, offset: reached, body });
        }
    }

    /// Collects neighbours of one stream, so that a page of small writes goes out in few records.
    fn join(&mut self, record: Record, joined: &mut Option<Joined>) {
        let RecordBody::Chunk(bytes) = &record.body else {
            self.flush(joined);
            return self.make_ready(record);
        };
        if let Some(Joined { first, more }) = joined
            && first.record.stream == record.stream
            && let RecordBody::Chunk(start) = &mut first.record.body
            && start.len() + more.len() + bytes.len() <= super::CHUNK_BYTES
        {
            if more.is_empty() {
                more.reserve(super::CHUNK_BYTES);
                more.extend_from_slice(start);
                *start = Bytes::new();
            }
            more.extend_from_slice(bytes);
            first.record.sequence = record.sequence;
            return;
        }
        self.flush(joined);
        let from = record.sequence;
        let first = Ready { record, from, shape: Shape::Open };
        *joined = Some(Joined { first, more: BytesMut::new() });
    }

    fn flush(&mut self, joined: &mut Option<Joined>) {
        if let Some(Joined { mut first, more }) = joined.take() {
            if !more.is_empty() {
                first.record.body = RecordBody::Chunk(more.freeze());
            }
            self.push_ready(first);
        }
    }

    fn make_ready(&mut self, record: Record) {
        let reached = self.reached.get_mut(record.stream);
        *reached = (*reached).max(record.end());
        // Small neighbours become one record: else a process that writes byte by byte sends a frame for each.
        if let Some(Ready { record: last, shape: Shape::Open, .. }) = self.ready.back_mut()
            && last.stream == record.stream
            && last.end() == record.offset
            && let (RecordBody::Chunk(a), RecordBody::Chunk(b)) = (&mut last.body, &record.body)
            && a.len() + b.len() <= JOINED
        {
            let mut all = BytesMut::with_capacity(a.len() + b.len());
            all.extend_from_slice(a);
            all.extend_from_slice(b);
            self.memory = self.memory.saturating_add(b.len() as u64);
            *a = all.freeze();
            last.sequence = record.sequence;
            return;
        }
        let from = record.sequence;
        self.push_ready(Ready { record, from, shape: Shape::Open });
    }

    fn push_ready(&mut self, ready: Ready) {
        self.memory = self.memory.saturating_add(cost(&ready.record));
        self.ready.push_back(ready);
    }
}

#[cfg(test)]
impl Backlog {
    /// Memory and total, counted from scratch.
    pub(super) fn recount(&self) -> (u64, u64) {
        let sent = Stream::ALL.iter().flat_map(|s| self.sent.get(*s)).map(|r| &r.record);
        let dropped = Stream::ALL.iter().filter_map(|s| self.dropped.get(*s).as_ref());
        let ready = self.ready.iter().map(|r| &r.record);
        let memory = sent.chain(dropped).chain(ready).chain(&self.writing).map(cost).sum::<u64>();
        (memory, memory + self.cold.iter().map(|b| b.cost).sum::<u64>())
    }
}
