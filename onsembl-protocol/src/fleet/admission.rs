//! May this be done? The refusals of commands and orders, in the order in which they are found, before
//! anything is changed.

use super::action::{Question, Token};
use super::command::{Command, Course, Log, Open, Row, cost_of, misread, terms, too_long};
use super::event::StoreFault;
use super::long_texts;
use super::note::FleetNote;
use super::state::State;
use super::stop::stopped;
use super::terminal::keeps_its_size;
use crate::command::{Candidate, CommandEvent, CommandLifecycle, Unroutable, choose_agent};
use crate::id::{AgentId, CommandId};
use crate::model::{Dialect, Pausing, StopScope};
use crate::output::OutputLog;
use crate::terminal::TERMINAL_PREFIX;
use crate::time::Now;
use crate::wire::ServerToAgent;
use crate::wire::payload::{
    AgentControl, CommandRequest, ControlAction, ErrorCode, ErrorReply, OfflinePolicy,
};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A user wants a command run: it is refused, or put on its way to the store.
pub(super) fn on_command(
    state: &mut State,
    token: Token,
    mut request: Box<CommandRequest>,
    now: Now,
) {
    let Some(id) = request.command_id.clone() else {
        let why = "the request has no `commandId`; without one it cannot be distinguished from its repetition";
        let error = ErrorReply::new(ErrorCode::InvalidMessage, why);
        return state.out.reply(token, Err(error));
    };
    if id.is_terminal() {
        let why = format!(
            "ids that begin with {TERMINAL_PREFIX:?} are reserved for terminals; use another id"
        );
        return state.out.reply(token, Err(ErrorReply::new(ErrorCode::InvalidMessage, why)));
    }
    // Before admission: what was accepted once stays accepted, whatever would be refused now (P-95).
    if is_repetition(state, token, &id) {
        return;
    }
    let (agent, dialect, linked) = match admit(state, &id, &request) {
        Ok(admitted) => admitted,
        Err(error) => return state.out.reply(token, Err(error.for_command(Some(id)))),
    };
    request.agent_id = Some(agent.clone());
    request.user_id = Some(state.user.clone());
    let lifecycle = CommandLifecycle::new(dialect, terms(&request), linked, now);
    let open = Open::new(lifecycle, request, alloc::vec![token]);
    let record = open.record(&id, &agent, now.wall);
    state.out.note(FleetNote::CommandTaken { command: id.clone(), agent: agent.clone() });
    // The store has nothing of a command that is new; if it is not, its answer says so. Only what its agent
    // wrote under this id already is known.
    let loose = state.commands.remove(&id).map(|loose| loose.log);
    let log = loose.unwrap_or_else(|| Log::Known(OutputLog::default()));
    state.commands.insert(id, Command::opened(agent, log, open));
    state.out.ask(Question::Insert(Box::new(record)));
}

/// Whether this command was asked for before and is remembered; then it is answered as that one.
fn is_repetition(state: &mut State, token: Token, id: &CommandId) -> bool {
    let most = state.limits.repetitions;
    let waits = match state.commands.get_mut(id).map(|command| &mut command.course) {
        None | Some(Course::Loose) => return false,
        // Whether its agent would take another one now says nothing of this one.
        Some(Course::Over(_)) => None,
        Some(Course::Open(open)) => match open.row {
            Row::Stored => None,
            // One that could not be stored in time has ended, and will never be run. Whether the store takes
            // it anyway is not known yet.
            Row::Asked if open.lifecycle.view().status.is_final() => {
                let why = open.lifecycle.view().because.to_string();
                state.refuse(token, ErrorCode::StorageUnavailable, why, id);
                return true;
            }
            Row::Asked => Some(open),
        },
    };
    state.out.note(FleetNote::CommandRepeated { command: id.clone() });
    match waits {
        None => state.out.reply(token, Ok(())),
        Some(open) if open.waiters.len() < most => open.waiters.push(token),
        Some(_) => {
            let why = "this command is being stored, and too many requests wait for storage; wait for their answers";
            state.refuse(token, ErrorCode::QueueFull, why, id);
        }
    }
    true
}

