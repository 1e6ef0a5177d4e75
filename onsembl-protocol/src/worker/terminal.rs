//! The terminal of a worker: its program is a command that the agent began itself; the commands of users are
//! typed into it. When it starts and whose turn it is to type, `terminal::{TerminalSupervisor, TypingQueue}` decide.

use super::end::WorkerEnd;
use super::event::{Screen, TerminalConfig};
use crate::command::Exit;
use crate::id::CommandId;
use crate::model::ProgramFault;
use crate::terminal::{
    AfterEnd, LineMode, Modes, TerminalSize, TerminalSupervisor, Typed, Typing, TypingAction,
    TypingQueue, Untypeable,
};
use crate::time::{Deadline, Now, Timestamp, WallTime};
use crate::wire::payload::{CommandInput, CommandRequest, TerminalOpened};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
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
    modes: Modes,
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
    Type(CommandId),
    /// This command has waited for too long.
    GiveUp(CommandId),
}

/// What a program that ended leaves.
#[derive(Debug)]
pub(super) struct ProgramEnd {
    /// This was being typed.
    pub(super) typing: Option<CommandId>,
    /// These waited to be typed.
    pub(super) waiting: Vec<CommandId>,
    pub(super) after: AfterEnd,
}

/// What becomes of keys that were pressed at the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The program gets them.
    ToProgram,
    /// They end the agent.
    EndAgent,
    Ignored,
}

impl Terminal {
    pub(super) fn new(config: TerminalConfig, now: Timestamp) -> Self {
        let TerminalConfig { program, size, screen } = config;
        let after_end = match screen {
            Screen::Attached => AfterEnd::Finish,
            Screen::Detached => AfterEnd::Restart,
        };
        Self {
            program,
            supervisor: TerminalSupervisor::new(after_end, now),
            typing_queue: TypingQueue::default(),
            modes: Modes::default(),
            size,
            run: None,
            asked: BTreeMap::new(),
            screen,
            watched_until: None,
            finished: None,
            shown: Shown::Released,
            start: Start::Allowed,
            fault: None,
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
        self.typing_queue.poll(now).map(|action| match action {
            TypingAction::Type(id) => TerminalTask::Type(id),
            TypingAction::GiveUp(id) => TerminalTask::GiveUp(id),
        })
    }

    pub(super) fn deadline(&self) -> Deadline {
        let watched = self.watched_until.map_or(Deadline::Never, Deadline::At);
        let start = match self.start {
            Start::Allowed => self.supervisor.deadline(),
            // The end that makes room is an event of its own.
            Start::PutOff => Deadline::Never,
        };
        start.min(self.typing_queue.deadline()).min(watched)
    }

    /// Whether commands are to wait, because the program will run soon.
    pub(super) fn is_awaited(&self) -> bool {
        !self.supervisor.is_up() && !self.supervisor.cannot_start()
    }

    /// Whether this is the run that the terminal has now.
    pub(super) fn is_run(&self, id: &CommandId) -> bool {
        self.run.as_ref().is_some_and(|(run, _)| run == id)
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
        let (typing, waiting) = self.typing_queue.on_program_ended();
        for id in typing.iter().chain(&waiting) {
            let _ = self.asked.remove(id);
        }
        ProgramEnd { typing, waiting, after }
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
        }
    }

    /// The program wrote this.
    pub(super) fn on_output(&mut self, bytes: &[u8]) {
        self.modes.read(bytes);
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
            let why = self.fault.as_deref().unwrap_or("the agent tries it again soon");
            return Err(format!(
                "the program of this agent's terminal, {program}, cannot be started: {why}"
            ));
        }
        if !request.args.is_empty()
            || !request.env.is_empty()
            || request.working_directory.is_some()
        {
            return Err("this agent types commands into a terminal: it takes a text, and no arguments, variables or directory".to_owned());
        }
        let _ = self.asked.insert(id.clone(), request);
        self.typing_queue.ask(id.clone(), now);
        Ok(())
    }

    /// What is to be typed for a command, and the mode in which the terminal must be for that.
    ///
    /// # Errors
    /// Why nothing is.
    pub(super) fn typing(&self, id: &CommandId) -> Result<(Typing, Option<LineMode>), String> {
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
            Some(CommandInput::Keys) => (Typing::keys(text, modes), None),
            // A part of another text is still in the line, and would be submitted with this one.
            Some(CommandInput::Text) | None if self.typing_queue.is_spoiled() => {
                (Err(Untypeable::Spoiled), None)
            }
            Some(CommandInput::Text) | None => {
                // Longer than a terminal gathers: possible only while the program reads its keys itself.
                let gathered = Typing::submission(text, modes, LineMode::Terminal);
                let required_mode = gathered.is_err().then_some(LineMode::Program);
                (Typing::submission(text, modes, LineMode::Program), required_mode)
            }
            Some(CommandInput::Unknown(word)) => return Err(unknown_input(word)),
        };
        let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
        let typing = typing.map_err(|error| error.to_string())?;
        Ok((typing.limited(limit), required_mode))
    }

    /// Why a text is not typed into a terminal that gathers lines itself.
    pub(super) fn too_long(&self, id: &CommandId) -> String {
        let text = self.asked.get(id).map_or("", |request| request.text.as_str());
        match Typing::submission(text, &self.modes, LineMode::Terminal) {
            Err(error) => error.to_string(),
            // The program has said meanwhile that it takes less, or more.
            Ok(_) => "the program in the terminal reads its lines in another way since this was asked for; ask again under a new id".to_owned(),
        }
    }

    /// Nothing is typed for this command.
    pub(super) fn skip(&mut self, id: &CommandId) {
        let _ = self.asked.remove(id);
        let _ = self.typing_queue.on_typed(id, Typed::Nothing);
    }

    /// So much of it was typed. Whether that was still awaited.
    pub(super) fn on_typed(&mut self, id: &CommandId, much: Typed) -> bool {
        let request = self.asked.remove(id);
        let awaited = self.typing_queue.on_typed(id, much);
        let were_keys = request.is_some_and(|r| r.input == Some(CommandInput::Keys));
        // Keys are how a spoiled line is cleared.
        if awaited && were_keys && much == Typed::Whole {
            self.typing_queue.on_keys();
        }
        awaited
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
    pub(super) const fn is_typing(&self) -> bool {
        self.typing_queue.is_typing()
    }

    // --- the screen

    /// Keys were pressed at the screen.
    pub(super) fn on_keys(&mut self, bytes: &[u8]) -> Keys {
        self.typing_queue.on_local(bytes);
        if self.supervisor.is_up() {
            return Keys::ToProgram;
        }
        // No program could get it, so it is for the agent.
        if bytes.contains(&CTRL_C) {
            let _ = self.finished.get_or_insert(WorkerEnd::Shutdown);
            return Keys::EndAgent;
        }
        Keys::Ignored
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
    format!("this agent knows no input {word:?}; it knows text and keys")
}
