//! The worker itself: each event goes to the part that it is about, and what they hand on is worked off one by one.

use super::activity::Activities;
use super::background::Background;
use super::carrier::{AskedBy, Carrier, ForTerminal, NewRun};
use super::commands::Commands;
use super::course::Course;
use super::delivery::News;
use super::emergency::EmergencyStop;
use super::event::{
    Recovered, Rest, WorkerAction, WorkerConfig, WorkerEvent, WorkerMessage, WorkerSession,
};
use super::findings::Findings;
use super::handover::{Handover, Passed, is_there};
use super::journal::Journal;
use super::message;
use super::note::WorkerNote;
use super::outbound::Outbound;
use super::outputs::Outputs;
use super::recovery::{recover_command, recover_run};
use super::shutdown::{Left, Shutdown};
use super::stops::Stops;
use super::terminal::{Terminal, opened_earlier};
use super::terminal_work::TerminalWork;
use super::uplink::Offer;
use super::work::Work;
use crate::command::Awaited;
use crate::id::{CommandId, StopId};
use crate::limits::Limits;
use crate::model::{Activity, Exit, Force, PastFinding, Pausing, Stream};
use crate::output::SpoolEvent;
use crate::session::frames::AgentProfile;
use crate::time::{Deadline, Now};
use crate::wire::Draft;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// The work of one agent. A [queue machine](crate::step#two-contracts); see the [module](super).
#[derive(Debug)]
pub struct Worker {
    pub(super) course: Course,
    pub(super) terminal: Option<TerminalWork>,
    pub(super) activities: Activities,
    pub(super) findings: Findings,
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
        let Recovered { journal: before, cleared, runs, findings, findings_ago, run_before } =
            recovered;
        let mut course = Course {
            commands: Commands::new(slots, unique),
            draft: Draft::default(),
            handover: Handover::new(spool, policy),
            stops: Stops {
                emergency: EmergencyStop::recovered(before.stop().cloned()),
                background: Background::new(background),
                shutdown: None,
            },
            journal: Journal::new(journal),
            fence,
            pausing: Pausing::Running,
            out: Outputs::default(),
        };
        course.commands.all.recover(&before);
        if course.stops.emergency.is_latched() {
            course.out.note(WorkerNote::StopFound);
        }
        cleared.into_iter().for_each(|cleared| recover_command(&mut course, cleared));
        runs.into_iter().for_each(|run| recover_run(&mut course, run, &before));
        let mut worker = Self {
            course,
            terminal: terminal
                .map(|config| TerminalWork::new(Terminal::new(config, now.monotonic))),
            activities: Activities::new(activity, now.monotonic),
            findings: Findings::new(now),
        };
        worker.findings.recover(findings, findings_ago, now);
        if let Some(finding) = run_before {
            worker.findings.note(finding, Duration::ZERO, now);
        }
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
            WorkerEvent::SessionEnded => self.course.handover.end(),
            WorkerEvent::Found { finding, lasted } => self.findings.note(finding, lasted, now),
            WorkerEvent::Overslept(late) => self.findings.note_stall(late, now),
            WorkerEvent::LinkOpened(local) => self.findings.on_link_opened(local, now),
            WorkerEvent::LinkEnded => self.findings.on_link_ended(now),
            WorkerEvent::Refused(cause) => {
                self.course.handover.end();
                self.on_refused(cause, now);
            }
            WorkerEvent::Message(message) => {
                let Course { handover, out, .. } = &mut self.course;
                let agreed = handover.uplink.capabilities();
                let instruction = message::read(*message, agreed, |note| out.note(note));
                self.on_instruction(instruction, now);
            }
            WorkerEvent::Sent => {
                if let Some(item) = self.course.handover.uplink.take_sent(now.monotonic) {
                    self.mark_sent(&item, now);
                }
            }
            WorkerEvent::Started { command, process } => {
                let run = self.course.on_started(&command, process, now);
                self.on_started(&command, run, now);
            }
            WorkerEvent::NotStarted { command, why } => self.on_not_started(&command, &why, now),
            WorkerEvent::Ended { command, exit, rest, open } => {
                self.on_ended(&command, (exit, rest), &open, now);
            }
            WorkerEvent::Cleared(command) => self.course.on_cleared(&command),
            WorkerEvent::Journalled { awaited, outcome } => {
                let by = match &awaited {
                    Awaited::Start(id) if self.is_terminal_run(id) => AskedBy::Agent,
                    Awaited::Start(_) | Awaited::End(_) | Awaited::Stop(_) => AskedBy::User,
                };
                self.course.on_journalled(awaited, outcome, by);
            }
            WorkerEvent::Spool(event) => self.on_spool(event, now),
            WorkerEvent::PasteRead(command) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.on_paste_read(&command, now);
                }
            }
            WorkerEvent::Typed { command, outcome } => {
                if let Some(terminal) = &mut self.terminal {
                    let activities = &mut self.activities;
                    terminal.on_typed(&command, outcome, &mut self.course, activities, now);
                }
            }
            WorkerEvent::TypedRemotely { stroke, outcome } => {
                if let Some(TerminalWork { terminal, remote }) = &mut self.terminal {
                    let (course, activities) = (&mut self.course, &mut self.activities);
                    remote.on_typed(&stroke, outcome, terminal, course, activities, now);
                }
            }
            WorkerEvent::Looked(settings) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.on_looked(settings, &mut self.course, &mut self.activities, now);
                }
            }
            WorkerEvent::Fact { command, fact, age } => {
                let out = &mut self.course.out;
                self.activities.on_fact(&command, &fact, age, now.monotonic, out);
            }
            WorkerEvent::Screen(event) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.on_screen(event, &mut self.course, &mut self.activities, now);
                }
            }
            WorkerEvent::Program { command, state } => {
                if let Some(work) = self.terminal.as_mut().filter(|w| w.terminal.is_run(&command)) {
                    work.terminal.stopped.on_state(state, now);
                }
            }
            WorkerEvent::ShutDown => self.on_shut_down(now),
        }
        self.work_off(now);
    }

    /// Works off what is on the list, until nothing is to be done.
    fn work_off(&mut self, now: Now) {
        loop {
            if let Some(work) = self.course.out.take_work() {
                self.work(work, now);
            } else if !self.serve_terminal(now) {
                break;
            }
        }
        self.activities.tell(&mut self.course.handover.uplink, now);
        let Course { commands, stops, out, .. } = &mut self.course;
        let runs = !commands.are_none();
        stops.look_after_background(runs, now.monotonic, out);
        if !runs && stops.background.is_empty() && stops.emergency.on_nothing_runs() {
            self.course.say_receipt();
        }
        self.look_whether_to_end(now);
    }

    fn work(&mut self, work: Work, now: Now) {
        match work {
            Work::Advance => {
                let terminal = self.terminal.as_ref().map(|work| &work.terminal);
                self.course.advance(terminal.is_some_and(Terminal::is_awaited));
            }
            Work::Start(id) => self.start(&id, now),
            Work::Over(report) => self.course.over(report),
            Work::Settle(id) => self.course.handover.settle(&id),
            Work::Acknowledge(id) => self.course.acknowledge_waiting(id),
        }
    }

    /// Does the next thing that is due for the terminal. Whether there was one.
    fn serve_terminal(&mut self, now: Now) -> bool {
        let Some(work) = &mut self.terminal else { return false };
        match work.terminal.take_finished() {
            Some(why) if !self.course.stops.is_ending() => {
                self.end(why, Force::Grace, now);
                true
            }
            // The agent ends already, for a reason of its own.
            Some(_) | None => work.serve(&mut self.course, &mut self.activities, now),
        }
    }

    fn look_whether_to_end(&mut self, now: Now) {
        let is_typing = self.terminal.as_ref().is_some_and(|work| work.terminal.is_typing());
        let Course { commands, handover, stops, out, .. } = &mut self.course;
        let in_session = handover.uplink.has_session();
        let left = Left {
            running: !commands.are_none() || !stops.background.is_empty() || is_typing,
            unsent: in_session && handover.has_messages(),
            unconfirmed: in_session && handover.reports.awaits_confirmation(),
            sent_unconfirmed_at: handover.uplink.unconfirmed_at(),
        };
        if let Some(end) = stops.shutdown.as_mut().and_then(|s| s.look(left, now.monotonic)) {
            let running = commands.count() + stops.background.count();
            if running > 0 {
                out.note(WorkerNote::LeftRunning(running));
            }
            out.act(WorkerAction::End(end));
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<WorkerAction> {
        if let Some(action) = self.course.out.take_action() {
            return Some(action);
        }
        // Asked for one by one, since a disk that fails at one takes back those behind it.
        self.course.handover.delivery.poll_action().map(WorkerAction::from)
    }

    /// What is to be handed to the link next, if there is a session and something to say. The same comes
    /// again until [`WorkerEvent::Sent`] says that the link took it, or the session is over. Hand all of
    /// them to one queue that keeps their order: it keeps a report behind its output where nothing is
    /// acknowledged. May leave actions.
    pub fn next_message(&mut self, now: Now) -> Option<WorkerMessage> {
        loop {
            let all = &self.course.commands.all;
            let terminal = self.terminal.as_ref().map(|work| &work.terminal);
            let status = |id: &CommandId| {
                let status = all.status(id);
                let waits_for = terminal.and_then(|terminal| terminal.waits_for(id, &status));
                (status, waits_for)
            };
            match self.course.handover.next(status)? {
                Offer::Message(message) => return Some(message),
                // A server that has no form for something does not miss it.
                Offer::Formless(item) => {
                    self.mark_sent(&item, now);
                    self.work_off(now);
                }
            }
        }
    }

    /// When to say [`WorkerEvent::Wake`], if nothing else happens first.
    pub fn deadline(&self) -> Deadline {
        let Course { commands, handover, stops, .. } = &self.course;
        let terminal = self.terminal.as_ref();
        let terminal = terminal.map_or(Deadline::Never, TerminalWork::deadline);
        let shutdown = stops.shutdown.as_ref().map_or(Deadline::Never, Shutdown::deadline);
        let killing = stops.deadline(!commands.are_none());
        let work = commands.all.deadline().min(handover.deadline());
        work.min(terminal).min(shutdown).min(killing).min(self.activities.deadline())
    }

    // --- sessions

    fn on_joined(&mut self, session: WorkerSession, now: Now) {
        let (capabilities, stopped) = (session.capabilities, session.stopped.clone());
        let Course { commands, draft, handover, out, .. } = &mut self.course;
        // What of it arrived is sent again, with the rest.
        *draft = Draft::default();
        handover.begin(session, &commands.all, now.monotonic, out);
        self.findings.on_session(capabilities, &mut handover.uplink.queue, now);
        for id in commands.all.open() {
            if id.is_terminal() && is_there(&commands.all, &id) {
                handover.uplink.queue.open(match &self.terminal {
                    Some(work) => work.terminal.opened(id),
                    None => opened_earlier(id),
                });
            }
        }
        if let Some(work) = &mut self.terminal {
            work.remote.on_session();
            work.say_program_fault(&mut self.course, now);
        }
        self.activities.repeat(&mut self.course.handover.uplink, now);
        if capabilities.latches_stops() {
            // A welcome that names no stop releases the one that is in force (P-197).
            if let Some(released) = self.course.stops.emergency.on_welcome(stopped.as_ref()) {
                self.on_released(released);
            }
            if let Some(stop) = stopped {
                self.on_stop_order(stop);
            }
        }
    }

    /// It counts as said.
    fn mark_sent(&mut self, item: &Outbound, now: Now) {
        match self.course.handover.mark_sent(item, now.monotonic) {
            Passed::Nothing => {}
            Passed::Confirmed(id) => self.course.confirm(&id),
            Passed::Settle(id) => self.course.out.later([Work::Settle(id)]),
        }
    }

    // --- processes

    /// Whether this is what runs in the terminal, or is about to.
    pub(super) fn is_terminal_run(&self, id: &CommandId) -> bool {
        self.terminal.as_ref().is_some_and(|work| work.terminal.is_run(id))
    }

    fn start(&mut self, id: &CommandId, now: Now) {
        let carrier = match &self.terminal {
            Some(work) if work.terminal.is_run(id) => Carrier::Terminal(work.terminal.size()),
            Some(_) => Carrier::Typing,
            None => Carrier::Process,
        };
        let for_terminal = self.course.start(id, carrier);
        let Some(terminal) = &mut self.terminal else { return };
        match for_terminal {
            ForTerminal::Nothing => {}
            ForTerminal::ToBeTyped(request) => terminal.ask(id, *request, &mut self.course, now),
            ForTerminal::ProgramCancelled => {
                let why = "it was cancelled before it was started";
                terminal.on_not_started(id, why, &mut self.course, now);
            }
        }
    }

    fn on_started(&mut self, id: &CommandId, run: NewRun, now: Now) {
        let end = match run {
            NewRun::Unexpected => return,
            NewRun::GoesOn => None,
            NewRun::IsToEnd(force) => Some(force),
        };
        self.activities.begin(id, now.monotonic);
        match &mut self.terminal {
            Some(work) if work.terminal.is_run(id) => work.on_started(id, &mut self.course, now),
            Some(_) | None => self.course.handover.uplink.queue.acknowledge(id.clone()),
        }
        if let Some(force) = end {
            self.end_process(id, force);
        }
    }

    fn on_not_started(&mut self, id: &CommandId, why: &str, now: Now) {
        if self.course.commands.take_start(id).is_none() {
            return self.course.out.note(WorkerNote::Unexpected(id.clone()));
        }
        match &mut self.terminal {
            Some(work) if work.terminal.is_run(id) => {
                work.on_not_started(id, why, &mut self.course, now);
            }
            Some(_) | None => self.course.on_not_started(id, why),
        }
    }

    fn on_output(&mut self, id: &CommandId, stream: Stream, bytes: Bytes, now: Now) {
        if let Some(work) = self.terminal.as_mut().filter(|work| work.terminal.is_run(id)) {
            work.on_output(&bytes, &mut self.course, now);
        }
        self.activities.on_output(id, &bytes, now.monotonic, &mut self.course.out);
        self.course.on_output(id, stream, bytes);
    }

    fn on_ended(&mut self, id: &CommandId, end: (Exit, Rest), open: &[Stream], now: Now) {
        self.activities.end(id);
        let Some(report) = self.course.on_ended(id, end, open, now) else { return };
        if let Some(work) = self.terminal.as_mut().filter(|work| work.terminal.is_run(id)) {
            work.on_ended(end.0, &report.status, &mut self.course, now);
        }
        self.course.out.later([Work::Over(report)]);
    }

    // --- time and the disk

    fn on_time(&mut self, now: Now) {
        let Course { handover, out, .. } = &mut self.course;
        if let Some(retry) = handover.delivery.on_time(now.monotonic) {
            out.note(WorkerNote::SpoolRetried);
            out.act(WorkerAction::Spool(retry));
        }
        self.course.end_expired(now.monotonic);
        let Course { commands, handover, out, .. } = &mut self.course;
        if handover.reports.take_repeat(now.monotonic) {
            out.note(WorkerNote::ReportsRepeated);
            handover.repeat_reports(&commands.all);
        }
    }

    fn on_spool(&mut self, event: SpoolEvent, now: Now) {
        let failed = match &event {
            SpoolEvent::Failed(why) | SpoolEvent::NotRead(_, _, why) => Some(why.clone()),
            SpoolEvent::Appended(..) | SpoolEvent::Page(..) => None,
        };
        let news = self.course.handover.delivery.on_spool(event, now.monotonic);
        if let (News::Changed, Some(why)) = (news, failed) {
            self.course.out.note(WorkerNote::SpoolFailed(why));
        }
    }

    // --- what others look at

    /// Whether something waits to be said, now or once the server stores what it has.
    pub fn has_messages(&self) -> bool {
        self.course.handover.has_messages()
    }

    /// Commands that have not ended, then those whose ends are not confirmed, at most this many: what a hello
    /// says.
    pub fn open_commands(&self, most: usize) -> Vec<CommandId> {
        self.course.commands.open(most)
    }

    /// Puts into a hello what it says of the work.
    pub fn tell_of(&self, hello: &mut AgentProfile) {
        hello.open_commands = self.open_commands(Limits::DEFAULT.list_entries);
        hello.stop = self.stop_in_force().cloned();
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
        self.course.commands.count()
    }

    /// Commands that have ended and left something running.
    pub fn background(&self) -> impl Iterator<Item = &CommandId> {
        self.course.stops.background.ids()
    }

    /// How many ran to their end.
    pub const fn finished(&self) -> u64 {
        self.course.commands.all.finished()
    }

    /// The emergency stop in force.
    pub const fn stop_in_force(&self) -> Option<&StopId> {
        self.course.stops.emergency.order()
    }

    /// Whether commands are started, as far as orders go.
    pub const fn pausing(&self) -> Pausing {
        self.course.pausing
    }

    /// Whether the disk takes no output.
    pub fn spool_has_failed(&self) -> bool {
        self.course.handover.delivery.disk_has_failed()
    }

    /// Whether the journal takes nothing.
    pub fn journal_has_failed(&self) -> bool {
        self.course.journal.has_failed()
    }
}
