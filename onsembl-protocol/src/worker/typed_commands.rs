//! The commands that are typed into a terminal: what is typed for each and under which condition, what is said of their
//! wait, and what became of it. Whose turn it is, [`TypingQueue`] decides.

use super::carrier::unknown_input;
use crate::command::Exit;
use crate::id::CommandId;
use crate::terminal::{
    Echo, Expecting, LineMode, Modes, Passing, Person, ProgramLeft, Settling, Stroke, SubmitKey,
    TerminalSettings, Typed, Typing, TypingAction, TypingQueue, Untypeable,
};
use crate::time::{Deadline, Timestamp};
use crate::wire::payload::{CommandInput, CommandRequest, OpenLine, SecretEcho, TypeIf, WaitsFor};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// What a command waits for that waits to be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) what: WaitsFor,
    /// Of a line: untouched for so long it is waited for no longer.
    pub(super) line_idle: Option<Duration>,
}

impl Waits {
    pub(super) const fn new(what: WaitsFor) -> Self {
        Self { what, line_idle: None }
    }
}

/// The commands of users in one terminal.
#[derive(Debug)]
pub(super) struct TypedCommands {
    queue: TypingQueue,
    /// Those that wait to be typed, or are being typed: as many as there are slots, at most.
    asked: BTreeMap<CommandId, CommandRequest>,
    /// What is being typed.
    typing: Option<Typing>,
    /// Whether the program is done with a paste that is being typed.
    settling: Settling,
    /// What submits a text to the program.
    submit: SubmitKey,
    /// What was said of what they wait for.
    said_waits: BTreeMap<CommandId, Waits>,
    /// What the program said of how it takes what is typed.
    modes: Modes,
    /// How the terminal was set at the last look.
    settings: Option<TerminalSettings>,
}

impl TypedCommands {
    pub(super) fn new(line_idle: Duration, submit: SubmitKey) -> Self {
        Self {
            queue: TypingQueue::new(line_idle),
            asked: BTreeMap::new(),
            typing: None,
            settling: Settling::default(),
            submit,
            said_waits: BTreeMap::new(),
            modes: Modes::default(),
            settings: None,
        }
    }

    /// A new program has said nothing yet.
    pub(super) fn on_program_started(&mut self) {
        self.modes = Modes::default();
    }

    /// The program ended. What becomes of what was typed into it, or was to be.
    pub(super) fn on_program_ended(&mut self, exit: Exit, now: Timestamp) -> ProgramLeft {
        self.settings = None;
        self.settling.end();
        let left = self.queue.on_program_ended(exit, now);
        for id in left.outlived.iter().chain(&left.read).chain(&left.waiting) {
            let _ = self.asked.remove(id);
        }
        left
    }

    /// The program wrote this. Whether it takes pastes in brackets by now.
    pub(super) fn on_output(&mut self, bytes: &[u8], now: Timestamp) -> bool {
        self.modes.read(bytes);
        self.settling.on_output(now);
        self.modes.takes_pastes()
    }

    /// The terminal was looked at.
    pub(super) fn on_look(&mut self, settings: Option<TerminalSettings>) {
        self.settings = settings;
    }

    /// A person typed this. Where in it what is in the foreground is suspended.
    pub(super) fn on_person(
        &mut self,
        bytes: &[u8],
        by: Person,
        now: Timestamp,
    ) -> Vec<Range<usize>> {
        self.queue.on_person(bytes, by, now)
    }

    /// The next thing to do about one of them, until there is none.
    pub(super) fn poll(&mut self, now: Timestamp) -> Option<TypingAction> {
        self.queue.poll(now)
    }

    /// The command whose Enter is to be typed now behind its paste, once.
    pub(super) fn take_settled(&mut self, now: Timestamp) -> Option<CommandId> {
        self.settling.poll(now)
    }

    /// Whether it is the turn of one, as soon as the program reads.
    pub(super) fn has_next(&self, now: Timestamp) -> bool {
        self.queue.has_next(now)
    }

    pub(super) fn take_next(&mut self, now: Timestamp) -> Option<CommandId> {
        self.queue.take_next(now)
    }

