//! Words about a command: how urgent it is, what its text is, and where it is in its life.

use super::lenient::Scalar;
use super::wire_enum;
use crate::id::CommandId;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How urgent a command is.
///
/// Existing peers use five scales, two of them upside down. Which one a number is on follows from the
/// shape of the request (P-30); inside there is only this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Priority {
    /// When nothing else waits.
    Low,
    #[default]
    Normal,
    High,
    /// For orders that cannot wait: before all others.
    Emergency,
}

impl Priority {
    /// Reads a priority by the sender's scale.
    ///
    /// With `low_is_urgent`, 0, 5 and 10 are on the scale of the page that sends `command`, where 0
    /// is urgent; any other number up to 10 is on one where 10 is, and above 10 the scale of the
    /// first specification applies (90, 70, 50, 20).
    pub(crate) fn read(value: &Scalar<'_>, low_is_urgent: bool) -> Self {
        match value {
            Scalar::Text(text) => match text.to_ascii_lowercase().as_str() {
                "low" => Self::Low,
                "high" => Self::High,
                "emergency" | "urgent" | "critical" => Self::Emergency,
                _ => Self::Normal,
            },
            Scalar::Number(n) if *n > 10.0 => match *n {
                n if n >= 80.0 => Self::Emergency,
                n if n >= 60.0 => Self::High,
                n if n >= 35.0 => Self::Normal,
                _ => Self::Low,
            },
            Scalar::Number(n) => {
                let upside_down = low_is_urgent && [0.0, 5.0, 10.0].contains(n);
                match if upside_down { 10.0 - n } else { *n } {
                    n if n >= 8.0 => Self::High,
                    n if n <= 2.0 => Self::Low,
                    _ => Self::Normal,
                }
            }
            Scalar::Null | Scalar::Bool(_) | Scalar::Compound => Self::Normal,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Emergency => "emergency",
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Scalar::deserialize(d).map(|value| Self::read(&value, false))
    }
}

wire_enum! {
    /// What is to become of a command whose agent is away.
    pub enum OfflinePolicy {
        /// It waits until the agent is back, or its time to start is over.
        Queue = "queue",
        /// It is refused at once.
        Refuse = "refuse",
    }
}

wire_enum! {
    /// What the text of a command is.
    pub enum CommandInput {
        /// A text: what is run, or typed as one submission.
        Text = "text",
        /// Names of keys of a terminal, with spaces between them.
        Keys = "keys",
        /// A text that is typed as one submission, and that nobody keeps, logs or shows.
        Secret = "secret",
    }
}

/// How the reason begins of a command that was typed into a terminal and read there; the terminal's id follows.
pub(crate) const TYPED_INTO: &str = "typed into ";

/// The terminal into which a command was typed, as its reason says.
pub fn typed_into(because: &str) -> Option<CommandId> {
    let named = because.strip_prefix(TYPED_INTO)?.split(';').next()?;
    Some(CommandId::new(named)).filter(CommandId::is_terminal)
}

/// What the reason says of a command that was typed into a terminal, and ended its program.
pub const PROGRAM_ENDED: &str = "the program in the terminal read this and ended";

wire_enum! {
    /// What becomes of a secret where the terminal shows what is typed.
    pub enum SecretEcho {
        /// It is refused.
        Refuse = "refuse",
        /// It is typed anyway, and stands in the output.
        Allow = "allow",
    }
}

wire_enum! {
    /// What a text is to do about a line that somebody has begun at the agent's own terminal.
    pub enum OpenLine {
        /// It waits for the line to be ended, or left alone.
        Wait = "wait",
        /// It is typed behind it, and submitted with it, on purpose.
        Take = "take",
    }
}

wire_enum! {
    /// What a command that its agent has waits for there.
    pub enum WaitsFor {
        /// The program of the agent's terminal, which is being started.
        Program = "program",
        /// That the program shows that it reads.
        Reader = "reader",
        /// A line that somebody has begun at the agent's own terminal.
        BegunLine = "begun-line",
        /// A line that the holder of the keyboard has begun remotely.
        RemoteLine = "remote-line",
    }
}

impl WaitsFor {
    /// For people.
    pub(crate) fn why(&self) -> String {
        let why = match self {
            Self::Program => "the program in the agent's terminal is being started",
            Self::Reader => {
                "waits until the program in the agent's terminal has shown that it reads, for 10s at most"
            }
            Self::BegunLine => {
                "waits for an unfinished line at the agent's own terminal (exec --take overrides it)"
            }
            Self::RemoteLine => {
                "waits for an unfinished line that a remote user is typing (exec --take overrides it)"
            }
            Self::Unknown(word) => return format!("waits on its agent: {word}"),
        };
        why.to_owned()
    }
}

wire_enum! {
    /// What a `COMMAND_ACK` says.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum CommandAckStatus {
        Received = "RECEIVED" | "ACKNOWLEDGED",
        /// It waits for others.
        Queued = "QUEUED",
        Executing = "EXECUTING" | "RUNNING" | "PROCESSING",
    }
}

wire_enum! {
    /// The stage of a command, as the wire names it.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum CommandPhase {
        /// Not stored yet.
        Pending = "pending",
        /// Stored; waits for its agent, or for its turn.
        Queued = "queued" | "acknowledged" | "received",
        /// The agent has it.
        Delivered = "delivered",
        Running = "running" | "executing" | "processing",
        /// Its cancellation was requested and is not confirmed.
        Cancelling = "cancelling" | "canceling",
        /// Exit code 0.
        Completed = "completed",
        /// Any other end.
        Failed = "failed",
        /// Cancelled, and confirmed to have ended.
        Cancelled = "cancelled" | "canceled" | "interrupted",
        /// Its agent died while it ran; its processes are confirmed to have ended.
        Lost = "lost",
        /// It is over for this server; how it ended is unknown.
        OutcomeUnknown = "unknown",
    }
}

impl CommandPhase {
    /// Whether it waits to be started. A phase that is not known here may be any.
    #[must_use]
    pub const fn is_unstarted(&self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Delivered => true,
            Self::Running
            | Self::Cancelling
            | Self::Completed
            | Self::Failed
            | Self::Cancelled
            | Self::Lost
            | Self::OutcomeUnknown
            | Self::Unknown(_) => false,
        }
    }
}
