//! What a fleet answers to a stop, a release and an audit: plain values, as they stand in JSON.

use crate::wire::payload::{StopProgress, StopStage};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The result of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StopReport {
    /// The order in force: this one, or an older one of the same scope.
    pub stop_id: String,
    pub agents: Vec<StoppedAgent>,
    /// Open commands that are being killed.
    pub commands: usize,
    /// Open commands of agents that got the order and cannot confirm anything.
    #[serde(default, skip_serializing_if = "is_none")]
    pub notified: usize,
}

/// Whether there is nothing to tell, as with agents of ours.
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// How far an agent is with a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StoppedAgent {
    pub agent_id: String,
    pub name: String,
    /// How far it is.
    pub state: StopState,
}

/// How far an agent is with a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopState {
    /// It is away, and starts nothing when it returns.
    Away,
    /// The order was sent, and it cannot say what it did: a legacy wrapper.
    NotConfirmed,
    /// The order was sent; the agent has not answered yet.
    Told,
    /// It has written it down: nothing starts.
    Received,
    /// It has killed everything.
    Acted,
    /// It has seen that nothing lives.
    Verified,
}

impl StopState {
    pub(super) fn of(stage: &StopStage) -> Self {
        match stage {
            StopStage::Received => Self::Received,
            StopStage::Acted => Self::Acted,
            StopStage::Verified => Self::Verified,
            StopStage::Unknown(_) => Self::Told,
        }
    }

    /// Its spelling on the wire.
    pub(crate) const fn progress(self) -> StopProgress {
        match self {
            Self::Away => StopProgress::Away,
            Self::NotConfirmed => StopProgress::NotConfirmed,
            Self::Told => StopProgress::Told,
            Self::Received => StopProgress::Received,
            Self::Acted => StopProgress::Acted,
            Self::Verified => StopProgress::Verified,
        }
    }

    /// Whether more is to be heard of it soon.
    pub(super) const fn is_pending(self) -> bool {
        match self {
            Self::Told | Self::Received | Self::Acted => true,
            Self::Away | Self::NotConfirmed | Self::Verified => false,
        }
    }
}

/// The result of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReport {
    /// How many orders are not in force any more.
    pub released: usize,
}

/// Where the bytes of an agent's streams are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct AuditReport {
    /// Whether the agent reported what it holds. If not, unstored output is unknown.
    pub agent_heard: bool,
    /// Why the agent's report is missing.
    pub because: Option<String>,
    /// Whether every byte is somewhere, as far as is known.
    pub balanced: bool,
    pub streams: Vec<AuditedStream>,
    /// Commands whose output is not kept, as asked: nothing of it is stored. The newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<String>,
}

/// The balance of one stream, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct AuditedStream {
    pub command_id: String,
    pub incarnation: u64,
    pub stream: String,
    /// What the process wrote, as far as it was read.
    pub produced: u64,
    /// Bytes of it that the server has stored.
    pub delivered: u64,
    /// What the agent holds.
    pub spooled: u64,
    /// What is declared to be lost.
    pub gaps: u64,
    /// What is in none of these: 0, or something is broken.
    pub unaccounted: u64,
    /// Bytes that are not kept, as asked: they were relayed, or dropped. `None`: the stream is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<u64>,
    /// Why the stream ends with a gap of unknown length.
    pub open_gap: Option<String>,
}
