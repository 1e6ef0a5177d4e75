//! What an agent has read from its processes and is not stored by the server yet.
//!
//! A record stays here until the server said that it is committed; after a new link everything that
//! is here is sent again, from where the server says it is. Here are the bounds, over all runs: so
//! much may be unacknowledged on the wire, so much in memory, so much in all; at the last one each
//! run's policy decides. What is kept where is decided in `backlog`, and done by who owns the disk.

use super::backlog::{Backlog, RecoveredRun, Writer};
use super::capacity::Capacity;
use super::record::{CHUNK_BYTES, Record, Run};
use super::runs::Runs;
use super::spool::{SpoolAction, SpoolBounds, SpoolPolicy};
use super::window::Window;
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::model::{OutputTotals, Stream};
use crate::time::{Deadline, Timestamp};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Below so much in memory a run's next page is read back.
const LOW: u64 = 512 * 1024;

/// A record on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) struct Outgoing {
    pub run: Run,
    pub record: Record,
}

/// What an agent holds of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct StreamState {
    pub run: Run,
    pub stream: Stream,
    /// How much its process wrote, as far as it was read.
    pub produced: ByteOffset,
    /// Everything before it is committed, for all that the agent knows.
    pub stored: ByteOffset,
    /// How many of the bytes behind `stored` are gaps.
    pub gaps: u64,
}

/// Records of all runs that are unknown to be stored. A [queue machine](crate::step#two-contracts).
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: Capacity,
    window: Window,
    runs: Runs,
    turn: Option<CommandId>,
    /// Whose page was asked for last.
    page_turn: Option<CommandId>,
    overflow: Overflow,
    actions: VecDeque<SpoolAction>,
}

/// What becomes of output for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// The policy of its run says that.
    ByPolicy,
    /// Waiting for room is over: it is a gap.
    Gap,
}

impl Outbox {
    /// An empty outbox.
    pub(crate) const fn new(bounds: SpoolBounds) -> Self {
        Self {
            capacity: Capacity::new(bounds),
            window: Window::new(),
            runs: Runs::new(),
            turn: None,
            page_turn: None,
            overflow: Overflow::ByPolicy,
            actions: VecDeque::new(),
        }
    }

    /// A process started; what it writes will be numbered from here.
    pub(crate) fn open(&mut self, run: Run, policy: SpoolPolicy) {
        self.runs.insert(Backlog::new(run, policy));
    }

    /// Takes up a run of an earlier process of this agent. Nothing is added to it any more; what the
    /// spool has of it is read back and sent, and what the spool has lost of it becomes a gap,
    /// [`GapCause::SpoolFailed`].
    pub(crate) fn recover(&mut self, mut run: RecoveredRun) {
        run.close();
        let RecoveredRun(backlog) = run;
        self.runs.insert(backlog);
    }

    /// How far each stream of a command was written, as far as is known.
    pub(crate) fn written(&self, command: &CommandId, stream: Stream) -> Option<ByteOffset> {
        self.runs.get(command).map(|b| b.written(stream))
    }

