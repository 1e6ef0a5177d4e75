//! What a server takes of a command's output: which part of a record is new, where a hole is declared,
//! what is stored, and where each stream ends.
//!
//! Records are numbered upwards here whatever their sender says, so that a cursor never passes one that
//! it has not seen. The records themselves are in an [`OutputTail`](super::OutputTail), for readers.

use super::credit::Credit;
use super::live::Mark;
use super::stored::{Cursor, StoredBody, StoredPosition};
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::model::{CommandComplete, CommandPhase, GapCause, OutputTotals, PerStream, Stream};
use crate::time::WallTime;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What an unstored record counts besides its bytes.
const RECORD_COST: usize = 256;
/// The beginning of a stream with nothing stored.
const START: Option<ByteOffset> = Some(ByteOffset(0));

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct LogRecord {
    pub incarnation: Incarnation,
    pub sequence: ChunkSequence,
    pub stream: Stream,
    /// Where in its stream it begins.
    pub offset: ByteOffset,
    pub body: StoredBody,
    /// When it was received.
    pub at: WallTime,
}

impl LogRecord {
    /// Its position in the order of all records of its command.
    pub const fn position(&self) -> (Incarnation, ChunkSequence) {
        (self.incarnation, self.sequence)
    }

    /// What it counts while it is not stored: one without bytes must count too.
    pub(crate) fn cost(&self) -> usize {
        self.body.byte_count().saturating_add(RECORD_COST)
    }

    /// Everything of its stream before this is in it or before it.
    pub(crate) fn mark(&self) -> Mark {
        Mark { incarnation: self.incarnation, offset: self.end() }
    }

    /// Where the next record of its stream begins.
    pub fn end(&self) -> ByteOffset {
        ByteOffset(self.offset.0.saturating_add(self.body.length()))
    }
}

/// What an agent says at the end of a command of how much it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Known(OutputTotals),
    /// It died, and nothing that it kept says how much.
    Unknown,
    /// It says nothing, as legacy agents do.
    Unsaid,
}

impl Written {
    /// What this report says.
    pub(crate) fn of(report: &CommandComplete) -> Self {
        match (report.output, &report.status) {
            (Some(totals), _) => Self::Known(totals),
            (None, CommandPhase::Lost | CommandPhase::OutcomeUnknown) => Self::Unknown,
            (
                None,
                CommandPhase::Pending
                | CommandPhase::Queued
                | CommandPhase::Delivered
                | CommandPhase::Running
                | CommandPhase::Cancelling
                | CommandPhase::Completed
                | CommandPhase::Failed
                | CommandPhase::Cancelled
                | CommandPhase::Unknown(_),
            ) => Self::Unsaid,
        }
    }
}

/// What to do with a record that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something of it is new.
    New {
        /// What never came before it; to be stored first.
        hole: Option<LogRecord>,
        /// What is new; to be stored.
        record: LogRecord,
    },
    /// It came before. If it is stored already, everything of its stream before this offset may be
    /// acknowledged again, and an end that [is stored](OutputLog::is_open_stored) as not known.
    Repeated(Option<ByteOffset>),
    /// Its command [was given up](OutputLog::give_up). Nothing of it is stored or acknowledged; its
    /// agent is to be notified.
    GivenUp,
}

/// The numbers of the output of one command: what came, and what of it is stored.
#[derive(Debug, Default)]
pub(crate) struct OutputLog {
    /// Records that are not stored yet, by position.
    unstored: VecDeque<Unstored>,
    /// What they cost together.
    waiting: usize,
    incarnation: Incarnation,
    /// Where each stream continues; unknown until its first record, if the store was not asked.
    next: PerStream<Option<ByteOffset>>,
    stored: PerStream<ByteOffset>,
    /// Whether each stream ends with a gap of unknown length.
    open: PerStream<OpenEnd>,
    last: Cursor,
    begin: Begin,
    intake: Intake,
    /// Of output that is relayed and not stored. Then nothing of it waits for the store.
    credit: Option<Box<Credit>>,
}

/// Where a log begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Begin {
    /// With the first byte of its command.
    #[default]
    AtOrigin,
    /// It is unknown what the store has before it.
    Anywhere,
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Intake {
    #[default]
    Open,
    /// Nothing more is: the rest is given up, or the store has the end of the command.
    Closed,
}

