//! What streams are made of: numbered chunks of bytes, and gaps that say what nobody has.

use super::stream::Stream;
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use alloc::format;
use alloc::string::String;
use bytes::Bytes;
use core::fmt;

/// One run of one process: the owner of streams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// The command.
    pub command: CommandId,
    /// The process.
    pub incarnation: Incarnation,
}

/// One record of a run. The records of one stream follow one another without hole or overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number over all streams of the run, from 1.
    pub sequence: ChunkSequence,
    /// Its stream.
    pub stream: Stream,
    /// Where in its stream it begins.
    pub offset: ByteOffset,
    /// What it holds.
    pub body: RecordBody,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordBody {
    /// What the process wrote.
    Chunk(Bytes),
    /// So many bytes that nobody has.
    Gap {
        /// How many.
        length: u64,
        /// Why.
        because: GapCause,
    },
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
    pub fn bytes_held(&self) -> u64 {
        match &self.body {
            RecordBody::Chunk(bytes) => bytes.len() as u64,
            RecordBody::Gap { .. } => 0,
        }
    }

    /// What of it is at or behind `position` of its stream; `None` if nothing is.
    #[must_use]
    pub fn behind(mut self, position: ByteOffset) -> Option<Self> {
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

/// Why bytes are in nobody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapCause {
    /// The agent's spool was at its bound, and its policy drops.
    SpoolFull,
    /// The agent's disk took nothing and its memory was full, or its spool was damaged.
    SpoolFailed,
    /// The agent's process ended before it had read or kept them.
    AgentDied,
    /// The agent was told to end, and nobody took the rest in time.
    Stopped,
    /// A chunk came from behind a hole that nobody had declared.
    NeverCame,
    /// The database refuses them for good.
    NotStorable,
    /// History was cut.
    Retention,
}

impl GapCause {
    /// All causes.
    pub const ALL: [Self; 7] = [
        Self::SpoolFull,
        Self::SpoolFailed,
        Self::AgentDied,
        Self::Stopped,
        Self::NeverCame,
        Self::NotStorable,
        Self::Retention,
    ];

    /// Its word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool-full",
            Self::SpoolFailed => "spool-failed",
            Self::AgentDied => "agent-died",
            Self::Stopped => "stopped",
            Self::NeverCame => "never-came",
            Self::NotStorable => "not-storable",
            Self::Retention => "retention",
        }
    }

    /// The cause of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// What a reader of text is told in the place of a gap, on a line of its own.
pub fn gap_notice(length: Option<u64>, because: GapCause) -> String {
    match length {
        Some(length) => format!("[{length} bytes of output are missing here: {because}]"),
        None => format!("[the rest of the output is missing: {because}]"),
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
