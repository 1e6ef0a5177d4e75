//! Facts about a program, whichever way they came.

use crate::model::{ActivityFact, Question};

/// Something that happened in a program, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A session began.
    SessionStarted,
    /// A session ended.
    SessionEnded,
    /// A prompt was taken: a turn begins.
    PromptSubmitted,
    /// A tool is used, or was.
    ToolUsed(ToolUser),
    /// Somebody is called.
    Notified(Call),
    /// It asks for a permission.
    PermissionRequested(Question),
    /// A turn is over.
    TurnEnded,
    /// The bell of the terminal.
    Bell,
    /// A notification by the terminal, with this text.
    TerminalNotified(alloc::string::String),
    /// A prompt is shown, by its mark in the terminal.
    PromptStarted,
    /// A command begins, by its mark in the terminal.
    CommandStarted,
    /// A command ended, by its mark in the terminal.
    CommandEnded,
}

/// Whose tool it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolUser {
    /// The agent itself.
    Agent,
    /// A part of it that works beside it, also while it waits for a prompt.
    Subagent,
}

/// Why a program calls somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// It waits for a prompt.
    Waits,
    /// It asks something.
    Asks(Question),
    /// Something else, which says nothing of what it does.
    Other,
}

impl Fact {
    /// Its name in what is told of it.
    pub(crate) const fn name(&self) -> ActivityFact {
        match self {
            Self::SessionStarted => ActivityFact::SessionStart,
            Self::SessionEnded => ActivityFact::SessionEnd,
            Self::PromptSubmitted => ActivityFact::Prompt,
            Self::ToolUsed(_) => ActivityFact::Tool,
            Self::Notified(_) => ActivityFact::Notification,
            Self::PermissionRequested(_) => ActivityFact::Permission,
            Self::TurnEnded => ActivityFact::Stop,
            Self::Bell => ActivityFact::Bell,
            Self::TerminalNotified(_) => ActivityFact::TerminalNotification,
            Self::PromptStarted => ActivityFact::PromptStart,
            Self::CommandStarted => ActivityFact::CommandStart,
            Self::CommandEnded => ActivityFact::CommandEnd,
        }
    }
}

/// What was typed into a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// It holds an Enter.
    Submits,
    /// It holds an Escape or a Ctrl-C, at which programs drop what they do without a word to their hooks.
    Interrupts,
    /// A character: some programs take it for an answer.
    Key,
}

/// Ctrl-C and Escape of keyboards that send keys as numbers.
const INTERRUPTS: [&[u8]; 4] = [b"[99;5u", b"[27;5;99~", b"[27u", b"[27;1u"];

impl Input {
    /// What keys do, in the order of what counts. Sequences that are no answer (a cursor key, a report of the
    /// terminal) are nothing.
    pub(crate) fn of_keys(bytes: &[u8]) -> impl Iterator<Item = Self> + Clone + use<> {
        let has = |byte: u8| bytes.contains(&byte);
        let is_sequence = bytes.first() == Some(&0x1b);
        let by_number =
            INTERRUPTS.iter().any(|keys| bytes.windows(keys.len()).any(|part| part == *keys));
        let interrupts = has(0x03) || bytes.last() == Some(&0x1b) || by_number;
        let submits = has(b'\r') || has(b'\n');
        let is_key = !interrupts && !submits && !is_sequence && !bytes.is_empty();
        [
            interrupts.then_some(Self::Interrupts),
            submits.then_some(Self::Submits),
            is_key.then_some(Self::Key),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn what_keys_do() {
        let of = |bytes: &[u8]| Input::of_keys(bytes).collect::<Vec<_>>();
        assert_eq!(of(b"y"), [Input::Key]);
        assert_eq!(of(b"\r"), [Input::Submits]);
        assert_eq!(of(b"\x03"), [Input::Interrupts]);
        assert_eq!(of(b"\x1b"), [Input::Interrupts]);
        assert_eq!(of(b"\x1b[99;5u"), [Input::Interrupts]);
        assert_eq!(of(b"\x1b[27u"), [Input::Interrupts]);
        assert_eq!(of(b"\x1b\r"), [Input::Submits]);
        for nothing in [&b"\x1b[A"[..], b"\x1b[I", b"\x1b[1;1R", b"\x1b[?1;2c", b""] {
            assert_eq!(of(nothing), vec![], "{nothing:?}");
        }
    }
}
