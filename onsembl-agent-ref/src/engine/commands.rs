//! Performs what the book of commands decides: starts processes, stops them, collects what they
//! write and how they end. Knows no connection; what is to be said to the server it hands out as
//! [`Word`]s.

mod delivery;
mod journalled;
mod keeping;
mod stopped;
mod terminal;

pub(super) use journalled::left_behind;
pub(super) use terminal::{Finished, TerminalEvent};

use super::due::{Due, Rules, Word};
use super::notes::{Notes, StoppedBy, reason};
use crate::journal::Journal;
use crate::process::{self, ProcessEvent, ProcessHandle, ProcessSpec, Runner};
use crate::spool::{Spool, SpoolRequest};
use bytes::Bytes;
use onsembl_protocol::command::{CancelDecision, CommandBook, Decision, Exit, JournalEntry};
use onsembl_protocol::id::{ByteOffset, CommandId, RunMark};
use onsembl_protocol::output::{
    OpenEnds, Outbox, PerStream, Run, SpoolBounds, SpoolPolicy, Stream, Utf8Cutter,
};
use onsembl_protocol::stop::StopGuard;
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{
    CommandAckStatus, CommandComplete, CommandInput, CommandRequest,
};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use terminal::Terminal;
use tokio::sync::mpsc;

/// How long a process group may take to end after it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Events of processes that may wait for the engine, of up to 16 KiB each; then the processes feel
/// it. With the one that each of 64 processes may hold, the outbox can be overrun by 1.25 MiB.
const EVENTS: usize = 16;

/// Most commands with remarks: as many ends as the book remembers.
const NOTED: usize = 4096;

/// The commands of this process.
#[derive(Debug)]
pub(super) struct Commands {
    book: CommandBook,
    outbox: Outbox,
    running: BTreeMap<CommandId, Running>,
    /// Ended, but the server has not stored all output yet; the report must not overtake it.
    held: BTreeMap<CommandId, CommandComplete>,
    notes: BTreeMap<CommandId, Notes>,
    /// Whose reports went out in this session; an acknowledgement means nothing for others.
    reported: BTreeSet<CommandId>,
    due: Due,
    /// It is being stopped: nothing new is taken.
    stopping: bool,
    /// Nothing is to start, by order.
    paused: bool,
    /// Where commands are typed, if they are not run by themselves.
    terminal: Option<Terminal>,
    /// What runs commands.
    runner: Runner,
    /// What was asked for and has not started.
    requests: BTreeMap<CommandId, CommandRequest>,
    /// What the processes of those bear that are being started.
    marks: BTreeMap<CommandId, RunMark>,
    writing: Writing,
    guard: StopGuard,
    /// A process group was not seen empty.
    groups_may_live: bool,
    /// What waits until it is written down.
    unwritten: BTreeSet<CommandId>,
    /// The journal took nothing when something was last to be written.
    journal_failed: bool,
    spool: Option<Spool>,
    /// At the bound of the spool; by the kind of the command if nobody said so.
    policy: Option<SpoolPolicy>,
    /// The disk took something not, and is to be tried again.
    spool_failed: bool,
    /// Runs of an earlier process that are not reported yet.
    left: OpenEnds,
    /// Whether there was a session: before, nobody can say whether a server knows gaps.
    joined: bool,
    /// Whether the server of this session knows gaps.
    resumes: bool,
    events_entry: mpsc::Sender<ProcessEvent<CommandId>>,
    clock: SystemClock,
    counters: Counters,
}

/// Where starts and ends are written down.
#[derive(Debug)]
enum Writing {
    /// Nowhere.
    Nothing,
    /// In the journal.
    Journal(Journal),
    /// They cannot be, because of this; so nothing is started.
    Failed(String),
}

#[derive(Debug)]
struct Running {
    handle: ProcessHandle,
    cutters: PerStream<Utf8Cutter>,
    /// Nobody takes its output any more.
    muted: bool,
}

impl Drop for Commands {
    /// Nothing is running here unless the future of the agent was dropped: nobody is left then who
    /// could stop these processes.
    fn drop(&mut self) {
        for running in self.running.values() {
            running.handle.kill();
        }
    }
}

impl Commands {
    /// No commands yet, and where the events of their processes will come out.
    pub(super) fn new(
        places: usize,
        clock: SystemClock,
        counters: Counters,
    ) -> (Self, mpsc::Receiver<ProcessEvent<CommandId>>) {
        let (events_entry, events) = mpsc::channel(EVENTS);
        let commands = Self {
            book: CommandBook::new(places),
            outbox: Outbox::new(SpoolBounds::MEMORY_ONLY),
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            notes: BTreeMap::new(),
            reported: BTreeSet::new(),
            due: Due::default(),
            stopping: false,
            paused: false,
            terminal: None,
            runner: Runner::Shell,
            requests: BTreeMap::new(),
            marks: BTreeMap::new(),
            writing: Writing::Nothing,
            guard: StopGuard::default(),
            groups_may_live: false,
            unwritten: BTreeSet::new(),
            journal_failed: false,
            spool: None,
            policy: None,
            spool_failed: false,
            left: OpenEnds::default(),
            joined: false,
            resumes: false,
            events_entry,
            clock,
            counters,
        };
        (commands, events)
    }