/// The agent that is to run a command, what it speaks, and whether it is in session; or why it is refused.
fn admit(
    state: &State,
    id: &CommandId,
    request: &CommandRequest,
) -> Result<(AgentId, Dialect, bool), ErrorReply> {
    let agent = choose(state, request.agent_id.as_ref())?;
    // Bounds of the user come before what depends on the agent: they hold for every agent (P-105).
    let most = state.limits.open_commands;
    if state.commands.open_by_user() >= most {
        let why = format!("{most} commands of yours are open; wait for some to end");
        return Err(ErrorReply::new(ErrorCode::QueueFull, why));
    }
    let most = state.limits.open_command_bytes;
    if state.commands.open_bytes().saturating_add(cost_of(request)) > most {
        let why = format!(
            "the open commands of yours would take more than {most} bytes; wait for some to end"
        );
        return Err(ErrorReply::new(ErrorCode::QueueFull, why));
    }
    long_texts::admit(state, &agent, request)?;
    let is_too_long = |dialect| match too_long(request, dialect) {
        Some(why) => Err(ErrorReply::new(ErrorCode::InvalidMessage, why)),
        None => Ok(()),
    };
    is_too_long(Dialect::Extended)?;
    // Refused and not queued: a release must not set off what was asked for during the stop (P-107).
    if let Some(order) = state.stop_of(&agent) {
        return Err(stopped(order, &agent));
    }
    let session = state.working_session(&agent).map(|(_, session)| session);
    let waits = match &request.offline {
        // It is kept in memory only, and not for an agent that is away.
        _ if request.is_secret() => false,
        Some(OfflinePolicy::Refuse) => false,
        // Only an agent with a journal can be asked again without risk.
        Some(OfflinePolicy::Queue | OfflinePolicy::Unknown(_)) | None => {
            state.roster.agent(&agent).is_some_and(|known| known.journal.is_some())
        }
    };
    // What an agent that is away speaks it says when it is back; only extended ones keep a journal.
    let dialect = session
        .map(|session| session.capabilities.dialect())
        .or(waits.then_some(Dialect::Extended));
    let Some(dialect) = dialect else { return Err(state.offline(&agent)) };
    // One that waits is looked at again when it is sent: its agent may come back as another.
    if session.is_some()
        && let Some(why) = misread(dialect, session, request)
    {
        return Err(ErrorReply::new(ErrorCode::NotSupported, why));
    }
    if dialect == Dialect::Legacy
        && (request.working_directory.is_some() || !request.env.is_empty())
    {
        let why = "this agent is a legacy wrapper, which ignores `workingDirectory` and `env`; put them into the command itself";
        return Err(ErrorReply::new(ErrorCode::NotSupported, why));
    }
    // Its arguments become part of the text, which goes out twice.
    if dialect == Dialect::Legacy {
        is_too_long(dialect)?;
    }
    // An agent may have written under this id before; what it wrote is not output of this command.
    if state.commands.get(id).is_some_and(|loose| loose.agent != agent) {
        let why = "an agent of yours writes output under this id; use another id";
        return Err(ErrorReply::new(ErrorCode::InvalidMessage, why));
    }
    Ok((agent, dialect, session.is_some()))
}

/// The agent that a request means.
fn choose(state: &State, wanted: Option<&AgentId>) -> Result<AgentId, ErrorReply> {
    // By far the most requests name an agent by its id. For the others, too, only those are looked at that may be meant.
    if let Some(id) = wanted.filter(|id| state.is_listed(id)) {
        return Ok(id.clone());
    }
    let directory = &state.roster.directory;
    let meant: Vec<&AgentId> = match wanted {
        None => directory.available().collect(),
        Some(wanted) => {
            let named = directory.named(wanted);
            let first = || directory.by_alias(wanted).find(|id| state.is_listed(id));
            match named.is_empty() {
                true => first().into_iter().collect(),
                false => named.into_iter().collect(),
            }
        }
    };
    let candidates: Vec<Candidate<'_>> = meant
        .into_iter()
        .filter_map(|id| Some((id, state.roster.agent(id)?)))
        .map(|(id, agent)| Candidate {
            id,
            name: &agent.shown.name,
            aliases: &agent.shown.aliases,
            available: state.working_session(id).is_some(),
            lineage: agent.shown.claim.as_ref().map(|claim| &claim.lineage),
        })
        .collect();
    choose_agent(wanted, &candidates).cloned().map_err(|error| {
        let (code, error) = match error {
            Unroutable::NotFound(_) => (ErrorCode::AgentNotFound, error),
            Unroutable::Ambiguous { wanted, .. } => {
                let count = directory.count(&wanted);
                (ErrorCode::AgentAmbiguous, Unroutable::Ambiguous { wanted, count })
            }
            Unroutable::Unnamed(_) => {
                (ErrorCode::AgentAmbiguous, Unroutable::Unnamed(directory.count_available()))
            }
        };
        ErrorReply::new(code, error.to_string()).for_agent(wanted.cloned())
    })
}

