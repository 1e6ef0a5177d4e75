//! The keyboards of terminals: which dashboard types into which, what is passed to agents, and what the audit and the
//! other dashboards are told of it (P-400 to P-407).
//!
//! A hold lasts no longer than the link of its dashboard, the session of its agent and the run of its terminal, and not
//! beyond a stop: so that nothing typed is ever sent a second time, and nobody types into what they do not see.

use super::action::{Answer, Token, Write};
use super::collections::Map;
use super::event::KeyboardRequest;
use super::note::FleetNote;
use super::row::KeyboardRecord;
use super::state::State;
use super::stop::stopped;
use super::view::Change;
use crate::command::CommandStage;
use crate::id::{AgentId, CommandId, DashboardId, HoldId, SessionId};
use crate::model::Dialect;
use crate::terminal::{
    Accepted, HoldEnd, HoldRecord, HoldView, Keyboard, KeyboardRefusal, KeyboardView, TakeForce,
    Taken, Taker, TypingRate,
};
use crate::time::{Deadline, Human, Now};
use crate::wire::ServerToAgent;
use crate::wire::payload::{
    ErrorCode, ErrorReply, KeyboardRelease, KeyboardTake, TakeMode, TerminalInput,
    TerminalInputState,
};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// All keyboards of a user that are held.
#[derive(Debug)]
pub(super) struct Keyboards {
    held: Map<CommandId, Held>,
    rate: TypingRate,
}

/// One that is held.
#[derive(Debug)]
struct Held {
    agent: AgentId,
    /// The session of its agent in which it was taken.
    session: SessionId,
    keyboard: Keyboard,
}