    /// Takes what a process wrote. Bytes of a command that was not opened are counted as none.
    pub(crate) fn push(&mut self, command: &CommandId, stream: Stream, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            self.push_part(command, stream, part);
        }
        if self.is_full()
            && self.overflow == Overflow::ByPolicy
            && self.runs.get(command).is_some_and(|b| b.policy == SpoolPolicy::Block)
            && self.runs.pause(command)
        {
            self.actions.push_back(SpoolAction::PauseReading(command.clone()));
        }
    }

    fn push_part(&mut self, command: &CommandId, stream: Stream, part: Bytes) {
        let Some(policy) = self.runs.get(command).map(|b| b.policy) else { return };
        let takes = match policy {
            _ if !self.is_full() => true,
            // Its process is paused at the bound, and what was read by then is still taken.
            SpoolPolicy::Block => self.overflow == Overflow::ByPolicy,
            SpoolPolicy::DropOldest => self.make_room(command),
            SpoolPolicy::DropNewest => false,
        };
        let (because, room) = (self.capacity.cause(policy), self.capacity.has_memory(&self.runs));
        let records = self.runs.change(command, |backlog| {
            let records: Vec<Record> = if takes {
                let (gap, chunk) = backlog.take(stream, part);
                gap.into_iter().chain([chunk]).collect()
            } else {
                backlog.skip(stream, part.len() as u64, because).into_iter().collect()
            };
            records.iter().for_each(|r| backlog.enqueue(r.clone(), room));
            records
        });
        self.append(command, records.unwrap_or_default());
    }

    /// The process of this command ended: it writes nothing more, and what was not taken of its last
    /// output is a gap now. Without it that gap would be forgotten with this process of the agent.
    pub(crate) fn end(&mut self, command: &CommandId) {
        let room = self.capacity.has_memory(&self.runs);
        let gaps = self.runs.change(command, |backlog| {
            let gaps: Vec<Record> =
                Stream::ALL.into_iter().filter_map(|s| backlog.close_gap(s)).collect();
            gaps.iter().for_each(|gap| backlog.enqueue(gap.clone(), room));
            backlog.writer = Writer::Ended;
            gaps
        });
        self.append(command, gaps.unwrap_or_default());
        if self.capacity.disk_works()
            && let Some(backlog) = self.runs.get(command)
        {
            self.actions.push_back(SpoolAction::End { run: backlog.run.clone() });
        }
    }

    /// Drops the oldest of this run until there is room. Whether there is.
    fn make_room(&mut self, command: &CommandId) -> bool {
        let because = self.capacity.cause(SpoolPolicy::DropOldest);
        while self.is_full() {
            let helps = self.capacity.is_helped_by_dropping(&self.runs, self.runs.get(command));
            let dropped = if helps {
                self.runs.change(command, |b| b.drop_oldest(because)).flatten()
            } else {
                None
            };
            let Some(dropped) = dropped else { return false };
            self.append(command, dropped.gaps);
            let Some(run) = self.runs.get(command).map(|b| b.run.clone()) else { return false };
            if self.capacity.has_disk() {
                let forget =
                    |(from, before)| SpoolAction::Forget { run: run.clone(), from, before };
                self.actions.extend(dropped.dead.into_iter().map(forget));
            }
        }
        true
    }

    fn append(&mut self, command: &CommandId, records: Vec<Record>) {
        if !self.capacity.disk_works() {
            return;
        }
        let Some(run) = self.runs.get(command).map(|b| b.run.clone()) else { return };
        for record in records {
            self.actions.push_back(SpoolAction::Append { run: run.clone(), record });
        }
    }

    /// Whether a policy must decide what becomes of more output.
    pub(crate) const fn is_full(&self) -> bool {
        self.capacity.is_full(&self.runs)
    }

    /// The next thing to do, until there is none.
    pub(crate) fn poll_action(&mut self) -> Option<SpoolAction> {
        self.ask_for_pages();
        if self.capacity.has_room(&self.runs) {
            self.resume_reading();
        }
        self.actions.pop_front()
    }

    fn resume_reading(&mut self) {
        self.actions.extend(self.runs.resume_all().into_iter().map(SpoolAction::ResumeReading));
    }

    fn ask_for_pages(&mut self) {
        if !self.capacity.may_read() {
            return;
        }
        // What is on the wire is in memory too, and makes room when it is stored.
        let is_idle = self.window.is_idle() && !self.runs.have_ready();
        let mut first = None;
        while self.runs.memory_to_come() < self.capacity.bounds().memory / 2
            || is_idle && self.runs.is_reading_nothing()
        {
            let next = self.runs.cold_behind(self.page_turn.as_ref());
            let Some(command) = next.or_else(|| self.runs.cold_behind(None)) else { return };
            if first.as_ref() == Some(&command) {
                // Each run that may ask has asked; the others have enough in memory.
                return;
            }
            let page = self.runs.change(&command, |b| b.ask_for_page(LOW)).flatten();
            if let (Some((from, through)), Some(backlog)) = (page, self.runs.get(&command)) {
                let run = backlog.run.clone();
                self.actions.push_back(SpoolAction::Read { run, from, through });
            } else if first.is_none() {
                first = Some(command.clone());
            }
            self.page_turn = Some(command);
        }
    }

    /// Everything of this run up to this record is in the spool.
    pub(crate) fn on_appended(&mut self, run: &Run, through: ChunkSequence) {
        let room = self.capacity.has_memory(&self.runs);
        if self.knows(run) {
            let _ = self.runs.change(&run.command, |b| b.on_appended(through, room));
        }
    }

    /// The spool did not take a record. Nothing more is handed to it for a second; then everything is
    /// that is in memory. What could not be kept is in memory, until that is full.
    pub(crate) fn on_append_failed(&mut self, now: Timestamp) {
        if self.capacity.on_append_failed(now) {
            let waits =
                |a: &SpoolAction| matches!(a, SpoolAction::Append { .. } | SpoolAction::End { .. });
            self.actions.retain(|a| !waits(a));
        }
    }

    /// The answer to [`SpoolAction::Read`]. Records that are missing become gaps.
    pub(crate) fn on_page(&mut self, run: &Run, from: ChunkSequence, records: Vec<Record>) {
        if self.knows(run) {
            let _ = self.runs.change(&run.command, |b| b.on_page(from, records));
        }
    }

    /// The other answer to [`SpoolAction::Read`]: no page is asked for within a second.
    pub(crate) fn on_not_read(&mut self, run: &Run, from: ChunkSequence, now: Timestamp) {
        if self.knows(run) {
            self.capacity.on_not_read(now);
            let _ = self.runs.change(&run.command, |b| b.on_not_read(from));
        }
    }

    fn knows(&self, run: &Run) -> bool {
        self.runs.get(&run.command).is_some_and(|b| b.run == *run)
    }

    /// Whether there is a disk that takes records, for all that is known.
    pub(crate) const fn disk_works(&self) -> bool {
        self.capacity.disk_works()
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn deadline(&self) -> Deadline {
        self.capacity.deadline().min(self.window.deadline())
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Timestamp) {
        self.window.on_time(now);
        if self.capacity.on_time(now) {
            for backlog in self.runs.values() {
                let run = &backlog.run;
                let again = backlog.in_memory().into_iter();
                self.actions
                    .extend(again.map(|record| SpoolAction::Append { run: run.clone(), record }));
                if backlog.writer == Writer::Ended {
                    self.actions.push_back(SpoolAction::End { run: run.clone() });
                }
            }
        }
    }

    /// The next record to send, if the window allows one; the runs take turns.
    pub(crate) fn next_to_send(&mut self) -> Option<Outgoing> {
        let most = self.window.room()?;
        // The record of a gap takes room too.
        let has_room = self.runs.memory() < self.capacity.bounds().memory;
        let command = self.runs.next_behind(self.turn.as_ref(), has_room)?;
        if self.runs.get(&command).is_some_and(Backlog::is_drained) {
            let gaps = self.runs.change(&command, |b| {
                let gaps: Vec<Record> =
                    Stream::ALL.into_iter().filter_map(|s| b.close_gap(s)).collect();
                gaps.iter().for_each(|gap| b.enqueue(gap.clone(), true));
                gaps
            });
            self.append(&command, gaps.unwrap_or_default());
        }
        let record = self.runs.change(&command, |b| b.send(most)).flatten()?;
        self.window.on_sent(record.byte_count());
        let run = self.runs.get(&command)?.run.clone();
        self.turn = Some(command);
        Some(Outgoing { run, record })
    }

    /// Everything of this stream before `offset` is stored.
    pub(crate) fn on_stored(
        &mut self,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
    ) {
        // Of another run of the same id: it says nothing of these bytes.
        if self.runs.get(command).is_none_or(|b| b.run.incarnation != incarnation) {
            return;
        }
        let landed = self.runs.change(command, |b| (b.on_stored(stream, offset), b.forget()));
        let Some((stored, forget)) = landed else { return };
        self.window.on_back(stored);
        if let Some((from, before)) = forget
            && self.capacity.has_disk()
            && let Some(run) = self.runs.get(command).map(|b| b.run.clone())
        {
            self.actions.push_back(SpoolAction::Forget { run, from, before });
        }
    }

    /// A legacy server stores nothing it would acknowledge: what was sent is not kept.
    pub(crate) fn on_sent_to_legacy(&mut self, Outgoing { run, record }: &Outgoing) {
        self.on_stored(&run.command, run.incarnation, record.stream, record.end());
    }

    /// The server of this session does not take what this command wrote: it is kept, and sent in a later
    /// session.
    pub(crate) fn withhold(&mut self, command: &CommandId) {
        let Some(recalled) = self.runs.change(command, Backlog::recall) else { return };
        self.window.on_back(recalled);
        self.runs.withhold(command);
    }

    /// The server of this session stores output and knows no gaps: one counts as stored as soon as
    /// everything before it is.
    pub(crate) fn pass_gaps(&mut self, command: &CommandId) {
        for stream in Stream::ALL {
            while let Some((incarnation, end)) = self
                .runs
                .get(command)
                .and_then(|b| Some((b.run.incarnation, b.gap_in_front(stream)?)))
            {
                self.on_stored(command, incarnation, stream, end);
            }
        }
    }

    /// A new session with a server that does not say how far it is: all that is not known to be
    /// stored is sent again, under this window.
    pub(crate) fn restart(&mut self, window: u64) {
        self.window.restart(window);
        self.runs.rewind();
    }

    /// A new session with a server that will say how far it is: nothing goes out before.
    pub(crate) fn resume(&mut self, window: u64, now: Timestamp) {
        self.restart(window);
        // With nothing to send there is no answer to wait for.
        if !self.runs.is_empty() {
            self.window.await_positions(now);
        }
    }

    /// The server has said of all streams how far it is.
    pub(crate) fn on_resume(&mut self) {
        self.window.open();
    }

    /// What is held of which streams: those of every run that is open.
    pub(crate) fn states(&self) -> impl Iterator<Item = StreamState> + '_ {
        self.runs.values().flat_map(|b| {
            Stream::ALL.into_iter().map(|stream| StreamState {
                run: b.run.clone(),
                stream,
                produced: b.written(stream),
                stored: b.stored(stream),
                gaps: b.gaps(stream),
            })
        })
    }

    /// The agent is ending: a process that waits for room would never get it. What does not fit becomes a gap,
    /// [`GapCause::Stopped`].
    pub(crate) fn wind_up(&mut self) {
        self.overflow = Overflow::Gap;
        self.resume_reading();
    }

    /// Whether nothing of this command waits any more.
    pub(crate) fn is_settled(&self, command: &CommandId) -> bool {
        self.runs.get(command).is_none_or(Backlog::is_settled)
    }

    /// How much a command wrote.
    pub(crate) fn totals(&self, command: &CommandId) -> Option<OutputTotals> {
        self.runs.get(command).map(|b| OutputTotals {
            incarnation: b.run.incarnation,
            stdout_bytes: b.written(Stream::Stdout),
            stderr_bytes: b.written(Stream::Stderr),
            terminal_bytes: b.written(Stream::Terminal),
            unstored: false,
        })
    }

    /// Forgets a command that is over and settled.
    pub(crate) fn close(&mut self, command: &CommandId) {
        if self.is_settled(command)
            && let Some(backlog) = self.runs.remove(command)
            && self.capacity.has_disk()
        {
            self.actions.push_back(SpoolAction::Close { run: backlog.run });
        }
    }

    /// Whether nothing waits at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.runs.are_settled()
    }

    /// What is held, in memory and on disk, in bytes and [`RECORD_COST`](super::RECORD_COST) for each
    /// record.
    #[cfg(any(test, feature = "sim", feature = "testing"))]
    pub(crate) const fn unstored(&self) -> u64 {
        self.runs.total()
    }

    /// What of it is in memory.
    #[cfg(any(test, feature = "sim", feature = "testing"))]
    pub(crate) const fn in_memory(&self) -> u64 {
        self.runs.memory()
    }
}

#[cfg(test)]
mod tests;
