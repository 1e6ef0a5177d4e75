//! The agent's edge around its outbox: it does what the outbox asks of the disk, numbers what processes
//! write, and says which terminals it has, what is held, what was written, and where a stream broke off.

use super::disk::{Disk, Event, Request, Thread};
use super::server::{Down, Up};
use super::stamp;
use super::truth::{Life, Process};
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::output::{
    OpenEnds, Outbox, PerStream, SpoolAction, SpoolBounds, Stream, Utf8Cutter, Written,
};
use onsembl_protocol::terminal::{AfterEnd, TerminalKeeper};
use onsembl_protocol::time::Deadline;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A report that is not confirmed within a session is said again.
const REPEAT_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) outbox: Outbox,
    pub(super) ends: OpenEnds,
    pub(super) thread: Thread,
    has_disk: bool,
    pub(super) paused: BTreeSet<CommandId>,
    cutters: BTreeMap<CommandId, PerStream<Utf8Cutter>>,
    /// Ended, and not all of it is stored.
    held: BTreeMap<CommandId, Written>,
    /// Reported, and not confirmed.
    reports: BTreeMap<CommandId, Written>,
    /// What is written down of ends, and outlives it.
    pub(super) journal: BTreeMap<CommandId, Written>,
    /// Of these the server has heard that they are over.
    pub(super) confirmed: BTreeSet<CommandId>,
    /// Before everything else that is said of it.
    opened: BTreeSet<CommandId>,
    due: VecDeque<Up>,
    repeat_at: Option<Duration>,
    /// When the program of its terminal is started, if it has one.
    pub(super) keeper: Option<TerminalKeeper>,
    pub(super) terminal: Option<CommandId>,
    /// Running, and nobody takes what they write.
    pub(super) muted: BTreeSet<CommandId>,
    joined: bool,
    spool_failed: bool,
    /// A policy had to decide at some time.
    pub(super) was_full: bool,
    /// What the last page of each run brought into memory.
    pub(super) pages: BTreeMap<CommandId, u64>,
    /// The disk took something not, or was too slow.
    pub(super) disk_failed: bool,
}

impl Agent {
    /// A new process of the agent, with what the one before left on the disk.
    pub(super) fn start(
        bounds: SpoolBounds,
        most_waiting: u64,
        disk: &mut Disk,
        journal: BTreeMap<CommandId, Written>,
        keeper: Option<TerminalKeeper>,
    ) -> Self {
        let mut agent = Self {
            outbox: Outbox::new(bounds),
            ends: OpenEnds::default(),
            thread: Thread::new(most_waiting),
            has_disk: bounds.disk > 0,
            paused: BTreeSet::new(),
            cutters: BTreeMap::new(),
            held: BTreeMap::new(),
            reports: journal.clone(),
            journal,
            confirmed: BTreeSet::new(),
            opened: BTreeSet::new(),
            due: VecDeque::new(),
            repeat_at: None,
            keeper,
            terminal: None,
            muted: BTreeSet::new(),
            joined: false,
            spool_failed: false,
            was_full: false,
            pages: BTreeMap::new(),
            disk_failed: false,
        };
        for (recovered, ended) in disk.find() {
            let run = recovered.run().clone();
            agent.outbox.recover(recovered);
            let known = agent.reports.remove(&run.command).filter(|w| *w != Written::Unknown);
            let totals = || Written::Known(agent.outbox.totals(&run.command).unwrap());
            agent.held.insert(run.command.clone(), known.unwrap_or_else(totals));
            agent.ends.leave(run, ended);
        }
        agent
    }

    pub(super) fn run(&mut self, process: &Process, at: Duration) {
        let run = process.run.clone();
        if run.command.is_terminal() {
            if let Some(keeper) = &mut self.keeper {
                keeper.on_started(stamp(at));
            }
            self.terminal = Some(run.command.clone());
            self.opened.insert(run.command.clone());
        }
        self.ask(Request::Open(run.clone(), process.policy), Duration::ZERO);
        self.cutters.insert(run.command.clone(), PerStream::default());
        self.outbox.open(run, process.policy);
    }

