//! The worker and its terminal: the program is started and ends as a command does, and commands of users are
//! typed into it.

use super::event::{ScreenAction, ScreenEvent, TypingOutcome, Waiting, WorkerAction};
use super::message::{complaint, program_does_not_run};
use super::note::WorkerNote;
use super::terminal::{Keys, Piece, ProgramEnd, Terminal, TerminalTask};
use super::{Journalling, Work, Worker};
use crate::command::{Exit, JournalEntry, TypingEnd};
use crate::id::CommandId;
use crate::model::{Capabilities, SizeRecord};
use crate::terminal::{AfterEnd, Asked, Expecting, TerminalSettings, TerminalSize, Typed};
use crate::time::Now;
use crate::wire::payload::{AgentErrorType, CommandAckStatus, CommandRequest, TerminalOpened};
use alloc::format;
use alloc::string::{String, ToString};
use bytes::Bytes;

impl Worker {
    /// Does the next thing that is due for the terminal. Whether there was one.
    pub(super) fn serve_terminal(&mut self, now: Now) -> bool {
        if self.end_by_terminal(now) {
            return true;
        }
        let (stopped, full) = (self.emergency.is_latched(), self.reports.is_full());
        let Some(terminal) = &mut self.terminal else { return false };
        let Some(task) = terminal.poll(stopped, full, now.monotonic) else {
            self.say_what_typing_waits_for();
            return false;
        };
        match task {
            TerminalTask::Show(text) => {
                self.actions.push_back(WorkerAction::Screen(ScreenAction::Notice(text)));
            }
            TerminalTask::PutOff => self.note(WorkerNote::TerminalWaits),
            TerminalTask::Begin => self.begin_terminal(now),
            TerminalTask::LeaveScreen => {
                self.note(WorkerNote::ScreenLeftBehind);
                self.actions.push_back(WorkerAction::Screen(ScreenAction::LeaveBehind));
                self.go_on_without_screen();
            }
            TerminalTask::Look => self.actions.push_back(WorkerAction::LookAtTerminal),
            TerminalTask::Completed(id) => self.on_typing_over(&id, TypingEnd::Taken, now),
            TerminalTask::GiveUp(id, why) => {
                terminal.forget(&id);
                self.refuse(&id, &why);
            }
            TerminalTask::NotKnown(id, exit) => {
                terminal.forget(&id);
                let why = format!(
                    "the program in the terminal ended while this was typed ({exit}); whether it had read it is not known"
                );
                self.on_typing_over(&id, TypingEnd::Failed(why), now);
            }
        }
        true
    }