impl Keyboards {
    pub(super) const fn new() -> Self {
        Self { held: Map::new(), rate: TypingRate::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Who has the keyboard of this agent's terminal.
    pub(super) fn holder(&self, agent: &AgentId) -> Option<HoldView> {
        let mut of_agent = self.held.values().filter(|held| held.agent == *agent);
        of_agent.find_map(|held| held.keyboard.view())
    }

    pub(super) fn deadline(&self) -> Deadline {
        let deadlines = self.held.values().map(|held| held.keyboard.deadline());
        deadlines.fold(Deadline::Never, Deadline::min)
    }

    /// A dashboard wants something of a keyboard.
    pub(super) fn on_request(
        &mut self,
        state: &mut State,
        token: Token,
        (by, request): (DashboardId, KeyboardRequest),
        now: Now,
    ) {
        let answer = match request {
            KeyboardRequest::Take(take) => self.take(state, by, take, now),
            KeyboardRequest::Release(release) => self.release(state, by, &release, now),
            KeyboardRequest::Input(input) => self.input(state, by, input, now),
            KeyboardRequest::LinkLost => {
                self.end_where(
                    state,
                    |(holder, _), _| (holder == by).then_some(HoldEnd::LinkLost),
                    now,
                );
                Ok(Answer::Done)
            }
        };
        state.out.answer(token, answer.unwrap_or_else(Answer::Refused));
    }

    fn take(
        &mut self,
        state: &mut State,
        by: DashboardId,
        take: KeyboardTake,
        now: Now,
    ) -> Result<Answer, ErrorReply> {
        let KeyboardTake { command_id: terminal, name, mode } = take;
        let about = |error: ErrorReply| error.for_command(Some(terminal.clone()));
        let (agent, session) = types_into(state, &terminal).map_err(about)?;
        let most = state.limits.keyboards;
        if !self.held.contains_key(&terminal) && self.held.len() >= most {
            let why = format!("you hold {most} keyboards, which is the limit; release some");
            return Err(about(ErrorReply::new(ErrorCode::QueueFull, why)));
        }
        let force = match mode {
            Some(TakeMode::Over) => TakeForce::Over,
            Some(TakeMode::IfFree | TakeMode::Unknown(_)) | None => TakeForce::IfFree,
        };
        let id = state.ids.hold(now.wall);
        let new = || Held { agent: agent.clone(), session, keyboard: Keyboard::default() };
        let held = self.held.entry(terminal.clone()).or_insert_with(new);
        match held
            .keyboard
            .take(Taker { by, name, force }, id, now)
            .map_err(|e| about(reply(&e)))?
        {
            Taken::Kept => {}
            Taken::Anew(ended) => {
                let because = ended.as_ref().and_then(|record| record.ended.as_ref());
                let because = because.map_or_else(String::new, |(_, why)| why.to_string());
                if let Some(record) = ended {
                    write(state, &terminal, &agent, record);
                }
                if let Some(record) = held.keyboard.record() {
                    let command = terminal.clone();
                    let note = FleetNote::KeyboardTaken { agent: agent.clone(), command };
                    state.out.note(note);
                    write(state, &terminal, &agent, record);
                }
                show(state, &terminal, held.keyboard.view(), because);
            }
        }
        let view = held.keyboard.view().ok_or_else(|| reply(&KeyboardRefusal::NotHolder))?;
        Ok(Answer::Keyboard { agent, view })
    }

    fn release(
        &mut self,
        state: &mut State,
        by: DashboardId,
        release: &KeyboardRelease,
        now: Now,
    ) -> Result<Answer, ErrorReply> {
        let KeyboardRelease { command_id: terminal, holder } = release;
        let about = |refusal| reply(&refusal).for_command(Some(terminal.clone()));
        let held = self.held.get_mut(terminal);
        let held = held.ok_or_else(|| about(KeyboardRefusal::NotHolder))?;
        if let Some(record) = held.keyboard.release(by, holder, now).map_err(about)? {
            self.over(state, terminal, record);
        }
        Ok(Answer::Done)
    }

    fn input(
        &mut self,
        state: &mut State,
        by: DashboardId,
        input: TerminalInput,
        now: Now,
    ) -> Result<Answer, ErrorReply> {
        let about = |error: ErrorReply| error.for_command(Some(input.command_id.clone()));
        // A hold ends with what it depends on, so that one that is there may type.
        let held = self.held.get_mut(&input.command_id);
        let Some(held) = held else {
            let (..) = types_into(state, &input.command_id).map_err(about)?;
            return Err(about(reply(&KeyboardRefusal::NotHolder)));
        };
        let bytes = input.bytes.0.len();
        if held.keyboard.is_anew(by, &input.holder, input.sequence) {
            self.rate.take(bytes, now.monotonic).map_err(|wait| {
                let why = format!(
                    "input exceeds {} bytes a second; nothing was typed. Continue in {}",
                    TypingRate::A_SECOND,
                    Human(wait)
                );
                about(ErrorReply::new(ErrorCode::QueueFull, why))
            })?;
        }
        match held.keyboard.input(by, &input.holder, (input.sequence, bytes), now) {
            Ok(Accepted::Anew) => {
                let agent = held.agent.clone();
                // Its session is there, or the hold would have ended.
                let _ = state.send(&agent, ServerToAgent::TerminalInput(input));
                Ok(Answer::Done)
            }
            Ok(Accepted::Repeated) => Ok(Answer::Done),
            Err(refusal) => Err(about(reply(&refusal))),
        }
    }

    /// An agent says how far what was typed is in its terminal.
    pub(super) fn on_state(
        &mut self,
        state: &mut State,
        agent: &AgentId,
        said: TerminalInputState,
        now: Now,
    ) {
        let TerminalInputState { command_id: terminal, holder, taken, refused, notice } = said;
        let Some(held) = self.held.get_mut(&terminal).filter(|held| held.agent == *agent) else {
            return;
        };
        if held.keyboard.holder().is_none_or(|(_, hold)| *hold != holder) {
            return;
        }
        let is_news = held.keyboard.on_taken(&holder, taken);
        if let Some(why) = refused {
            if let Some(record) = held.keyboard.end(HoldEnd::Refused(bounded(why)), now.wall) {
                self.over(state, &terminal, record);
            }
        } else if is_news || notice.is_some() {
            show(state, &terminal, held.keyboard.view(), notice.map(bounded).unwrap_or_default());
        }
    }

    pub(super) fn on_time(&mut self, state: &mut State, now: Now) {
        let due: Vec<CommandId> = self
            .held
            .iter()
            .filter(|(_, held)| held.keyboard.deadline().is_due(now.monotonic))
            .map(|(terminal, _)| terminal.clone())
            .collect();
        for terminal in due {
            let Some(held) = self.held.get_mut(&terminal) else { continue };
            let Some(record) = held.keyboard.on_time(now) else { continue };
            if record.ended.is_some() {
                self.over(state, &terminal, record);
            } else {
                write(state, &terminal, &held.agent, record);
            }
        }
    }

    /// Ends each hold whose session, terminal or permission is over. To be called behind each event.
    pub(super) fn settle(&mut self, state: &mut State, now: Now) {
        if self.held.is_empty() {
            return;
        }
        let over = |state: &State, terminal: &CommandId, held: &Held| {
            let session = state.roster.session(&held.agent).map(|(_, session)| &session.id);
            if session != Some(&held.session) {
                Some(HoldEnd::AgentAway)
            } else if state.stop_of(&held.agent).is_some() {
                // It ends the terminal, too.
                Some(HoldEnd::Stopped)
            } else {
                (!runs(state, terminal)).then_some(HoldEnd::TerminalEnded)
            }
        };
        let ended: Vec<(CommandId, HoldEnd)> = self
            .held
            .iter()
            .filter_map(|(id, held)| Some((id.clone(), over(state, id, held)?)))
            .collect();
        for (terminal, why) in ended {
            let held = self.held.get_mut(&terminal);
            if let Some(record) = held.and_then(|held| held.keyboard.end(why, now.wall)) {
                self.over(state, &terminal, record);
            }
        }
    }

    fn end_where(
        &mut self,
        state: &mut State,
        ends: impl Fn((DashboardId, &HoldId), &CommandId) -> Option<HoldEnd>,
        now: Now,
    ) {
        let of = |(id, held): (&CommandId, &Held)| {
            let why = ends(held.keyboard.holder()?, id)?;
            Some((id.clone(), why))
        };
        let ended: Vec<(CommandId, HoldEnd)> = self.held.iter().filter_map(of).collect();
        for (terminal, why) in ended {
            let held = self.held.get_mut(&terminal);
            if let Some(record) = held.and_then(|held| held.keyboard.end(why, now.wall)) {
                self.over(state, &terminal, record);
            }
        }
    }

    /// A hold ended, and no other began.
    fn over(&mut self, state: &mut State, terminal: &CommandId, record: HoldRecord) {
        let Some(held) = self.held.remove(terminal) else { return };
        let because = record.ended.as_ref().map_or_else(String::new, |(_, why)| why.to_string());
        let (agent, command) = (held.agent.clone(), terminal.clone());
        state.out.note(FleetNote::KeyboardFree { agent, command, because: because.clone() });
        write(state, terminal, &held.agent, record);
        show(state, terminal, None, because);
    }
}

/// The agent and the session into whose terminal may be typed; or why that may not be.
fn types_into(state: &State, terminal: &CommandId) -> Result<(AgentId, SessionId), ErrorReply> {
    let not_found = || {
        let why =
            "no open terminal of yours has this id; see `onsembl agents` and `onsembl commands`";
        ErrorReply::new(ErrorCode::CommandNotFound, why)
    };
    let command = state.commands.get(terminal).filter(|_| terminal.is_terminal());
    let agent = &command.ok_or_else(not_found)?.agent;
    if let Some(order) = state.stop_of(agent) {
        return Err(stopped(order, agent));
    }
    let Some((_, session)) = state.roster.session(agent) else { return Err(state.offline(agent)) };
    if !session.capabilities.types() {
        let why = match session.capabilities.dialect() {
            Dialect::Legacy => {
                "this agent is a legacy wrapper, whose terminal does not accept remote typing; nothing was typed"
            }
            Dialect::Extended => {
                "this agent's version lacks `typing`: `exec` types whole texts, and `exec --keys` single keys; nothing was typed"
            }
        };
        return Err(ErrorReply::new(ErrorCode::NotSupported, why).for_agent(Some(agent.clone())));
    }
    if !runs(state, terminal) {
        let why = "this terminal has ended; nothing was typed";
        return Err(ErrorReply::new(ErrorCode::CommandNotFound, why));
    }
    Ok((agent.clone(), session.id.clone()))
}

fn runs(state: &State, terminal: &CommandId) -> bool {
    let open = state.commands.get(terminal).and_then(super::command::Command::open);
    open.is_some_and(|open| open.lifecycle.view().status == CommandStage::Running)
}

fn write(state: &mut State, terminal: &CommandId, agent: &AgentId, hold: HoldRecord) {
    let (terminal, agent) = (terminal.clone(), agent.clone());
    state.out.write(Write::Keyboard(KeyboardRecord { terminal, agent, hold }));
}

fn show(state: &mut State, terminal: &CommandId, hold: Option<HoldView>, because: String) {
    let keyboard = KeyboardView { hold, because };
    state.out.show(Change::Keyboard(terminal.clone(), keyboard));
}

/// What an agent says is kept only so far.
fn bounded(mut why: String) -> String {
    const LONGEST: usize = 1024;
    why.truncate(why.floor_char_boundary(LONGEST));
    why
}

fn reply(refusal: &KeyboardRefusal) -> ErrorReply {
    let code = match refusal {
        KeyboardRefusal::Held { .. } | KeyboardRefusal::NotHolder => ErrorCode::KeyboardHeld,
        KeyboardRefusal::Hole { .. } | KeyboardRefusal::TooLong => ErrorCode::InvalidMessage,
        KeyboardRefusal::TooMuchWaits { .. } => ErrorCode::QueueFull,
    };
    ErrorReply::new(code, refusal.to_string())
}
