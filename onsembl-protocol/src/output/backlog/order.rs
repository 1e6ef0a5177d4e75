//! What leaves a backlog: to the wire, by an acknowledgement, or because there is no room.

use super::super::record::{Record, RecordBody};
use super::block::Block;
use super::{Backlog, Ready, Shape, cost};
use crate::id::{ByteOffset, ChunkSequence};
use crate::model::{GapCause, PerStream, Stream};
use alloc::vec::Vec;

/// Acknowledged bytes after which the spool may forget what it need not keep.
const FORGET_AFTER: u64 = 256 * 1024;

/// What was dropped to make room.
#[derive(Debug)]
pub(in super::super) struct Dropped {
    /// What says so, to be kept like any record.
    pub(in super::super) gaps: Vec<Record>,
    /// Numbers that the spool need not keep any more: the first, and the first that is needed again.
    pub(in super::super) dead: Vec<(ChunkSequence, ChunkSequence)>,
}

impl Backlog {
    /// The next record for the wire, if it has at most `most` bytes. It counts as sent.
    pub(in super::super) fn send(&mut self, most: u64) -> Option<Record> {
        // What was dropped is older than all that is ready.
        let gap = Stream::ALL.into_iter().find_map(|s| self.dropped.get_mut(s).take());
        let ready = match gap {
            Some(record) => Ready { from: record.sequence, record, shape: Shape::Open },
            None => self.ready.pop_front_if(|r| r.record.byte_count() <= most)?,
        };
        let record = ready.record.clone();
        self.sent.get_mut(record.stream).push_back(ready);
        Some(record)
    }

    /// Whether everything but gaps at the newest end was sent.
    pub(in super::super) fn is_drained(&self) -> bool {
        !self.has_ready() && self.cold.is_empty() && self.writing.is_empty()
    }

    /// Everything of this stream before `offset` is committed. Returns how many bytes and records
    /// have left the wire.
    pub(in super::super) fn on_stored(
        &mut self,
        stream: Stream,
        offset: ByteOffset,
    ) -> (u64, usize) {
        // Never beyond what was written, whatever the server says.
        let offset = offset.min(*self.written.get(stream));
        // Repeated, or overtaken by a later one.
        if offset <= *self.stored.get(stream) {
            return (0, 0);
        }
        *self.stored.get_mut(stream) = offset;
        let (mut landed, mut records) = (0_u64, 0);
        let sent = self.sent.get_mut(stream);
        while let Some(Ready { record, .. }) = sent.pop_front_if(|r| r.record.end() <= offset) {
            landed = landed.saturating_add(record.byte_count());
            records += 1;
            self.memory = self.memory.saturating_sub(cost(&record));
        }
        let cut = sent.front().is_some_and(|r| r.record.offset < offset);
        // In an earlier session more went out than in this one, and the server has stored that.
        if (sent.is_empty() || cut) && *self.reached.get(stream) < *self.written.get(stream)
            || self.is_behind(stream, offset)
        {
            self.discard(stream, offset);
        }
        self.unforgotten = self.unforgotten.saturating_add(landed);
        (landed, records)
    }

    /// Whether something unsent begins before `offset`.
    fn is_behind(&self, stream: Stream, offset: ByteOffset) -> bool {
        self.dropped.get(stream).as_ref().is_some_and(|gap| gap.offset < offset)
            || self
                .ready
                .iter()
                .find(|r| r.record.stream == stream)
                .is_some_and(|r| r.record.offset < offset)
    }

