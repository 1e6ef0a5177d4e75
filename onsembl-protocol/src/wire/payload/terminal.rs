//! What is said of terminals: that one was opened, how large it is to be, and how a command reaches it.

use super::super::lenient;
use crate::id::CommandId;
use crate::model::wire_enum;
use crate::terminal::TerminalSize;
use crate::time::WallTime;
use alloc::string::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

wire_enum! {
    /// What the text of a command is.
    pub enum CommandInput {
        /// A text: what is run, or typed as one submission.
        Text = "text",
        /// Names of keys of a terminal, with spaces between them.
        Keys = "keys",
    }
}

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
    /// When it was opened, by the agent's clock; left away if an earlier process of the agent did.
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
}

#[derive(Serialize, Deserialize)]
struct Raw {
    columns: u64,
    rows: u64,
}

impl Serialize for TerminalSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Raw { columns: self.columns().into(), rows: self.rows().into() }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for TerminalSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Raw { columns, rows } = Raw::deserialize(d)?;
        Self::new(columns, rows).ok_or_else(|| {
            serde::de::Error::custom("a terminal has from 1 to 1000 columns and rows")
        })
    }
}
