//! What cannot be typed into a terminal, and why.

use alloc::string::String;
use core::fmt;
use thiserror::Error;

/// Most keys of one command.
pub(super) const MOST_KEYS: usize = 256;

/// Longest line that a terminal takes which gathers lines itself: the kernel keeps 4,096 bytes with
/// the line's end, and silently discards what is more (termios(3), canonical mode).
pub(super) const LINE_BYTES: usize = 4095;

/// Why a command is not typed. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Untypeable {
    /// There is no text to type.
    #[error("there is nothing to type: the text is empty (Enter alone is the key enter)")]
    Nothing,
    /// It holds a character that would act instead of being typed.
    #[error(
        "the text holds the control character U+{:04X}, which a terminal would act on; omit it (exec --strip omits all of them, and colours), or send it as a key", u32::from(*.0)
    )]
    Control(char),
    /// It has several lines, or tabs, and the program has not said that it takes them as one piece.
    #[error(
        "the text has line ends or tabs, and the program in this terminal does not take pasted text as one piece; each line would be a submission of its own, so send a text of one line"
    )]
    NotPastable,
    /// It is longer than a line of this terminal.
    #[error(
        "the text has {text} bytes{}; the program reads lines from its terminal, which takes {LINE_BYTES} and would throw away the rest", Behind(*.standing)
    )]
    TooLong {
        /// Its bytes.
        text: usize,
        /// Bytes that keys left in the line.
        standing: usize,
    },
    /// It is a secret, and the terminal shows what is typed.
    #[error(
        "the terminal shows what is typed, or it cannot be seen whether it does: the secret would stand in its output. Have the program ask for it first, or allow that (exec --allow-echo); nothing was typed"
    )]
    Echoes,
    /// A key would suspend the program, and nothing could continue it.
    #[error(
        "ctrl-z would suspend the program of this terminal itself, and nothing could continue it; nothing was typed. To send it all the same, give it by its code, 0x1a"
    )]
    Suspends,
    /// A part of an earlier text is still in the line.
    #[error(
        "a part of an earlier text stands in this terminal, and this one would be typed behind it; look at the terminal, and send keys (ctrl-u, ctrl-c or enter) first"
    )]
    Spoiled,
    /// No key has this name.
    #[error(
        "no key is called {0:?}; keys are named like enter, escape, up, f1, ctrl-c, alt-x, shift-enter or y, or given by their codes, like 0x1b or u+e9; `exec --help` lists all"
    )]
    UnknownKey(String),
    /// More keys than one command may press.
    #[error("more than {} keys; send them in several commands", MOST_KEYS)]
    TooManyKeys,
}

/// What stands in the line before a text.
struct Behind(usize);

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            standing => write!(f, ", and {standing} of keys stand in the line before it"),
        }
    }
}
