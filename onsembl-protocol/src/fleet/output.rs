//! Output on its way from agents to readers and the store: where each piece goes, what is missing, what an
//! agent gets back, and what waits until it is known where the output of a command continues.

use super::action::{Question, Write};
use super::command::{AfterPosition, Command, Course, Deferred, Heard, Log, Piece, Position, Row};
use super::event::{LogPosition, Receipt, RecordOutcome, StoreFault};
use super::note::FleetNote;
use super::relay;
use super::state::State;
use super::view::Change;
use super::work::Todo;
use crate::command::CommandEvent;
use crate::id::{AgentId, ByteOffset, CommandId, Incarnation};
use crate::model::{Dialect, Keeping};
use crate::output::{GapCause, LogRecord, OutputLog, StoredBody, Stream, Taken, Written};
use crate::time::Now;
use crate::wire::ServerToAgent;
use crate::wire::payload::{CommandPhase, OutputAck, OutputContent, OutputGap, TerminalOutput};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::Bytes;

/// An agent sent output.
pub(super) fn on_output(state: &mut State, agent: &AgentId, output: TerminalOutput, now: Now) {
    let bytes = match output.content {
        OutputContent::Text(text) | OutputContent::Stripped { raw: text, .. } => Bytes::from(text),
        OutputContent::Bytes(bytes) => bytes,
    };
    if bytes.is_empty() {
        return;
    }
    let numbers = output.offset.zip(output.incarnation).zip(output.sequence);
    let position =
        numbers.map(|((offset, incarnation), sequence)| Position { incarnation, sequence, offset });
    let stream = output.stream.stream();
    // What is longer than a chunk may be is cut here (P-113): it is stored, kept and shown in pieces that any link
    // takes, however they are written there. They go by its number, and are told apart by their positions.
    for (at, body) in StoredBody::Chunk(bytes).into_pieces() {
        let position = position.map(|position| {
            let offset = ByteOffset(position.offset.0.saturating_add(at));
            Position { offset, ..position }
        });
        on_piece(state, agent, &output.command_id, Piece { stream, position, body }, now);
    }
}

/// An agent declared that output is missing.
pub(super) fn on_gap(state: &mut State, agent: &AgentId, gap: &OutputGap, now: Now) {
    let OutputGap { length, because, offset, incarnation, sequence, .. } = *gap;
    let stream = gap.stream_type.stream();
    state.out.note(FleetNote::GapDeclared {
        agent: agent.clone(),
        command: gap.command_id.clone(),
        stream,
        offset,
        length,
        because,
    });
    if length == Some(0) {
        return;
    }
    let position = Some(Position { incarnation, sequence, offset });
    let body = StoredBody::Gap { length, because };
    on_piece(state, agent, &gap.command_id, Piece { stream, position, body }, now);
}

/// Takes a piece, or keeps it until it is known where it goes.
pub(super) fn on_piece(state: &mut State, agent: &AgentId, id: &CommandId, piece: Piece, now: Now) {
    let Some(command) = state.commands.get_mut(id) else {
        return on_loose_piece(state, agent, id, piece, now);
    };
    if command.agent != *agent {
        return state.note_foreign(agent, id);
    }
    let log = match &mut command.log {
        Log::Known(log) => log,
        Log::Deferred(deferred) => {
            let cost = deferred.defer(Heard::Piece(piece));
            return state.throttle_by(agent, cost);
        }
    };
    let Piece { stream, position, body } = piece;
    // What a legacy wrapper writes under an id of no command belongs to nothing that could be stored.
    let is_kept = !matches!(command.course, Course::Loose) || position.is_some();
    let is_news = match &command.course {
        Course::Open(open) => open.lifecycle.heeds_output(),
        // Late output changes nothing of a command that is over (P-97).
        Course::Over(_) | Course::Loose => false,
    };
    let (incarnation, sequence, offset) = match position {
        Some(Position { incarnation, sequence, offset }) => (incarnation, sequence, offset),
        // A wrapper numbers nothing, so the order of arrival is the order.
        None => log.number(stream, now.wall),
    };
    let at = now.wall;
    let is_relayed = log.is_relayed();
    let taken = log.push(LogRecord { incarnation, sequence, stream, offset, body, at });
    let (hole, record) = match taken {
        Taken::Repeated(Some(stored)) => {
            let is_open = log.is_open_stored(stream);
            return acknowledge(state, agent, id, incarnation, stream, (stored, is_open));
        }
        // It is acknowledged when it is stored.
        Taken::Repeated(None) => return,
        // Reported to its agent when the end is stored, and again if that report was lost.
        Taken::GivenUp => {
            let is_open = state.commands.get(id).is_some_and(|command| command.open().is_some());
            if !is_open {
                state.report_unknown(agent, id);
            }
            return;
        }
        Taken::New { hole, record } => (hole, record),
    };
    if let Some(hole) = &hole {
        let (command, offset, length) = (id.clone(), hole.offset, hole.body.length());
        state.out.note(match is_relayed {
            true => FleetNote::OutputNotKept { command, stream, offset, length: Some(length) },
            false => FleetNote::HoleFound { agent: agent.clone(), command, stream, offset, length },
        });
    }
    if is_news {
        state.work.feed(id, CommandEvent::Output);
    }
    for record in hole.into_iter().chain([record]) {
        match is_kept {
            _ if is_relayed => relay::relay(state, id, record, now.monotonic),
            true => keep(state, agent, id, record),
            false => pass_on(state, id, record),
        }
    }
}

