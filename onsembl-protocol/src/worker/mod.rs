//! The work of one agent as one machine: which commands run, what is written down before they do, what of
//! their output is kept, what is sent to the server and repeated, what is awaited before the agent may end.
//!
//! A [`Worker`] is a [queue machine](crate::step#two-contracts): its outputs own bytes, so they wait inside it until they are taken.
//!
//! 1. [`handle`](Worker::handle) each event, with the time.
//! 2. Take and perform actions until [`poll_action`](Worker::poll_action) gives none. What comes of one is an
//!    event.
//! 3. While the link has room, take [`next_message`](Worker::next_message), hand it to the link and say
//!    [`WorkerEvent::Sent`]; then continue with 2.
//! 4. Wait for whichever comes first: something happened, or the [`deadline`](Worker::deadline) has come,
//!    which is the event [`Wake`](WorkerEvent::Wake).
//!
//! It opens no process, no file and no link, and draws no randomness: what makes ids unique comes with its
//! [`WorkerConfig`].
//!
//! # What is promised
//!
//! - A command starts at most once under one journal: its start is durable before
//!   [`WorkerAction::Start`].
//! - An end is reported after it is durable, after all output before it is stored, and until the server
//!   has confirmed it. In a new session everything that is not confirmed is sent again.
//! - While an emergency stop is in force nothing starts, also not in a successor of this process; the server learns so
//!   only once that is durable, and that everything has ended only once it has.
//!
//! # Bounds
//!
//! A server can make a worker hold: 64 commands that wait (one
//! more is refused), 4,096 ended commands (the oldest confirmed one is forgotten first), 4,096 ends whose
//! output is not stored (then commands are refused, and the program of a terminal is not started), 64 pages
//! of answers to its questions (the oldest go). Output is bounded by [`SpoolBounds`].

mod activity;
mod after_exit;
mod background;
mod background_policy;
mod commands;
mod course;
mod delivery;
mod doubts;
mod emergency;
mod end;
mod escapes;
mod event;
mod fence;
mod findings;
mod form;
mod journal;
mod kin;
mod message;
mod note;
mod outbound;
mod remote_typing;
mod report;
mod shutdown;
mod sizes;
mod terminal;
mod typing;
#[cfg(any(feature = "sim", feature = "testing"))]
mod unstored;
mod uplink;
mod work;

pub use crate::activity::{ActivityConfig, Call, Fact, HookEvent, Meaning, StreamFormat, ToolUser};
pub use crate::command::{
    Awaited, Cleared, CommandJournal, DEFAULT_SLOTS, Fate, JournalEntry, LeftBehind,
    ProcessIdentity, Remains, Standing,
};
pub use crate::model::Severity;
pub use crate::output::{
    CHUNK_BYTES, LeftRun, RECORD_COST, Record, RecordBody, RecoveredRun, Run, SpoolBounds,
    SpoolEvent, SpoolPolicy, SpoolRequest, StreamState,
};
pub use crate::terminal::{
    CarriageReturn, Echo, EnvironmentChange, Foreground, HiddenBytes, LineMode, Modes, Place,
    RemotePiece, RemoteStroke, Stroke, StrokeKind, Surroundings, TerminalSettings, Typed, Typing,
};
pub use after_exit::AfterExit;
pub use background_policy::BackgroundPolicy;
pub use end::WorkerEnd;
pub use escapes::plain_text;
pub use event::{
    Journalling, Predecessor, Recovered, RemoteOutcome, Rest, Screen, ScreenAction, ScreenEvent,
    Task, TerminalConfig, TypingOutcome, Waiting, WorkerAction, WorkerConfig, WorkerEvent,
    WorkerMessage, WorkerSession,
};
pub use fence::Fence;
pub use kin::{Kinship, Orphans, ProcessName, RunKey, RunRest, SeenProcess};
pub use note::WorkerNote;
#[cfg(any(feature = "sim", feature = "testing"))]
pub use unstored::{UnstoredOutput, WriterState};