    /// Removes what was never sent in this session and is committed anyway.
    fn discard(&mut self, stream: Stream, offset: ByteOffset) {
        let keep = |record: Record| {
            if record.stream == stream { record.behind(offset) } else { Some(record) }
        };
        if let Some(gap) = self.dropped.get_mut(stream).take() {
            self.memory = self.memory.saturating_sub(cost(&gap));
            if let Some(gap) = keep(gap) {
                self.memory = self.memory.saturating_add(cost(&gap));
                *self.dropped.get_mut(stream) = Some(gap);
            }
        }
        for Ready { record, from, shape } in core::mem::take(&mut self.ready) {
            self.memory = self.memory.saturating_sub(cost(&record));
            if let Some(record) = keep(record) {
                self.memory = self.memory.saturating_add(cost(&record));
                self.ready.push_back(Ready { record, from, shape });
            }
        }
        let reached = self.reached.get_mut(stream);
        *reached = (*reached).max(offset);
        let stored = self.stored;
        let is_stored = |ends: &PerStream<ByteOffset>| {
            Stream::ALL.iter().all(|s| ends.get(*s) <= stored.get(*s))
        };
        while let Some(block) = self.cold.pop_front_if(|b| is_stored(&b.ends)) {
            self.on_disk = self.on_disk.saturating_sub(block.cost);
            self.unforgotten = self.unforgotten.saturating_add(block.cost);
            if self.reading == Some(block.from) {
                // Its page is not needed any more, and is ignored when it comes.
                self.reading = None;
            }
        }
        for record in core::mem::take(&mut self.writing) {
            self.memory = self.memory.saturating_sub(cost(&record));
            if let Some(record) = keep(record) {
                self.memory = self.memory.saturating_add(cost(&record));
                self.writing.push_back(record);
            }
        }
        let begin = self.written.get(stream).0;
        if let Some(growing) = self.growing.get_mut(stream) {
            let left = begin.saturating_sub(offset.0).min(growing.length);
            growing.length = left;
            if left == 0 {
                *self.growing.get_mut(stream) = None;
            }
        }
    }

    /// What the spool need not keep any more, if it is worth reporting.
    pub(in super::super) fn forget(&mut self) -> Option<(ChunkSequence, ChunkSequence)> {
        if self.unforgotten < FORGET_AFTER {
            return None;
        }
        let oldest = Stream::ALL
            .into_iter()
            .flat_map(|s| [self.sent.get(s).front()])
            .flatten()
            .chain(self.ready.front())
            .map(|r| r.from)
            .chain(
                Stream::ALL
                    .into_iter()
                    .filter_map(|s| self.dropped.get(s).as_ref())
                    .map(|r| r.sequence),
            )
            .chain(self.writing.front().map(|r| r.sequence))
            .chain(self.cold.front().map(|b| b.from))
            .min()
            .unwrap_or(self.next);
        self.unforgotten = 0;
        let from = self.forgotten;
        self.forgotten = from.max(oldest);
        (from < oldest).then_some((from, oldest))
    }

    /// What is on the wire does not count as that any more: how many bytes and records that was.
    pub(in super::super) fn recall(&mut self) -> (u64, usize) {
        let sent = || Stream::ALL.into_iter().flat_map(|stream| self.sent.get(stream));
        let bytes = sent().map(|ready| ready.record.byte_count()).sum();
        let records = sent().count();
        self.rewind();
        (bytes, records)
    }

    /// A new link: nothing is on the wire.
    pub(in super::super) fn rewind(&mut self) {
        let mut again: Vec<Ready> = Vec::new();
        for stream in Stream::ALL {
            let sent = self.sent.get_mut(stream).drain(..);
            again.extend(sent.map(|r| Ready { shape: Shape::Fixed, ..r }));
            let dropped = self.dropped.get_mut(stream).take();
            again.extend(dropped.map(|r| Ready {
                from: r.sequence,
                record: r,
                shape: Shape::Open,
            }));
        }
        again.sort_by_key(|r| (r.record.sequence, r.record.offset));
        for ready in again.into_iter().rev() {
            self.ready.push_front(ready);
        }
    }

