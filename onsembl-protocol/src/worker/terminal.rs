//! The terminal of a worker: its program is a command that the agent began itself; the commands of users are
//! typed into it. When it starts and whose turn it is to type, `terminal::{TerminalSupervisor, TypingQueue}` decide.

use super::end::WorkerEnd;
use super::event::{Screen, TerminalConfig};
use crate::command::Exit;
use crate::id::CommandId;
use crate::model::ProgramFault;
use crate::terminal::{
    AfterEnd, Echo, Expecting, Found, LineMode, Modes, Passing, Person, ProgramLeft, Queries,
    Readiness, RemoteKeys, TerminalSettings, TerminalSize, TerminalSupervisor, Typed, Typing,
    TypingAction, TypingQueue, Untypeable,
};
use crate::time::{Deadline, Now, Timestamp, WallTime};
use crate::wire::payload::{
    CommandAckStatus, CommandInput, CommandRequest, OpenLine, SecretEcho, TerminalOpened, TypeIf,
    WaitsFor,
};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// How long the program waits for the agent's own terminal to show what it wrote. Then the server goes
/// first.
const WATCHED_FOR: Duration = Duration::from_secs(10);

/// The one terminal of an agent.
#[derive(Debug)]
pub(super) struct Terminal {
    program: String,
    supervisor: TerminalSupervisor,
    typing_queue: TypingQueue,
    /// What is typed key by key from afar.
    pub(super) remote: RemoteKeys,
    readiness: Readiness,
    looking: Looking,
    /// How the terminal was set at the last look.
    settings: Option<TerminalSettings>,
    /// What is being typed.
    typing: Option<Typing>,
    /// What was said of what commands wait for.
    said_waits: BTreeMap<CommandId, WaitsFor>,
    modes: Modes,
    queries: Queries,
    size: TerminalSize,
    run: Option<(CommandId, WallTime)>,
    /// Commands that wait to be typed, or are being typed: as many as there are slots, at most.
    asked: BTreeMap<CommandId, CommandRequest>,
    screen: Screen,
    /// Until when the program waits for the screen.
    watched_until: Option<Timestamp>,
    /// The agent is to end because of it.
    finished: Option<WorkerEnd>,
    /// What was said last of stops at the screen.
    shown: Shown,
    start: Start,
    /// Why the program does not run, until it does.
    fault: Option<String>,
    /// When it was polled last: what is a deadline may depend on it.
    polled_at: Timestamp,
}