    /// Commands are run by this.
    pub(super) fn with_runner(mut self, runner: Runner) -> Self {
        self.runner = runner;
        self
    }

    pub(super) fn on_request(&mut self, request: CommandRequest) {
        let Some(id) = request.command_id.clone() else { return };
        match self.book.on_request(&id) {
            Decision::Keep if self.guard.is_held() => {
                self.refuse(&id, "an emergency stop is in force; nothing starts on this agent until it is released");
            }
            Decision::Keep if self.stopping => {
                self.refuse(&id, "the agent is being stopped and starts no commands");
            }
            Decision::Keep => {
                self.requests.insert(id.clone(), request);
                self.advance();
                if self.book.status(&id) == CommandAckStatus::Queued {
                    self.due.acknowledge(id);
                }
            }
            Decision::Acknowledge(_) => {
                tracing::debug!(command = %id, "asked again; it runs already");
                self.due.acknowledge(id);
            }
            Decision::Report(_) if self.left.has(&id) => {
                tracing::debug!(command = %id, "asked again; its report waits for its output");
            }
            Decision::Report(_) if self.held.contains_key(&id) => self.due.acknowledge(id),
            Decision::Report(report) => {
                tracing::debug!(command = %id, "asked again; it is over already");
                self.due.report(report);
            }
            Decision::Refuse(report) => {
                self.counters.count("commands_refused");
                tracing::warn!(command = %id, why = report.error.as_deref(), "command refused");
                self.due.report(report);
            }
        }
    }

    /// That it is being started is written down: now it may be.
    fn start(&mut self, id: &CommandId) {
        let request = self.requests.remove(id);
        let mark = self.marks.remove(id);
        let opens_terminal = self.is_own_terminal(id);
        match self.book.may_start(id) {
            Ok(()) => {}
            Err(_) if opens_terminal => {
                return self.terminal_cannot_start(id, "it was cancelled before it was started");
            }
            Err(Some(report)) => return self.over(report),
            Err(None) => return,
        }
        if opens_terminal {
            let spec = ProcessSpec { runner: self.runner.clone(), mark, ..ProcessSpec::default() };
            return self.spawn(id, &spec, None);
        }
        let Some(request) = request else {
            return self
                .refuse(id, "the agent has lost what was to be run; ask again under a new id");
        };
        if self.terminal.is_some() {
            return self.ask_desk(id, request);
        }
        match &request.input {
            None | Some(CommandInput::Text) => {}
            Some(CommandInput::Keys) => {
                return self.refuse(id, "this agent has no terminal in which keys could be pressed; it runs each command by itself");
            }
            Some(CommandInput::Unknown(word)) => {
                let why = format!("this agent knows no input {word:?}; it knows text and keys");
                return self.refuse(id, &why);
            }
        }
        let spec = ProcessSpec {
            runner: self.runner.clone(),
            text: request.text,
            working_directory: request.working_directory.map(Into::into),
            environment: request.env.into_iter().collect(),
            arguments: request.args,
            mark,
        };
        let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
        self.spawn(id, &spec, limit);
    }

    fn spawn(&mut self, id: &CommandId, spec: &ProcessSpec, limit: Option<Duration>) {
        match process::spawn(spec, id.clone(), self.events_entry.clone()) {
            Ok(handle) => {
                tracing::info!(command = %id, pid = handle.pid(), "command started");
                self.book.on_started(id, limit, self.clock.now().monotonic);
                if let Some(process) = process::identify(handle.pid()) {
                    self.write(JournalEntry::Started { command: id.clone(), process });
                }
                let run = Run { command: id.clone(), incarnation: handle.incarnation() };
                let policy = self.policy_of(id);
                self.ask(SpoolRequest::Open(run.clone(), policy));
                self.outbox.open(run, policy);
                let running = Running { handle, cutters: PerStream::default(), muted: false };
                self.running.insert(id.clone(), running);
                if self.is_own_terminal(id) {
                    return self.terminal_started();
                }
                self.due.acknowledge(id.clone());
            }
            Err(error) if self.is_own_terminal(id) => {
                self.terminal_cannot_start(id, &error.to_string());
            }
            Err(error) => self.refuse(id, &error.to_string()),
        }
    }

