//! What cannot be typed into a terminal, and why.

use alloc::string::String;
use core::fmt;
use thiserror::Error;

/// Most keys of one command.
pub(super) const MOST_KEYS: usize = 256;

/// Longest line that a terminal takes which gathers lines itself: the kernel keeps 4,096 bytes with
/// the line's end, and silently discards what is more (termios(3), canonical mode).
pub(super) const LINE_BYTES: usize = 4095;

/// Why nothing is typed for a command into a terminal whose program has ended.
pub(crate) const NO_PROGRAM: &str =
    "the program in the terminal has ended; send it again under a new id";

/// Why a command is not typed. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Untypeable {
    /// There is no text to type.
    #[error("the text is empty (to press Enter alone, send the key enter)")]
    Nothing,
    /// There is no key to press.
    #[error("no key given; keys are named like enter, escape, space, up or ctrl-c")]
    NoKey,
    /// It holds a character that would act instead of being typed.
    #[error(
        "the text holds the control character U+{:04X}, which a terminal would interpret; omit it (exec --strip omits all of them, and colours), or send it as a key", u32::from(*.0)
    )]
    Control(char),
    /// It has several lines, or tabs, and the program has not said that it takes them as one piece.
    #[error(
        "the text has line ends or tabs, and the program in this terminal does not support bracketed paste; each line would be submitted on its own, so send a single line"
    )]
    NotPastable,
    /// It is longer than a line of this terminal.
    #[error(
        "the text has {text} bytes{}; the program reads lines from its terminal, which accepts {LINE_BYTES} and would discard the rest", Behind(*.standing)
    )]
    TooLong {
        /// Its bytes.
        text: usize,
        /// Bytes that keys left in the line.
        standing: usize,
    },
    /// It is a secret, and the terminal shows what is typed.
    #[error(
        "the terminal echoes input, or whether it does is unknown: the secret would appear in its output. Wait until the program prompts for it, or allow echo (exec --allow-echo); nothing was typed"
    )]
    Echoes,
    /// A key would suspend the program, and nothing could continue it.
    #[error(
        "ctrl-z would suspend the program that leads this terminal, and nothing could resume it; nothing was typed. To send it anyway, give its code, 0x1a"
    )]
    Suspends,
    /// A part of an earlier text is still in the line.
    #[error(
        "a part of an earlier text is in the input line of this terminal, and this one would be appended; look at the terminal, and send keys (ctrl-u, ctrl-c or enter) first"
    )]
    Spoiled,
    /// No key has this name.
    #[error(
        "unknown key {0:?}; keys are named like enter, escape, up, f1, ctrl-c, alt-x, shift-enter or y, or given by their codes, like 0x1b or u+e9; `exec --help` lists all"
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
            standing => write!(f, ", and {standing} bytes of keys are in the line before it"),
        }
    }
}
