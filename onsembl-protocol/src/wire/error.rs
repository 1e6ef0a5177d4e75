//! Why a text could not be decoded, and what of it could still be read.

use crate::id::{CommandId, MessageId};
use crate::shown::Shown;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use thiserror::Error;

/// A text that is no message. The peer is at fault, never this side. What is shown of it is escaped: it quotes it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", Shown::new(.cause))]
pub struct DecodeError {
    /// What is wrong with it.
    pub cause: DecodeCause,
    /// Its `id`, if that could be read.
    pub message_id: Option<MessageId>,
    /// Its `payload.commandId`, if that could be read.
    pub command_id: Option<CommandId>,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum DecodeCause {
    /// Larger than the limit.
    #[error("the message has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        bytes: usize,
        /// See [`Limits::message_bytes`](crate::limits::Limits::message_bytes).
        limit: usize,
    },
    /// Nests deeper than the limit.
    #[error("the message nests deeper than {limit} levels")]
    TooDeep {
        /// See [`Limits::depth`](crate::limits::Limits::depth).
        limit: usize,
    },
    /// No JSON object with a text `type`.
    #[error("the message is not a JSON object with a string `type`: {0}")]
    NotAnEnvelope(String),
    /// A binary message that is no chunk of output.
    #[error("the binary message is not output: {0}")]
    NotOutput(&'static str),
    /// The payload does not fit its type.
    #[error("the payload of {kind} cannot be read: {why}")]
    BadPayload {
        kind: Box<str>,
        /// What the parser says.
        why: String,
    },
    /// A field is longer than the limit.
    #[error("`{field}` of {kind} is longer than {limit}")]
    TooLong {
        kind: Box<str>,
        field: &'static str,
        /// The limit, in bytes or entries.
        limit: usize,
    },
}

/// What the parser says, without long quotations of the text: they may hold a secret, and they are
/// as long as the peer likes.
pub(super) fn unquoted(error: &serde_json::Error) -> String {
    const LONGEST: usize = 32;
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(from), Some(to)) if to - from > LONGEST => {
            let (before, rest) = text.split_at(from);
            let after = rest.get(to - from..).unwrap_or_default();
            format!("{before}\"...{after}")
        }
        _ => text,
    }
}