    pub(super) fn deadline(&self, now: Timestamp) -> Deadline {
        self.queue.deadline(now).min(self.settling.deadline())
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
        if !request.args.is_empty()
            || !request.env.is_empty()
            || request.working_directory.is_some()
        {
            return Err("this agent types commands into a terminal: send a text, without arguments, variables or directory".to_owned());
        }
        let passing = match (&request.input, &request.open_line) {
            (Some(CommandInput::Keys), _) | (_, Some(OpenLine::Take)) => Passing::GoesPast,
            (
                Some(CommandInput::Text | CommandInput::Secret | CommandInput::Unknown(_)) | None,
                Some(OpenLine::Wait | OpenLine::Unknown(_)) | None,
            ) => Passing::Waits,
        };
        let _ = self.asked.insert(id.clone(), request);
        self.queue.ask(id.clone(), passing, now);
        Ok(())
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
        let lost = || "the agent has lost this text; send it again under a new id".to_owned();
        let request = self.asked.get(id).ok_or_else(lost)?;
        let text = request.whole_text().ok_or_else(lost)?;
        let modes = &self.modes;
        let (typing, required_mode) = match &request.input {
            Some(CommandInput::Keys) => (Typing::keys_into(text, modes, self.settings), None),
            // What the terminal shows is stored as output, for all who may read that.
            Some(CommandInput::Secret) if !self.hides_from_output(request) => {
                (Err(Untypeable::Echoes), None)
            }
            // A part of another text is still in the line, and would be submitted with this one.
            Some(CommandInput::Text | CommandInput::Secret) | None
                if self.queue.line().is_spoiled() =>
            {
                (Err(Untypeable::Spoiled), None)
            }
            Some(CommandInput::Text | CommandInput::Secret) | None => {
                // Longer than a terminal gathers: possible only while the program reads its keys itself.
                let standing = self.queue.line().standing();
                let gathered = Typing::behind(standing, text, modes, LineMode::Terminal);
                let required_mode = gathered.is_err().then_some(LineMode::Program);
                let typing = Typing::submission(text, modes, LineMode::Program);
                let typing = typing.and_then(|typing| typing.submitted_by(&self.submit, modes));
                (typing, required_mode)
            }
            Some(CommandInput::Unknown(word)) => return Err(unknown_input(word)),
        };
        let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
        let typing = typing.map_err(|error| error.to_string())?.limited(limit);
        if typing.has_paste() {
            self.settling.begin(id.clone(), typing.within, now);
        }
        self.typing = Some(typing.clone());
        Ok((typing, required_mode))
    }

    /// The program has read a paste that is typed for this command.
    pub(super) fn on_paste_read(&mut self, id: &CommandId, now: Timestamp) {
        self.settling.on_read(id, now);
    }

    /// Whether the Enter behind the paste of this command waits for a word.
    pub(super) fn holds_enter(&self, id: &CommandId) -> bool {
        self.settling.contains(id)
    }

    /// What is typed behind a paste.
    pub(super) fn behind_paste(&self) -> Vec<Stroke> {
        self.typing.as_ref().map_or_else(Vec::new, |typing| typing.around_paste().1.to_vec())
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
        let text = self.asked.get(id).and_then(CommandRequest::whole_text).unwrap_or_default();
        let standing = self.queue.line().standing();
        match Typing::behind(standing, text, &self.modes, LineMode::Terminal) {
            Err(error) => error.to_string(),
            // The program has said meanwhile that it takes less, or more.
            Ok(_) => "the program in the terminal changed its input mode since this was sent; send it again under a new id".to_owned(),
        }
    }

    /// What those wait for that wait to be typed, but for their turn. As many as there are slots, at most.
    /// `is_reader_awaited`: the program has not shown that it reads.
    pub(super) fn waits_for(
        &self,
        is_reader_awaited: bool,
        now: Timestamp,
    ) -> BTreeMap<CommandId, Waits> {
        if is_reader_awaited {
            let waiting = self.queue.waiting();
            return waiting.map(|id| (id.clone(), Waits::new(WaitsFor::Reader))).collect();
        }
        let Some((by, idle)) = self.queue.blocked_by(now) else { return BTreeMap::new() };
        let what = match by {
            Person::AtMachine => WaitsFor::BegunLine,
            Person::Remote => WaitsFor::RemoteLine,
        };
        let waits = Waits { what, line_idle: Some(idle) };
        self.queue.deferred(now).map(|id| (id.clone(), waits.clone())).collect()
    }

    /// Those that wait for another thing than was said last, once.
    pub(super) fn take_other_waits(
        &mut self,
        is_reader_awaited: bool,
        now: Timestamp,
    ) -> Vec<CommandId> {
        let waits = self.waits_for(is_reader_awaited, now);
        // What was said is not said again for each key that somebody presses.
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
        let awaited = self.queue.on_typed(id, self.typing.as_ref(), much, now);
        match awaited {
            Expecting::Typing => {
                self.typing = None;
                self.settling.end();
            }
            Expecting::Nothing | Expecting::Parting(_) => {}
        }
        awaited
    }

    /// It was typed whole, and is over without a look at whether the program lives.
    pub(super) fn forget_typed(&mut self, id: &CommandId) {
        self.queue.forget_living(id);
    }

    /// It is not to be typed any more. Whether it still waited; one that is being typed is typed to its
    /// end.
    pub(super) fn withdraw(&mut self, id: &CommandId) -> bool {
        let waited = self.queue.withdraw(id);
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
        self.queue.is_typing()
    }
}