/// A piece of a command that is unknown here: it is kept, if there is room, under an entry for output only.
fn on_loose_piece(state: &mut State, agent: &AgentId, id: &CommandId, piece: Piece, now: Now) {
    // The agent is about to drop the rest. A part of it would stand where the end is declared.
    if was_told_unknown(state, agent, id) || state.was_not_taken(agent, id) {
        return;
    }
    if !find_room(state, agent, id, &piece) {
        let (agent, command) = (agent.clone(), id.clone());
        return state.out.note(FleetNote::LooseOutputDropped { agent, command });
    }
    on_piece(state, agent, id, piece, now);
}

fn was_told_unknown(state: &State, agent: &AgentId, id: &CommandId) -> bool {
    state.roster.session(agent).is_some_and(|(seat, _)| state.told.was_told(seat, id))
}

/// Makes an entry for output under an id that is unknown here. Whether there is room for it.
fn find_room(state: &mut State, agent: &AgentId, id: &CommandId, piece: &Piece) -> bool {
    if !state.commands.make_room_for_loose(&mut state.out) {
        return false;
    }
    // The store may have more of what has numbers: the command may be one of an earlier run of this server.
    // What a legacy wrapper writes has none, and is not stored.
    let log = match piece.position {
        Some(_) => ask_log_position(state, id),
        None => Log::Known(OutputLog::resumed()),
    };
    let entry = Command { agent: agent.clone(), log, detail: None, course: Course::Loose };
    state.commands.insert(id.clone(), entry);
    show_log(state, id);
    true
}

/// Asks the store where the output of this command continues. What comes of it waits for the answer.
pub(super) fn ask_log_position(state: &mut State, id: &CommandId) -> Log {
    state.out.ask(Question::LogPosition(id.clone()));
    Log::Deferred(Deferred::default())
}

/// Keeps this until it is known where the command's output continues, if it is not. Else gives it back.
pub(super) fn defer(
    state: &mut State,
    agent: &AgentId,
    id: &CommandId,
    heard: Heard,
) -> Option<Heard> {
    let log = state.commands.get_mut(id).map(|command| &mut command.log);
    let Some(Log::Deferred(deferred)) = log else { return Some(heard) };
    let cost = deferred.defer(heard);
    state.throttle_by(agent, cost);
    None
}

/// Shows a record and has it stored. Its agent is throttled by its cost.
fn keep(state: &mut State, agent: &AgentId, id: &CommandId, record: LogRecord) {
    state.throttle_by(agent, record.cost());
    state.out.show(Change::Output(id.clone(), record.clone()));
    state.out.write(Write::Output { command: id.clone(), record });
}

/// Shows a record that is not stored: it counts as stored, so that it makes room for others.
fn pass_on(state: &mut State, id: &CommandId, record: LogRecord) {
    let position = record.position();
    if let Some(log) = state.commands.get_mut(id).and_then(|command| command.log.known()) {
        let LogRecord { incarnation, sequence, stream, .. } = record;
        let _ = log.on_stored(incarnation, sequence, stream, record.end());
    }
    state.out.show(Change::Output(id.clone(), record));
    state.out.show(Change::Stored(id.clone(), position));
}

/// A command is reported to be over: what is missing of its output is declared, in front of its end.
pub(super) fn finish(state: &mut State, id: &CommandId, wrote: Written, now: Now) {
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    let missing = log.map(|log| log.finish(id, wrote, now.wall)).unwrap_or_default();
    declare(state, id, missing, now);
    relay::end(state, id);
}

