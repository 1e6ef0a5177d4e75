//! What both ends say of streams beside their bytes: gaps, and how far each of them is.

use super::output::StreamType;
use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::model::GapCause;
use crate::time::WallTime;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::model::lenient;

/// `OUTPUT_GAP`: missing bytes of a stream, from an agent or on its way to a dashboard.
/// Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputGap {
    pub command_id: CommandId,
    /// The agent; for its server a mere claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    pub incarnation: Incarnation,
    pub stream_type: StreamType,
    /// Its number among the records of the process.
    pub sequence: ChunkSequence,
    pub offset: ByteOffset,
    /// How many bytes; without it that is unknown, and nothing comes behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Why. A spelling that this version does not know counts as [`GapCause::NeverCame`].
    pub because: GapCause,
    /// When it was received, by the server's clock.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis"
    )]
    pub timestamp: Option<WallTime>,
}

/// `OUTPUT_STATE`: what an agent holds of which streams, after a welcome or because it was asked.
/// Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputState {
    /// The streams, at most [`STREAMS_A_PAGE`](Self::STREAMS_A_PAGE).
    pub streams: Vec<ReportedStream>,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub more: bool,
    /// The question that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl OutputState {
    /// Most streams in one message.
    pub const STREAMS_A_PAGE: usize = 128;
}

/// One stream, as its agent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct ReportedStream {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub stream_type: StreamType,
    /// How much the process wrote, as far as it was read.
    pub produced: ByteOffset,
    /// Everything before it is committed, for all that the agent knows; what is behind it holds.
    pub stored: ByteOffset,
    /// How many of the bytes behind `stored` are gaps that are still to be declared.
    #[serde(default)]
    pub gaps: u64,
    /// Nothing of it is stored, as asked: everything before `stored` was sent once, or dropped. With `unstored-output`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub unstored: bool,
}

/// `OUTPUT_CREDIT`: the server has everything of an unstored stream before an offset, and stores none of it; as much
/// more may be sent. Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputCredit {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub stream_type: StreamType,
    /// Bytes before it do not count as being on the link any more.
    pub offset: ByteOffset,
}

/// `OUTPUT_RESUME`: the answer to [`OutputState`], page by page. Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputResume {
    /// The streams of that page.
    pub streams: Vec<ResumePosition>,
    /// Another page follows, so the agent waits on.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub more: bool,
}

/// How far one stream is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct ResumePosition {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub stream_type: StreamType,
    /// Everything before it is committed; the agent continues here.
    pub offset: ByteOffset,
}

/// `OUTPUT_QUERY`: a server asks an agent what it holds. Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputQuery {
    /// Comes back in the answer.
    pub query: String,
}
