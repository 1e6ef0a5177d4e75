//! A text of a command that is too long for its request: it goes ahead of it, in pieces (P-470).

use super::CommandRequest;
use super::terminal::TypedBytes;
use crate::id::{AgentId, ByteOffset, CommandId};
use crate::limits::Limits;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// `COMMAND_TEXT`: a piece of the text of the command whose request comes behind it; from a dashboard to the server, and from
/// there to the agent. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandText {
    /// The command.
    pub command_id: CommandId,
    /// Position of the piece in the text, in bytes. A piece at 0 restarts the text.
    pub offset: ByteOffset,
    /// The piece. It may end within a character.
    pub bytes: TypedBytes,
}

/// A text of more than [`Limits::command_bytes`]. It is kept in memory only; no `Debug` and no message shows it.
#[derive(Clone, PartialEq, Eq)]
pub enum LongText {
    /// A request says that it has so many bytes, and they are not here: pieces are to be joined, or the text was
    /// lost with the process that had it.
    Declared(u64),
    /// All of it, in UTF-8.
    Whole(Bytes),
}

impl LongText {
    /// The longest, in bytes: 1 MiB, a quarter of the control messages that may wait for a link, and as much as
    /// a model with a context of 256,000 tokens reads.
    pub const MOST: usize = 1 << 20;

    /// The longest piece that is sent, in bytes: 128 KiB, which are 171 KiB as base64. A slow link has heartbeats
    /// between two of other senders.
    pub const PIECE: usize = 128 * 1024;

    /// How much of a text stands in its request, for people, in characters: 120.
    const SHOWN: usize = 120;

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Declared(bytes) => *bytes,
            Self::Whole(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        }
    }

    /// The text, if it is here.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Declared(_) => None,
            Self::Whole(text) => core::str::from_utf8(text).ok(),
        }
    }

    /// Bytes that it takes in memory.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Declared(_) => 0,
            Self::Whole(text) => text.len(),
        }
    }

    /// What is to be sent before the request of this command; nothing if the text is not here.
    pub fn pieces(&self, command: &CommandId) -> impl Iterator<Item = CommandText> {
        let text = match self {
            Self::Declared(_) => Bytes::new(),
            Self::Whole(text) => text.clone(),
        };
        let command = command.clone();
        (0..text.len()).step_by(Self::PIECE).map(move |at| CommandText {
            command_id: command.clone(),
            offset: ByteOffset(u64::try_from(at).unwrap_or(u64::MAX)),
            bytes: TypedBytes(text.slice(at..text.len().min(at.saturating_add(Self::PIECE)))),
        })
    }

    /// What stands in the place of a text, wherever its request is kept or shown.
    fn beginning_of(text: &str) -> String {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let shown: String = line.chars().filter(|c| !c.is_control()).take(Self::SHOWN).collect();
        format!("{shown}… [{} bytes]", text.len())
    }
}

impl fmt::Debug for LongText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_here = match self {
            Self::Declared(_) => "declared",
            Self::Whole(_) => "whole",
        };
        write!(f, "({} bytes, {is_here})", self.bytes())
    }
}

impl CommandRequest {
    /// A plain request whose text may be longer than [`Limits::command_bytes`]; then the [pieces](LongText::pieces) of its
    /// [`long_text`](Self::long_text) go before it, and its own text is the beginning for people.
    pub fn of_any_length(command: CommandId, agent: AgentId, text: String) -> Self {
        if text.len() <= Limits::DEFAULT.command_bytes {
            return Self::new(command, agent, text);
        }
        let mut request = Self::new(command, agent, LongText::beginning_of(&text));
        request.long_text = Some(LongText::Whole(text.into()));
        request
    }

    /// What is to be run or typed: the text, however long it is. `None` if it has a long one that is not here.
    pub(crate) fn whole_text(&self) -> Option<&str> {
        match &self.long_text {
            None => Some(&self.text),
            Some(long) => long.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;
    use alloc::vec::Vec;

    fn request(text: &str) -> CommandRequest {
        CommandRequest::of_any_length(CommandId::new("c"), AgentId::new("a"), text.into())
    }

    #[test]
    fn a_text_that_fits_stands_in_its_request_and_another_goes_before_it() {
        let fits = "x".repeat(Limits::DEFAULT.command_bytes);
        let short = request(&fits);
        assert_eq!((short.text.as_str(), &short.long_text), (fits.as_str(), &None));
        let text = "\n  fix this: \u{1b}é".to_owned() + &"é".repeat(150_000);
        let long = request(&text);
        assert!(long.text.starts_with("  fix this: éé"), "{}", long.text);
        assert!(long.text.ends_with(&format!("… [{} bytes]", text.len())), "{}", long.text);
        assert_eq!(long.whole_text(), Some(text.as_str()));
        let shown = format!("{long:?}");
        assert!(shown.len() < 1500, "{shown}");
        let pieces: Vec<_> = long.long_text.unwrap().pieces(&CommandId::new("c")).collect();
        assert_eq!(pieces.len(), 3);
        let mut joined = Vec::new();
        for piece in pieces {
            assert_eq!(piece.offset.0, joined.len() as u64);
            joined.extend_from_slice(&piece.bytes.0);
        }
        assert_eq!(joined, text.as_bytes());
    }

    #[test]
    fn of_one_that_is_not_here_nothing_is_sent_or_typed() {
        let mut request = request("beginning");
        request.long_text = Some(LongText::Declared(70_000));
        assert_eq!(request.whole_text(), None);
        assert_eq!(request.long_text.unwrap().pieces(&CommandId::new("c")).count(), 0);
    }
}
