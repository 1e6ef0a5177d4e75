//! The agent's terminal: does what the machines of `onsembl_protocol::terminal` decide. Its program is
//! a command that the agent began itself; the commands of users are typed into it.

use super::{Commands, Running};
use crate::local_terminal::{self, LocalEvent, LocalTerminal};
use crate::process::{Keyboard, Runner, TypingError};
use bytes::Bytes;
use onsembl_protocol::command::{Exit, JournalEntry};
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::output::SpoolPolicy;
use onsembl_protocol::terminal::{
    AfterEnd, Desk, DeskAction, Modes, TerminalKeeper, TerminalSize, Typed, Typing, Untypeable,
};
use onsembl_protocol::time::{Deadline, Timestamp, WallTime};
use onsembl_protocol::wire::payload::{CommandInput, CommandRequest, TerminalOpened};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// How long the program waits for the agent's own terminal to show what it wrote. Then whoever is far away
/// goes first.
const WATCHED_FOR: Duration = Duration::from_secs(10);

/// Something that happened to the terminal.
#[derive(Debug)]
pub(in super::super) enum TerminalEvent {
    /// A command was typed, or not.
    Typed(CommandId, Result<(), TypingError>),
    /// At the terminal of whoever started the agent.
    Local(LocalEvent),
}

/// Why an attached agent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Finished {
    /// Its program ended.
    Program(Exit),
    /// Its program cannot be started.
    CannotStart(String),
    /// Whoever sits before it wants so, and no program runs that could be told.
    Interrupted,
}

/// The one terminal of an agent.
#[derive(Debug)]
pub(super) struct Terminal {
    /// What runs in it, for people.
    program: String,
    keeper: TerminalKeeper,
    desk: Desk,
    modes: Modes,
    size: TerminalSize,
    run: Option<(CommandId, WallTime)>,
    /// Commands that wait to be typed, or are being typed.
    asked: BTreeMap<CommandId, CommandRequest>,
    events: mpsc::Sender<TerminalEvent>,
    local: Option<LocalTerminal>,
    /// Until when the program waits for the local terminal to show what it wrote.
    watched_until: Option<Timestamp>,
    /// The agent is to end, and with what.
    finished: Option<Finished>,
    /// Whoever sits before it was told of the stop in force.
    stop_shown: bool,
}

impl Commands {
    /// Keeps the program of a [`Runner::Terminal`] running, and types commands into it.
    pub(in super::super) fn with_terminal(
        mut self,
        events: mpsc::Sender<TerminalEvent>,
        local: Option<LocalTerminal>,
    ) -> Self {
        let Runner::Terminal { program, size, .. } = &mut self.runner else { return self };
        if local.is_some()
            && let Some(local_size) = local_terminal::size()
        {
            *size = local_size;
        }
        let after_end = if local.is_some() { AfterEnd::Finish } else { AfterEnd::Restart };
        self.terminal = Some(Terminal {
            program: program.clone(),
            keeper: TerminalKeeper::new(after_end, self.clock.now().monotonic),
            desk: Desk::default(),
            modes: Modes::default(),
            size: *size,
            run: None,
            asked: BTreeMap::new(),
            events,
            local,
            watched_until: None,
            finished: None,
            stop_shown: false,
        });
        self
    }

    /// Starts the program if it is time to, and types what may be typed.
    pub(in super::super) fn keep_terminal(&mut self) {
        let now = self.clock.now();
        let held = self.guard.is_held();
        let Some(terminal) = &mut self.terminal else { return };
        terminal.keeper.hold(held);
        if held != terminal.stop_shown
            && let Some(local) = &mut terminal.local
        {
            terminal.stop_shown = held;
            local.notice(if held {
                "an emergency stop is in force; nothing starts until it is released. Ctrl-C ends this agent"
            } else {
                "the emergency stop is released"
            });
        }
        if terminal.keeper.take_start(now.monotonic) {
            let id = CommandId::of_terminal(Uuid::now_v7());
            let mark = RunMark::new(Uuid::new_v4().to_string());
            terminal.run = Some((id.clone(), now.wall));
            self.book.begin_own(&id);
            self.marks.insert(id.clone(), mark.clone());
            if self.writes_down() {
                self.unwritten.insert(id.clone());
                self.write(JournalEntry::Starting { command: id, mark });
            } else {
                self.start(&id);
            }
        }
        if self
            .terminal
            .as_ref()
            .and_then(|t| t.watched_until)
            .is_some_and(|until| until <= now.monotonic)
        {
            self.counters.count("local_screen_left_behind");
            tracing::warn!(
                "the agent's own terminal does not show what the program writes; going on without it"
            );
            if let Some(local) = self.terminal.as_mut().and_then(|t| t.local.as_mut()) {
                local.leave_behind();
            }
            self.wait_for_watcher(None);
        }
        while let Some(action) =
            self.terminal.as_mut().and_then(|t| t.desk.poll(self.clock.now().monotonic))
        {
            match action {
                DeskAction::Type(id) => self.type_in(&id),
                DeskAction::GiveUp(id) => {
                    self.terminal_forgets(&id);
                    self.refuse(&id, "somebody has been typing at the agent's own terminal for 30s; nothing was typed, ask again under a new id");
                }
            }
        }
    }