/// A record that is not stored yet.
#[derive(Clone, Copy, Debug)]
struct Unstored {
    position: (Incarnation, ChunkSequence),
    cost: usize,
    is_open: bool,
}

/// What is known of an end of unknown position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OpenEnd {
    #[default]
    Not,
    Came,
    Stored,
}

impl OutputLog {
    /// A log whose beginning may be in the store.
    pub(crate) fn resumed() -> Self {
        let before_all = Some((Incarnation(0), ChunkSequence(0)));
        Self { last: before_all, begin: Begin::Anywhere, ..Self::default() }
    }

    /// A log that continues behind what the store has of it.
    pub(crate) fn behind(end: Cursor, positions: impl IntoIterator<Item = StoredPosition>) -> Self {
        let Some((incarnation, _)) = end else { return Self::default() };
        let mut log = Self { last: end, incarnation, ..Self::default() };
        log.next = PerStream { stdout: START, stderr: START, terminal: START };
        for position in positions {
            if position.incarnation == incarnation {
                *log.next.get_mut(position.stream) = Some(position.committed);
                *log.stored.get_mut(position.stream) = position.committed;
                if position.open_gap {
                    *log.open.get_mut(position.stream) = OpenEnd::Stored;
                }
            }
        }
        log
    }

    /// Its output is relayed and not stored from now on, as asked, with credit after each time so many bytes. Whether that
    /// is news.
    pub(crate) fn relay(&mut self, batch: u64) -> bool {
        let is_news = self.credit.is_none();
        if is_news {
            self.credit = Some(Box::new(Credit::new(batch)));
            // The store has nothing of it.
            self.begin = Begin::AtOrigin;
        }
        is_news
    }

    /// Its output is stored after all, if nothing of it came yet. Whether that is news.
    pub(crate) fn store(&mut self) -> bool {
        self.last.is_none() && self.credit.take().is_some()
    }

    /// The credit for its output, if that is relayed and not stored.
    pub(crate) fn credit(&mut self) -> Option<&mut Credit> {
        self.credit.as_deref_mut()
    }

    /// Whether its output is relayed and not stored.
    pub(crate) const fn is_relayed(&self) -> bool {
        self.credit.is_some()
    }

    /// Why what never came is missing.
    const fn cause_of_hole(&self) -> GapCause {
        match self.credit {
            Some(_) => GapCause::NotKept,
            None => GapCause::NeverCame,
        }
    }

    /// Numbers a chunk of a peer that does not: behind all that came, as one process that began
    /// when the first of them came. Behind an [interruption](Self::interrupt) it counts from the start again:
    /// how much is missing there is unknown.
    pub(crate) fn number(
        &self,
        stream: Stream,
        wall: WallTime,
    ) -> (Incarnation, ChunkSequence, ByteOffset) {
        let behind_all = self.behind_all(stream, wall);
        if Stream::ALL.into_iter().all(|stream| *self.open.get(stream) == OpenEnd::Not) {
            return behind_all;
        }
        let now = u64::try_from(wall.unix_millis()).unwrap_or(1);
        let next = Incarnation(now.max(behind_all.0.0.saturating_add(1)));
        (next, ChunkSequence(1), ByteOffset(0))
    }

    /// A peer that numbers nothing may have dropped what it wrote: each of its streams ends here, with an
    /// open end. What is to be stored comes back; nothing if they end so already.
    pub(crate) fn interrupt(&mut self, at: WallTime) -> Vec<LogRecord> {
        if self.intake == Intake::Closed {
            return Vec::new();
        }
        let has_written =
            |stream: &Stream| self.next.get(*stream).is_some_and(|next| next > ByteOffset(0));
        let mut streams: Vec<Stream> = Stream::ALL.into_iter().filter(has_written).collect();
        if streams.is_empty() {
            streams.push(Stream::Stdout);
        }
        let because = GapCause::NeverCame;
        streams.into_iter().filter_map(|stream| self.break_off(stream, because, at)).collect()
    }

    fn behind_all(
        &self,
        stream: Stream,
        wall: WallTime,
    ) -> (Incarnation, ChunkSequence, ByteOffset) {
        let first = Incarnation(u64::try_from(wall.unix_millis()).unwrap_or(1).max(1));
        let (incarnation, sequence) = match self.end() {
            Some((incarnation, sequence)) if incarnation.0 > 0 => (incarnation, sequence.next()),
            Some(_) | None => (first, ChunkSequence(1)),
        };
        (incarnation, sequence, self.next(stream))
    }