/// Whether the answer to a look at the terminal is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    No,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Released,
    Stopped,
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
    /// Look how the terminal is set, because something waits to be typed.
    Look,
    /// The program has read it, and lives.
    Completed(CommandId),
    /// This command has waited for too long, for this.
    GiveUp(CommandId, String),
    /// Its program ended so, and whether it had read it is not known.
    NotKnown(CommandId, Exit),
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
        let TerminalConfig { program, size, screen, line_idle } = config;
        let after_end = match screen {
            Screen::Attached => AfterEnd::Finish,
            Screen::Detached => AfterEnd::Restart,
        };
        Self {
            program,
            supervisor: TerminalSupervisor::new(after_end, now),
            typing_queue: TypingQueue::new(line_idle),
            remote: RemoteKeys::default(),
            readiness: Readiness::default(),
            looking: Looking::No,
            settings: None,
            typing: None,
            said_waits: BTreeMap::new(),
            modes: Modes::default(),
            queries: Queries::default(),
            size,
            run: None,
            asked: BTreeMap::new(),
            screen,
            watched_until: None,
            finished: None,
            shown: Shown::Released,
            start: Start::Allowed,
            fault: None,
            polled_at: now,
        }
    }

    /// The next thing to do, until there is none. `stopped`: an emergency stop is in force. `full`: too many
    /// ends wait for the server.
    pub(super) fn poll(
        &mut self,
        stopped: bool,
        full: bool,
        now: Timestamp,
    ) -> Option<TerminalTask> {
        self.polled_at = now;
        self.supervisor.set_stopped(stopped);
        let shown = if stopped { Shown::Stopped } else { Shown::Released };
        if self.screen == Screen::Attached && self.shown != shown {
            self.shown = shown;
            return Some(TerminalTask::Show(match shown {
                Shown::Stopped => {
                    "an emergency stop is in force; nothing starts until it is released. Ctrl-C ends this agent"
                }
                Shown::Released => "the emergency stop is released",
            }));
        }
        let start = if full { Start::PutOff } else { Start::Allowed };
        if core::mem::replace(&mut self.start, start) == Start::Allowed && full {
            return Some(TerminalTask::PutOff);
        }
        if !full && self.supervisor.take_start(now) {
            return Some(TerminalTask::Begin);
        }
        if self.watched_until.is_some_and(|until| until <= now) {
            return Some(TerminalTask::LeaveScreen);
        }
        if let Some(action) = self.typing_queue.poll(now) {
            return Some(match action {
                TypingAction::Outlived(id) => TerminalTask::Completed(id),
                TypingAction::GiveUp(id, why) => TerminalTask::GiveUp(id, why),
                TypingAction::NotKnown(id, exit) => TerminalTask::NotKnown(id, exit),
            });
        }
        let waits = self.looking == Looking::No && self.typing_queue.has_next(now);
        if waits && self.readiness.wants_look(now) {
            self.looking = Looking::Asked;
            return Some(TerminalTask::Look);
        }
        None
    }

    pub(super) fn deadline(&self) -> Deadline {
        let watched = self.watched_until.map_or(Deadline::Never, Deadline::At);
        let start = match self.start {
            Start::Allowed => self.supervisor.deadline(),
            // The end that makes room is an event of its own.
            Start::PutOff => Deadline::Never,
        };
        let now = self.polled_at;
        let waits = self.looking == Looking::No && self.typing_queue.has_next(now);
        let look = if waits { self.readiness.deadline() } else { Deadline::Never };
        start.min(self.typing_queue.deadline(now)).min(look).min(watched)
    }

    /// Whether commands are to wait, because the program, or the next one, will run soon.
    pub(super) fn is_awaited(&self) -> bool {
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
        self.screen == Screen::Attached
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
        self.supervisor.on_started(now);
        self.modes = Modes::default();
        self.queries = Queries::default();
        self.readiness.on_started(now);
    }

    /// Its program is being ended: nothing more is typed into it.
    pub(super) fn on_ending(&mut self) {
        self.readiness.close();
    }

    pub(super) fn on_not_started(&mut self, why: &str, now: Timestamp) {
        self.run = None;
        self.fault = Some(why.to_owned());
        self.supervisor.on_failed(now);
        if self.is_attached() {
            let _ = self.finished.get_or_insert(WorkerEnd::ProgramCannotStart(why.to_owned()));
        }
    }

    pub(super) fn on_ended(&mut self, exit: Exit, now: Timestamp) -> ProgramEnd {
        self.run = None;
        self.watched_until = None;
        self.fault = match self.supervisor.is_well(now) || self.shown == Shown::Stopped {
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
        self.settings = None;
        let left = self.typing_queue.on_program_ended(exit, now);
        for id in left.outlived.iter().chain(&left.read).chain(&left.waiting) {
            let _ = self.asked.remove(id);
        }
        ProgramEnd { left, after }
    }

    /// It was ended by order.
    pub(super) fn forget_fault(&mut self) {
        self.fault = None;
    }

    /// Why the program does not run, if that is so.
    pub(super) fn fault(&self, now: Timestamp) -> Option<ProgramFault> {
        let why = self.fault.clone().filter(|_| !self.supervisor.is_well(now))?;
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
        let current = self.run.as_ref().filter(|(run, _)| *run == id);
        TerminalOpened {
            command_id: id,
            program: current.map_or_else(String::new, |_| self.program.clone()),
            opened_at: current.map(|(_, at)| *at),
            attached: current.is_some() && self.is_attached(),
            size: current.map(|_| self.size),
        }
    }

    /// The program wrote this. What it asks in it, unless somebody's own terminal answers.
    pub(super) fn on_output(&mut self, bytes: &[u8], now: Timestamp) -> Found {
        self.modes.read(bytes);
        self.readiness.on_output(self.modes.takes_pastes(), now);
        match self.screen {
            Screen::Attached => Found::default(),
            Screen::Detached => self.queries.read(bytes, now),
        }
    }

    /// The terminal was looked at. Gives the command that is to be typed now, if the program reads.
    pub(super) fn on_looked(
        &mut self,
        settings: Option<TerminalSettings>,
        now: Timestamp,
    ) -> Option<CommandId> {
        self.looking = Looking::No;
        self.settings = settings;
        if !self.readiness.on_look(settings, now) {
            return None;
        }
        self.typing_queue.take_next(now)
    }

    // --- typing

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
        if self.supervisor.cannot_start() {
            let program = &self.program;
            let why = self.fault.as_deref().unwrap_or("the agent's log has the reason");
            return Err(format!(
                "the program of this agent's terminal, {program}, cannot be started ({why}); it is tried again"
            ));
        }
        if !self.supervisor.is_up() {
            return Err(
                "the program in the terminal has ended; ask again under a new id".to_owned()
            );
        }
        if !request.args.is_empty()
            || !request.env.is_empty()
            || request.working_directory.is_some()
        {
            return Err("this agent types commands into a terminal: it takes a text, and no arguments, variables or directory".to_owned());
        }
        let passing = match (&request.input, &request.open_line) {
            (Some(CommandInput::Keys), _) | (_, Some(OpenLine::Take)) => Passing::GoesPast,
            (
                Some(CommandInput::Text | CommandInput::Secret | CommandInput::Unknown(_)) | None,
                Some(OpenLine::Wait | OpenLine::Unknown(_)) | None,
            ) => Passing::Waits,
        };
        let _ = self.asked.insert(id.clone(), request);
        self.typing_queue.ask(id.clone(), passing, now);
        Ok(())
    }

    /// What is to be typed for a command, and the mode in which the terminal must be for that.
    ///
    /// # Errors
    /// Why nothing is.
    pub(super) fn typing(&mut self, id: &CommandId) -> Result<(Typing, Option<LineMode>), String> {
        if !self.supervisor.is_up() {
            return Err(
                "the program in the terminal has ended; ask again under a new id".to_owned()
            );
        }
        let request = self.asked.get(id).ok_or_else(|| {
            "the agent has lost what was to be typed; ask again under a new id".to_owned()
        })?;
        let (text, modes) = (&request.text, &self.modes);
        let (typing, required_mode) = match &request.input {
            Some(CommandInput::Keys) => (Typing::keys_into(text, modes, self.settings), None),
            Some(CommandInput::Secret) if !self.hides_from_output(request) => {
                (Err(Untypeable::Echoes), None)
            }
            // A part of another text is still in the line, and would be submitted with this one.
            Some(CommandInput::Text | CommandInput::Secret) | None
                if self.typing_queue.is_spoiled() =>
            {
                (Err(Untypeable::Spoiled), None)
            }
            Some(CommandInput::Text | CommandInput::Secret) | None => {
                // Longer than a terminal gathers: possible only while the program reads its keys itself.
                let standing = self.typing_queue.standing();
                let gathered = Typing::behind(standing, text, modes, LineMode::Terminal);
                let required_mode = gathered.is_err().then_some(LineMode::Program);
                (Typing::submission(text, modes, LineMode::Program), required_mode)
            }
            Some(CommandInput::Unknown(word)) => return Err(unknown_input(word)),
        };
        let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
        let typing = typing.map_err(|error| error.to_string())?.limited(limit);
        self.typing = Some(typing.clone());
        Ok((typing, required_mode))
    }

    /// What the program must be doing for this to be typed.
    pub(super) fn condition(&self, id: &CommandId) -> Option<TypeIf> {
        self.asked.get(id).and_then(|request| request.condition.clone())
    }

    /// Whether a secret may be typed: the terminal does not show it, or that is allowed.
    fn hides_from_output(&self, request: &CommandRequest) -> bool {
        let echo = self.settings.map(|settings| settings.echo);
        echo == Some(Echo::Off) || request.echo == Some(SecretEcho::Allow)
    }

    /// Why a text is not typed into a terminal that gathers lines itself.
    pub(super) fn too_long(&self, id: &CommandId) -> String {
        let text = self.asked.get(id).map_or("", |request| request.text.as_str());
        let standing = self.typing_queue.standing();
        match Typing::behind(standing, text, &self.modes, LineMode::Terminal) {
            Err(error) => error.to_string(),
            // The program has said meanwhile that it takes less, or more.
            Ok(_) => "the program in the terminal reads its lines in another way since this was asked for; ask again under a new id".to_owned(),
        }
    }

    /// What a command waits for that is here and not begun.
    pub(super) fn waits_for(&self, id: &CommandId, status: &CommandAckStatus) -> Option<WaitsFor> {
        match status {
            CommandAckStatus::Queued => self.is_awaited().then_some(WaitsFor::Program),
            CommandAckStatus::Received => self.waits().remove(id),
            CommandAckStatus::Executing | CommandAckStatus::Unknown(_) => None,
        }
    }

    /// What those wait for that wait to be typed, but for their turn. As many as there are slots, at most.
    fn waits(&self) -> BTreeMap<CommandId, WaitsFor> {
        if self.readiness.is_awaited() {
            let waiting = self.typing_queue.waiting();
            return waiting.map(|id| (id.clone(), WaitsFor::Reader)).collect();
        }
        let held = self.typing_queue.held_back(self.polled_at);
        held.map(|id| (id.clone(), WaitsFor::BegunLine)).collect()
    }

    /// Those that wait for another thing than was said last, once.
    pub(super) fn take_other_waits(&mut self) -> Vec<CommandId> {
        let waits = self.waits();
        let others = waits.iter().filter(|(id, waits)| self.said_waits.get(*id) != Some(*waits));
        let others = others.map(|(id, _)| id.clone()).collect();
        self.said_waits = waits;
        others
    }

    /// Nothing is typed for this command.
    pub(super) fn skip(&mut self, id: &CommandId, now: Timestamp) {
        let _ = self.on_typed(id, Typed::Nothing, now);
    }

    /// So much of it was typed. What waited for that.
    pub(super) fn on_typed(&mut self, id: &CommandId, much: Typed, now: Timestamp) -> Expecting {
        let _ = self.asked.remove(id);
        let awaited = self.typing_queue.on_typed(id, self.typing.as_ref(), much, now);
        match awaited {
            Expecting::Typing => self.typing = None,
            Expecting::Nothing | Expecting::Parting(_) => {}
        }
        awaited
    }

    /// It was typed whole, and is over without a look at whether the program lives.
    pub(super) fn forget_typed(&mut self, id: &CommandId) {
        self.typing_queue.forget_living(id);
    }

    /// It is not to be typed any more. Whether it still waited; one that is being typed is typed to its
    /// end.
    pub(super) fn withdraw(&mut self, id: &CommandId) -> bool {
        let waited = self.typing_queue.withdraw(id);
        if waited {
            let _ = self.asked.remove(id);
        }
        waited
    }

    /// Forgets a command that was given up.
    pub(super) fn forget(&mut self, id: &CommandId) {
        let _ = self.asked.remove(id);
    }

    /// Whether a command is being typed, so that its outcome is near.
    pub(super) fn is_typing(&self) -> bool {
        self.typing_queue.is_typing()
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
        self.supervisor.is_up().then(|| self.pressed(bytes, Person::FromAfar, now))
    }

    fn pressed(&mut self, bytes: &Bytes, by: Person, now: Timestamp) -> Vec<Piece> {
        let suspends = self.typing_queue.on_person(bytes, by, now);
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

    /// The screen is behind: the program waits for it, with a deadline.
    pub(super) fn on_behind(&mut self, now: Now) {
        self.watched_until = Some(now.monotonic.saturating_add(WATCHED_FOR));
    }

    /// Nothing waits for the screen any more.
    pub(super) fn on_caught_up(&mut self) {
        self.watched_until = None;
    }
}

/// Why a command with an input that this agent does not know is refused.
pub(super) fn unknown_input(word: &str) -> String {
    format!("this agent knows no input {word:?}; it knows text, keys and secret")
}