    fn refuse(&mut self, id: &CommandId, why: &str) {
        self.counters.count("commands_refused");
        tracing::warn!(command = %id, %why, "command not started");
        let had_begun = self.book.status(id) == CommandAckStatus::Received;
        self.requests.remove(id);
        self.marks.remove(id);
        let report = self.book.refuse(id, reason(why));
        // One that never left the line needs no entry to be known as never started.
        if had_begun { self.over(report) } else { self.due.report(report) }
    }

    pub(super) fn on_cancel(&mut self, id: &CommandId, force: bool) {
        match self.book.on_cancel(id) {
            CancelDecision::Kill => {
                tracing::info!(command = %id, force, "cancelling a command");
                if let Some(running) = self.running.get(id) {
                    if force { running.handle.kill() } else { running.handle.cancel(GRACE) }
                }
            }
            CancelDecision::Withheld => {
                tracing::info!(command = %id, "cancelled before it was started");
                self.withdraw_from_desk(id);
            }
            CancelDecision::Report(_) if self.held.contains_key(id) => {
                tracing::debug!(command = %id, "cancelled too late; its report waits for its output");
            }
            CancelDecision::Report(report) => self.due.report(report),
            CancelDecision::NeverRan(report) => {
                self.requests.remove(id);
                self.due.report(report);
            }
        }
    }

    /// Ends everything that runs, without grace if `at_once`.
    pub(super) fn stop_all(&mut self, by: StoppedBy, at_once: bool) {
        for id in self.book.unfinished() {
            self.note(&id).stopped_by.get_or_insert(by);
            self.on_cancel(&id, at_once);
        }
    }

    /// The agent is being stopped: nothing new, and reading goes on, since the end of a process is
    /// told only when its output was read.
    pub(super) fn wind_up(&mut self, at_once: bool) {
        self.stopping = true;
        self.finish_terminal();
        self.book.pause(true);
        self.stop_all(StoppedBy::Agent, at_once);
        self.outbox.wind_up();
        self.perform();
    }

