//! What an agent has read from its processes and nobody has stored yet.
//!
//! A chunk stays here until the server said that it is committed; after a new link everything that
//! is here is sent again, and the server tells repetitions by their offsets. Both bounds are
//! declared: so many bytes may be unacknowledged on the wire, so many may be held in all, and at
//! the second one the agent stops reading from its processes.

use super::stream::{PerStream, Stream};
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::wire::payload::OutputTotals;
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;

/// Largest chunk in bytes. In base64 with its envelope it stays below a third of the message limit,
/// and below the 100,000 characters that the existing database takes.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// Most chunks held in all: a process that writes byte by byte must not cost a list entry each.
const CHUNKS: usize = 4096;

/// A chunk on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The command.
    pub command: CommandId,
    /// The process.
    pub incarnation: Incarnation,
    /// Its stream.
    pub stream: Stream,
    /// Number over all streams of the command.
    pub sequence: ChunkSequence,
    /// Where in its stream it begins.
    pub offset: ByteOffset,
    /// What was written.
    pub bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> ByteOffset {
        ByteOffset(self.offset.0.saturating_add(self.bytes.len() as u64))
    }
}

/// Chunks of all commands that are not known to be stored.
#[derive(Debug)]
pub struct Outbox {
    window: u64,
    bound: u64,
    held: u64,
    chunks: usize,
    in_flight: u64,
    commands: BTreeMap<CommandId, Pending>,
    turn: Option<CommandId>,
}

#[derive(Debug)]
struct Pending {
    incarnation: Incarnation,
    next: ChunkSequence,
    written: PerStream<ByteOffset>,
    chunks: VecDeque<Chunk>,
    sent: usize,
}

impl Outbox {
    /// Most unacknowledged bytes on the wire until a server says otherwise: 256 KiB.
    pub const DEFAULT_WINDOW: u64 = 256 * 1024;
    /// Most bytes held in all: 1 MiB.
    pub const DEFAULT_BOUND: u64 = 1 << 20;

    /// An empty outbox that holds at most `bound` bytes.
    pub const fn new(bound: u64) -> Self {
        Self {
            window: Self::DEFAULT_WINDOW,
            bound,
            held: 0,
            chunks: 0,
            in_flight: 0,
            commands: BTreeMap::new(),
            turn: None,
        }
    }

    /// A process started; what it writes will be numbered from here.
    pub fn open(&mut self, command: CommandId, incarnation: Incarnation) {
        let _ = self.commands.insert(
            command,
            Pending {
                incarnation,
                next: ChunkSequence(1),
                written: PerStream::default(),
                chunks: VecDeque::new(),
                sent: 0,
            },
        );
    }

