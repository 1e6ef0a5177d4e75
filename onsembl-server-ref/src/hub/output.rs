//! Output on its way from agents to the boards and the store, and what agents are told of it.

use super::commands::CommandKey;
use super::ledger::Entry;
use super::placing::Heard;
use super::run::{Answer, Hub};
use crate::board::{CommandEntry, Content};
use crate::store::{OutputReceipt, StoreError, StoredBody, StoredRecord, StreamPosition};
use bytes::Bytes;
use onsembl_protocol::command::CommandEvent;
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::output::{GapCause, LogRecord, OutputLog, Stream, Taken, Written};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::payload::{
    OutputAck, OutputContent, OutputGap, OutputResume, OutputState, StreamPlace, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::BTreeMap;
use tracing::{debug, warn};

/// Unstored output of one agent, by the cost of its records, at which its link is not read any more. An agent of ours never gets
/// here, because its window is smaller; a legacy wrapper knows no window.
const HOLD_BACK: usize = 2 << 20;
/// Output that belongs to no command of the user: so many ids of it are kept on a board.
const LOOSE_ENDS: usize = 256;
/// What a piece that waits counts besides its bytes: one without any must count too.
const PIECE_COST: usize = 256;

/// Who said something.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) key: Key,
    pub(super) user: UserId,
    pub(super) agent: AgentId,
}

/// A piece of a stream, as it came.
#[derive(Debug)]
pub(super) struct Piece {
    stream: Stream,
    /// Where it belongs; a legacy wrapper does not say.
    place: Option<Place>,
    body: StoredBody,
}