    /// When there is something to do.
    pub(super) fn terminal_deadline(&self) -> Deadline {
        self.terminal.as_ref().map_or(Deadline::Never, |terminal| {
            let watched = terminal.watched_until.map_or(Deadline::Never, Deadline::At);
            terminal.keeper.deadline().min(terminal.desk.deadline()).min(watched)
        })
    }

    /// Whether a command is to wait, because its terminal will be there soon.
    pub(super) fn terminal_is_awaited(&self) -> bool {
        self.terminal.as_ref().is_some_and(|t| !t.keeper.is_up() && !t.keeper.cannot_start())
    }

    /// Whether this is the terminal that the agent has now.
    pub(super) fn is_own_terminal(&self, id: &CommandId) -> bool {
        self.terminal.as_ref().and_then(|t| t.run.as_ref()).is_some_and(|(run, _)| run == id)
    }

    pub(super) fn terminal_started(&mut self) {
        let now = self.clock.now().monotonic;
        let Some(terminal) = &mut self.terminal else { return };
        terminal.keeper.on_started(now);
        terminal.modes = Modes::default();
        if let Some((id, _)) = terminal.run.clone() {
            self.due.open(self.opened(id));
        }
        self.advance();
    }

    /// Nothing of it ever was, so nobody is told of it but the log.
    pub(super) fn terminal_cannot_start(&mut self, id: &CommandId, why: &str) {
        let now = self.clock.now().monotonic;
        let Some(terminal) = &mut self.terminal else { return };
        terminal.run = None;
        terminal.keeper.on_failed(now);
        self.counters.count("terminal_start_failures");
        tracing::error!(program = %terminal.program, %why, "the program of this agent's terminal cannot be started; trying again soon");
        if terminal.local.is_some() {
            terminal.finished = Some(Finished::CannotStart(why.to_owned()));
        }
        let report = self.book.refuse(id, why.to_owned());
        self.write(JournalEntry::Ended { report });
        self.confirm(id);
        self.advance();
    }

    pub(super) fn terminal_ended(&mut self, exit: Exit) {
        let now = self.clock.now().monotonic;
        let Some(terminal) = &mut self.terminal else { return };
        terminal.run = None;
        match terminal.keeper.on_ended(now) {
            AfterEnd::Finish => terminal.finished = Some(Finished::Program(exit)),
            AfterEnd::Restart => {
                tracing::info!(program = %terminal.program, %exit, "the program of this agent's terminal ended");
            }
        }
        terminal.watched_until = None;
        let (typing, waiting) = terminal.desk.on_program_gone();
        if let Some(id) = typing {
            self.terminal_forgets(&id);
            let why = "the program in the terminal ended while this was typed; whether it took it is not known";
            self.typed(&id, Err(why.to_owned()));
        }
        for id in waiting {
            self.terminal_forgets(&id);
            self.refuse(
                &id,
                "the program in the terminal ended before this was typed; ask again under a new id",
            );
        }
    }

