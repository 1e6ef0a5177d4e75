//! Terminals that agents open: commands that no user sent. How many may be open, which one makes room, and
//! what becomes of it.

use super::action::Write;
use super::command::{AfterEnd, AfterPosition, Command, Log, Open, SizeSaid};
use super::note::FleetNote;
use super::output;
use super::row::CommandRecord;
use super::state::State;
use super::view::Change;
use crate::command::{CommandLifecycle, CommandStage};
use crate::id::{AgentId, CommandId};
use crate::model::Dialect;
use crate::output::OutputLog;
use crate::time::{Now, WallTime};
use crate::wire::payload::{CommandPhase, CommandRequest, TerminalOpened, TerminalSized};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What is kept of the words for the program in a terminal.
const PROGRAM: usize = 4096;

/// Why the terminal of this agent cannot be resized from here, if it cannot.
pub(super) fn keeps_its_size(state: &State, agent: &AgentId) -> Option<&'static str> {
    let session = state.roster.session(agent).map(|(_, session)| session);
    let Some(session) = session.filter(|session| session.capabilities.knows_terminals()) else {
        return Some(
            "this agent has no terminal support, so it has none to resize; nothing was done",
        );
    };
    let runs = |command: &Command| {
        command.open().is_some_and(|open| open.lifecycle.view().status == CommandStage::Running)
    };
    let running: Vec<&CommandId> =
        state.commands.terminals_of(agent).filter(|(_, c)| runs(c)).map(|(id, _)| id).collect();
    if running.is_empty() {
        Some("this agent has no terminal to resize now; nothing was done")
    } else if running.iter().any(|id| session.attached.as_ref() == Some(*id)) {
        Some(
            "this agent is attached to a terminal of its own machine, which decides the size; nothing was done",
        )
    } else {
        None
    }
}

/// An agent has a terminal, as it says in each session until the end of it is acknowledged.
pub(super) fn on_opened(state: &mut State, agent: &AgentId, opened: TerminalOpened, now: Now) {
    let id = opened.command_id;
    // Other ids are given by users: under one of those an agent could pass for their command.
    if !id.is_terminal() {
        let (agent, command) = (agent.clone(), id);
        return state.out.note(FleetNote::TerminalMisnamed { agent, command });
    }
    if let Some((_, session)) = state.roster.session_mut(agent) {
        if opened.attached {
            session.attached = Some(id.clone());
        } else if session.attached.as_ref() == Some(&id) {
            // Its screen was hung up.
            session.attached = None;
        }
    }
    let is_open = |state: &State| state.commands.get(&id).is_some_and(|c| c.open().is_some());
    if state.is_of(agent, &id) && !is_open(state) {
        let at = opened.opened_at.unwrap_or(now.wall);
        if !open(state, &id, agent, Dialect::Extended, opened.program, at, now) {
            state.report_unknown(agent, &id);
        }
    }
}

/// From where in its output a terminal of this agent has which size. Said again, it changes nothing.
pub(super) fn on_size(state: &mut State, agent: &AgentId, sized: &TerminalSized, now: Now) {
    let id = &sized.command_id;
    let session = state.roster.session(agent).map(|(_, session)| session);
    if !session.is_some_and(|session| session.capabilities.records_sizes()) {
        return;
    }
    let Some(command) = state.commands.get_mut(id) else { return };
    if command.agent != *agent {
        return state.note_foreign(agent, id);
    }
    let Some(open) = command.open_mut().filter(|_| id.is_terminal()) else { return };
    let record = sized.record();
    match open.sizes.take(record, now.monotonic) {
        SizeSaid::New => {}
        SizeSaid::Known => return,
        SizeSaid::TooMany => {
            let (agent, command) = (agent.clone(), id.clone());
            return state.out.note(FleetNote::SizesDropped { agent, command });
        }
    }
    state.out.write(Write::TerminalSize { command: id.clone(), record });
    state.out.show(Change::TerminalSize(id.clone(), record));
}

/// A legacy wrapper that runs no command sends its output under its own id, in whichever form it knows
/// itself.
pub(super) fn command_of(
    state: &mut State,
    agent: &AgentId,
    named: CommandId,
    now: Now,
) -> CommandId {
    let session = state.roster.session(agent).map(|(_, session)| session.capabilities.dialect());
    let of_session = named.as_str().strip_prefix(CommandId::SESSION_PREFIX);
    let id = match session {
        Some(Dialect::Legacy) => of_session.unwrap_or(named.as_str()),
        Some(Dialect::Extended) | None => named.as_str(),
    };
    let known = state.roster.agent(agent);
    // Under any of its own ids it names no command of a user; any other id is what it says.
    let is_own = id == agent.as_str()
        || session == Some(Dialect::Legacy) && id == OUTPUT_OF_NO_COMMAND
        || known.is_some_and(|known| known.shown.aliases.iter().any(|alias| alias.as_str() == id));
    if is_own { terminal_of_wrapper(state, agent, now) } else { named }
}

