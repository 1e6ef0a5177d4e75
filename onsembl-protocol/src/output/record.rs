//! What streams are made of: numbered chunks of bytes, and gaps that say what is missing.

use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::model::{GapCause, Stream};
use bytes::Bytes;

/// Largest chunk in bytes. In base64 with its envelope it stays below a third of the message limit,
/// and below the 100,000 characters that the existing database takes.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// One run of one process: the owner of streams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Run {
    pub command: CommandId,
    pub incarnation: Incarnation,
}

/// One record of a run. The records of one stream follow one another without hole or overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Record {
    /// Its number over all streams of the run, from 1.
    pub sequence: ChunkSequence,
    pub stream: Stream,
    /// Where in its stream it begins.
    pub offset: ByteOffset,
    pub body: RecordBody,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum RecordBody {
    /// What the process wrote.
    Chunk(Bytes),
    /// Missing bytes.
    Gap { length: u64, because: GapCause },
}

impl Record {
    /// How many bytes of the stream it covers.
    pub fn length(&self) -> u64 {
        match &self.body {
            RecordBody::Chunk(bytes) => bytes.len() as u64,
            RecordBody::Gap { length, .. } => *length,
        }
    }

    /// Where the next record of its stream begins.
    pub fn end(&self) -> ByteOffset {
        ByteOffset(self.offset.0.saturating_add(self.length()))
    }

    /// How many bytes of output it really holds.
    pub fn byte_count(&self) -> u64 {
        match &self.body {
            RecordBody::Chunk(bytes) => bytes.len() as u64,
            RecordBody::Gap { .. } => 0,
        }
    }

    /// What of it is at or behind `position` of its stream; `None` if nothing is.
    #[must_use]
    pub(crate) fn behind(mut self, position: ByteOffset) -> Option<Self> {
        if self.end() <= position {
            return None;
        }
        let before = position.0.saturating_sub(self.offset.0);
        if before > 0 {
            match &mut self.body {
                RecordBody::Chunk(bytes) => {
                    let cut = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
                    let _ = bytes.split_to(cut);
                }
                RecordBody::Gap { length, .. } => *length = length.saturating_sub(before),
            }
            self.offset = position;
        }
        Some(self)
    }
}
