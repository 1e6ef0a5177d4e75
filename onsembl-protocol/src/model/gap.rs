//! Why bytes of a stream are missing.

use super::Capabilities;
use crate::text::Text;
use alloc::format;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapCause {
    /// The agent's spool was at its bound, and its policy drops.
    SpoolFull,
    /// The agent's disk took nothing and its memory was full, or its spool was damaged.
    SpoolFailed,
    /// The agent's process ended before it had read or kept them.
    AgentDied,
    /// The agent was ordered to end, and the rest was not taken in time.
    Stopped,
    /// A chunk came from behind an undeclared hole.
    NeverCame,
    /// The database refuses them permanently.
    NotStorable,
    /// The server cut it as too old, or as more than its user may keep.
    Retention,
    /// A process that outlived its command had its output open, and what it wrote later was not kept.
    Background,
    /// The command was asked for without storage of its output, and these bytes were on a link that was lost, or came
    /// while there was none, or faster than they were read.
    NotKept,
}

impl GapCause {
    /// All causes.
    pub const ALL: [Self; 9] = [
        Self::SpoolFull,
        Self::SpoolFailed,
        Self::AgentDied,
        Self::Stopped,
        Self::NeverCame,
        Self::NotStorable,
        Self::Retention,
        Self::Background,
        Self::NotKept,
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
            Self::Background => "background",
            Self::NotKept => "not-kept",
        }
    }

    /// The cause for a peer with which this was negotiated.
    pub(crate) fn as_told(self, capabilities: Capabilities) -> Self {
        match self {
            Self::NotKept if !capabilities.leaves_output_unstored() => Self::NeverCame,
            cause => cause,
        }
    }

    /// The cause of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// The text that stands for a gap, on a line of its own.
pub fn gap_notice(length: Option<u64>, because: GapCause) -> String {
    match (length, because) {
        (Some(length), GapCause::NotKept) => {
            format!("[{length} bytes of output are missing here: not kept, as asked]")
        }
        (Some(length), _) => format!("[{length} bytes of output are missing here: {because}]"),
        // More may come behind it: its agent was without a link, and drops what it writes meanwhile.
        (None, GapCause::NeverCame) => {
            "[output may be missing here: its agent had no link, and stores no output]".into()
        }
        (None, GapCause::NotKept) => {
            "[output may be missing here: the server was restarted, and the output is not kept, as asked]"
                .into()
        }
        (None, GapCause::Background) => {
            "[a process keeps running in the background; its output from here on is not stored]"
                .into()
        }
        (None, _) => format!("[the rest of the output is missing: {because}]"),
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for GapCause {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for GapCause {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Text::deserialize(d).map(|word| Self::parse(&word).unwrap_or(Self::NeverCame))
    }
}
