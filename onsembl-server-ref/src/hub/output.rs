//! Output on its way from agents to the boards and the store, and what agents are told of it.

use super::ledger::Entry;
use super::run::Hub;
use crate::board::CommandEntry;
use crate::output_log::{LogChunk, OutputLog, Taken};
use crate::store::{OutputChunk, OutputReceipt};
use bytes::Bytes;
use onsembl_protocol::command::CommandEvent;
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::output::Stream;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::payload::{OutputAck, OutputContent, TerminalOutput};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::BTreeMap;
use tracing::{debug, warn};

/// Unstored bytes of one agent at which its link is not read any more. An agent of ours never gets
/// here, because its window is smaller; a legacy wrapper knows no window.
const HOLD_BACK: usize = 1 << 20;
/// Output that belongs to no command of the user: so many ids of it are kept on a board.
const LOOSE_ENDS: usize = 256;

impl Hub {
    pub(super) fn on_message(&mut self, key: Key, message: AgentToServer, now: Now) {
        let Some((user, agent)) = self.who(key) else { return };
        match message {
            AgentToServer::Output(output) => self.on_output(key, user, &agent, output, now),
            AgentToServer::CommandAck(ack) => {
                let command = (user, ack.command_id);
                if self.is_of(&agent, &command) {
                    self.feed_command(&command, CommandEvent::Acknowledged(ack.status));
                }
            }
            AgentToServer::CommandComplete(report) => self.on_complete(key, user, &agent, report),
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

    fn on_output(
        &mut self,
        key: Key,
        user: UserId,
        agent: &AgentId,
        output: TerminalOutput,
        now: Now,
    ) {
        let command = self.command_of_output(&user, agent, output.command_id);
        let stream = output.stream.stream();
        let bytes = match output.content {
            OutputContent::Text(text) => Bytes::from(text),
            OutputContent::Bytes(bytes) => Bytes::from(bytes),
        };
        if bytes.is_empty() {
            return;
        }
        let board = self.boards.of(&user);
        let length = bytes.len();
        let numbered = output.offset.zip(output.incarnation).zip(output.sequence);
        let owner = board.look().commands.get(&command).map(|entry| entry.agent.clone());
        if owner.is_some_and(|owner| owner != *agent) {
            return self.refuse_foreign(agent, &command);
        }
        let taken = board.change(|content, revision| {
            let loose = content.commands.values().filter(|e| e.view.is_none()).count();
            if !content.commands.contains_key(&command) && loose >= LOOSE_ENDS {
                return None;
            }
            let entry = content.commands.entry(command.clone()).or_insert_with(|| CommandEntry {
                agent: agent.clone(),
                view: None,
                detail: None,
                log: OutputLog::resumed(),
                revision,
            });
            let ((offset, incarnation), sequence) =
                numbered.unwrap_or_else(|| entry.log.number(stream, now.wall));
            let at = now.wall;
            let chunk = LogChunk { incarnation, sequence, stream, offset, bytes, at };
            let taken = entry.log.push(chunk.clone());
            // What a legacy wrapper says without a command belongs to none that could be stored.
            let kept = entry.view.is_some() || numbered.is_some();
            if !kept {
                let end = ByteOffset(chunk.offset.0.saturating_add(chunk.bytes.len() as u64));
                let _ = entry.log.on_stored(incarnation, sequence, stream, end);
            }
            Some((chunk, taken, kept))
        });
        let Some((chunk, taken, kept)) = taken else {
            self.counters.count("loose_output_dropped");
            warn!(%agent, %command, "too much output that belongs to no command; it is dropped");
            return;
        };
        match taken {
            Taken::Repeated(Some(stored)) => {
                self.acknowledge(key, &command, chunk.incarnation, stream, stored);
                return;
            }
            Taken::Repeated(None) => return,
            Taken::Gap => {
                self.counters.count("output_gaps");
                warn!(%agent, %command, %stream, offset = %chunk.offset, "output before this never came");
            }
            Taken::New => {}
        }
        self.feed_command(&(user.clone(), command.clone()), CommandEvent::Output);
        if !kept {
            return;
        }
        self.hold_back(key, length);
        self.ledger.write(Entry::Output(OutputChunk {
            user,
            command,
            incarnation: chunk.incarnation,
            sequence: chunk.sequence,
            stream,
            offset: chunk.offset,
            bytes: chunk.bytes,
            at: now.wall,
        }));
    }

    /// A legacy wrapper that runs no command sends its output under its own id, in whichever form
    /// it knows itself.
    fn command_of_output(&self, user: &UserId, agent: &AgentId, named: CommandId) -> CommandId {
        let own =
            named.as_str() == agent.as_str()
                || self.boards.of(user).look().agents.get(agent).is_some_and(|a| {
                    a.aliases.iter().any(|alias| alias.as_str() == named.as_str())
                });
        if own { CommandId::new(format!("agent-session-{agent}")) } else { named }
    }

    fn hold_back(&mut self, key: Key, length: usize) {
        let Some(live) = self.live.get_mut(&key) else { return };
        live.output_waiting = live.output_waiting.saturating_add(length);
        if live.output_waiting >= HOLD_BACK && !live.held_back {
            live.held_back = true;
            self.counters.count("agents_held_back");
            debug!(agent = ?live.agent, "not reading from an agent until its output is stored");
            self.shard.pause(key);
        }
    }

    pub(super) fn on_stored(&mut self, receipts: Vec<OutputReceipt>) {
        type Place = (UserId, CommandId, Incarnation, Stream);
        let mut stored: BTreeMap<Place, (AgentId, ByteOffset)> = BTreeMap::new();
        for receipt in receipts {
            let OutputReceipt { user, command, incarnation, sequence, stream, end, outcome } =
                receipt;
            if let Err(error) = outcome {
                // The database will never take it, so nobody is to keep it or to send it again.
                self.counters.count("output_refused");
                warn!(%command, %error, "the database refuses a chunk of output");
            }
            let done = self.boards.of(&user).look().commands.get_mut(&command).map(|entry| {
                let freed = entry.log.on_stored(incarnation, sequence, stream, end);
                (entry.agent.clone(), entry.log.stored(stream), freed)
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

    fn release(&mut self, agent: &AgentId, freed: usize) {
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
        offset: ByteOffset,
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
        };
        let _told_again_when_it_repeats = self.shard.send(key, &ServerToAgent::OutputAck(ack));
    }
}

impl OutputLog {
    /// Numbers a chunk of a peer that does not: behind all that came, as one process that began
    /// when the first of them came.
    fn number(
        &mut self,
        stream: Stream,
        wall: onsembl_protocol::time::WallTime,
    ) -> ((ByteOffset, Incarnation), ChunkSequence) {
        let first = Incarnation(u64::try_from(wall.unix_millis()).unwrap_or(1).max(1));
        let (incarnation, sequence) = match self.end() {
            Some((incarnation, sequence)) if incarnation.0 > 0 => (incarnation, sequence.next()),
            Some(_) | None => (first, ChunkSequence(1)),
        };
        ((self.next(stream), incarnation), sequence)
    }
}