    /// Reads from a pipe, unless the outbox wants it to wait.
    pub(super) fn read(&mut self, process: &mut Process, stream: Stream, most: u64, at: Duration) {
        let id = process.run.command.clone();
        let length = process.in_pipe(stream).min(most);
        if !process.is_alive() || self.paused.contains(&id) || length == 0 {
            return;
        }
        let bytes = process.content(stream, *process.read.get(stream), length);
        *process.read.get_mut(stream) += length;
        let whole = self.cutters.get_mut(&id).unwrap().get_mut(stream).push(bytes);
        self.push(&id, stream, whole);
        self.perform(at);
    }

    fn push(&mut self, id: &CommandId, stream: Stream, bytes: bytes::Bytes) {
        if self.muted.contains(id) {
            return;
        }
        self.was_full |= self.outbox.is_full();
        self.outbox.push(id, stream, bytes);
        self.was_full |= self.outbox.is_full();
    }

    /// A process ended, and its pipes are empty.
    pub(super) fn on_ended(&mut self, process: &mut Process, at: Duration) {
        let id = process.run.command.clone();
        let mut cutters = self.cutters.remove(&id).unwrap();
        for stream in Stream::ALL {
            self.push(&id, stream, cutters.get_mut(stream).finish());
        }
        self.outbox.end(&id);
        self.perform(at);
        process.life = Life::Done;
        if self.terminal.as_ref() == Some(&id) {
            self.terminal = None;
            let after = self.keeper.as_mut().map(|keeper| keeper.on_ended(stamp(at)));
            assert_eq!(after, Some(AfterEnd::Restart));
        }
        let wrote = Written::Known(self.outbox.totals(&id).unwrap());
        self.journal.insert(id.clone(), wrote);
        self.held.insert(id.clone(), wrote);
        self.settle(&id, at);
    }

    fn settle(&mut self, id: &CommandId, at: Duration) {
        if !self.outbox.is_settled(id) || self.ends.has(id) && !self.joined {
            return;
        }
        if self.ends.is_open(id) {
            let ends = self.ends.tell(id, &self.outbox);
            self.due
                .extend(ends.into_iter().map(|(run, stream, at)| Up::BrokeOff(run, stream, at)));
            return;
        }
        if let Some(wrote) = self.held.remove(id) {
            self.reports.insert(id.clone(), wrote);
            self.due.push_back(Up::Over(id.clone(), wrote));
            self.ends.close(id);
            self.outbox.close(id);
            self.perform(at);
        }
    }

    fn ask(&mut self, request: Request, at: Duration) {
        if self.has_disk && !self.thread.ask(request) {
            self.disk_failed = true;
            self.spool_failed = true;
            self.outbox.on_append_failed(stamp(at));
        }
    }

    pub(super) fn perform(&mut self, at: Duration) {
        while let Some(action) = self.outbox.poll_action() {
            match action {
                SpoolAction::Append { run, record } => self.ask(Request::Append(run, record), at),
                SpoolAction::Read { run, from, through } => {
                    self.ask(Request::Read(run, from, through), at);
                }
                SpoolAction::Forget { run, from, before } => {
                    self.ask(Request::Forget(run, from, before), at);
                }
                SpoolAction::End { run } => self.ask(Request::End(run), at),
                SpoolAction::Close { run } => self.ask(Request::Close(run), at),
                SpoolAction::PauseReading(id) => drop(self.paused.insert(id)),
                SpoolAction::ResumeReading(id) => drop(self.paused.remove(&id)),
            }
        }
    }

    pub(super) fn on_disk(&mut self, at: Duration) {
        match self.thread.events.pop_front() {
            Some(Event::Appended(run, through)) => self.outbox.on_appended(&run, through),
            Some(Event::Page(run, from, records)) => {
                let cost = records.iter().map(|r| r.bytes_held() + 64).sum();
                self.pages.insert(run.command.clone(), cost);
                self.outbox.on_page(&run, from, records);
            }
            Some(Event::Failed) => {
                self.disk_failed = true;
                self.spool_failed = true;
                self.outbox.on_append_failed(stamp(at));
            }
            None => return,
        }
        self.perform(at);
    }

