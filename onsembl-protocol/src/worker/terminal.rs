//! The terminal of a worker: its program is a command that the agent began itself, and is started again when it
//! ends; the
//! commands of users are typed into it. Here is whether the program runs and reads, what its screen gets, and what keys
//! become; what is typed for commands is in `typed_commands`.

use super::end::WorkerEnd;
use super::event::{Screen, TerminalConfig};
use super::local_screen::LocalScreen;
use super::stopped_program::{StopNews, StoppedProgram};
use super::typed_commands::{TypedCommands, Waits};
use crate::command::Exit;
use crate::id::CommandId;
use crate::model::ProgramFault;
use crate::terminal::{
    AfterEnd, Found, LineMode, NO_PROGRAM, Person, ProgramLeft, Queries, Readiness,
    TerminalSettings, TerminalSize, TerminalSupervisor, Typing, TypingAction,
};
use crate::time::{Deadline, Now, Timestamp, WallTime};
use crate::wire::payload::{CommandAckStatus, CommandRequest, TerminalOpened, WaitsFor};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// The one terminal of an agent.
#[derive(Debug)]
pub(super) struct Terminal {
    program: String,
    supervisor: TerminalSupervisor,
    pub(super) commands: TypedCommands,
    readiness: Readiness,
    looking: Looking,
    queries: Queries,
    size: TerminalSize,
    run: Option<(CommandId, WallTime)>,
    screen: LocalScreen,
    /// The agent is to end because of it.
    finished: Option<WorkerEnd>,
    start: Start,
    /// Why the program does not run, until it does.
    fault: Option<String>,
    /// Whether a signal has stopped it.
    pub(super) stopped: StoppedProgram,
    /// When it was polled last: what is a deadline may depend on it.
    polled_at: Timestamp,
}

/// Whether the answer to a look at the terminal is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    No,
    Asked,
}

/// Whether the program may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Allowed,
    /// Too many ends wait for the server.
    PutOff,
}

/// What is to be done for the terminal now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TerminalTask {
    /// Say at the screen that a stop is in force, or is released.
    Show(&'static str),
    Begin,
    /// Say that the program is not started for now.
    PutOff,
    /// The screen does not keep up; the program is not to wait for it.
    LeaveScreen,
    /// The program is done with the paste of this command: its Enter is to be typed.
    EndPaste(CommandId),
    /// Look how the terminal is set, because something waits to be typed.
    Look,
    /// The program has read it, and lives.
    Completed(CommandId),
    /// This command has waited for too long, for this.
    GiveUp(CommandId, String),
    /// Its program ended so, and whether it had read it is unknown.
    NotKnown(CommandId, Exit),
    /// Tell of the program that a signal has stopped.
    Tell(StopNews),
}

/// What a program that ended leaves.
#[derive(Debug)]
pub(super) struct ProgramEnd {
    pub(super) left: ProgramLeft,
    pub(super) after: AfterEnd,
}

/// What becomes of a piece of what was pressed at the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Plain(Bytes),
    /// It suspends what is in the foreground.
    Suspending(Bytes),
}

/// What becomes of keys that were pressed at the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The program gets them.
    ToProgram(Vec<Piece>),
    /// They end the agent.
    EndAgent,
    Ignored,
}

impl Terminal {
    pub(super) fn new(config: TerminalConfig, now: Timestamp) -> Self {
        let TerminalConfig { program, size, screen, line_idle, submit } = config;
        let after_end = match screen {
            Screen::Attached => AfterEnd::Finish,
            Screen::Detached => AfterEnd::Restart,
        };
        Self {
            program,
            supervisor: TerminalSupervisor::new(after_end, now),
            commands: TypedCommands::new(line_idle, submit),
            readiness: Readiness::default(),
            looking: Looking::No,
            queries: Queries::default(),
            size,
            run: None,
            screen: LocalScreen::new(screen),
            finished: None,
            start: Start::Allowed,
            fault: None,
            stopped: StoppedProgram::default(),
            polled_at: now,
        }
    }