/// The rest of a command is not awaited any more: its streams end, with gaps of unknown length.
pub(super) fn give_up(state: &mut State, id: &CommandId, now: Now) {
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    let ends = log.map(|log| log.give_up(id, now.wall)).unwrap_or_default();
    declare(state, id, ends, now);
    relay::end(state, id);
}

/// A command whose output is not stored was over before this server started: what readers have of it is unknown.
pub(super) fn forget_rest(state: &mut State, id: &CommandId, now: Now) {
    let log = state.commands.get_mut(id).and_then(|command| command.log.known());
    let log = log.filter(|log| log.is_relayed());
    let ends = log.map(|log| log.forget_rest(id, now.wall)).unwrap_or_default();
    declare(state, id, ends, now);
}

/// The link to a legacy wrapper that may run this command is lost: it drops what it writes until it has one
/// again, and how much that is cannot be known. Once a loss.
pub(super) fn interrupt(state: &mut State, id: &CommandId, now: Now) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let runs = command.open().is_some_and(|open| {
        open.row == Row::Stored && open.lifecycle.view().status.occupies_slot()
    });
    let log = command.log.known().filter(|_| runs);
    let gaps = log.map(|log| log.interrupt(now.wall)).unwrap_or_default();
    declare(state, id, gaps, now);
}

/// The store has the end of a command that was given up, which is forgotten here: what its agent still has
/// of it would stand behind an end that readers have seen.
pub(super) fn close(state: &mut State, id: &CommandId) {
    match state.commands.get_mut(id).map(|command| &mut command.log) {
        Some(Log::Deferred(deferred)) => deferred.after = AfterPosition::Close,
        Some(Log::Known(log)) => log.close(),
        None => {}
    }
}

fn declare(state: &mut State, id: &CommandId, missing: Vec<LogRecord>, now: Now) {
    let Some(agent) = state.commands.get(id).map(|command| command.agent.clone()) else { return };
    let is_relayed = relay::is_relayed(state, id);
    for record in missing {
        let length = match record.body {
            StoredBody::Gap { length, .. } => length,
            StoredBody::Chunk(_) => None,
        };
        let (command, stream, offset) = (id.clone(), record.stream, record.offset);
        if is_relayed {
            state.out.note(FleetNote::OutputNotKept { command, stream, offset, length });
            relay::relay(state, id, record, now.monotonic);
        } else {
            state.out.note(FleetNote::OutputMissing { command, stream, offset, length });
            keep(state, &agent, id, record);
        }
    }
}

/// The store says where the output of a command continues: what waited is taken.
pub(super) fn on_log_position(
    state: &mut State,
    id: &CommandId,
    position: Result<LogPosition, StoreFault>,
) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let Log::Deferred(_) = command.log else { return };
    let mut log = match &position {
        Ok(position) => Log::behind(position),
        Err(_) => OutputLog::resumed(),
    };
    if let Log::Deferred(Deferred { keeping: Keeping::Unstored, .. }) = command.log {
        let _ = log.relay(state.limits.credit_bytes as u64);
    }
    let Log::Deferred(deferred) = core::mem::replace(&mut command.log, Log::Known(log)) else {
        return;
    };
    let agent = command.agent.clone();
    if let Err(fault) = position {
        // Readers may miss some; the alternative is to keep the agent waiting for a database that fails.
        let why = fault.to_string();
        state.out.note(FleetNote::LogPositionNotRead { command: id.clone(), why });
    }
    show_log(state, id);
    let after = deferred.after;
    let (heard, cost) = deferred.into_heard();
    state.release(&agent, cost);
    for heard in heard {
        state.work.add(Todo::Hear(id.clone(), agent.clone(), heard));
    }
    match after {
        AfterPosition::Resume => {}
        AfterPosition::Close => close(state, id),
        AfterPosition::GiveUp => state.work.add(Todo::GiveUp(id.clone())),
    }
}

/// Shows that the output of a command restarts behind what the store has, if the command is shown.
pub(super) fn show_log(state: &mut State, id: &CommandId) {
    let Some(command) = state.commands.get_mut(id).filter(|command| command.is_shown(id)) else {
        return;
    };
    let agent = command.agent.clone();
    if let Some(log) = command.log.known() {
        state.out.show(Change::Log { command: id.clone(), agent, end: log.end() });
        if log.is_relayed() {
            state.out.show(Change::Unstored(id.clone()));
        }
    }
}