    pub(super) fn on_time(&mut self, at: Duration) {
        if self.repeat_at.is_some_and(|due| due <= at) {
            self.repeat_at = Some(at + REPEAT_AFTER);
            self.due.extend(self.reports.iter().map(|(id, wrote)| Up::Over(id.clone(), *wrote)));
        }
        if !matches!(self.outbox.deadline(), Deadline::At(due) if due <= stamp(at)) {
            return;
        }
        self.outbox.on_time(stamp(at));
        if self.spool_failed && self.outbox.disk_works() {
            self.spool_failed = false;
            self.ask(Request::Retry, at);
        }
        self.perform(at);
    }

    pub(super) fn on_session(&mut self, window: u64, at: Duration) {
        self.joined = true;
        self.due.clear();
        self.repeat_at = Some(at + REPEAT_AFTER);
        self.outbox.resume(window, stamp(at));
        let open = self.cutters.keys().chain(self.held.keys()).chain(self.reports.keys());
        self.opened = open.filter(|id| id.is_terminal()).cloned().collect();
        let held: Vec<_> = self.outbox.states().collect();
        if !held.is_empty() {
            self.due.push_back(Up::Holds(held));
        }
        self.due.extend(self.reports.iter().map(|(id, wrote)| Up::Over(id.clone(), *wrote)));
        self.ends.on_session();
        for id in self.ends.commands() {
            self.settle(&id, at);
        }
        self.perform(at);
    }

    pub(super) fn next_word(&mut self) -> Option<Up> {
        let opened = self.opened.pop_first().map(Up::Opened);
        let due = opened.or_else(|| self.due.pop_front());
        due.or_else(|| self.outbox.next_to_send().map(Up::Wrote))
    }

    pub(super) fn listen(&mut self, word: Down, at: Duration) {
        match word {
            Down::Ack(run, stream, offset, open) => {
                let (id, incarnation) = (&run.command, run.incarnation);
                if open {
                    self.ends.on_stored(id, incarnation, stream);
                }
                self.outbox.on_stored(id, incarnation, stream, offset);
                self.settle(id, at);
            }
            Down::Confirm(id) => {
                self.reports.remove(&id);
                self.journal.remove(&id);
                self.confirmed.insert(id);
            }
            Down::Resume(places) => {
                for (run, stream, offset) in places {
                    self.outbox.on_stored(&run.command, run.incarnation, stream, offset);
                    self.settle(&run.command, at);
                }
                self.outbox.on_resume();
            }
            Down::Unknown(id) => self.on_unknown(&id, at),
            // The world ends its process.
            Down::Cancel(_) => {}
        }
        self.perform(at);
    }

    /// What is kept for a command that the server does not know would be sent for ever.
    fn on_unknown(&mut self, id: &CommandId, at: Duration) {
        if self.cutters.contains_key(id) {
            self.muted.insert(id.clone());
        }
        if let Some(incarnation) = self.outbox.totals(id).map(|totals| totals.incarnation) {
            for stream in Stream::ALL {
                self.outbox.on_stored(id, incarnation, stream, ByteOffset(u64::MAX));
            }
        }
        self.ends.give_up(id);
        self.settle(id, at);
        self.opened.remove(id);
        self.due.retain(|word| match word {
            Up::BrokeOff(run, ..) => run.command != *id,
            Up::Over(over, _) => over != id,
            Up::Opened(_) | Up::Holds(_) | Up::Wrote(_) => true,
        });
        self.reports.remove(id);
        self.journal.remove(id);
        self.confirmed.insert(id.clone());
    }

    /// Whether it waits for nothing any more.
    pub(super) fn is_at_rest(&self) -> bool {
        let requests = &self.thread.requests;
        self.outbox.states().next().is_none() && requests.is_empty() && self.reports.is_empty()
    }

    /// How many runs it holds anything of.
    pub(super) fn runs(&self) -> u64 {
        self.outbox.states().count() as u64 / Stream::ALL.len() as u64
    }

    /// Whether it has an end of this command to report.
    pub(super) fn holds_report(&self, id: &CommandId) -> bool {
        self.held.contains_key(id)
    }

    /// Whether it reads from this process.
    pub(super) fn is_open(&self, id: &CommandId) -> bool {
        self.cutters.contains_key(id)
    }
}
