//! A backlog that is made anew from what a spool holds, after the agent itself was restarted.

use super::super::record::{Record, RecordBody, Run};
use super::super::spool::SpoolPolicy;
use super::super::stream::PerStream;
use super::{Backlog, Block, cost};
use crate::id::ByteOffset;

/// A run whose records are in a spool, and whose process is gone. Hand it to
/// [`Outbox::recover`](super::super::Outbox::recover).
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

    /// Adds a record that is whole, in the order in which they stand in the spool. One with a lower
    /// number than those before it is a gap at the oldest end.
    pub fn add(&mut self, record: &Record) {
        let backlog = &mut self.0;
        if record.sequence < backlog.next {
            if matches!(record.body, RecordBody::Gap { .. }) {
                backlog.add_oldest(record);
            }
            return;
        }
        backlog.next = record.sequence.next();
        let written = backlog.written.get_mut(record.stream);
        *written = (*written).max(record.end());
        backlog.on_disk = backlog.on_disk.saturating_add(cost(record));
        Block::add(&mut backlog.cold, record);
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
                *length = end.0.saturating_sub(offset.0);
            }
            place => {
                let RecordBody::Gap { because, .. } = gap.body else { return };
                let body = RecordBody::Gap { length: end.0.saturating_sub(gap.offset.0), because };
                let gap = Record { body, ..gap.clone() };
                self.memory = self.memory.saturating_add(cost(&gap));
                *place = Some(gap);
            }
        }
    }
}
