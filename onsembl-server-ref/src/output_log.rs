//! The end of a command's output, in memory: what is not stored yet, and a little of what is.
//!
//! A reader is a cursor. Where it stands within this end it reads here; where it is further back
//! it reads from the store.

use bytes::Bytes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation};
use onsembl_protocol::output::{PerStream, Stream};
use onsembl_protocol::time::WallTime;
use std::collections::VecDeque;

/// Stored bytes that are kept for readers that follow closely.
const KEPT_BYTES: usize = 256 * 1024;

/// Where a reader is: the last chunk it has.
pub type Cursor = Option<(Incarnation, ChunkSequence)>;

/// One chunk.
#[derive(Clone, Debug)]
pub struct LogChunk {
    /// Which chunk.
    pub incarnation: Incarnation,
    /// Its number.
    pub sequence: ChunkSequence,
    /// Its stream.
    pub stream: Stream,
    /// Where in its stream it begins.
    pub offset: ByteOffset,
    /// What it holds.
    pub bytes: Bytes,
    /// When it was received.
    pub at: WallTime,
}

impl LogChunk {
    fn position(&self) -> (Incarnation, ChunkSequence) {
        (self.incarnation, self.sequence)
    }
}

/// What a reader gets.
#[derive(Debug)]
pub enum Fetch {
    /// Nothing new.
    UpToDate,
    /// The next chunks.
    Chunks(Vec<LogChunk>),
    /// The next chunks are in the store.
    InStore,
}

/// What to do with a chunk that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is new: store it.
    New,
    /// It came before. If it is stored already, everything of its stream before this offset may be
    /// acknowledged again.
    Repeated(Option<ByteOffset>),
    /// It is new, but something before it never came.
    Gap,
}

/// The end of the output of one command.
#[derive(Debug, Default)]
pub struct OutputLog {
    chunks: VecDeque<(LogChunk, bool)>,
    bytes: usize,
    unstored: usize,
    /// The last chunk that is in the store and not here any more.
    dropped: Cursor,
    incarnation: Incarnation,
    /// Where each stream goes on; unknown until its first chunk, if its beginning came to an earlier
    /// run of this server.
    next: PerStream<Option<ByteOffset>>,
    stored: PerStream<ByteOffset>,
    last: Cursor,
    resumed: bool,
}

impl OutputLog {
    /// A log whose beginning may be in the store.
    pub fn resumed() -> Self {
        let before_all = Some((Incarnation(0), ChunkSequence(0)));
        Self { dropped: before_all, last: before_all, resumed: true, ..Self::default() }
    }

    /// Takes a chunk.
    pub fn push(&mut self, chunk: LogChunk) -> Taken {
        if chunk.incarnation != self.incarnation {
            self.incarnation = chunk.incarnation;
            let begin = (!self.resumed).then_some(ByteOffset(0));
            self.next = PerStream { stdout: begin, stderr: begin, terminal: begin };
            self.stored = Default::default();
        }
        let end = ByteOffset(chunk.offset.0.saturating_add(chunk.bytes.len() as u64));
        let stored = *self.stored.get(chunk.stream);
        let next = self.next.get(chunk.stream).unwrap_or(chunk.offset);
        if end <= next && !chunk.bytes.is_empty() {
            return Taken::Repeated((stored >= end).then_some(stored));
        }
        let taken = if chunk.offset > next { Taken::Gap } else { Taken::New };
        *self.next.get_mut(chunk.stream) = Some(end);
        self.bytes += chunk.bytes.len();
        self.unstored += chunk.bytes.len();
        self.last = Some(chunk.position());
        self.chunks.push_back((chunk, false));
        taken
    }

