//! A backlog that is rebuilt from what a spool holds, after the agent itself was restarted.

use super::super::record::{Record, RecordBody, Run};
use super::super::spool::SpoolPolicy;
use super::{Backlog, Block, cost};
use crate::id::ByteOffset;
use crate::model::{GapCause, PerStream, Stream};

/// A run whose records are in a spool, and whose process has ended. It goes to the worker with
/// [`LeftRun`](crate::worker::LeftRun).
#[derive(Debug)]
pub struct RecoveredRun(pub(in super::super) Backlog);

impl RecoveredRun {
    /// A run of which nothing is known but where its streams were when its oldest kept records were
    /// written.
    pub fn new(run: Run, policy: SpoolPolicy, starts: PerStream<ByteOffset>) -> Self {
        let mut backlog = Backlog::new(run, policy);
        (backlog.written, backlog.stored, backlog.reached) = (starts, starts, starts);
        Self(backlog)
    }

    /// The run.
    pub const fn run(&self) -> &Run {
        &self.0.run
    }

    /// Where the streams were when a later piece of the spool was begun. What is missing up to there
    /// is lost, and becomes a gap.
    pub fn reach(&mut self, starts: PerStream<ByteOffset>) {
        for stream in Stream::ALL {
            let written = self.0.written.get_mut(stream);
            *written = (*written).max(*starts.get(stream));
        }
    }

    /// Adds a record that is whole, in the order in which they stand in the spool. A gap with a lower
    /// number than those before it, or from before the oldest piece that is kept, says what was dropped
    /// at the oldest end.
    pub fn add(&mut self, record: &Record) {
        let backlog = &mut self.0;
        let reached = *backlog.reached.get(record.stream);
        let is_gap = matches!(record.body, RecordBody::Gap { .. });
        if record.sequence < backlog.next {
            // One behind something that is kept is found again when that is read back.
            if is_gap && record.offset <= reached {
                backlog.add_oldest(record);
            }
            return;
        }
        if is_gap && record.offset < reached {
            return backlog.add_oldest(record);
        }
        let before = backlog.next;
        backlog.next = record.sequence.next();
        let written = backlog.written.get_mut(record.stream);
        *written = (*written).max(record.end());
        backlog.on_disk = backlog.on_disk.saturating_add(cost(record));
        Block::add(&mut backlog.cold, record);
        if let Some(block) = backlog.cold.back_mut()
            && block.from == record.sequence
        {
            // Gaps that stand for what is missing before it have numbers from there on.
            block.from = before;
        }
    }

    /// What is missing at the newest end becomes a page on which nothing is found.
    pub(in super::super) fn close(&mut self) {
        let backlog = &mut self.0;
        for stream in Stream::ALL {
            let known = backlog.cold.back().map_or(*backlog.reached.get(stream), |b| {
                (*b.ends.get(stream)).max(*backlog.reached.get(stream))
            });
            let length = backlog.written.get(stream).0.saturating_sub(known.0);
            if length > 0 {
                let body = RecordBody::Gap { length, because: GapCause::SpoolFailed };
                let gap = backlog.number(stream, known, body);
                backlog.on_disk = backlog.on_disk.saturating_add(cost(&gap));
                Block::add(&mut backlog.cold, &gap);
            }
        }
    }
}

impl Backlog {
    fn add_oldest(&mut self, gap: &Record) {
        let stream = gap.stream;
        let stored = self.stored.get_mut(stream);
        *stored = (*stored).min(gap.offset);
        let reached = self.reached.get_mut(stream);
        *reached = (*reached).max(gap.end());
        let end = *reached;
        let written = self.written.get_mut(stream);
        *written = (*written).max(end);
        match self.dropped.get_mut(stream) {
            Some(Record { offset, body: RecordBody::Gap { length, .. }, .. }) => {
                // The older part may have been dropped later: it was on the wire.
                *offset = (*offset).min(gap.offset);
                *length = end.0.saturating_sub(offset.0);
            }
            slot => {
                let RecordBody::Gap { because, .. } = gap.body else { return };
                let body = RecordBody::Gap { length: end.0.saturating_sub(gap.offset.0), because };
                let gap = Record { body, ..gap.clone() };
                self.memory = self.memory.saturating_add(cost(&gap));
                *slot = Some(gap);
            }
        }
    }
}