    /// Takes what a process wrote. Bytes of a command that was not opened are counted as none.
    pub fn push(&mut self, command: &CommandId, stream: Stream, mut bytes: Bytes) {
        let Some(pending) = self.commands.get_mut(command) else { return };
        self.held = self.held.saturating_add(bytes.len() as u64);
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            let offset = pending.written.get_mut(stream);
            let chunk = Chunk {
                command: command.clone(),
                incarnation: pending.incarnation,
                stream,
                sequence: pending.next,
                offset: *offset,
                bytes: part,
            };
            *offset = chunk.end();
            pending.next = pending.next.next();
            pending.chunks.push_back(chunk);
            self.chunks += 1;
        }
    }

    /// Whether reading from processes must stop. It may go on below half the bound.
    pub fn is_full(&self) -> bool {
        self.held >= self.bound || self.chunks >= CHUNKS
    }

    /// Whether reading from processes may go on.
    pub fn has_room(&self) -> bool {
        self.held < self.bound / 2 && self.chunks < CHUNKS / 2
    }

    /// The next chunk to send, if the window allows one; the commands take turns.
    pub fn next_to_send(&mut self) -> Option<Chunk> {
        let waits = |p: &Pending| p.sent < p.chunks.len();
        let after_last = self.turn.as_ref().and_then(|last| {
            let range = (core::ops::Bound::Excluded(last), core::ops::Bound::Unbounded);
            self.commands.range::<CommandId, _>(range).find(|(_, p)| waits(p)).map(|(id, _)| id)
        });
        let command = match after_last {
            Some(id) => id.clone(),
            None => self.commands.iter().find(|(_, p)| waits(p)).map(|(id, _)| id.clone())?,
        };
        let pending = self.commands.get_mut(&command)?;
        let chunk = pending.chunks.get(pending.sent)?;
        let length = chunk.bytes.len() as u64;
        if self.in_flight.saturating_add(length) > self.window {
            return None;
        }
        let chunk = chunk.clone();
        pending.sent += 1;
        self.in_flight = self.in_flight.saturating_add(length);
        self.turn = Some(command);
        Some(chunk)
    }

    /// Everything of this stream before `offset` is stored.
    pub fn on_stored(
        &mut self,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
    ) {
        let Some(pending) = self.commands.get_mut(command) else { return };
        if pending.incarnation != incarnation {
            return;
        }
        let (mut index, before) = (0, pending.chunks.len());
        let (mut sent, mut freed, mut landed) = (pending.sent, 0u64, 0u64);
        pending.chunks.retain(|chunk| {
            let stored = chunk.stream == stream && chunk.end() <= offset;
            if stored {
                freed += chunk.bytes.len() as u64;
                if index < pending.sent {
                    sent -= 1;
                    landed += chunk.bytes.len() as u64;
                }
            }
            index += 1;
            !stored
        });
        pending.sent = sent;
        self.chunks = self.chunks.saturating_sub(before - pending.chunks.len());
        self.held = self.held.saturating_sub(freed);
        self.in_flight = self.in_flight.saturating_sub(landed);
    }

    /// A legacy server stores nothing it would acknowledge: what was sent is gone.
    pub fn on_sent_to_legacy(&mut self, chunk: &Chunk) {
        self.on_stored(&chunk.command, chunk.incarnation, chunk.stream, chunk.end());
    }

    /// A new session: all that is not known to be stored is sent again, under this window.
    pub fn restart(&mut self, window: u64) {
        self.window = window.clamp(CHUNK_BYTES as u64, Self::DEFAULT_WINDOW);
        self.in_flight = 0;
        self.commands.values_mut().for_each(|p| p.sent = 0);
    }

    /// Whether nothing of this command waits any more.
    pub fn is_settled(&self, command: &CommandId) -> bool {
        self.commands.get(command).is_none_or(|p| p.chunks.is_empty())
    }

    /// How much a command wrote.
    pub fn totals(&self, command: &CommandId) -> Option<OutputTotals> {
        self.commands.get(command).map(|p| OutputTotals {
            incarnation: p.incarnation,
            stdout_bytes: p.written.stdout,
            stderr_bytes: p.written.stderr,
        })
    }

    /// Forgets a command that is over and settled.
    pub fn close(&mut self, command: &CommandId) {
        if self.is_settled(command) {
            let _ = self.commands.remove(command);
        }
    }

    /// Bytes held.
    pub const fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn id() -> CommandId {
        CommandId::new("c")
    }

    fn filled(bytes: usize) -> Outbox {
        let mut outbox = Outbox::new(Outbox::DEFAULT_BOUND);
        outbox.open(id(), Incarnation(1));
        outbox.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; bytes]));
        outbox
    }

    #[test]
    fn no_more_than_the_window_is_on_the_wire() {
        let mut outbox = filled(1 << 20);
        let sent: Vec<Chunk> = core::iter::from_fn(|| outbox.next_to_send()).collect();
        assert_eq!(sent.iter().map(|c| c.bytes.len()).sum::<usize>(), 256 * 1024);
        outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, sent[0].end());
        assert_eq!(outbox.next_to_send().map(|c| c.sequence), Some(ChunkSequence(9)));
        assert_eq!(outbox.next_to_send(), None);
    }

    #[test]
    fn a_new_session_sends_everything_again_that_is_not_stored() {
        let mut outbox = filled(3 * CHUNK_BYTES);
        let sent: Vec<Chunk> = core::iter::from_fn(|| outbox.next_to_send()).collect();
        outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, sent[0].end());
        outbox.restart(Outbox::DEFAULT_WINDOW);
        let again: Vec<Chunk> = core::iter::from_fn(|| outbox.next_to_send()).collect();
        assert_eq!(again, sent[1..]);
    }

    #[test]
    fn reading_stops_at_the_bound_and_goes_on_below_half_of_it() {
        let mut outbox = filled(1 << 20);
        assert!(outbox.is_full() && !outbox.has_room());
        outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, ByteOffset(600 * 1024));
        assert!(!outbox.is_full() && outbox.has_room());
    }

    #[test]
    fn an_acknowledgement_of_one_stream_leaves_the_other() {
        let mut outbox = filled(10);
        outbox.push(&id(), Stream::Stderr, Bytes::from_static(b"oops"));
        while outbox.next_to_send().is_some() {}
        outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, ByteOffset(10));
        assert_eq!(outbox.held(), 4);
        assert!(!outbox.is_settled(&id()));
    }
}