    /// The store has this chunk. Returns how many bytes wait less.
    pub fn on_stored(
        &mut self,
        incarnation: Incarnation,
        sequence: ChunkSequence,
        stream: Stream,
        end: ByteOffset,
    ) -> usize {
        let mut freed = 0;
        if incarnation == self.incarnation {
            let stored = self.stored.get_mut(stream);
            *stored = (*stored).max(end);
        }
        for (chunk, is_stored) in &mut self.chunks {
            if chunk.position() == (incarnation, sequence) && !*is_stored {
                *is_stored = true;
                freed = chunk.bytes.len();
                self.unstored -= freed;
                break;
            }
        }
        while self.bytes > KEPT_BYTES
            && let Some((chunk, true)) = self.chunks.front()
        {
            self.bytes -= chunk.bytes.len();
            self.dropped = Some(chunk.position());
            let _ = self.chunks.pop_front();
        }
        freed
    }

    /// At most about `limit` bytes behind the cursor.
    pub fn after(&self, cursor: Cursor, limit: usize) -> Fetch {
        if cursor >= self.last {
            return Fetch::UpToDate;
        }
        if cursor < self.dropped {
            return Fetch::InStore;
        }
        let begin = self.chunks.partition_point(|(c, _)| Some(c.position()) <= cursor);
        let mut taken = 0;
        let chunks: Vec<LogChunk> = self
            .chunks
            .range(begin..)
            .take_while(|(c, _)| {
                let fits = taken == 0 || taken + c.bytes.len() <= limit;
                taken += c.bytes.len();
                fits
            })
            .map(|(c, _)| c.clone())
            .collect();
        Fetch::Chunks(chunks)
    }

    /// The last chunk there is.
    pub fn end(&self) -> Cursor {
        self.last
    }

    /// The last chunk that only the store has. A reader that found nothing more there goes on
    /// behind it.
    pub fn begin(&self) -> Cursor {
        self.dropped
    }

    /// Bytes that the store does not have yet.
    pub fn unstored(&self) -> usize {
        self.unstored
    }

    /// Where a stream goes on.
    pub fn next(&self, stream: Stream) -> ByteOffset {
        self.next.get(stream).unwrap_or_default()
    }

    /// How far a stream is known to be stored.
    pub fn stored(&self, stream: Stream) -> ByteOffset {
        *self.stored.get(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 32 * 1024;

    fn chunk(n: u64) -> LogChunk {
        LogChunk {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(n),
            stream: Stream::Stdout,
            offset: ByteOffset((n - 1) * PIECE as u64),
            bytes: Bytes::from(vec![0; PIECE]),
            at: WallTime::default(),
        }
    }

    fn store(log: &mut OutputLog, n: u64) {
        let end = ByteOffset(n * PIECE as u64);
        log.on_stored(Incarnation(1), ChunkSequence(n), Stream::Stdout, end);
    }

    #[test]
    fn repetitions_are_told_and_acknowledged_only_when_stored() {
        let mut log = OutputLog::default();
        assert_eq!(log.push(chunk(1)), Taken::New);
        assert_eq!(log.push(chunk(1)), Taken::Repeated(None));
        store(&mut log, 1);
        assert_eq!(log.push(chunk(1)), Taken::Repeated(Some(ByteOffset(PIECE as u64))));
        assert_eq!(log.push(chunk(3)), Taken::Gap);
    }

    #[test]
    fn what_is_not_stored_stays_and_the_rest_goes() {
        let mut log = OutputLog::default();
        (1..=20).for_each(|n| assert_eq!(log.push(chunk(n)), Taken::New));
        assert_eq!(log.unstored(), 20 * PIECE);
        (1..=20).for_each(|n| store(&mut log, n));
        assert_eq!(log.unstored(), 0);
        assert!(matches!(log.after(None, 1), Fetch::InStore));
        let at = |n| Some((Incarnation(1), ChunkSequence(n)));
        assert!(matches!(log.after(at(20), 1), Fetch::UpToDate));
        let Fetch::Chunks(next) = log.after(at(15), 2 * PIECE) else { panic!("expected chunks") };
        let numbers: Vec<u64> = next.iter().map(|c| c.sequence.0).collect();
        assert_eq!(numbers, [16, 17]);
    }
}