    /// Whether a command is being typed, so that its outcome is near.
    pub(in super::super) fn is_typing(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.desk.is_typing())
    }

    /// Whether the agent is to end because of its terminal, and how.
    pub(in super::super) fn finished_terminal(&self) -> Option<Finished> {
        self.terminal.as_ref().and_then(|terminal| terminal.finished.clone())
    }

    pub(super) fn finish_terminal(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.keeper.finish();
        }
    }

    /// What is said of a terminal to a server.
    pub(super) fn opened(&self, id: CommandId) -> TerminalOpened {
        let current = self.terminal.as_ref().and_then(|terminal| {
            let (run, at) = terminal.run.as_ref()?;
            (*run == id).then_some((terminal, *at))
        });
        TerminalOpened {
            command_id: id,
            program: current.map_or_else(String::new, |(terminal, _)| terminal.program.clone()),
            opened_at: current.map(|(_, at)| at),
            attached: current.is_some_and(|(terminal, _)| terminal.local.is_some()),
        }
    }

    /// A command whose start is written down goes to the desk.
    pub(super) fn ask_desk(&mut self, id: &CommandId, request: CommandRequest) {
        let now = self.clock.now().monotonic;
        let Some(terminal) = &mut self.terminal else { return };
        if terminal.keeper.cannot_start() {
            let why = format!(
                "the program of this agent's terminal, {}, cannot be started",
                terminal.program
            );
            return self.refuse(id, &why);
        }
        if !request.args.is_empty()
            || !request.env.is_empty()
            || request.working_directory.is_some()
        {
            return self.refuse(id, "this agent types commands into a terminal: it takes a text, and no arguments, variables or directory");
        }
        tracing::debug!(command = %id, "a command is to be typed");
        terminal.asked.insert(id.clone(), request);
        terminal.desk.ask(id.clone(), now);
        self.keep_terminal();
    }

    fn type_in(&mut self, id: &CommandId) {
        match self.book.may_start(id) {
            Ok(()) => {}
            Err(report) => {
                self.terminal_forgets(id);
                self.desk_is_free(id, Typed::Nothing);
                return report.into_iter().for_each(|report| self.over(report));
            }
        }
        if let Err(why) = self.hand_to_keyboard(id) {
            self.terminal_forgets(id);
            self.desk_is_free(id, Typed::Nothing);
            return self.refuse(id, &why);
        }
        self.book.on_started(id, None, self.clock.now().monotonic);
        self.due.acknowledge(id.clone());
        tracing::info!(command = %id, "typing a command into the terminal");
    }

    fn hand_to_keyboard(&self, id: &CommandId) -> Result<(), String> {
        let gone = || "the program in the terminal has ended; ask again under a new id".to_owned();
        let terminal = self.terminal.as_ref().ok_or_else(gone)?;
        let keyboard = self.keyboard().ok_or_else(gone)?;
        let request = terminal.asked.get(id).ok_or_else(|| {
            "the agent has lost what was to be typed; ask again under a new id".to_owned()
        })?;
        let typing = match &request.input {
            Some(CommandInput::Keys) => Typing::keys(&request.text, &terminal.modes),
            Some(CommandInput::Text) | None if terminal.desk.is_spoiled() => {
                Err(Untypeable::Spoiled)
            }
            Some(CommandInput::Text) | None => {
                Typing::submission(&request.text, &terminal.modes, keyboard.line_mode())
            }
            Some(CommandInput::Unknown(word)) => {
                return Err(format!("this agent knows no input {word:?}; it knows text and keys"));
            }
        };
        let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
        let typing = typing.map_err(|error| error.to_string())?.limited(limit);
        let (events, typed) = (terminal.events.clone(), id.clone());
        keyboard
            .type_command(typing, events, |outcome| TerminalEvent::Typed(typed, outcome))
            .map_err(|error| error.to_string())
    }

    fn keyboard(&self) -> Option<&Keyboard> {
        let (run, _) = self.terminal.as_ref()?.run.as_ref()?;
        self.running.get(run)?.handle.keyboard()
    }

    /// Whether that was still awaited.
    fn desk_is_free(&mut self, id: &CommandId, typed: Typed) -> bool {
        self.terminal.as_mut().is_some_and(|terminal| terminal.desk.on_typed(id, typed))
    }

    fn typed(&mut self, id: &CommandId, typed: Result<(), String>) {
        if let Err(error) = &typed {
            self.counters.count("commands_not_typed");
            tracing::warn!(command = %id, %error, "a command was not typed to its end");
        }
        let now = self.clock.now();
        if let Some(report) = self.book.on_typed(id, typed, now.monotonic, now.wall) {
            self.over(report);
        }
    }

    /// It is not to be typed any more. One that is being typed is typed to its end.
    pub(super) fn withdraw_from_desk(&mut self, id: &CommandId) {
        let withdrawn = self.terminal.as_mut().is_some_and(|terminal| terminal.desk.withdraw(id));
        if withdrawn {
            self.terminal_forgets(id);
            if let Err(Some(report)) = self.book.may_start(id) {
                self.over(report);
            }
        }
    }

    fn terminal_forgets(&mut self, id: &CommandId) {
        if let Some(terminal) = &mut self.terminal {
            terminal.asked.remove(id);
        }
    }

    pub(in super::super) fn on_terminal(&mut self, event: TerminalEvent) {
        match event {
            TerminalEvent::Typed(id, typed) => {
                let pressed = self.asked_for_keys(&id);
                self.terminal_forgets(&id);
                let much = typed.as_ref().map_or_else(TypingError::typed, |()| Typed::Whole);
                if self.desk_is_free(&id, much) {
                    if let (true, Typed::Whole, Some(terminal)) =
                        (pressed, much, &mut self.terminal)
                    {
                        terminal.desk.on_keys();
                    }
                    self.typed(&id, typed.map_err(|error| error.to_string()));
                }
                self.advance();
            }
            TerminalEvent::Local(LocalEvent::Typed(bytes)) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.desk.on_local(&bytes);
                }
                if self.keyboard().is_none() && bytes.contains(&CTRL_C) {
                    if let Some(terminal) = &mut self.terminal {
                        terminal.finished = Some(Finished::Interrupted);
                    }
                    return;
                }
                if !self.keyboard().is_some_and(|keyboard| keyboard.type_local(bytes)) {
                    self.counters.count("local_keys_dropped");
                    tracing::warn!("the program does not read what is typed here; it is dropped");
                }
            }
            TerminalEvent::Local(LocalEvent::Resized(size)) => self.resize(size),
            TerminalEvent::Local(LocalEvent::CaughtUp) => {
                if let Some(local) = self.terminal.as_mut().and_then(|t| t.local.as_mut()) {
                    local.on_caught_up();
                }
                self.wait_for_watcher(None);
            }
        }
        self.keep_terminal();
    }

    /// Somebody far away wants the terminal to be as large as this.
    ///
    /// # Errors
    /// Why not.
    pub(in super::super) fn on_resize(&mut self, size: TerminalSize) -> Result<(), &'static str> {
        match &self.terminal {
            None => Err("this agent has no terminal to resize"),
            Some(terminal) if terminal.local.is_some() => {
                Err("this agent's terminal is shown on its own machine, and is as large as there")
            }
            Some(_) => {
                self.resize(size);
                Ok(())
            }
        }
    }

    fn resize(&mut self, size: TerminalSize) {
        if let Some(Err(error)) = self.keyboard().map(|keyboard| keyboard.resize(size)) {
            tracing::warn!(%error, %size, "the terminal cannot be resized");
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.size = size;
        }
        if let Runner::Terminal { size: next, .. } = &mut self.runner {
            *next = size;
        }
    }

    /// Looks at what the program wrote, and shows it here.
    pub(super) fn watch_terminal(&mut self, bytes: &Bytes) {
        let Some(terminal) = &mut self.terminal else { return };
        terminal.modes.read(bytes);
        if let Some(local) = &mut terminal.local
            && local.show(bytes)
        {
            let until = self.clock.now().monotonic.saturating_add(WATCHED_FOR);
            self.wait_for_watcher(Some(until));
        }
    }

    fn asked_for_keys(&self, id: &CommandId) -> bool {
        let request = self.terminal.as_ref().and_then(|terminal| terminal.asked.get(id));
        request.is_some_and(|request| request.input == Some(CommandInput::Keys))
    }

    fn wait_for_watcher(&mut self, until: Option<Timestamp>) {
        let Some(terminal) = &mut self.terminal else { return };
        terminal.watched_until = until;
        let run = terminal.run.as_ref();
        if let Some(Running { handle, .. }) = run.and_then(|(id, _)| self.running.get(id)) {
            handle.wait_for_watcher(until.is_some());
        }
    }

    /// What happens to the output of a run at the bound.
    pub(super) fn policy_of(&self, id: &CommandId) -> SpoolPolicy {
        let by_kind = if id.is_terminal() { SpoolPolicy::DropOldest } else { SpoolPolicy::Block };
        self.policy.unwrap_or(by_kind)
    }
}