    /// The next thing to do, until there is none. `stopped`: an emergency stop is in force. `full`: too many
    /// ends wait for the server.
    pub(super) fn poll(
        &mut self,
        stopped: bool,
        full: bool,
        within_keys: bool,
        now: Timestamp,
    ) -> Option<TerminalTask> {
        self.polled_at = now;
        self.supervisor.set_stopped(stopped);
        if let Some(notice) = self.screen.take_notice(stopped) {
            return Some(TerminalTask::Show(notice));
        }
        // Its end would be one more that waits for the server.
        let start = if full { Start::PutOff } else { Start::Allowed };
        if core::mem::replace(&mut self.start, start) == Start::Allowed && full {
            return Some(TerminalTask::PutOff);
        }
        if !full && self.supervisor.take_start(now) {
            return Some(TerminalTask::Begin);
        }
        if self.screen.deadline().is_due(now) {
            return Some(TerminalTask::LeaveScreen);
        }
        if let Some(news) = self.stopped.poll(now) {
            return Some(TerminalTask::Tell(news));
        }
        if let Some(action) = self.commands.poll(now) {
            return Some(match action {
                TypingAction::Outlived(id) => TerminalTask::Completed(id),
                TypingAction::GiveUp(id, why) => TerminalTask::GiveUp(id, why),
                TypingAction::NotKnown(id, exit) => TerminalTask::NotKnown(id, exit),
            });
        }
        if let Some(id) = self.commands.take_settled(now) {
            return Some(TerminalTask::EndPaste(id));
        }
        let waits = self.looking == Looking::No && !within_keys && self.commands.has_next(now);
        if waits && self.readiness.wants_look(now) {
            self.looking = Looking::Asked;
            return Some(TerminalTask::Look);
        }
        None
    }

    pub(super) fn deadline(&self, within_keys: bool) -> Deadline {
        let watched = self.screen.deadline();
        let start = match self.start {
            Start::Allowed => self.supervisor.deadline(),
            // The end that makes room is an event of its own.
            Start::PutOff => Deadline::Never,
        };
        let now = self.polled_at;
        let waits = self.looking == Looking::No && !within_keys && self.commands.has_next(now);
        let look = if waits { self.readiness.deadline() } else { Deadline::Never };
        let told = self.stopped.deadline();
        start.min(self.commands.deadline(now)).min(look).min(watched).min(told)
    }

    /// Whether commands are to wait, because the program, or the next one, will run soon.
    pub(super) fn is_awaited(&self) -> bool {
        // While it cannot be started they are refused, instead of waiting for what may never be.
        let is_ending = self.supervisor.is_up() && self.readiness.is_closed();
        is_ending || !self.supervisor.is_up() && !self.supervisor.cannot_start()
    }

    /// Whether this is the run that the terminal has now.
    pub(super) fn is_run(&self, id: &CommandId) -> bool {
        self.run.as_ref().is_some_and(|(run, _)| run == id)
    }

    pub(super) fn run(&self) -> Option<&CommandId> {
        self.run.as_ref().map(|(run, _)| run)
    }

    pub(super) fn is_attached(&self) -> bool {
        self.screen.is_attached()
    }

