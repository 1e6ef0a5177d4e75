//! What is said of terminals: that one was opened, who holds its keyboard, and what is typed into it.

use crate::id::{AgentId, ByteOffset, CommandId, HoldId, Incarnation, InputSequence, MessageId};
use crate::model::{SizeRecord, TerminalSize, lenient, wire_enum};
use crate::text::Text;
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// `TERMINAL_SIZE`: from a position in its output a terminal has this size. It may come before or behind the bytes that
/// stand there, and again: what counts is the position. Extension.
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

/// `OUTPUT_TAKEN`: a viewer has shown everything of a terminal's output before this position. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputTaken {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub offset: ByteOffset,
}

/// `OUTPUT_BEHIND`: a viewer is so far behind a terminal that it is to show the present screen. It was sent everything before
/// this position, and is sent nothing more until it subscribes again. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputBehind {
    pub command_id: CommandId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    pub incarnation: Incarnation,
    pub offset: ByteOffset,
}

wire_enum! {
    /// What is to become of another dashboard that holds a keyboard.
    pub enum TakeMode {
        /// It keeps it.
        IfFree = "if-free",
        /// It loses it.
        Over = "over",
    }
}

/// `KEYBOARD_TAKE`: a dashboard wants to type into a terminal. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyboardTake {
    /// The terminal.
    pub command_id: CommandId,
    /// What the others are told of who has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Absent: it is taken if it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TakeMode>,
}

/// `KEYBOARD_RELEASE`: a dashboard gives a keyboard up. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct KeyboardRelease {
    pub command_id: CommandId,
    pub holder: HoldId,
}

/// `KEYBOARD_STATE`: who holds a keyboard. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyboardState {
    /// The terminal.
    pub command_id: CommandId,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The `KEYBOARD_TAKE` that this answers: its sender has the keyboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The hold; absent if nobody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<HoldId>,
    /// Who has it, in that dashboard's own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Since when.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<WallTime>,
    /// Up to this number everything that was typed is in the terminal.
    #[serde(default)]
    pub taken: InputSequence,
    /// Why the hold before it ended, or what became of something that was typed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// `TERMINAL_INPUT`: something is typed into a terminal; from a dashboard to the server, and from there to the agent.
/// Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalInput {
    /// The terminal.
    pub command_id: CommandId,
    /// The hold under which it is typed.
    pub holder: HoldId,
    /// From 1 in each hold.
    pub sequence: InputSequence,
    /// What is typed.
    pub bytes: TypedBytes,
}

/// `TERMINAL_INPUT_STATE`: an agent says how far what was typed is in the terminal. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalInputState {
    /// The terminal.
    pub command_id: CommandId,
    /// The hold.
    pub holder: HoldId,
    /// Up to this number everything is in the terminal.
    #[serde(default)]
    pub taken: InputSequence,
    /// Why nothing more of this hold is typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What became of something that was typed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// What is typed. Neither `Debug` nor a log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedBytes(pub Bytes);

impl fmt::Debug for TypedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for TypedBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for TypedBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(d)?;
        // The error names no byte of it.
        let read = STANDARD.decode(text.as_bytes());
        read.map(|bytes| Self(bytes.into())).map_err(|_| {
            serde::de::Error::custom(format!("`bytes` of {} characters is not base64", text.len()))
        })
    }
}
