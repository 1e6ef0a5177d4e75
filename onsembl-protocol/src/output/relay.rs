//! Output that a server relays and does not store, on its agent: what waits for the link, and how much is on it.
//!
//! A record is given away with the link: it is not sent again, and there is no spool. What a lost link had, and what
//! came while there was none and found no room, is missing; the server sees that by the next offset, or by the sums in
//! the report of the end, and declares it. Knows nothing of commands whose output is stored.

use super::outbox::{Outgoing, StreamState};
use super::record::{CHUNK_BYTES, Record, RecordBody, Run};
use super::spool::{RECORD_COST, SpoolAction};
use super::window::Window;
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::limits::OUTPUT_WINDOW;
use crate::model::{OutputTotals, PerStream, Stream};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::ops::Bound;

/// Most bytes of one run that wait for the link, with [`RECORD_COST`] for each record: what a process writes within some
/// milliseconds, so that the link never waits for it.
const MOST_OF_RUN: u64 = 256 * 1024;

/// Small writes that wait together become one record up to this size.
const JOINED: usize = 4 * 1024;

/// The unstored output of all runs. A [queue machine](crate::step#two-contracts).
#[derive(Debug)]
pub(crate) struct Relay {
    /// Most bytes of all runs together.
    most: u64,
    memory: u64,
    way: Way,
    overflow: Overflow,
    runs: BTreeMap<CommandId, Passing>,
    /// Those with a record that the link may take.
    ready: BTreeSet<CommandId>,
    /// Their processes are not being read.
    paused: BTreeSet<CommandId>,
    turn: Option<CommandId>,
    actions: VecDeque<SpoolAction>,
}

/// Whether anything goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is no session.
    Closed,
    /// So much of each stream may be on the link without credit.
    Open { window: u64 },
}

/// What becomes of output for which there is no room in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its process waits.
    Waits,
    /// The agent is ending: waiting is over, and the oldest makes room.
    Drops,
}

/// The output of one run.
#[derive(Debug)]
struct Passing {
    run: Run,
    next: ChunkSequence,
    written: PerStream<ByteOffset>,
    /// What waits, the oldest first.
    queue: VecDeque<Record>,
    memory: u64,
    /// What the link took in this session and the server has not given credit for.
    on_link: PerStream<OnLink>,
    turn: Turn,
}

/// Whether it goes out in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Goes,
    /// The server cannot take it up.
    Withheld,
}

#[derive(Debug)]
struct OnLink {
    /// Where each record ends, and how many bytes it has.
    records: VecDeque<(ByteOffset, u64)>,
    window: Window,
}

impl Default for OnLink {
    fn default() -> Self {
        Self { records: VecDeque::new(), window: Window::new() }
    }
}

impl OnLink {
    fn restart(&mut self, window: u64) {
        self.records.clear();
        self.window.restart(window);
    }

    fn on_sent(&mut self, record: &Record) {
        self.records.push_back((record.end(), record.byte_count()));
        self.window.on_sent(record.byte_count());
    }

    /// A position: what is said twice, or comes late, changes nothing.
    fn on_credit(&mut self, offset: ByteOffset) {
        while let Some((_, bytes)) = self.records.pop_front_if(|(end, _)| *end <= offset) {
            self.window.on_back((bytes, 1));
        }
    }
}

fn cost(record: &Record) -> u64 {
    record.byte_count().saturating_add(RECORD_COST)
}

impl Passing {
    fn new(run: Run, window: u64) -> Self {
        let mut new = Self {
            run,
            next: ChunkSequence(1),
            written: PerStream::default(),
            queue: VecDeque::new(),
            memory: 0,
            on_link: PerStream::default(),
            turn: Turn::Goes,
        };
        new.restart(window);
        new
    }

    fn restart(&mut self, window: u64) {
        self.turn = Turn::Goes;
        Stream::ALL.into_iter().for_each(|stream| self.on_link.get_mut(stream).restart(window));
    }

    /// Numbers what the process wrote, and puts it behind what waits.
    fn take(&mut self, stream: Stream, bytes: Bytes) {
        let offset = *self.written.get(stream);
        let sequence = self.next;
        self.next = sequence.next();
        *self.written.get_mut(stream) = ByteOffset(offset.0.saturating_add(bytes.len() as u64));
        if let Some(last) = self.queue.back_mut()
            && last.stream == stream
            && last.end() == offset
            && let RecordBody::Chunk(before) = &mut last.body
            && before.len() + bytes.len() <= JOINED
        {
            let mut all = BytesMut::with_capacity(before.len() + bytes.len());
            all.extend_from_slice(before);
            all.extend_from_slice(&bytes);
            self.memory = self.memory.saturating_add(bytes.len() as u64);
            *before = all.freeze();
            last.sequence = sequence;
            return;
        }
        let record = Record { sequence, stream, offset, body: RecordBody::Chunk(bytes) };
        self.memory = self.memory.saturating_add(cost(&record));
        self.queue.push_back(record);
    }

