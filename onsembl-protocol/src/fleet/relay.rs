//! Output that is relayed to who watches and not stored: which commands that is true of, and when their agents get credit
//! for more. How long viewers are waited for is decided in [`Credit`](crate::output).

use super::command::{Command, Log};
use super::event::{LogPosition, OutputViewed};
use super::limits::FleetLimits;
use super::note::FleetNote;
use super::row::CommandRecord;
use super::state::State;
use super::view::Change;
use crate::id::{AgentId, CommandId};
use crate::model::Keeping;
use crate::output::{Granted, LogRecord, OutputLog, PATIENCE, Stream};
use crate::time::{Deadline, Timestamp};
use crate::wire::ServerToAgent;
use crate::wire::payload::OutputCredit;
use core::time::Duration;

/// The log of a command that an earlier run of this server left. If it was asked for without storage and nothing of it is
/// stored, it is relayed until its agent says something else.
pub(super) fn recovered(
    record: &CommandRecord,
    position: &LogPosition,
    limits: &FleetLimits,
) -> OutputLog {
    let mut log = Log::behind(position);
    if record.request.unstored && position.1.is_empty() {
        let _ = log.relay(limits.credit_bytes as u64);
    }
    log
}

/// The agent says whether it sends the output of this command to be stored.
pub(super) fn declare(state: &mut State, agent: &AgentId, id: &CommandId, keeping: Keeping) {
    let batch = state.limits.credit_bytes as u64;
    let own = state.commands.get_mut(id).filter(|command| command.agent == *agent);
    let Some(command) = own else { return };
    let is_shown = command.is_shown(id);
    match (&mut command.log, keeping) {
        (Log::Known(log), Keeping::Unstored) => {
            if log.relay(batch) && is_shown {
                state.out.show(Change::Unstored(id.clone()));
            }
        }
        // It was asked for so, of an agent that does not know that.
        (Log::Known(log), Keeping::Stored) => {
            if log.store() && is_shown {
                let (command, agent, end) = (id.clone(), agent.clone(), log.end());
                state.out.show(Change::Log { command, agent, end });
            }
        }
        (Log::Deferred(deferred), keeping) => deferred.keeping = keeping,
    }
}

/// Whether the output of this command is relayed and not stored.
pub(super) fn is_relayed(state: &mut State, id: &CommandId) -> bool {
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    log.is_some_and(|log| log.is_relayed())
}

/// Shows a record that is not stored.
pub(super) fn relay(state: &mut State, id: &CommandId, record: LogRecord, now: Timestamp) {
    let position = record.position();
    let (stream, end, bytes) = (record.stream, record.end(), record.body.byte_count() as u64);
    state.out.relay(id, record);
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    let credit = log.and_then(|log| log.credit());
    if credit.is_some_and(|credit| credit.relayed(position, stream, end, bytes, now)) {
        settle(state, id, now);
    }
}

/// A dashboard has taken all that a command wrote up to this record.
pub(super) fn on_viewed(state: &mut State, viewed: &OutputViewed, now: Timestamp) {
    let OutputViewed { by, command: id, through } = viewed;
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    if log.and_then(|log| log.credit()).is_some_and(|credit| credit.viewed(*by, *through)) {
        settle(state, id, now);
    }
}

/// Time has passed: viewers are not waited for any longer.
pub(super) fn on_time(state: &mut State, now: Timestamp) {
    while let Some(id) = state.uncredited.take_due(now) {
        settle(state, &id, now);
    }
}

/// The command is over: its agent needs no credit for it.
pub(super) fn end(state: &mut State, id: &CommandId) {
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    if let Some(credit) = log.and_then(|log| log.credit()) {
        credit.end();
        state.uncredited.note(id, Deadline::Never, 0);
    }
}

/// Gives an agent the credit that is due.
fn settle(state: &mut State, id: &CommandId, now: Timestamp) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let Command { agent, log, .. } = command;
    let agent = agent.clone();
    let Some(credit) = log.known().and_then(|log| log.credit()) else { return };
    // What waits is in memory, so that with too much of it nobody is waited for.
    let is_too_much = state.uncredited.bytes() > state.limits.relayed_bytes as u64;
    let granted = credit.take(if is_too_much { Duration::ZERO } else { PATIENCE }, now);
    let (deadline, bytes, awaited) = (credit.deadline(), credit.waiting(), credit.awaited());
    state.uncredited.note(id, deadline, bytes);
    if let Some(granted) = granted {
        state.out.show(Change::Credited(id.clone(), granted.through));
        if granted.unwatched > 0 {
            let (command, bytes) = (id.clone(), granted.unwatched);
            state.out.note(FleetNote::OutputUnwatched { command, bytes });
        }
        give(state, &agent, id, granted);
    }
    if let Some(position) = awaited {
        state.out.show(Change::Awaited(id.clone(), position));
    }
}

/// By positions, so that a lost one does not matter: the next session begins without any, on both ends.
fn give(state: &mut State, agent: &AgentId, id: &CommandId, granted: Granted) {
    let Some((seat, session)) = state.roster.session(agent) else { return };
    if !session.capabilities.leaves_output_unstored() {
        return;
    }
    for stream in Stream::ALL {
        if let Some(offset) = *granted.ends.get(stream) {
            let credit = OutputCredit {
                command_id: id.clone(),
                incarnation: granted.incarnation,
                stream_type: stream.into(),
                offset,
            };
            state.out.send(seat, ServerToAgent::OutputCredit(credit));
        }
    }
}
