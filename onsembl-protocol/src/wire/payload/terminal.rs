//! What is said of terminals: that one was opened, how large it is to be, and how a command reaches it.

use crate::id::{AgentId, ByteOffset, CommandId, Incarnation};
use crate::model::{SizeRecord, TerminalSize, lenient};
use crate::time::WallTime;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// `TERMINAL_OPENED`: an agent opened a terminal by itself, under an id of its own minting. Said in
/// each session until its end is acknowledged. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalOpened {
    /// The id of the terminal, which is a command without a sender.
    pub command_id: CommandId,
    /// What runs in it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// When it was opened, by the agent's clock; absent if an earlier process of the agent did.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub opened_at: Option<WallTime>,
    /// It is shown at a terminal of the agent's machine too, which decides how large it is.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub attached: bool,
    /// How large it is now. From where in its output it has that size is said by `TERMINAL_SIZE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
}

/// `TERMINAL_SIZE`: from a place in its output a terminal has this size. It may come before or behind the bytes that
/// stand there, and again: what counts is the place. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct TerminalSized {
    /// The terminal.
    pub command_id: CommandId,
    /// To dashboards only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    pub incarnation: Incarnation,
    /// Of its terminal stream.
    pub offset: ByteOffset,
    pub size: TerminalSize,
}

impl TerminalSized {
    /// Of this terminal.
    pub fn new(command_id: CommandId, agent_id: Option<AgentId>, record: SizeRecord) -> Self {
        let SizeRecord { incarnation, offset, size } = record;
        Self { command_id, agent_id, incarnation, offset, size }
    }

    /// What it says.
    pub const fn record(&self) -> SizeRecord {
        SizeRecord { incarnation: self.incarnation, offset: self.offset, size: self.size }
    }
}