    /// Takes a record: what of it is behind everything that came.
    pub(crate) fn push(&mut self, mut record: LogRecord) -> Taken {
        if self.intake == Intake::Closed {
            return Taken::GivenUp;
        }
        if record.incarnation != self.incarnation {
            self.incarnation = record.incarnation;
            let begin = match self.begin {
                Begin::AtOrigin => START,
                Begin::Anywhere => None,
            };
            self.next = PerStream { stdout: begin, stderr: begin, terminal: begin };
            self.stored = Default::default();
            self.open = Default::default();
        }
        let (stream, end) = (record.stream, record.end());
        let stored = *self.stored.get(stream);
        let next = self.next.get(stream).unwrap_or(record.offset);
        let open = self.open.get_mut(stream);
        if record.body.is_open() {
            match open {
                OpenEnd::Not => *open = OpenEnd::Came,
                OpenEnd::Came => return Taken::Repeated(None),
                OpenEnd::Stored => return Taken::Repeated(Some(stored)),
            }
        } else if end <= next {
            return Taken::Repeated((stored >= end).then_some(stored));
        } else {
            // Something came behind the open end, so that was not the end.
            *open = OpenEnd::Not;
        }
        // What is sent again may be cut at other offsets: only what is new of it counts.
        if record.offset < next {
            record.body = record.body.without_first(next.0 - record.offset.0);
            record.offset = next;
        }
        // Readers find records by number, so that numbers only grow, whatever the agent says.
        let least = match self.last {
            Some((incarnation, last)) if incarnation == record.incarnation => last.next(),
            Some(_) | None => ChunkSequence(1),
        };
        let hole = (record.offset > next).then(|| LogRecord {
            sequence: ChunkSequence(record.sequence.0.saturating_sub(1)).max(least),
            offset: next,
            body: StoredBody::Gap {
                length: Some(record.offset.0 - next.0),
                because: self.cause_of_hole(),
            },
            ..record.clone()
        });
        let least = hole.as_ref().map_or(least, |hole| hole.sequence.next());
        record.sequence = record.sequence.max(least);
        *self.next.get_mut(stream) = Some(end.max(next));
        hole.iter().chain([&record]).for_each(|r| self.keep(r));
        Taken::New { hole, record }
    }

    /// The agent reports the end of this command, whose log this is, behind all of its output. What is missing of it is
    /// declared here, since no other party will: up to what the agent says that the process wrote; or,
    /// if it died and has found nothing to say that with, with open ends. What is to be
    /// stored comes back.
    pub(crate) fn finish(
        &mut self,
        command: &CommandId,
        wrote: Written,
        at: WallTime,
    ) -> Vec<LogRecord> {
        match wrote {
            Written::Known(totals) => Stream::ALL
                .into_iter()
                .filter_map(|stream| self.missing(stream, &totals, at))
                .collect(),
            Written::Unknown => Stream::of(command)
                .iter()
                .filter_map(|stream| self.break_off(*stream, GapCause::AgentDied, at))
                .collect(),
            Written::Unsaid => Vec::new(),
        }
    }

    /// The rest of this log's command is not awaited any more: its streams end here, with
    /// open ends. What its agent has sent meanwhile is not taken: it would end them
    /// somewhere else, and the agent is about to drop what comes after that. What is to be stored comes
    /// back.
    pub(crate) fn give_up(&mut self, command: &CommandId, at: WallTime) -> Vec<LogRecord> {
        let ends = self.finish(command, Written::Unknown, at);
        self.intake = Intake::Closed;
        ends
    }

    /// The command is over, and an earlier run of this server relayed its output: what readers have of it is unknown here, so
    /// its streams end with gaps of unknown length for them.
    pub(crate) fn forget_rest(&mut self, command: &CommandId, at: WallTime) -> Vec<LogRecord> {
        let streams = Stream::of(command).iter();
        streams.filter_map(|stream| self.break_off(*stream, GapCause::NotKept, at)).collect()
    }