    /// Counts what the process wrote, and leaves it out.
    fn skip(&mut self, stream: Stream, length: u64) {
        let end = self.written.get_mut(stream);
        *end = ByteOffset(end.0.saturating_add(length));
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.queue.pop_front()?;
        self.memory = self.memory.saturating_sub(cost(&record));
        Some(record)
    }

    /// Whether the link may take the oldest that waits. What is behind it waits with it: a process writes its streams in
    /// an order.
    fn has_ready(&self) -> bool {
        self.turn == Turn::Goes
            && self.queue.front().is_some_and(|record| {
                let room = self.on_link.get(record.stream).window.room();
                room.is_some_and(|most| record.byte_count() <= most)
            })
    }

    /// Everything before it was given away, or left out.
    fn left(&self, stream: Stream) -> ByteOffset {
        let waits = self.queue.iter().find(|record| record.stream == stream);
        waits.map_or(*self.written.get(stream), |record| record.offset)
    }
}

impl Relay {
    /// An empty one, for so many bytes of all runs.
    pub(crate) const fn new(most: u64) -> Self {
        Self {
            most,
            memory: 0,
            way: Way::Closed,
            overflow: Overflow::Waits,
            runs: BTreeMap::new(),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            turn: None,
            actions: VecDeque::new(),
        }
    }

    /// A process started whose output is to be relayed and not stored.
    pub(crate) fn open(&mut self, run: Run) {
        let window = match self.way {
            Way::Open { window } => window,
            Way::Closed => OUTPUT_WINDOW,
        };
        let _ = self.runs.insert(run.command.clone(), Passing::new(run, window));
    }

    /// Whether the output of this command is relayed here.
    pub(crate) fn has(&self, command: &CommandId) -> bool {
        self.runs.contains_key(command)
    }