use crate::id::{CommandId, StopId};
use crate::model::{Activity, Force, PastFinding, Pausing, Stream};
use crate::terminal::RemoteKeys;
use crate::time::{Deadline, Now};
use crate::wire::payload::CommandAckStatus;
use activity::Activities;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use background::Background;
use commands::Commands;
use delivery::{Delivery, News};
use doubts::Doubts;
use emergency::EmergencyStop;
use findings::Findings;
use journal::Journal;
use message::Instruction;
use outbound::Outbound;
use report::{Reports, StoppedBy};
use shutdown::{Left, Shutdown};
use sizes::Sizes;
use terminal::Terminal;
use uplink::{Expected, Offer, Uplink};
use work::Work;

/// The work of one agent. See the [module](self).
#[derive(Debug)]
pub struct Worker {
    commands: Commands,
    delivery: Delivery,
    reports: Reports,
    uplink: Uplink,
    emergency: EmergencyStop,
    background: Background,
    terminal: Option<Terminal>,
    sizes: Sizes,
    activities: Activities,
    fence: Fence,
    journal: Journal,
    pausing: Pausing,
    doubts: Doubts,
    findings: Findings,
    shutdown: Option<Shutdown>,
    todo: VecDeque<Work>,
    actions: VecDeque<WorkerAction>,
}

impl Worker {
    /// A worker that takes up what an earlier process of the agent left. It has actions at once.
    pub fn new(config: WorkerConfig, recovered: Recovered, now: Now) -> Self {
        let WorkerConfig {
            slots,
            spool,
            policy,
            journal,
            terminal,
            fence,
            background,
            activity,
            unique,
        } = config;
        let Recovered { journal: before, cleared, runs, findings, findings_ago } = recovered;
        let mut worker = Self {
            commands: Commands::new(slots, unique),
            delivery: Delivery::new(spool, policy),
            reports: Reports::default(),
            uplink: Uplink::default(),
            emergency: EmergencyStop::recovered(before.stop().cloned()),
            background: Background::new(background),
            terminal: terminal.map(|config| Terminal::new(config, now.monotonic)),
            sizes: Sizes::default(),
            activities: Activities::new(activity, now.monotonic),
            fence,
            journal: Journal::new(journal),
            pausing: Pausing::Running,
            doubts: Doubts::default(),
            findings: Findings::new(now),
            shutdown: None,
            todo: VecDeque::new(),
            actions: VecDeque::new(),
        };
        worker.findings.recover(findings, findings_ago, now);
        worker.commands.all.recover(&before);
        if worker.emergency.is_latched() {
            worker.note(WorkerNote::StopFound);
        }
        cleared.into_iter().for_each(|cleared| worker.recover_command(cleared));
        runs.into_iter().for_each(|run| worker.recover_run(run, &before));
        worker.work_off(now);
        worker
    }