    /// Whether this is what runs in the terminal, or is about to.
    pub(super) fn is_terminal_run(&self, id: &CommandId) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.is_run(id))
    }

    /// Whether a command is being typed.
    pub(super) fn is_typing(&self) -> bool {
        self.terminal.as_ref().is_some_and(Terminal::is_typing)
    }

    fn begin_terminal(&mut self, now: Now) {
        let (id, mark) = self.commands.begin_terminal(now.wall);
        if let Some(terminal) = &mut self.terminal {
            terminal.begin(id.clone(), now.wall);
        }
        match self.journal.keeping() {
            Journalling::Kept => {
                self.reports.write(&id);
                self.write(JournalEntry::Starting { command: id, mark });
            }
            // No user asked for it, so no promise to run it once depends on the entry.
            Journalling::Off | Journalling::Failed(_) => self.todo.push_back(Work::Start(id)),
        }
    }

    pub(super) fn terminal_started(&mut self, id: &CommandId, now: Now) {
        if let Some(terminal) = &mut self.terminal {
            terminal.on_started(now.monotonic);
        }
        let opened = self.opened(id.clone());
        self.uplink.queue.open(opened);
        self.note_size();
        self.todo.push_back(Work::Advance);
    }

    /// Nothing of it ever was, so that only the log says it.
    pub(super) fn terminal_not_started(&mut self, id: &CommandId, why: &str, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        terminal.on_not_started(why, now.monotonic);
        let program = terminal.program().to_string();
        self.note(WorkerNote::TerminalCannotStart { program, why: why.to_string() });
        self.commands.forget(id);
        let report = self.commands.all.refuse(id, why.to_string());
        self.write(JournalEntry::Ended { report, remains: None });
        self.confirm(id);
        self.todo.push_back(Work::Advance);
        self.say_program_fault(now);
    }

    /// Tells the server why the program of the terminal does not run, as long as it does not.
    pub(super) fn say_program_fault(&mut self, now: Now) {
        let fault = self.terminal.as_ref().and_then(|terminal| terminal.fault(now.monotonic));
        if let Some(fault) = fault.filter(|_| self.uplink.has_session()) {
            self.actions.push_back(WorkerAction::Complain(program_does_not_run(&fault)));
        }
    }

    pub(super) fn forget_program_fault(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.forget_fault();
        }
    }

    pub(super) fn terminal_ended(&mut self, exit: Exit, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        let program = terminal.program().to_string();
        let ProgramEnd { left, after } = terminal.on_ended(exit, now.monotonic);
        match after {
            AfterEnd::Finish => {}
            AfterEnd::Restart => self.note(WorkerNote::TerminalEnded { program, exit }),
        }
        self.end_remote_typing();
        for id in left.outlived {
            self.on_typing_over(&id, TypingEnd::Taken, now);
        }
        for id in left.read {
            self.on_typing_over(&id, TypingEnd::ProgramEnded(exit), now);
        }
        // It was meant for that program, and is not typed into another.
        for id in left.waiting {
            let why = format!(
                "the program in the terminal ended ({exit}) before this was typed; ask again under a new id"
            );
            self.refuse(&id, &why);
        }
    }

    /// What is said of a terminal to a server.
    pub(super) fn opened(&self, id: CommandId) -> TerminalOpened {
        match &self.terminal {
            Some(terminal) => terminal.opened(id),
            // An earlier process of the agent had it.
            None => TerminalOpened {
                command_id: id,
                program: String::new(),
                opened_at: None,
                attached: false,
                size: None,
            },
        }
    }

    // --- typing

    /// A command whose start is written down goes to the typing queue.
    pub(super) fn ask_typing_queue(&mut self, id: &CommandId, request: CommandRequest, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        match terminal.ask(id, request, now.monotonic) {
            Ok(()) => self.note(WorkerNote::ToBeTyped(id.clone())),
            Err(why) => self.refuse(id, &why),
        }
    }

    /// The terminal was looked at, because something waits to be typed.
    pub(super) fn on_looked(&mut self, settings: Option<TerminalSettings>, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        let next = terminal.on_looked(settings, now.monotonic);
        if let Some(id) = next {
            self.watch_reads(now);
            self.type_in(&id, now);
        }
    }

    /// Says again of commands that they are here, if what they wait for is another thing than was said.
    pub(super) fn say_what_typing_waits_for(&mut self) {
        let Some(terminal) = &mut self.terminal else { return };
        let is_wanted =
            self.uplink.capabilities().is_some_and(Capabilities::says_what_typing_waits_for);
        for id in terminal.take_other_waits().into_iter().filter(|_| is_wanted) {
            if self.commands.all.status(&id) == CommandAckStatus::Received {
                self.uplink.queue.acknowledge(id);
            }
        }
    }

    fn type_in(&mut self, id: &CommandId, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        if let Err(report) = self.commands.all.may_start(id) {
            // It was cancelled while it waited for its turn.
            terminal.skip(id, now.monotonic);
            return self.todo.extend(report.map(Work::Over));
        }
        let condition = terminal.condition(id);
        if let Err(why) = self.allows_typing(condition.as_ref(), now) {
            if let Some(terminal) = &mut self.terminal {
                terminal.skip(id, now.monotonic);
            }
            return self.refuse(id, &why);
        }
        let Some(terminal) = &mut self.terminal else { return };
        match terminal.typing(id) {
            Ok((typing, required_mode)) => {
                self.watch_typing(&typing, now);
                let _ = self.commands.all.on_started(id, None, now.monotonic);
                self.uplink.queue.acknowledge(id.clone());
                self.note(WorkerNote::Typing(id.clone()));
                let command = id.clone();
                self.actions.push_back(WorkerAction::Type { command, typing, required_mode });
            }
            Err(why) => {
                terminal.skip(id, now.monotonic);
                self.refuse(id, &why);
            }
        }
    }

    pub(super) fn on_typed(&mut self, id: &CommandId, outcome: TypingOutcome, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        let (much, result) = match outcome {
            TypingOutcome::Typed => (Typed::Whole, Ok(())),
            TypingOutcome::Broken { much, why } => (much, Err(why)),
            TypingOutcome::Refused(why) => return self.on_not_typed(id, &why, now),
            TypingOutcome::OtherMode => {
                let why = terminal.too_long(id);
                return self.on_not_typed(id, &why, now);
            }
        };
        match (terminal.on_typed(id, much, now.monotonic), result) {
            // Taken when the program has lived for a moment more.
            (Expecting::Typing, Ok(())) | (Expecting::Nothing, _) => {}
            (Expecting::Typing, Err(why)) => {
                terminal.forget_typed(id);
                self.on_typing_over(id, TypingEnd::Failed(why), now);
            }
            (Expecting::Parting(exit), Ok(())) => {
                self.on_typing_over(id, TypingEnd::ProgramEnded(exit), now);
            }
            (Expecting::Parting(exit), Err(why)) => self.on_not_read(id, exit, &why, now),
        }
    }

    /// Its program ended so before it had read all of it.
    fn on_not_read(&mut self, id: &CommandId, exit: Exit, why: &str, now: Now) {
        let why = format!(
            "the program in the terminal ended ({exit}) before it had read this: {why}; ask again under a new id"
        );
        self.on_typing_over(id, TypingEnd::Failed(why), now);
    }

    /// It was not begun, so it did not start.
    fn on_not_typed(&mut self, id: &CommandId, why: &str, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        match terminal.on_typed(id, Typed::Nothing, now.monotonic) {
            Expecting::Nothing => {}
            Expecting::Typing => {
                self.uplink.queue.unacknowledge(id);
                self.refuse(id, why);
            }
            Expecting::Parting(exit) => self.on_not_read(id, exit, why, now),
        }
    }

    fn on_typing_over(&mut self, id: &CommandId, typed: TypingEnd, now: Now) {
        match &typed {
            TypingEnd::Failed(why) => self.note(WorkerNote::NotTyped(id.clone(), why.clone())),
            TypingEnd::ProgramEnded(exit) => {
                self.note(WorkerNote::ProgramEndedBy(id.clone(), *exit));
            }
            TypingEnd::Taken => {}
        }
        let report = self.commands.all.on_typed(id, typed, now.monotonic, now.wall);
        self.todo.extend(report.map(Work::Over));
    }

    /// It is not to be typed any more, if it is not being typed.
    pub(super) fn withdraw(&mut self, id: &CommandId) {
        let Some(terminal) = &mut self.terminal else { return };
        if terminal.withdraw(id)
            && let Err(Some(report)) = self.commands.all.may_start(id)
        {
            self.todo.push_back(Work::Over(report));
        }
    }

    // --- the screen and the size

    pub(super) fn on_screen(&mut self, event: ScreenEvent, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        match event {
            ScreenEvent::Keys(bytes) => match terminal.on_keys(&bytes, now.monotonic) {
                Keys::ToProgram(pieces) => {
                    self.watch_input(&bytes, now);
                    self.actions.extend(pieces.into_iter().map(|piece| match piece {
                        Piece::Plain(bytes) => WorkerAction::TypeKeys(bytes),
                        Piece::Suspending(bytes) => WorkerAction::TypeSuspending(bytes),
                    }));
                }
                Keys::Ignored => self.note(WorkerNote::KeysDropped),
                Keys::EndAgent => {}
            },
            ScreenEvent::SuspendWithheld => {
                self.note(WorkerNote::SuspendWithheld);
                let text = "Ctrl-Z would suspend this program itself, and nothing could continue it; it does not get it";
                self.actions.push_back(WorkerAction::Screen(ScreenAction::Notice(text)));
            }
            ScreenEvent::Resized(size) => self.resize(size),
            ScreenEvent::Behind => {
                terminal.on_behind(now);
                self.actions.push_back(WorkerAction::WaitForScreen(Waiting::Waits));
            }
            ScreenEvent::CaughtUp => {
                self.actions.push_back(WorkerAction::Screen(ScreenAction::CaughtUp));
                self.go_on_without_screen();
            }
        }
    }

    fn go_on_without_screen(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.on_caught_up();
            self.actions.push_back(WorkerAction::WaitForScreen(Waiting::GoesOn));
        }
    }

    /// A remote user wants the terminal to be as large as this.
    pub(super) fn on_resize(&mut self, size: TerminalSize) {
        let why = match &self.terminal {
            None => "this agent has no terminal to resize",
            Some(terminal) if terminal.is_attached() => {
                "this agent's terminal is shown on its own machine, and is as large as there"
            }
            Some(_) => return self.resize(size),
        };
        let report = complaint(AgentErrorType::Unspecified, why);
        self.actions.push_back(WorkerAction::Complain(report));
    }

    fn resize(&mut self, size: TerminalSize) {
        if let Some(terminal) = &mut self.terminal {
            terminal.resize(size);
            self.note(WorkerNote::Resized(size));
            self.actions.push_back(WorkerAction::Resize(size));
            self.note_size();
        }
    }

    /// What the program writes from now on, it writes at the size that its terminal has now.
    fn note_size(&mut self) {
        let Some((id, size)) = self.terminal.as_ref().and_then(Terminal::run_and_size) else {
            return;
        };
        let outbox = self.delivery.outbox();
        let Some(written) = outbox.totals(&id) else { return };
        let (incarnation, offset) = (written.incarnation, written.terminal_bytes);
        let record = SizeRecord { incarnation, offset, size };
        if self.sizes.note(&id, record) {
            self.uplink.queue.size(id, record);
        }
    }

    /// Looks at what the program wrote, and has it shown at the screen.
    pub(super) fn watch_terminal(&mut self, bytes: &Bytes, now: Now) {
        let Some(terminal) = &mut self.terminal else { return };
        let found = terminal.on_output(bytes, now.monotonic);
        if terminal.is_attached() {
            let show = ScreenAction::Show(bytes.clone());
            self.actions.push_back(WorkerAction::Screen(show));
            return;
        }
        let mut rest = bytes.clone();
        let mut drawn = 0;
        for Asked { query, at } in found.asked {
            let piece = rest.split_to(at.saturating_sub(drawn).min(rest.len()));
            drawn += piece.len();
            if !piece.is_empty() {
                self.actions.push_back(WorkerAction::Draw(piece));
            }
            self.actions.push_back(WorkerAction::Answer(query));
        }
        if !rest.is_empty() {
            self.actions.push_back(WorkerAction::Draw(rest));
        }
        if found.exceeded {
            self.note(WorkerNote::AsksTooMuch);
        }
    }
}