    /// Nobody sits before its screen any more.
    pub(super) fn hang_up(&mut self) {
        self.screen.hang_up();
        self.supervisor.keep_running();
        // What it asked was answered there until now.
        self.queries = Queries::default();
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    pub(super) const fn size(&self) -> TerminalSize {
        self.size
    }

    /// What runs in it, or is about to, and how large it is.
    pub(super) fn run_and_size(&self) -> Option<(CommandId, TerminalSize)> {
        self.run.as_ref().map(|(run, _)| (run.clone(), self.size))
    }

    pub(super) fn resize(&mut self, size: TerminalSize) {
        self.size = size;
    }

    /// Its program is begun under this id.
    pub(super) fn begin(&mut self, id: CommandId, at: WallTime) {
        self.run = Some((id, at));
    }

    pub(super) fn on_started(&mut self, now: Timestamp) {
        self.stopped = StoppedProgram::default();
        self.supervisor.on_started(now);
        self.commands.on_program_started();
        self.queries = Queries::default();
        self.readiness.on_started(now);
    }

    /// What runs under this id is being ended. If that is its program, nothing more is typed into it.
    pub(super) fn on_ending(&mut self, id: &CommandId) {
        if self.is_run(id) {
            self.readiness.close();
        }
    }

    pub(super) fn on_not_started(&mut self, why: &str, now: Timestamp) {
        self.run = None;
        self.fault = Some(why.to_owned());
        self.supervisor.on_failed(now);
        // Whoever started it here waits for it, and would wait for the next attempt without a word.
        if self.is_attached() {
            let _ = self.finished.get_or_insert(WorkerEnd::ProgramCannotStart(why.to_owned()));
        }
    }

    pub(super) fn on_ended(&mut self, exit: Exit, now: Timestamp) -> ProgramEnd {
        self.run = None;
        self.stopped = StoppedProgram::default();
        self.screen.on_caught_up();
        // Under a stop it did not end by itself.
        self.fault = match self.supervisor.is_well(now) || self.screen.shows_stop() {
            true => None,
            false => Some(format!("it ended at once: {exit}")),
        };
        let after = self.supervisor.on_ended(now);
        match after {
            AfterEnd::Finish => {
                let _ = self.finished.get_or_insert(WorkerEnd::ProgramEnded(exit));
            }
            AfterEnd::Restart => {}
        }
        self.readiness.close();
        let left = self.commands.on_program_ended(exit, now);
        ProgramEnd { left, after }
    }

    /// It was ended by order.
    pub(super) fn forget_fault(&mut self) {
        self.fault = None;
    }

    /// Why the program does not run, if that is so.
    pub(super) fn fault(&self, now: Timestamp) -> Option<ProgramFault> {
        let stopped = self.run().and_then(|run| self.stopped.why(run));
        let why =
            stopped.or_else(|| self.fault.clone().filter(|_| !self.supervisor.is_well(now)))?;
        Some(ProgramFault { program: self.program.clone(), why })
    }

    /// Why the agent is to end, once.
    pub(super) fn take_finished(&mut self) -> Option<WorkerEnd> {
        self.finished.take()
    }

    /// The agent ends: the program is not started any more.
    pub(super) fn finish(&mut self) {
        self.supervisor.finish();
    }

    /// What is said of a terminal to a server; little of one that an earlier process of the agent had.
    pub(super) fn opened(&self, id: CommandId) -> TerminalOpened {
        match &self.run {
            Some((run, at)) if *run == id => TerminalOpened {
                command_id: id,
                program: self.program.clone(),
                opened_at: Some(*at),
                attached: self.is_attached(),
                size: Some(self.size),
            },
            Some(_) | None => opened_earlier(id),
        }
    }

    /// The program wrote this. What it asks in it, unless somebody's own terminal answers.
    pub(super) fn on_output(&mut self, bytes: &[u8], now: Timestamp) -> Found {
        let takes_pastes = self.commands.on_output(bytes, now);
        self.readiness.on_output(takes_pastes, now);
        match self.is_attached() {
            true => Found::default(),
            false => self.queries.read(bytes, now),
        }
    }

    /// The terminal was looked at. Gives the command that is to be typed now, if the program reads.
    pub(super) fn on_looked(
        &mut self,
        settings: Option<TerminalSettings>,
        within_keys: bool,
        now: Timestamp,
    ) -> Option<CommandId> {
        // The answer of one look serves one text: before the next its terminal may be set otherwise.
        self.looking = Looking::No;
        self.commands.on_look(settings);
        if !self.readiness.on_look(settings, now) || within_keys {
            return None;
        }
        self.commands.take_next(now)
    }

    /// A command whose start is written down waits for its turn to be typed.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn ask(
        &mut self,
        id: &CommandId,
        request: CommandRequest,
        now: Timestamp,
    ) -> Result<(), String> {
        // The next start may be a minute away, and its user would hear nothing until then.
        if self.supervisor.cannot_start() {
            let program = &self.program;
            let why = self.fault.as_deref().unwrap_or("the agent's log has the reason");
            return Err(format!(
                "the program of this agent's terminal, {program}, cannot be started ({why}); will retry"
            ));
        }
        self.commands_of_program()?.ask(id, request, now)
    }