    /// Takes an event. Actions may follow.
    pub fn handle(&mut self, event: WorkerEvent, now: Now) {
        match event {
            WorkerEvent::Output { command, stream, bytes } => {
                // The most frequent event, which changes nothing else.
                return self.on_output(&command, stream, bytes, now);
            }
            WorkerEvent::Wake => self.on_time(now),
            WorkerEvent::Joined(session) => self.on_joined(session, now),
            WorkerEvent::SessionEnded => self.on_session_ended(),
            WorkerEvent::Found { finding, lasted } => self.findings.note(finding, lasted, now),
            WorkerEvent::Overslept(late) => self.findings.note_stall(late, now),
            WorkerEvent::LinkOpened(local) => self.findings.on_link_opened(local, now),
            WorkerEvent::LinkEnded => self.findings.on_link_ended(now),
            WorkerEvent::Refused(cause) => {
                self.on_session_ended();
                let why = WorkerEnd::Refused(cause);
                match why.is_replacement() {
                    true => self.leave(why, now),
                    false => self.end(why, Force::Grace, now),
                }
            }
            WorkerEvent::Message(message) => {
                let agreed = self.uplink.capabilities();
                let (actions, message) = (&mut self.actions, *message);
                let note = |note| actions.push_back(WorkerAction::Note(note));
                let instruction = message::read(message, agreed, note);
                self.on_instruction(instruction, now);
            }
            WorkerEvent::Sent => {
                if let Some(item) = self.uplink.take_sent(now.monotonic) {
                    self.mark_sent(&item, now);
                }
            }
            WorkerEvent::Started { command, process } => self.on_started(&command, process, now),
            WorkerEvent::NotStarted { command, why } => self.on_not_started(&command, &why, now),
            WorkerEvent::Ended { command, exit, rest, open } => {
                self.on_ended(&command, (exit, rest), &open, now);
            }
            WorkerEvent::Cleared(command) => self.on_cleared(&command),
            WorkerEvent::Journalled { awaited, outcome } => self.on_journalled(awaited, outcome),
            WorkerEvent::Spool(event) => self.on_spool(event, now),
            WorkerEvent::Typed { command, outcome } => self.on_typed(&command, outcome, now),
            WorkerEvent::TypedRemotely { stroke, outcome } => {
                self.on_typed_remotely(&stroke, outcome);
            }
            WorkerEvent::Looked(settings) => self.on_looked(settings, now),
            WorkerEvent::Fact { command, fact, age } => self.on_fact(&command, &fact, age, now),
            WorkerEvent::Screen(event) => self.on_screen(event, now),
            WorkerEvent::ShutDown => {
                // A second one does not restart the wait; it ends one for commands that run on (P-241).
                if self.shutdown.as_ref().is_none_or(Shutdown::is_patient) {
                    self.end(WorkerEnd::Shutdown, Force::Grace, now);
                }
            }
        }
        self.work_off(now);
    }

    /// Works off what is on the list, until nothing is to be done.
    fn work_off(&mut self, now: Now) {
        loop {
            if let Some(work) = self.todo.pop_front() {
                self.work(work, now);
            } else if !self.serve_terminal(now) {
                break;
            }
        }
        self.tell_activity(now);
        // What is asked to end may still start what it was about to.
        if self.commands.are_none() {
            self.look_after_background(now);
            if self.background.is_empty() && self.emergency.on_nothing_runs() {
                self.say_receipt();
            }
        }
        let unsent = self.uplink.has_session() && self.has_messages();
        let left = Left {
            running: !self.commands.are_none() || !self.background.is_empty() || self.is_typing(),
            unsent,
            unconfirmed: self.uplink.has_session() && self.reports.awaits_confirmation(),
            sent_unconfirmed_at: self.uplink.unconfirmed_at(),
        };
        if let Some(end) = self.shutdown.as_mut().and_then(|s| s.look(left, now.monotonic)) {
            let running = self.commands.count() + self.background.count();
            if running > 0 {
                self.note(WorkerNote::LeftRunning(running));
            }
            self.actions.push_back(WorkerAction::End(end));
        }
    }