    /// Takes what a process wrote.
    pub(crate) fn push(&mut self, command: &CommandId, stream: Stream, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            self.push_part(command, stream, part);
        }
        if self.is_full(command) && self.waits(command) && self.paused.insert(command.clone()) {
            self.actions.push_back(SpoolAction::PauseReading(command.clone()));
        }
    }

    fn push_part(&mut self, command: &CommandId, stream: Stream, part: Bytes) {
        // What was read when its process was about to be paused is still taken.
        if !self.waits(command) {
            while self.is_full(command) && self.change(command, Passing::pop).flatten().is_some() {}
            if self.is_full(command) {
                let _ = self.change(command, |passing| passing.skip(stream, part.len() as u64));
                return;
            }
        }
        let _ = self.change(command, |passing| passing.take(stream, part));
    }

    /// Whether a process waits for room, which the server makes; else the oldest goes.
    fn waits(&self, command: &CommandId) -> bool {
        let goes = self.runs.get(command).is_some_and(|passing| passing.turn == Turn::Goes);
        goes && matches!(self.way, Way::Open { .. }) && self.overflow == Overflow::Waits
    }

    fn is_full(&self, command: &CommandId) -> bool {
        let own = self.runs.get(command).map_or(0, |passing| passing.memory);
        self.memory >= self.most || own >= MOST_OF_RUN
    }

    /// Changes a run, and keeps sums and sets.
    fn change<R>(
        &mut self,
        command: &CommandId,
        change: impl FnOnce(&mut Passing) -> R,
    ) -> Option<R> {
        let passing = self.runs.get_mut(command)?;
        let (before, was_ready) = (passing.memory, passing.has_ready());
        let result = change(passing);
        self.memory = self.memory.saturating_sub(before).saturating_add(passing.memory);
        match (was_ready, passing.has_ready()) {
            (_, true) => drop(self.ready.insert(command.clone())),
            (true, false) => drop(self.ready.remove(command)),
            (false, false) => {}
        }
        Some(result)
    }

    /// The next record to send, if there is a session and credit; the runs take turns. It is not kept.
    pub(crate) fn next_to_send(&mut self) -> Option<Outgoing> {
        let Way::Open { .. } = self.way else { return None };
        let behind = self.turn.as_ref().and_then(|last| {
            self.ready.range::<CommandId, _>((Bound::Excluded(last), Bound::Unbounded)).next()
        });
        let command = behind.or_else(|| self.ready.first()).cloned()?;
        let record = self.change(&command, |passing| {
            let record = passing.pop()?;
            passing.on_link.get_mut(record.stream).on_sent(&record);
            Some(record)
        });
        let record = record.flatten()?;
        let run = self.runs.get(&command)?.run.clone();
        self.turn = Some(command);
        self.resume_reading();
        Some(Outgoing { run, record })
    }

    fn resume_reading(&mut self) {
        if self.paused.is_empty() || self.memory >= self.most / 4 * 3 {
            return;
        }
        // Below the bound by a margin, so that a process is not paused and read again with each record.
        let has_room = |id: &CommandId| {
            self.runs.get(id).is_none_or(|passing| passing.memory < MOST_OF_RUN / 4 * 3)
        };
        let resumed: Vec<CommandId> =
            self.paused.iter().filter(|id| has_room(id)).cloned().collect();
        for command in resumed {
            let _ = self.paused.remove(&command);
            self.actions.push_back(SpoolAction::ResumeReading(command));
        }
    }

    fn resume_all(&mut self) {
        let paused = core::mem::take(&mut self.paused);
        self.actions.extend(paused.into_iter().map(SpoolAction::ResumeReading));
    }

    /// The server has everything of this stream before `offset`.
    pub(crate) fn on_credit(
        &mut self,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
    ) {
        // Of another run of the same id: it says nothing of these bytes.
        if self.runs.get(command).is_some_and(|p| p.run.incarnation == incarnation) {
            let _ = self.change(command, |p| p.on_link.get_mut(stream).on_credit(offset));
        }
    }

    /// A session began: nothing is on its link, and so much of each stream may be.
    pub(crate) fn on_session(&mut self, window: u64) {
        self.way = Way::Open { window };
        let all: Vec<CommandId> = self.runs.keys().cloned().collect();
        for command in all {
            let _ = self.change(&command, |passing| passing.restart(window));
        }
    }

    /// The session ended. Processes that wait for credit would wait for the next session, so they go on.
    pub(crate) fn on_session_ended(&mut self) {
        self.way = Way::Closed;
        self.resume_all();
    }

    /// The server of this session does not take up this command. It is told the rest in a later one.
    pub(crate) fn withhold(&mut self, command: &CommandId) {
        let _ = self.change(command, |passing| passing.turn = Turn::Withheld);
        if self.paused.remove(command) {
            self.actions.push_back(SpoolAction::ResumeReading(command.clone()));
        }
    }

    /// The agent is ending: no process waits any more.
    pub(crate) fn wind_up(&mut self) {
        self.overflow = Overflow::Drops;
        self.resume_all();
    }

    /// The next thing to do, until there is none.
    pub(crate) fn poll_action(&mut self) -> Option<SpoolAction> {
        self.actions.pop_front()
    }

    /// Whether nothing of this command waits for the link.
    pub(crate) fn is_settled(&self, command: &CommandId) -> bool {
        self.runs.get(command).is_none_or(|passing| passing.queue.is_empty())
    }

    /// Whether nothing waits for the link.
    pub(crate) const fn is_empty(&self) -> bool {
        self.memory == 0
    }

    /// The commands of which nothing waits for the link.
    pub(crate) fn settled(&self) -> Vec<CommandId> {
        self.runs.iter().filter(|(_, p)| p.queue.is_empty()).map(|(id, _)| id.clone()).collect()
    }

    /// How much a command wrote.
    pub(crate) fn totals(&self, command: &CommandId) -> Option<OutputTotals> {
        self.runs.get(command).map(|passing| OutputTotals {
            incarnation: passing.run.incarnation,
            stdout_bytes: passing.written.stdout,
            stderr_bytes: passing.written.stderr,
            terminal_bytes: passing.written.terminal,
            unstored: true,
        })
    }

    /// What is held of which streams: as stored counts what was given away.
    pub(crate) fn states(&self) -> impl Iterator<Item = StreamState> + '_ {
        self.runs.values().flat_map(|passing| {
            Stream::ALL.into_iter().map(|stream| StreamState {
                run: passing.run.clone(),
                stream,
                produced: *passing.written.get(stream),
                stored: passing.left(stream),
                gaps: 0,
            })
        })
    }

    /// The server does not know the command: nothing more is kept for it.
    pub(crate) fn give_up(&mut self, command: &CommandId) {
        while self.change(command, Passing::pop).flatten().is_some() {}
        self.resume_reading();
    }

    /// Forgets a command that is over.
    pub(crate) fn close(&mut self, command: &CommandId) {
        self.give_up(command);
        let _ = self.runs.remove(command);
        let _ = self.ready.remove(command);
        let _ = self.paused.remove(command);
    }

    /// What waits, in bytes and [`RECORD_COST`] for each record.
    #[cfg(any(test, feature = "sim", feature = "testing"))]
    pub(crate) const fn in_memory(&self) -> u64 {
        self.memory
    }
}

#[cfg(test)]
mod tests;
