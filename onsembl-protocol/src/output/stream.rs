//! The streams of a command and positions in them.

use crate::id::{ByteOffset, Incarnation};
use core::fmt;

/// A stream that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both streams.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// How far one stream of one process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// The process.
    pub incarnation: Incarnation,
    /// The stream.
    pub stream: Stream,
    /// Bytes before this offset are accounted for.
    pub offset: ByteOffset,
}