    /// No command runs. If nothing is to be left of them either, what is left is ended.
    fn look_after_background(&mut self, now: Now) {
        if let Some(shutdown) = &mut self.shutdown
            && self.background.begin_leaving(now.monotonic)
        {
            shutdown.on_only_background(now.monotonic);
            self.stop_background(Force::Grace);
        }
        let is_to_end = self.emergency.is_latched() || self.shutdown.is_some();
        if is_to_end && self.background.take_sweep(now.monotonic) {
            self.actions.push_back(WorkerAction::Sweep);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<WorkerAction> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        // Asked for one by one, since a disk that fails at one takes back those behind it.
        self.delivery.poll_action().map(WorkerAction::from)
    }

    /// What is to be handed to the link next, if there is a session and something to say. The same comes
    /// again until [`WorkerEvent::Sent`] says that the link took it, or the session is over. Hand all of
    /// them to one queue that keeps their order: it keeps a report behind its output where nothing is
    /// acknowledged. May leave actions.
    pub fn next_message(&mut self, now: Now) -> Option<WorkerMessage> {
        loop {
            let all = &self.commands.all;
            let terminal = self.terminal.as_ref();
            let status = |id: &CommandId| {
                let status = all.status(id);
                let waits_for = terminal.and_then(|terminal| terminal.waits_for(id, &status));
                (status, waits_for)
            };
            let offer = self.uplink.offer(|queue| match queue.next(status) {
                Some(Outbound::Complete(report)) => {
                    Some(Outbound::Complete(self.reports.amend(report)))
                }
                Some(item) => Some(item),
                None => self.delivery.outbox_mut().next_to_send().map(Outbound::Output),
            });
            match offer? {
                Offer::Message(message) => return Some(message),
                Offer::Formless(item) => {
                    self.mark_sent(&item, now);
                    self.work_off(now);
                }
            }
        }
    }

    /// When to say [`WorkerEvent::Wake`], if nothing else happens first.
    pub fn deadline(&self) -> Deadline {
        let terminal = self.terminal.as_ref().map_or(Deadline::Never, Terminal::deadline);
        let shutdown = self.shutdown.as_ref().map_or(Deadline::Never, Shutdown::deadline);
        let work = self.commands.all.deadline().min(self.delivery.deadline());
        let sweep = match self.commands.are_none() {
            true => self.background.deadline(),
            false => Deadline::Never,
        };
        let activity = self.activities.deadline();
        work.min(self.reports.deadline()).min(terminal).min(shutdown).min(sweep).min(activity)
    }

    // --- sessions

    fn on_joined(&mut self, session: WorkerSession, now: Now) {
        let WorkerSession { capabilities, output_window, .. } = session;
        let stopped = session.stopped.clone();
        self.uplink.begin(session);
        if let Some(terminal) = &mut self.terminal {
            // Holds do not outlast a session, and their ids grow within one.
            terminal.remote = RemoteKeys::default();
        }
        self.findings.on_session(capabilities, &mut self.uplink.queue, now);
        self.reports.on_session();
        self.delivery.on_session(output_window, capabilities, now.monotonic);
        if capabilities.output_resumes() {
            self.delivery.report_output_state(None, &mut self.uplink.queue);
        }
        // A terminal that is being started is said when it runs. It may never, and then no message would say
        // that it is over.
        let all = &self.commands.all;
        let is_there =
            |id: &CommandId| !id.is_terminal() || all.status(id) != CommandAckStatus::Received;
        let terminals = all.open().into_iter().filter(|id| id.is_terminal() && is_there(id));
        let terminals: Vec<CommandId> = terminals.collect();
        let unfinished = all.unfinished();
        self.doubts.on_session(capabilities, &unfinished);
        for id in unfinished.into_iter().filter(is_there) {
            self.uplink.queue.acknowledge(id);
        }
        for id in terminals {
            let opened = self.opened(id);
            self.uplink.queue.open(opened);
        }
        for (id, record) in self.sizes.all() {
            self.uplink.queue.size(id.clone(), record);
        }
        for id in self.reports.withheld().filter(|id| !self.delivery.left().is_of_earlier(id)) {
            self.uplink.queue.acknowledge(id.clone());
        }
        self.todo.extend(self.delivery.left().commands().into_iter().map(Work::Settle));
        self.repeat_reports();
        self.say_program_fault(now);
        self.repeat_activity(now);
        if capabilities.latches_stops() {
            // A welcome that names no stop releases the one that is in force (P-197).
            if let Some(released) = self.emergency.on_welcome(stopped.as_ref()) {
                self.on_released(released);
            }
            if let Some(stop) = stopped {
                self.on_stop_order(stop);
            }
        }
    }

    fn on_session_ended(&mut self) {
        self.uplink.end();
    }

    /// Says every report again that the server has not confirmed and that may be said.
    fn repeat_reports(&mut self) {
        for report in self.commands.all.unconfirmed() {
            if !self.reports.withholds(&report.command_id) {
                self.uplink.queue.report(report);
            }
        }
    }

    /// It counts as said: what the server will confirm is awaited, and all else is over with that.
    fn mark_sent(&mut self, item: &Outbound, now: Now) {
        match self.uplink.pass(item) {
            Expected::Nothing => {}
            Expected::Confirmation(id) => self.reports.on_sent(id, now.monotonic),
            Expected::NoConfirmation(id) => self.confirm(id),
            Expected::StorageWithoutGaps(sent) => {
                self.delivery.outbox_mut().pass_gaps(&sent.run.command);
                self.todo.push_back(Work::Settle(sent.run.command.clone()));
            }
            Expected::NoStorage(sent) => {
                self.delivery.outbox_mut().on_sent_to_legacy(sent);
                self.todo.push_back(Work::Settle(sent.run.command.clone()));
            }
        }
    }

    // --- what the server asks for

    fn on_instruction(&mut self, instruction: Instruction, now: Now) {
        match instruction {
            Instruction::Ignore => {}
            Instruction::Run(id, request) => self.on_request(id, *request),
            Instruction::Cancel(id, Force::AtOnce) if self.doubts.doubts_cancel(&id) => {
                self.note(WorkerNote::CancelDoubted(id));
            }
            Instruction::Cancel(id, force) => self.cancel(&id, force),
            Instruction::Stored(ack) => {
                self.doubts.on_known(&ack.command_id);
                let agreed = self.uplink.capabilities();
                if ack.stream_type.stream() == Stream::Terminal {
                    self.sizes.on_stored(&ack.command_id, ack.offset);
                }
                self.delivery.on_ack(&ack, agreed);
                self.todo.push_back(Work::Settle(ack.command_id));
            }
            Instruction::Resume(resume) => {
                for position in &resume.streams {
                    self.doubts.on_position(&position.command_id, position.offset);
                }
                self.delivery.on_resume(&resume);
                let stored =
                    resume.streams.into_iter().map(|position| Work::Settle(position.command_id));
                self.todo.extend(stored);
            }
            Instruction::ReportOutputState(query) => {
                self.delivery.report_output_state(Some(query), &mut self.uplink.queue);
            }
            Instruction::Confirmed(id) => {
                // An acknowledgement of another session is none of this report.
                if self.reports.on_confirmed(&id) {
                    self.confirm(&id);
                }
            }
            Instruction::FindingsStored(number) => self.findings.on_stored(number),
            Instruction::UnknownCommand(id) => self.on_unknown_to_server(&id, now),
            Instruction::NotTaken(id) => self.on_not_taken(&id),
            Instruction::End(order, force) => self.end(WorkerEnd::Ordered(order), force, now),
            Instruction::Pause(pausing) => {
                self.pausing = pausing;
                self.actions.push_back(WorkerAction::SayPaused(pausing));
                self.todo.push_back(Work::Advance);
            }
            Instruction::Resize(size) => self.on_resize(size),
            Instruction::Type(input) => self.on_remote_input(input, now),
            Instruction::Stop(stop) => self.on_stop_order(stop),
            Instruction::Release(stop) => {
                if let Some(released) = self.emergency.on_release(&stop) {
                    self.on_released(released);
                }
            }
            Instruction::KillAll => self.stop_all(StoppedBy::Emergency, Force::AtOnce),
            Instruction::RenewToken(token) => {
                self.actions.push_back(WorkerAction::RenewToken(token));
            }
            Instruction::Complain(report) => {
                self.actions.push_back(WorkerAction::Complain(report));
            }
        }
    }

    /// An emergency stop; perhaps again, because the server has not heard that it is carried out.
    fn on_stop_order(&mut self, stop: StopId) {
        if self.emergency.on_order(stop.clone()) {
            self.note(WorkerNote::StopOrdered(stop.clone()));
            // Killing does not wait for the disk.
            self.stop_all(StoppedBy::Emergency, Force::AtOnce);
            self.background.sweep_at_once();
            self.write(JournalEntry::Stopped { stop });
        }
        self.say_receipt();
    }

    fn on_released(&mut self, stop: StopId) {
        self.background.stop_sweeping();
        self.note(WorkerNote::StopReleased(stop.clone()));
        self.write(JournalEntry::Released { stop });
    }

    /// Before the first session nothing is known of what a server takes.
    fn say_receipt(&mut self) {
        if let Some((stop, stage)) = self.emergency.receipt()
            && self.delivery.had_session()
        {
            self.uplink.queue.receipt(stop, stage);
        }
    }

    // --- time, the disk and the end

    fn on_time(&mut self, now: Now) {
        if let Some(retry) = self.delivery.on_time(now.monotonic) {
            self.note(WorkerNote::SpoolRetried);
            self.actions.push_back(WorkerAction::Spool(retry));
        }
        self.end_expired(now);
        if self.reports.take_repeat(now.monotonic) {
            self.note(WorkerNote::ReportsRepeated);
            self.repeat_reports();
        }
    }

    fn on_spool(&mut self, event: SpoolEvent, now: Now) {
        let failed = match &event {
            SpoolEvent::Failed(why) | SpoolEvent::NotRead(_, _, why) => Some(why.clone()),
            SpoolEvent::Appended(..) | SpoolEvent::Page(..) => None,
        };
        let news = self.delivery.on_spool(event, now.monotonic);
        if let (News::Changed, Some(why)) = (news, failed) {
            self.note(WorkerNote::SpoolFailed(why));
        }
    }

    /// The agent is to end: nothing starts any more, and what runs is ended. Reading continues, since the end
    /// of a process is reported only when its output was read.
    fn end(&mut self, why: WorkerEnd, force: Force, now: Now) {
        self.note(WorkerNote::Ending(why.clone()));
        match &mut self.shutdown {
            Some(shutdown) => shutdown.again(why, now.monotonic),
            None => self.shutdown = Some(Shutdown::new(why, now.monotonic)),
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.finish();
        }
        self.commands.all.pause(Pausing::Paused);
        self.stop_all(StoppedBy::Agent, force);
        self.delivery.wind_up();
    }

    /// Asks for an entry, if entries are written at all.
    fn write(&mut self, entry: JournalEntry) {
        if self.journal.is_kept() {
            self.actions.push_back(WorkerAction::Journal(entry));
        }
    }

    fn note(&mut self, note: WorkerNote) {
        self.actions.push_back(WorkerAction::Note(note));
    }

    /// Whether something waits to be said, now or once the server stores what it has.
    pub fn has_messages(&self) -> bool {
        !self.uplink.is_empty()
            || !self.delivery.outbox().is_empty()
            || self.reports.has_unwritten()
    }

    /// Commands that have not ended, then those whose ends are not confirmed, at most this many: what a hello
    /// says.
    pub fn open_commands(&self, most: usize) -> Vec<CommandId> {
        self.commands.open(most)
    }

    /// What it found while it was away and the server has not confirmed, the oldest first.
    pub fn findings(&self, now: Now) -> Vec<PastFinding> {
        self.findings.unconfirmed(now)
    }

    /// A number that is another one whenever [`findings`](Self::findings) has another content.
    pub fn findings_changed(&self) -> u64 {
        self.findings.changes()
    }

    /// What its program does, as it was told last.
    pub const fn activity(&self) -> Option<&Activity> {
        self.activities.shown()
    }

    /// How many commands run.
    pub fn running(&self) -> usize {
        self.commands.count()
    }

    /// Commands that have ended and left something running.
    pub fn background(&self) -> impl Iterator<Item = &CommandId> {
        self.background.ids()
    }

    /// How many ran to their end.
    pub const fn finished(&self) -> u64 {
        self.commands.all.finished()
    }

    /// The emergency stop in force.
    pub const fn stop_in_force(&self) -> Option<&StopId> {
        self.emergency.order()
    }

    /// Whether commands are started, as far as orders go.
    pub const fn pausing(&self) -> Pausing {
        self.pausing
    }

    /// Whether the disk takes no output.
    pub fn spool_has_failed(&self) -> bool {
        self.delivery.disk_has_failed()
    }

    /// Whether the journal takes nothing.
    pub fn journal_has_failed(&self) -> bool {
        self.journal.has_failed()
    }
}

#[cfg(test)]
mod tests;