/// A user has an order for an agent: it is sent, or refused.
pub(super) fn on_control(state: &mut State, token: Token, control: AgentControl, now: Now) {
    let Some(agent) = control.agent_id.clone() else {
        let error = ErrorReply::new(ErrorCode::InvalidMessage, "the order names no agent");
        return state.out.reply(token, Err(error));
    };
    if let Err(error) = obeyed(state, &agent, &control) {
        return state.out.reply(token, Err(error.for_agent(Some(agent))));
    }
    state.out.note(FleetNote::Order { agent: agent.clone(), action: control.action.clone() });
    // The answer says only that the order is on its way (P-106); the agent's presence shows what came of it.
    let pausing = match &control.action {
        ControlAction::Pause => Some(Pausing::Paused),
        ControlAction::Resume => Some(Pausing::Running),
        ControlAction::Start
        | ControlAction::Stop
        | ControlAction::Restart
        | ControlAction::Resize
        | ControlAction::Unknown(_) => None,
    };
    let result = match state.send(&agent, ServerToAgent::Control(control)) {
        true => {
            if let Some(pausing) = pausing {
                state.order_pausing(&agent, pausing, now.wall);
            }
            Ok(())
        }
        false => Err(state.offline(&agent)),
    };
    state.out.reply(token, result);
}

/// Whether an agent would obey this order now.
///
/// # Errors
/// Why not.
fn obeyed(state: &State, agent: &AgentId, control: &AgentControl) -> Result<(), ErrorReply> {
    if state.roster.agent(agent).is_none() {
        let why = "no agent of yours has this id";
        return Err(ErrorReply::new(ErrorCode::AgentNotFound, why));
    }
    let Some((_, session)) = state.roster.session(agent) else {
        return Err(state.offline(agent));
    };
    let unsupported = |why: String| Err(ErrorReply::new(ErrorCode::NotSupported, why));
    match (&control.action, session.capabilities.dialect()) {
        // A program on another machine cannot be started from here (P-106).
        (ControlAction::Start, _) => {
            unsupported("an agent in session has started already; nothing was done".to_owned())
        }
        (ControlAction::Unknown(action), _) => {
            unsupported(format!("{action:?} is not an order known to this version"))
        }
        (_, Dialect::Legacy) => unsupported(
            "this agent is a legacy wrapper, which ignores orders; nothing was done".to_owned(),
        ),
        (ControlAction::Resize, Dialect::Extended) if control.size.is_none() => {
            let why = "RESIZE needs a `size` with `columns` and `rows`";
            Err(ErrorReply::new(ErrorCode::InvalidMessage, why))
        }
        (ControlAction::Resize, Dialect::Extended) => {
            keeps_its_size(state, agent).map_or(Ok(()), |why| unsupported(why.to_owned()))
        }
        (
            ControlAction::Stop
            | ControlAction::Restart
            | ControlAction::Pause
            | ControlAction::Resume,
            Dialect::Extended,
        ) => Ok(()),
    }
}

/// A user deletes an agent.
pub(super) fn on_delete(state: &mut State, token: Token, agent: AgentId) {
    // Each one waits for the store and holds a reply, so their number is bounded.
    if state.deletions >= state.limits.deletions {
        let why = "too many of your agents are being deleted; try again later";
        return state.out.reply(token, Err(ErrorReply::new(ErrorCode::QueueFull, why)));
    }
    state.deletions += 1;
    state.out.ask(Question::DeleteAgent { token, agent });
}

/// The store deleted an agent, with the stop that was in force for it, or did not.
pub(super) fn on_deleted(
    state: &mut State,
    token: Token,
    agent: &AgentId,
    deleted: Result<bool, StoreFault>,
) {
    state.deletions = state.deletions.saturating_sub(1);
    let result = match deleted {
        Ok(true) => {
            let _ = state.latch.release(&StopScope::Agent(agent.clone()));
            state.out.note(FleetNote::AgentDeleted { agent: agent.clone() });
            // No session of the agent can follow, so nothing else would end them.
            for command in state.commands.open_of(agent) {
                state.work.feed(&command, CommandEvent::AgentDeleted);
            }
            state.roster.delete(agent, &mut state.out);
            Ok(())
        }
        Ok(false) => {
            Err(ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id"))
        }
        Err(fault) => Err(ErrorReply::new(ErrorCode::StorageUnavailable, fault.to_string())),
    };
    state.out.reply(token, result);
}