    /// Gives up the oldest that is not on the wire. `None` if there is nothing.
    pub(in super::super) fn drop_oldest(&mut self, because: GapCause) -> Option<Dropped> {
        if let Some(Ready { record, from, .. }) = self.ready.pop_front() {
            let dead = (from, record.sequence);
            return Some(self.drop_record(record, because, dead));
        }
        if let Some(block) = self.cold.pop_front() {
            return Some(self.drop_block(&block, because));
        }
        let record = self.writing.pop_front()?;
        let dead = (record.sequence, record.sequence);
        Some(self.drop_record(record, because, dead))
    }

    fn drop_record(
        &mut self,
        record: Record,
        because: GapCause,
        dead: (ChunkSequence, ChunkSequence),
    ) -> Dropped {
        self.memory = self.memory.saturating_sub(cost(&record));
        let reached = self.reached.get_mut(record.stream);
        *reached = (*reached).max(record.end());
        let length = record.length();
        let gap = match record.body {
            RecordBody::Gap { .. } => record,
            RecordBody::Chunk(_) => Record { body: RecordBody::Gap { length, because }, ..record },
        };
        self.declare(alloc::vec![gap], dead)
    }

    fn drop_block(&mut self, block: &Block, because: GapCause) -> Dropped {
        self.on_disk = self.on_disk.saturating_sub(block.cost);
        if self.reading == Some(block.from) {
            self.reading = None;
        }
        let mut gaps = Vec::new();
        for stream in Stream::ALL {
            let reached = *self.reached.get(stream);
            let length = block.ends.get(stream).0.saturating_sub(reached.0);
            if length > 0 {
                let body = RecordBody::Gap { length, because };
                let gap = Record { sequence: block.through, stream, offset: reached, body };
                *self.reached.get_mut(stream) = gap.end();
                gaps.push(gap);
            }
        }
        self.declare(gaps, (block.from, block.through))
    }

    /// Adds to what was dropped at the oldest end of the streams. The first cause stands for all of
    /// it. The spool gets the whole of it each time, under the newest number: so what it had of it
    /// before need not be kept, and is not found to be missing by a successor.
    fn declare(&mut self, gaps: Vec<Record>, dead: (ChunkSequence, ChunkSequence)) -> Dropped {
        let (mut whole, mut dead) = (Vec::with_capacity(gaps.len()), alloc::vec![dead]);
        for gap in gaps {
            let slot = self.dropped.get_mut(gap.stream);
            if let Some(Record { sequence, body: RecordBody::Gap { length, .. }, .. }) = slot {
                dead.push((*sequence, sequence.next()));
                *length = length.saturating_add(gap.length());
                *sequence = gap.sequence;
            } else {
                self.memory = self.memory.saturating_add(cost(&gap));
                *slot = Some(gap);
            }
            whole.extend(slot.clone());
        }
        let needed = self.gap_numbers();
        let dead = dead.into_iter().flat_map(|range| without(range, &needed)).collect();
        Dropped { gaps: whole, dead }
    }

    /// The numbers of all gaps that are in memory, upwards.
    fn gap_numbers(&self) -> Vec<ChunkSequence> {
        let sent = Stream::ALL.iter().flat_map(|s| self.sent.get(*s));
        let dropped = Stream::ALL.iter().filter_map(|s| self.dropped.get(*s).as_ref());
        let records = sent.chain(&self.ready).map(|r| &r.record).chain(dropped);
        let gaps = records.filter(|r| matches!(r.body, RecordBody::Gap { .. }));
        let mut numbers: Vec<ChunkSequence> = gaps.map(|r| r.sequence).collect();
        numbers.sort();
        numbers
    }
}

/// What of a range of numbers is none of these, which are in order.
fn without(
    (mut from, before): (ChunkSequence, ChunkSequence),
    numbers: &[ChunkSequence],
) -> Vec<(ChunkSequence, ChunkSequence)> {
    let mut rest = Vec::new();
    for number in numbers.iter().filter(|n| **n < before) {
        if *number >= from {
            rest.push((from, *number));
            from = number.next();
        }
    }
    rest.push((from, before));
    rest.retain(|(from, before)| from < before);
    rest
}