/// Whose stream is stored how far, and whether it ends with a gap of unknown length.
type StreamEnds = BTreeMap<(CommandId, Incarnation, Stream), (AgentId, (ByteOffset, bool))>;

/// Outcomes of records. Agents get an acknowledgement of how far their streams are stored, one for each stream.
pub(super) fn on_receipts(state: &mut State, receipts: Vec<Receipt>, now: Now) {
    let mut ends = StreamEnds::new();
    for receipt in receipts {
        let Receipt { command, incarnation, sequence, stream, offset, end, outcome } = receipt;
        match outcome {
            RecordOutcome::Stored | RecordOutcome::RefusedGap(_) => {
                // A gap that is refused is declared nowhere, but nothing of it could be sent again either.
                if let RecordOutcome::RefusedGap(why) = outcome {
                    state.out.note(FleetNote::RecordRefused { command: command.clone(), why });
                }
                let Some(known) = state.commands.get_mut(&command) else { continue };
                let agent = known.agent.clone();
                let Some(log) = known.log.known() else { continue };
                let freed = log.on_stored(incarnation, sequence, stream, end);
                let stored = (log.stored(stream), log.is_open_stored(stream));
                state.out.show(Change::Stored(command.clone(), (incarnation, sequence)));
                state.release(&agent, freed);
                let _ = ends.insert((command, incarnation, stream), (agent, stored));
            }
            RecordOutcome::NoSuchCommand => {
                let why = "no such command in the database".to_string();
                state.out.note(FleetNote::RecordRefused { command: command.clone(), why });
                on_output_of_nothing(state, &command);
            }
            RecordOutcome::RefusedChunk(why) => {
                state.out.note(FleetNote::RecordRefused { command: command.clone(), why });
                // It will never be taken, so it must be neither kept nor sent again.
                let length = Some(end.0.saturating_sub(offset.0));
                let body = StoredBody::Gap { length, because: GapCause::NotStorable };
                let at = now.wall;
                let record = LogRecord { incarnation, sequence, stream, offset, body, at };
                state.out.write(Write::Output { command, record });
            }
        }
    }
    for ((command, incarnation, stream), (agent, stored)) in ends {
        acknowledge(state, &agent, &command, incarnation, stream, stored);
    }
}

/// Acknowledges how far a stream is stored; again when its agent repeats what is stored.
fn acknowledge(
    state: &mut State,
    agent: &AgentId,
    id: &CommandId,
    incarnation: Incarnation,
    stream: Stream,
    (offset, open_gap): (ByteOffset, bool),
) {
    let Some((seat, session)) = state.roster.session(agent) else { return };
    match session.capabilities.dialect() {
        Dialect::Legacy => {}
        Dialect::Extended => {
            let ack = OutputAck {
                command_id: id.clone(),
                incarnation,
                stream_type: stream.into(),
                offset,
                open_gap,
            };
            state.out.send(seat, ServerToAgent::OutputAck(ack));
        }
    }
}

/// The store refuses output because it knows no such command. Nothing of it will ever be stored, so nothing
/// of it is acknowledged.
fn on_output_of_nothing(state: &mut State, id: &CommandId) {
    let Some(command) = state.commands.get(id) else { return };
    let agent = command.agent.clone();
    let is_stored = command.open().is_some_and(|open| open.row == Row::Stored);
    drop_log(state, id);
    state.report_unknown(&agent, id);
    // Its row was there and was deleted behind this server: no end of it can be stored any more.
    if is_stored {
        state.end_because(id, CommandPhase::Lost, "the database no longer has it");
    }
}

/// Forgets the output of a command that cannot be stored, and the entry if it is there for output only.
pub(super) fn drop_log(state: &mut State, id: &CommandId) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let agent = command.agent.clone();
    let log = core::mem::replace(&mut command.log, Log::Known(OutputLog::resumed()));
    let is_open = command.open().is_some();
    forget(state, &agent, log);
    if is_open {
        show_log(state, id);
    } else {
        let _ = state.commands.remove(id);
        state.out.show(Change::CommandRemoved(id.clone()));
    }
}

/// Nothing of this output will be stored: its agent is not throttled for it any more.
pub(super) fn forget(state: &mut State, agent: &AgentId, log: Log) {
    let cost = match log {
        Log::Known(log) => log.waiting(),
        Log::Deferred(deferred) => deferred.into_heard().1,
    };
    state.release(agent, cost);
}