/// What one kind of wrapper calls all that it writes beside its commands.
const OUTPUT_OF_NO_COMMAND: &str = "agent-output";

/// What a legacy wrapper writes beside its commands belongs to a terminal that it does not know of: here it
/// is one as long as the wrapper is there.
fn terminal_of_wrapper(state: &mut State, agent: &AgentId, now: Now) -> CommandId {
    let own = state.commands.terminals_of(agent).find(|(_, command)| command.is_going_on());
    if let Some((id, _)) = own {
        return id.clone();
    }
    let id = state.ids.terminal(now.wall);
    let program = "a legacy wrapper".to_owned();
    match open(state, &id, agent, Dialect::Legacy, program, now.wall, now) {
        true => id,
        // No room for a terminal: it is shown as output without a command, which has a bound of its own.
        false => CommandId::of_session(agent),
    }
}

/// Takes a terminal in. Whether there is room for it.
fn open(
    state: &mut State,
    id: &CommandId,
    agent: &AgentId,
    dialect: Dialect,
    program: String,
    opened_at: WallTime,
    now: Now,
) -> bool {
    if !make_room(state, id, agent, now) {
        let (agent, command) = (agent.clone(), id.clone());
        state.out.note(FleetNote::TerminalRefused { agent, command });
        return false;
    }
    let mut program = program;
    program.truncate(program.floor_char_boundary(PROGRAM));
    let lifecycle = CommandLifecycle::opened(dialect, now);
    let request = Box::new(CommandRequest {
        user_id: Some(state.user.clone()),
        ..CommandRequest::new(id.clone(), agent.clone(), program)
    });
    let open = Open::new(lifecycle, request, Vec::new());
    // The agent's clock may be ahead (P-21); nothing may be listed as newer than now.
    let created_at = opened_at.min(now.wall);
    let record = CommandRecord { created_at, ..open.record(id, agent, now.wall) };
    state.out.note(FleetNote::TerminalOpened { agent: agent.clone(), command: id.clone() });
    // One that is not remembered may be in the store anyway: its agent did not hear of its end. What
    // a wrapper writes goes into a terminal that is new.
    let log = match (state.commands.remove(id), dialect) {
        (Some(known), _) => known.log,
        (None, Dialect::Extended) => output::ask_log_position(state, id),
        (None, Dialect::Legacy) => Log::Known(OutputLog::default()),
    };
    state.commands.insert(id.clone(), Command::opened(agent.clone(), log, open));
    state.show_command(id);
    // It writes at once, and what it writes takes the same way behind it.
    state.out.write(Write::Terminal(Box::new(record)));
    true
}

/// Whether this agent may open one more terminal. If too many are open, the oldest is given up: an agent says
/// what it has oldest first, and the last of them is the one that lives.
fn make_room(state: &mut State, new: &CommandId, agent: &AgentId, now: Now) -> bool {
    let (mut ending, mut open, mut oldest) = (0, 0, None);
    for (id, command) in state.commands.terminals_of(agent) {
        match command.is_going_on() {
            true => {
                open += 1;
                let _ = oldest.get_or_insert(id);
            }
            false => ending += 1,
        }
    }
    let limits = state.limits;
    // One whose end is not stored still takes room: else an agent that opens and ends terminals while the
    // database is slow would grow without a bound.
    if state.commands.open_terminals() >= limits.terminals || ending >= limits.terminals_ending {
        return false;
    }
    let is_full = open >= limits.terminals_of_agent;
    match oldest.cloned() {
        // Of those that it names in order the new one would be the next to be given up.
        Some(oldest) if is_full && oldest > *new => false,
        Some(oldest) if is_full => {
            give_up(state, &oldest, now);
            true
        }
        Some(_) | None => true,
    }
}

/// Ends a terminal that its agent may still have. The agent gets the order to drop it when the end is stored: what is
/// stored of its output would else end where nothing says that it does.
pub(super) fn give_up(state: &mut State, id: &CommandId, now: Now) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let agent = command.agent.clone();
    match &mut command.log {
        // How far its output is stored decides where its streams end.
        Log::Deferred(deferred) => {
            deferred.after = AfterPosition::GiveUp;
            return;
        }
        Log::Known(_) => {}
    }
    if let Some(open) = command.open_mut() {
        open.after_end = AfterEnd::Drop;
    }
    state.out.note(FleetNote::TerminalGivenUp { agent, command: id.clone() });
    // Gaps first: behind a stored end no reader looks for more of the stream.
    output::give_up(state, id, now);
    let why = "too many terminals of its agent were open, and this was the oldest";
    state.end_because(id, CommandPhase::Lost, why);
}

/// It is known where the output of a terminal continues that was to be given up.
pub(super) fn give_up_now(state: &mut State, id: &CommandId, now: Now) {
    let is_over = state
        .commands
        .get(id)
        .and_then(Command::open)
        .is_none_or(|open| open.lifecycle.view().status.is_final());
    if !is_over {
        give_up(state, id, now);
    }
}