impl Piece {
    /// What it counts while it waits.
    pub(super) fn cost(&self) -> usize {
        self.body.held().saturating_add(PIECE_COST)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    incarnation: Incarnation,
    sequence: ChunkSequence,
    offset: ByteOffset,
}

impl Hub {
    pub(super) fn on_message(&mut self, key: Key, message: AgentToServer, now: Now) {
        let Some((user, agent)) = self.who(key) else { return };
        match message {
            AgentToServer::Output(output) => {
                self.on_output(&Sender { key, user, agent }, output, now);
            }
            AgentToServer::OutputGap(gap) => self.on_gap(&Sender { key, user, agent }, &gap, now),
            AgentToServer::OutputState(state) => {
                self.on_output_state(Sender { key, user, agent }, state);
            }
            AgentToServer::StopReceipt(receipt) => self.on_stop_receipt(key, &agent, &receipt),
            AgentToServer::TerminalOpened(opened) => {
                self.on_terminal_opened(user, &agent, opened);
            }
            AgentToServer::CommandAck(ack) => {
                let command = (user, ack.command_id);
                if self.is_of(&agent, &command) {
                    self.feed_command(&command, CommandEvent::Acknowledged(ack.status));
                }
            }
            AgentToServer::CommandComplete(report) => {
                self.on_complete(Sender { key, user, agent }, report);
            }
            AgentToServer::Fault(fault) => {
                self.counters.count("agent_faults");
                warn!(%agent, kind = %fault.error_type, recoverable = fault.recoverable, text = fault.message, "an agent reports a fault");
                if !fault.recoverable {
                    self.shard.faulted(key);
                }
            }
            AgentToServer::Trace(_) | AgentToServer::Report(_) => {
                self.counters.count("traces_not_kept");
                debug!(%agent, "a trace or report; nobody consumes them yet");
            }
            // The shard answers these itself.
            AgentToServer::Connect(_)
            | AgentToServer::Heartbeat(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Pong(_)
            | AgentToServer::Unknown(_) => {}
        }
    }

    fn on_output(&mut self, from: &Sender, output: TerminalOutput, now: Now) {
        let command = self.command_of_output(&from.user, &from.agent, output.command_id);
        let bytes = match output.content {
            OutputContent::Text(text) => Bytes::from(text),
            OutputContent::Bytes(bytes) => bytes,
        };
        if bytes.is_empty() {
            return;
        }
        let place = output.offset.zip(output.incarnation).zip(output.sequence);
        let place =
            place.map(|((offset, incarnation), sequence)| Place { incarnation, sequence, offset });
        let stream = output.stream.stream();
        self.on_piece(from, &command, Piece { stream, place, body: StoredBody::Chunk(bytes) }, now);
    }

    fn on_gap(&mut self, from: &Sender, gap: &OutputGap, now: Now) {
        self.counters.count("output_gaps");
        let OutputGap { length, because, .. } = *gap;
        warn!(agent = %from.agent, command = %gap.command_id, stream = %gap.stream_type,
            offset = %gap.offset, length, %because, "an agent declares that output is missing");
        if length == Some(0) {
            return;
        }
        let place =
            Place { incarnation: gap.incarnation, sequence: gap.sequence, offset: gap.offset };
        let (stream, body) = (gap.stream_type.stream(), StoredBody::Gap { length, because });
        let piece = Piece { stream, place: Some(place), body };
        self.on_piece(from, &gap.command_id, piece, now);
    }

    pub(super) fn on_piece(&mut self, from: &Sender, command: &CommandId, piece: Piece, now: Now) {
        let Sender { key, user, agent } = from;
        let board = self.boards.of(user);
        let owner = board.look().commands.get(command).map(|entry| entry.agent.clone());
        if owner.as_ref().is_some_and(|owner| owner != agent) {
            return self.refuse_foreign(agent, command);
        }
        let Some(piece) = self.placed(from, command, owner.is_some(), piece) else { return };
        let Piece { stream, place, body } = piece;
        let taken = board.change(|content, revision| {
            let loose = content.commands.values().filter(|e| e.view.is_none()).count();
            if !content.commands.contains_key(command) && loose >= LOOSE_ENDS {
                return None;
            }
            let entry = content.commands.entry(command.clone()).or_insert_with(|| CommandEntry {
                agent: agent.clone(),
                view: None,
                detail: None,
                log: OutputLog::resumed(),
                revision,
            });
            let (incarnation, sequence, offset) = match place {
                Some(Place { incarnation, sequence, offset }) => (incarnation, sequence, offset),
                None => entry.log.number(stream, now.wall),
            };
            let at = now.wall;
            let taken =
                entry.log.push(LogRecord { incarnation, sequence, stream, offset, body, at });
            // What a legacy wrapper says without a command belongs to none that could be stored.
            let kept = entry.view.is_some() || place.is_some();
            if let Taken::New { record, .. } = &taken
                && !kept
            {
                let _ = entry.log.on_stored(incarnation, record.sequence, stream, record.end());
            }
            Some((incarnation, taken, kept, entry.log.is_open_stored(stream)))
        });
        let Some((incarnation, taken, kept, open)) = taken else {
            return self.too_loose(agent, command);
        };
        let (hole, record) = match taken {
            Taken::Repeated(Some(stored)) => {
                return self.acknowledge(*key, command, incarnation, stream, (stored, open));
            }
            Taken::Repeated(None) => return,
            // Its agent is told when that is stored, and once more if it did not hear it.
            Taken::GivenUp => {
                if !self.commands.contains_key(&(user.clone(), command.clone())) {
                    self.tell_unknown(agent, command);
                }
                return;
            }
            Taken::New { hole, record } => (hole, record),
        };
        if let Some(hole) = &hole {
            self.counters.count("output_gaps");
            warn!(%agent, %command, %stream, offset = %hole.offset, length = hole.body.length(), "output before this never came");
        }
        self.feed_command(&(user.clone(), command.clone()), CommandEvent::Output);
        if !kept {
            return;
        }
        for record in hole.into_iter().chain([record]) {
            self.hold_back(*key, record.cost());
            self.ledger.write(Entry::Output(StoredRecord::of_log(
                user.clone(),
                command.clone(),
                record,
            )));
        }
    }

    /// Gives the piece back if it is known where it goes. Else it waits for that.
    fn placed(
        &mut self,
        from: &Sender,
        command: &CommandId,
        is_shown: bool,
        piece: Piece,
    ) -> Option<Piece> {
        if self.unplaced.is_empty() && is_shown {
            return Some(piece);
        }
        let key = (from.user.clone(), command.clone());
        if !is_shown && piece.place.is_some() && !self.unplaced.contains_key(&key) {
            let asked = self.unplaced.keys().filter(|(user, _)| *user == from.user).count();
            let loose = |c: &Content| c.commands.values().filter(|e| e.view.is_none()).count();
            if asked.saturating_add(loose(&self.boards.of(&from.user).look())) >= LOOSE_ENDS {
                self.too_loose(&from.agent, command);
                return None;
            }
            self.ask_place(&key, &from.agent);
        }
        match self.hold(&key, Heard::Piece(from.clone(), piece)) {
            Some(Heard::Piece(_, piece)) => Some(piece),
            Some(Heard::Complete(..)) | None => None,
        }
    }

    fn too_loose(&self, agent: &AgentId, command: &CommandId) {
        self.counters.count("loose_output_dropped");
        warn!(%agent, %command, "too much output that belongs to no command; it is dropped");
    }

    /// A command is reported to be over: what is missing of its output is declared, before its end.
    pub(super) fn finish_output(&mut self, key: Key, command: &CommandKey, wrote: Written) {
        let at = self.now().wall;
        let missing = self.boards.of(&command.0).change(|content, _| {
            let entry = content.commands.get_mut(&command.1);
            entry.map(|entry| entry.log.finish(&command.1, wrote, at)).unwrap_or_default()
        });
        self.declare(Some(key), command, missing);
    }

    /// Nobody waits for the rest of a command any more: its streams end, with ends that nobody knows.
    pub(super) fn give_up_output(&mut self, key: Option<Key>, command: &CommandKey) {
        let at = self.now().wall;
        let ends = self.boards.of(&command.0).change(|content, _| {
            let entry = content.commands.get_mut(&command.1);
            entry.map(|entry| entry.log.give_up(&command.1, at)).unwrap_or_default()
        });
        self.declare(key, command, ends);
    }

    /// Stores these gaps. An agent that is there is held back for them as for what it sends.
    fn declare(&mut self, key: Option<Key>, command: &CommandKey, missing: Vec<LogRecord>) {
        for record in missing {
            self.counters.count("output_gaps");
            warn!(command = %command.1, stream = %record.stream, offset = %record.offset, body = ?record.body, "a command is over, and its agent does not have all of its output");
            if let Some(key) = key {
                self.hold_back(key, record.cost());
            }
            let record = StoredRecord::of_log(command.0.clone(), command.1.clone(), record);
            self.ledger.write(Entry::Output(record));
        }
    }

    /// An agent says what it holds: it is told how far that is stored.
    fn on_output_state(&mut self, from: Sender, state: OutputState) {
        let mut commands: Vec<_> = state.streams.iter().map(|s| s.command_id.clone()).collect();
        commands.dedup();
        if state.query.is_some() {
            return self.on_audited(&from, state);
        }
        let store = self.store.clone();
        self.answers.spawn(async move {
            let positions = store.output_positions(&from.user, commands).await;
            Answer::Positions { from, state, positions }
        });
    }

    pub(super) fn on_positions(
        &mut self,
        from: &Sender,
        state: &OutputState,
        positions: Result<Vec<StreamPosition>, StoreError>,
    ) {
        let positions = match positions {
            Ok(positions) => positions,
            Err(error) => {
                // It sends everything again when it has waited long enough.
                self.counters.count("positions_not_read");
                warn!(agent = %from.agent, %error, "cannot say how far output is stored");
                return;
            }
        };
        let streams = state.streams.iter().map(|held| {
            let stream = held.stream_type.stream();
            let same = |p: &&StreamPosition| {
                p.command == held.command_id
                    && p.incarnation == held.incarnation
                    && p.stream == stream
            };
            StreamPlace {
                command_id: held.command_id.clone(),
                incarnation: held.incarnation,
                stream_type: stream.into(),
                offset: positions.iter().find(same).map(|p| p.committed).unwrap_or_default(),
            }
        });
        let resume = OutputResume { streams: streams.collect(), more: state.more };
        let _it_goes_on_by_itself = self.shard.send(from.key, &ServerToAgent::OutputResume(resume));
    }

    /// A legacy wrapper that runs no command sends its output under its own id, in whichever form
    /// it knows itself.
    fn command_of_output(&mut self, user: &UserId, agent: &AgentId, named: CommandId) -> CommandId {
        let own =
            named.as_str() == agent.as_str()
                || self.boards.of(user).look().agents.get(agent).is_some_and(|a| {
                    a.aliases.iter().any(|alias| alias.as_str() == named.as_str())
                });
        if own { self.terminal_of_wrapper(user, agent) } else { named }
    }

    pub(super) fn hold_back(&mut self, key: Key, cost: usize) {
        let Some(live) = self.live.get_mut(&key) else { return };
        live.output_waiting = live.output_waiting.saturating_add(cost);
        if live.output_waiting >= HOLD_BACK && !live.held_back {
            live.held_back = true;
            self.counters.count("agents_held_back");
            debug!(agent = ?live.agent, "not reading from an agent until its output is stored");
            self.shard.pause(key);
        }
    }

    pub(super) fn on_stored(&mut self, receipts: Vec<OutputReceipt>) {
        type Place = (UserId, CommandId, Incarnation, Stream);
        let mut stored: BTreeMap<Place, (AgentId, (ByteOffset, bool))> = BTreeMap::new();
        for receipt in receipts {
            let OutputReceipt {
                user,
                command,
                incarnation,
                sequence,
                stream,
                offset,
                is_gap,
                end,
                outcome,
            } = receipt;
            if let Err(error) = outcome {
                self.counters.count("output_refused");
                warn!(%command, %error, "the database refuses a record of output");
                if error.is_of_nothing() {
                    self.on_output_of_nothing(&(user, command));
                    continue;
                }
                if !is_gap {
                    // It will never be taken, so nobody is to keep it or to send it again.
                    let at = self.now().wall;
                    let length = Some(end.0.saturating_sub(offset.0));
                    let body = StoredBody::Gap { length, because: GapCause::NotStorable };
                    self.ledger.write(Entry::Output(StoredRecord {
                        user,
                        command,
                        incarnation,
                        sequence,
                        stream,
                        offset,
                        body,
                        at,
                    }));
                    continue;
                }
            }
            let done = self.boards.of(&user).look().commands.get_mut(&command).map(|entry| {
                let freed = entry.log.on_stored(incarnation, sequence, stream, end);
                let end = (entry.log.stored(stream), entry.log.is_open_stored(stream));
                (entry.agent.clone(), end, freed)
            });
            let Some((agent, end, freed)) = done else { continue };
            self.release(&agent, freed);
            let _ = stored.insert((user, command, incarnation, stream), (agent, end));
        }
        for ((_, command, incarnation, stream), (agent, end)) in stored {
            if let Some(machine) = self.known.get(&agent).and_then(|k| k.machine) {
                self.acknowledge(machine, &command, incarnation, stream, end);
            }
        }
    }

    pub(super) fn release(&mut self, agent: &AgentId, freed: usize) {
        let Some(machine) = self.known.get(agent).and_then(|k| k.machine) else { return };
        let Some(live) = self.live.get_mut(&machine) else { return };
        live.output_waiting = live.output_waiting.saturating_sub(freed);
        if live.held_back && live.output_waiting < HOLD_BACK / 2 {
            live.held_back = false;
            self.shard.resume(machine);
        }
    }

    fn acknowledge(
        &mut self,
        key: Key,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        (offset, open_gap): (ByteOffset, bool),
    ) {
        use onsembl_protocol::session::{Dialect, ServerView};
        if self.shard.machine(key).and_then(ServerView::dialect) != Some(Dialect::Extended) {
            return;
        }
        let ack = OutputAck {
            command_id: command.clone(),
            incarnation,
            stream_type: stream.into(),
            offset,
            open_gap,
        };
        let _told_again_when_it_repeats = self.shard.send(key, &ServerToAgent::OutputAck(ack));
    }
}