    /// What is to be typed for a command, and the mode in which the terminal must be for that.
    ///
    /// # Errors
    /// Why nothing is.
    pub(super) fn typing(
        &mut self,
        id: &CommandId,
        now: Timestamp,
    ) -> Result<(Typing, Option<LineMode>), String> {
        self.commands_of_program()?.typing(id, now)
    }

    /// What is meant for the program that ran when it was asked for is not typed into the next one.
    fn commands_of_program(&mut self) -> Result<&mut TypedCommands, String> {
        match self.supervisor.is_up() {
            true => Ok(&mut self.commands),
            false => Err(NO_PROGRAM.to_owned()),
        }
    }

    /// What a command waits for that is here and not begun.
    pub(super) fn waits_for(&self, id: &CommandId, status: &CommandAckStatus) -> Option<Waits> {
        match status {
            CommandAckStatus::Queued => self.is_awaited().then_some(Waits::new(WaitsFor::Program)),
            CommandAckStatus::Received => {
                self.commands.waits_for(self.readiness.is_awaited(), self.polled_at).remove(id)
            }
            CommandAckStatus::Executing | CommandAckStatus::Unknown(_) => None,
        }
    }

    /// Those that wait for another thing than was said last, once.
    pub(super) fn take_other_waits(&mut self) -> Vec<CommandId> {
        self.commands.take_other_waits(self.readiness.is_awaited(), self.polled_at)
    }

    // --- the screen

    /// Keys were pressed at the screen.
    pub(super) fn on_keys(&mut self, bytes: &Bytes, now: Timestamp) -> Keys {
        let pieces = self.pressed(bytes, Person::AtMachine, now);
        if self.supervisor.is_up() {
            return Keys::ToProgram(pieces);
        }
        // No program could get it, so it is for the agent.
        if bytes.contains(&CTRL_C) {
            let _ = self.finished.get_or_insert(WorkerEnd::Shutdown);
            return Keys::EndAgent;
        }
        Keys::Ignored
    }

    /// The holder of the keyboard pressed keys. Gives what goes to the program, if one is up.
    pub(super) fn on_remote_keys(&mut self, bytes: &Bytes, now: Timestamp) -> Option<Vec<Piece>> {
        self.supervisor.is_up().then(|| self.pressed(bytes, Person::Remote, now))
    }

    fn pressed(&mut self, bytes: &Bytes, by: Person, now: Timestamp) -> Vec<Piece> {
        let suspends = self.commands.on_person(bytes, by, now);
        let mut pieces = Vec::new();
        let mut rest = 0;
        for at in suspends {
            if rest < at.start {
                pieces.push(Piece::Plain(bytes.slice(rest..at.start)));
            }
            rest = at.end;
            pieces.push(Piece::Suspending(bytes.slice(at)));
        }
        if rest < bytes.len() {
            pieces.push(Piece::Plain(bytes.slice(rest..)));
        }
        pieces
    }

    /// Whether a command is being typed, so that its outcome is near.
    pub(super) fn is_typing(&self) -> bool {
        self.commands.is_typing()
    }

    /// The screen is behind: the program waits for it, with a deadline.
    pub(super) fn on_behind(&mut self, now: Now) {
        self.screen.on_behind(now.monotonic);
    }

    /// Nothing waits for the screen any more.
    pub(super) fn on_caught_up(&mut self) {
        self.screen.on_caught_up();
    }
}

/// What is said of a terminal that an earlier process of the agent had.
pub(super) const fn opened_earlier(command_id: CommandId) -> TerminalOpened {
    TerminalOpened {
        command_id,
        program: String::new(),
        opened_at: None,
        attached: false,
        size: None,
    }
}
