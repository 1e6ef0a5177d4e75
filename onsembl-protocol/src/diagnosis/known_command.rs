//! What is known of a command when it is asked why it does not go on: data, and words for what it waits for.

use super::explanation::{Explanation, rfc3339};
use crate::id::CommandId;
use crate::model::{CommandPhase, Finding, GapCause, Stream};
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Serialize, Serializer};

/// What a command waits for. The ids are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitsFor {
    /// The database, which has not taken it yet.
    Store,
    /// Its agent, which is away.
    Agent,
    /// The release of an emergency stop.
    Release,
    /// That its agent is resumed: it was paused.
    Resume,
    /// Its turn: a free slot of its agent.
    Turn,
    /// The acknowledgement of its agent, to which it was sent.
    Acknowledgement,
    /// Its start, by the agent that has it.
    Start,
    /// Its end: it runs.
    End,
    /// The confirmation that it was cancelled.
    CancelConfirmation,
}

impl WaitsFor {
    /// All of them, in the order of a command's life.
    pub const ALL: [Self; 9] = [
        Self::Store,
        Self::Agent,
        Self::Release,
        Self::Resume,
        Self::Turn,
        Self::Acknowledgement,
        Self::Start,
        Self::End,
        Self::CancelConfirmation,
    ];

    /// Its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Agent => "agent",
            Self::Release => "release",
            Self::Resume => "resume",
            Self::Turn => "turn",
            Self::Acknowledgement => "acknowledgement",
            Self::Start => "start",
            Self::End => "end",
            Self::CancelConfirmation => "cancel-confirmation",
        }
    }

    /// Whether the agent has it, or is about to, and says how far it is.
    pub(super) const fn is_for_what_agent_does(self) -> bool {
        match self {
            Self::Turn
            | Self::Acknowledgement
            | Self::Start
            | Self::End
            | Self::CancelConfirmation => true,
            Self::Store | Self::Agent | Self::Release | Self::Resume => false,
        }
    }

    /// What that means, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Store => {
                "the database has not stored the command yet; it was neither accepted nor sent"
            }
            Self::Agent => "its agent is away",
            Self::Release => "an emergency stop is in force",
            Self::Resume => "its agent is paused, and starts nothing",
            Self::Turn => "every slot of its agent is taken",
            Self::Acknowledgement => "it was sent, and its agent has not acknowledged it",
            Self::Start => "its agent has it and has not started it",
            Self::End => "its process runs",
            Self::CancelConfirmation => {
                "it was cancelled, and its agent has not confirmed that its processes ended"
            }
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WaitsFor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// How often a command was sent to its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was not.
    Never,
    /// So often; the last time this long ago.
    Times(u8, Duration),
    /// An earlier run of the server may have done it.
    Maybe,
}

/// Where a command that is not over stands with its fleet, beside what is published of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How often it was sent.
    pub sent: Sent,
    /// Commands whose turn comes before it.
    pub ahead: usize,
    /// Commands that occupy a slot of its agent.
    pub occupied: usize,
    /// How many commands its agent runs at once; `None` if it has no queue.
    pub slots: Option<usize>,
    /// Whether its agent's link is read. It is not while too much of the output waits for the database.
    pub read: LinkRead,
}

/// Whether the link of an agent is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LinkRead {
    Read,
    /// Not until half of the output that waits for the database is stored.
    Paused,
}

/// What is known of the agent of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentOf {
    pub name: String,
    pub presence: Explanation,
    /// Why it is away, if it is and that is known.
    pub finding: Option<Finding>,
    /// What keeps it from starting anything, by order.
    pub order: OrderInForce,
}

/// What keeps an agent from starting anything, by order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum OrderInForce {
    None,
    Paused {
        /// Who ordered it, if this run of the server knows.
        by: Option<String>,
        since: Option<WallTime>,
    },
    /// An emergency stop is in force.
    Stopped {
        /// Who ordered it.
        by: String,
        at: WallTime,
        reason: String,
    },
}

/// One change of a command's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandStep {
    #[serde(serialize_with = "rfc3339")]
    pub at: WallTime,
    /// What it was from then on.
    pub status: CommandPhase,
    pub because: String,
}

/// What is missing of one stream of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct MissingOutput {
    pub stream: Stream,
    /// Bytes in declared gaps.
    pub bytes: u64,
    /// Why the stream ends with a gap of unknown length, if it does.
    pub open: Option<GapCause>,
}

/// What is known of a command: of its row, of its fleet, of its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct KnownCommand {
    pub command: CommandId,
    pub status: CommandPhase,
    /// When it came there.
    pub since: WallTime,
    pub because: String,
    /// How it came there, the oldest first.
    pub steps: Vec<CommandStep>,
    /// Where it stands; `None` if it is over, or its fleet did not say.
    pub standing: Option<Standing>,
    /// Its agent; `None` if that was deleted.
    pub agent: Option<AgentOf>,
    /// Commands that occupy the slots of its agent.
    pub busy_with: Vec<CommandId>,
    /// When the latest of its output came that is stored.
    pub last_output: Option<WallTime>,
    /// What is missing of its output, without what was cut as too old.
    pub missing: Vec<MissingOutput>,
    /// What keeps the database from taking anything, if it takes nothing.
    pub store: Option<String>,
}

impl AgentOf {
    pub(super) const fn is_there(&self) -> bool {
        self.presence.state.is_in_session()
    }
}

/// A name or an id as one word of a command line, whoever chose it.
pub(super) fn shell_quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