    /// Nothing is started; what comes waits.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.advance();
    }

    /// Ends the process groups of commands that ran over their limits, and does what else is due.
    pub(super) fn expire(&mut self) {
        self.outbox.on_time(self.clock.now().monotonic);
        if self.spool_failed && self.outbox.disk_works() {
            tracing::info!("trying the spool again");
            self.spool_failed = false;
            self.ask(SpoolRequest::Retry);
        }
        self.perform();
        for id in self.book.take_expired(self.clock.now().monotonic) {
            self.counters.count("commands_over_limit");
            tracing::warn!(command = %id, "a command ran over its time limit; ending it");
            if let Some(running) = self.running.get(&id) {
                running.handle.cancel(GRACE);
            }
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.book.deadline().min(self.outbox.deadline()).min(self.terminal_deadline())
    }

    pub(super) fn on_output(&mut self, id: &CommandId, stream: Stream, bytes: Bytes) {
        if self.is_own_terminal(id) {
            self.watch_terminal(&bytes);
        }
        let Some(running) = self.running.get_mut(id) else { return };
        if running.muted {
            return;
        }
        let whole = running.cutters.get_mut(stream).push(bytes);
        if self.stopping && self.outbox.is_full() && !self.note(id).output_cut {
            self.note(id).output_cut = true;
            self.counters.count("output_cut");
            tracing::warn!(command = %id, "stopping, and the server takes no output; what does not fit becomes a gap");
        }
        self.outbox.push(id, stream, whole);
        self.perform();
    }

    pub(super) fn on_ended(&mut self, id: &CommandId, exit: Exit, group_empty: bool) {
        let Some(mut running) = self.running.remove(id) else { return };
        if !running.muted {
            for stream in Stream::ALL {
                self.outbox.push(id, stream, running.cutters.get_mut(stream).finish());
            }
        }
        self.outbox.end(id);
        self.perform();
        if !group_empty {
            self.counters.count("groups_not_confirmed_empty");
            tracing::warn!(command = %id, pid = running.handle.pid(), "a command ended, but its process group could not be confirmed empty");
            self.note(id).group_may_live = true;
            self.groups_may_live = true;
        }
        let now = self.clock.now();
        let totals = self.outbox.totals(id);
        match self.book.on_ended(id, exit, totals, now.monotonic, now.wall) {
            Some(report) => {
                let (status, ms) = (&report.status, report.duration_ms);
                tracing::info!(command = %id, %exit, %status, ms, "command ended");
                if self.is_own_terminal(id) {
                    self.terminal_ended(exit);
                }
                self.over(report);
                self.advance();
                self.look_whether_empty();
            }
            None => {
                self.counters.count("ends_without_command");
                tracing::error!(command = %id, %exit, "a process ended that the book does not know");
            }
        }
    }

    pub(super) fn on_confirmed(&mut self, id: &CommandId) {
        if self.reported.remove(id) {
            self.confirm(id);
        }
    }

    fn confirm(&mut self, id: &CommandId) {
        self.book.on_confirmed(id);
        self.notes.remove(id);
        self.write(JournalEntry::Confirmed { command: id.clone() });
    }

    /// The server says that it knows no such command: what is kept for it would be sent for ever.
    pub(super) fn on_unknown_to_server(&mut self, id: &CommandId) {
        self.counters.count("commands_unknown_to_server");
        tracing::warn!(command = %id, "the server does not know this command; dropping its output and its report");
        if let Some(running) = self.running.get_mut(id) {
            running.muted = true;
        }
        let all = ByteOffset(u64::MAX);
        if let Some(incarnation) = self.outbox.totals(id).map(|totals| totals.incarnation) {
            for stream in Stream::ALL {
                self.outbox.on_stored(id, incarnation, stream, all);
            }
        }
        self.left.give_up(id);
        self.settle(id);
        self.due.forget(id);
        self.reported.remove(id);
        self.confirm(id);
        self.perform();
    }

    /// A session begins: all that the server has not confirmed is said again.
    pub(super) fn on_joined(&mut self, window: u64, rules: Rules) {
        self.joined = true;
        self.resumes = rules.output_resumes;
        self.reported.clear();
        self.due.clear();
        if rules.output_resumes {
            self.outbox.resume(window, self.clock.now().monotonic);
            self.say_what_is_held(None);
        } else {
            self.outbox.restart(window);
        }
        for id in self.book.open().into_iter().filter(CommandId::is_terminal) {
            self.due.open(self.opened(id));
        }
        self.book.unfinished().into_iter().for_each(|id| self.due.acknowledge(id));
        for id in self.held.keys().filter(|id| !self.left.has(id)) {
            self.due.acknowledge(id.clone());
        }
        self.left.on_session();
        for id in self.left.commands() {
            self.settle(&id);
        }
        self.repeat_reports();
    }

    /// Says every report again that the server has not confirmed.
    pub(super) fn repeat_reports(&mut self) {
        for report in self.book.unconfirmed() {
            if !self.held.contains_key(&report.command_id) {
                self.due.report(report);
            }
        }
    }

    /// The next thing to say. What was said stays with us until [`said`](Self::said).
    pub(super) fn next_word(&mut self) -> Option<Word> {
        match self.due.next() {
            Some(Word::Over(report)) => {
                let notes = self.notes.get(&report.command_id).copied().unwrap_or_default();
                Some(Word::Over(notes.amend(report)))
            }
            Some(word) => Some(word),
            None => self.outbox.next_to_send().map(Word::Wrote),
        }
    }

    /// A word was handed to the link.
    pub(super) fn said(&mut self, word: &Word, rules: Rules) {
        match word {
            Word::Stopped(..)
            | Word::Opened(_)
            | Word::Has(_)
            | Word::Holds(_)
            | Word::BrokeOff(..) => {}
            Word::Over(report) if report.command_id.is_terminal() && !rules.knows_terminals => {
                self.confirm(&report.command_id);
            }
            Word::Over(report) if rules.reports_are_confirmed => {
                self.reported.insert(report.command_id.clone());
            }
            Word::Over(report) => self.confirm(&report.command_id),
            Word::Wrote(_) if rules.output_resumes => {}
            Word::Wrote(sent) if rules.output_is_stored => {
                self.outbox.pass_gaps(&sent.run.command);
                self.settle(&sent.run.command);
                self.perform();
            }
            Word::Wrote(sent) => {
                self.outbox.on_sent_to_legacy(sent);
                self.settle(&sent.run.command);
                self.perform();
            }
        }
    }

    /// Whether there is something to say, now or once the server stores what it has.
    pub(super) fn has_words(&self) -> bool {
        !self.due.is_empty() || !self.outbox.is_empty() || !self.unwritten.is_empty()
    }

    /// Whether a report waits for its confirmation.
    pub(super) fn awaits_confirmation(&self) -> bool {
        !self.reported.is_empty()
    }

    /// How far a command is.
    pub(super) fn status(&self, id: &CommandId) -> CommandAckStatus {
        self.book.status(id)
    }

    /// Commands that run, then those whose ends are not confirmed, at most `most`.
    pub(super) fn open(&self, most: usize) -> Vec<CommandId> {
        let running = self.book.unfinished();
        let known: BTreeSet<_> = running.iter().cloned().collect();
        let ended = self.book.open().into_iter().filter(|id| !known.contains(id));
        running.iter().cloned().chain(ended).take(most).collect()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn finished(&self) -> u64 {
        self.book.finished()
    }

    fn note(&mut self, id: &CommandId) -> &mut Notes {
        while self.notes.len() >= NOTED && !self.notes.contains_key(id) {
            self.notes.pop_first();
        }
        self.notes.entry(id.clone()).or_default()
    }
}

#[cfg(test)]
mod tests;