    /// The store has an unexpected end of this command, and with it where its streams end:
    /// nothing more of it is taken.
    pub(crate) fn close(&mut self) {
        self.intake = Intake::Closed;
    }

    fn missing(
        &mut self,
        stream: Stream,
        totals: &OutputTotals,
        at: WallTime,
    ) -> Option<LogRecord> {
        let incarnation = totals.incarnation;
        let next = if incarnation == self.incarnation {
            // The open end covers it.
            if *self.open.get(stream) != OpenEnd::Not {
                return None;
            }
            (*self.next.get(stream))?
        } else if incarnation > self.incarnation && self.begin == Begin::AtOrigin {
            // Nothing of this process came at all.
            ByteOffset(0)
        } else {
            return None;
        };
        let length = totals.of(stream).0.checked_sub(next.0).filter(|length| *length > 0)?;
        let body = StoredBody::Gap { length: Some(length), because: self.cause_of_hole() };
        self.add(LogRecord {
            incarnation,
            sequence: ChunkSequence(0),
            stream,
            offset: next,
            body,
            at,
        })
    }

    fn break_off(&mut self, stream: Stream, because: GapCause, at: WallTime) -> Option<LogRecord> {
        let (incarnation, sequence, offset) = self.behind_all(stream, at);
        // Where the stream is in the store is unknown, so its end cannot be declared; or it is declared.
        if self.begin == Begin::Anywhere
            || incarnation == self.incarnation && *self.open.get(stream) != OpenEnd::Not
        {
            return None;
        }
        let body = StoredBody::Gap { length: None, because };
        self.add(LogRecord { incarnation, sequence, stream, offset, body, at })
    }

    fn add(&mut self, record: LogRecord) -> Option<LogRecord> {
        match self.push(record) {
            Taken::New { record, .. } => Some(record),
            Taken::Repeated(_) | Taken::GivenUp => None,
        }
    }

    fn keep(&mut self, record: &LogRecord) {
        let (position, cost) = (record.position(), record.cost());
        self.last = Some(position);
        if self.is_relayed() {
            return;
        }
        self.waiting = self.waiting.saturating_add(cost);
        self.unstored.push_back(Unstored { position, cost, is_open: record.body.is_open() });
    }

    /// The store has this record. Returns how much less waits, by [`LogRecord::cost`].
    pub(crate) fn on_stored(
        &mut self,
        incarnation: Incarnation,
        sequence: ChunkSequence,
        stream: Stream,
        end: ByteOffset,
    ) -> usize {
        if incarnation == self.incarnation {
            let stored = self.stored.get_mut(stream);
            *stored = (*stored).max(end);
        }
        let Some(at) = self.waits_at((incarnation, sequence)) else { return 0 };
        let Some(Unstored { cost, is_open, .. }) = self.unstored.remove(at) else { return 0 };
        let open = self.open.get_mut(stream);
        if is_open && *open == OpenEnd::Came {
            *open = OpenEnd::Stored;
        }
        self.waiting = self.waiting.saturating_sub(cost);
        cost
    }

    /// Where the record of this position stands among those that wait. Receipts come in the order of the records, so it
    /// is the first one nearly always.
    fn waits_at(&self, position: (Incarnation, ChunkSequence)) -> Option<usize> {
        if self.unstored.front()?.position == position {
            return Some(0);
        }
        let found = self.unstored.binary_search_by_key(&position, |waiting| waiting.position);
        // A process that is older than the last one may still be heard of; then they are not in order.
        found.ok().or_else(|| self.unstored.iter().position(|waiting| waiting.position == position))
    }

    /// The last record that came.
    pub(crate) fn end(&self) -> Cursor {
        self.last
    }

    /// What waits to be stored, by [`LogRecord::cost`]: so much less waits when this log is given up.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Where a stream continues.
    pub(crate) fn next(&self, stream: Stream) -> ByteOffset {
        self.next.get(stream).unwrap_or_default()
    }

    /// Whether it is stored that a stream ends with a gap of unknown length.
    pub(crate) fn is_open_stored(&self, stream: Stream) -> bool {
        *self.open.get(stream) == OpenEnd::Stored
    }

    /// How far a stream is known to be stored.
    pub(crate) fn stored(&self, stream: Stream) -> ByteOffset {
        *self.stored.get(stream)
    }
}

#[cfg(test)]
mod tests;
