//! The streams of a command, and how much was written to each.

use crate::id::{ByteOffset, CommandId, Incarnation};
use core::fmt;
use serde::{Deserialize, Serialize};

/// A stream that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Stream {
    Stdout,
    Stderr,
    /// A terminal, where both are one.
    Terminal,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Terminal];

    /// Those that a run of this command can have.
    pub fn of(command: &CommandId) -> &'static [Self] {
        if command.is_terminal() { &[Self::Terminal] } else { &[Self::Stdout, Self::Stderr] }
    }

    /// Its word in options and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Terminal => "terminal",
        }
    }

    /// The stream of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == word)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of something for each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PerStream<T> {
    pub stdout: T,
    pub stderr: T,
    pub terminal: T,
}

impl<T> PerStream<T> {
    /// The one of this stream.
    pub const fn get(&self, stream: Stream) -> &T {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
            Stream::Terminal => &self.terminal,
        }
    }

    /// The one of this stream, to change.
    pub const fn get_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            Stream::Terminal => &mut self.terminal,
        }
    }
}

/// Whether a server stores the output of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// It does, and acknowledges what is stored.
    #[default]
    Stored,
    /// It relays the output to who watches, and stores nothing of it, as asked.
    Unstored,
}

impl Keeping {
    /// As a flag on the wire says it.
    pub const fn of(unstored: bool) -> Self {
        if unstored { Self::Unstored } else { Self::Stored }
    }

    /// Whether nothing of it is stored.
    pub const fn is_unstored(self) -> bool {
        matches!(self, Self::Unstored)
    }
}

/// How much a process wrote, as the agent that read it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputTotals {
    pub incarnation: Incarnation,
    /// Bytes of standard output.
    pub stdout_bytes: ByteOffset,
    /// Bytes of standard error.
    pub stderr_bytes: ByteOffset,
    /// Bytes of its terminal.
    #[serde(skip_serializing_if = "is_none_written")]
    pub terminal_bytes: ByteOffset,
    /// Whether its output was relayed and not stored, as asked.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub unstored: bool,
}

impl OutputTotals {
    /// Bytes of this stream.
    pub const fn of(&self, stream: Stream) -> ByteOffset {
        match stream {
            Stream::Stdout => self.stdout_bytes,
            Stream::Stderr => self.stderr_bytes,
            Stream::Terminal => self.terminal_bytes,
        }
    }
}

fn is_none_written(bytes: &ByteOffset) -> bool {
    bytes.0 == 0
}
