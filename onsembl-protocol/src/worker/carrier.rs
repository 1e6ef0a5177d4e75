//! What carries a command out: a process of its own, or the terminal, whose program is a command of the agent
//! itself. Who
//! decides about commands, and who decides about the terminal, tell each other by these.

use crate::model::Force;
use crate::terminal::TerminalSize;
use crate::wire::payload::{CommandInput, CommandRequest};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

/// What carries a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// It is the program of the terminal, which has this size.
    Terminal(TerminalSize),
    /// It is typed into the terminal.
    Typing,
    /// A process of its own.
    Process,
}

/// What is to be done by the terminal when a start is written down.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ForTerminal {
    Nothing,
    /// This waits for its turn to be typed.
    ToBeTyped(Box<CommandRequest>),
    /// Its program was cancelled before it was started.
    ProgramCancelled,
}

/// What becomes of a process that has just been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewRun {
    Unexpected,
    GoesOn,
    /// It was cancelled meanwhile.
    IsToEnd(Force),
}

/// What is to be done by the terminal for a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    Nothing,
    /// What runs under this id is asked to end.
    Ending,
    /// It is not to be typed any more, if it is not being typed.
    Withdrawn,
}

/// Whose start an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedBy {
    /// A user, who was promised that it runs at most once.
    User,
    /// The agent: it is the program of its terminal.
    Agent,
}

/// Why a process of its own cannot do what a request asks of a terminal.
pub(super) fn unfit_for_a_process(request: &CommandRequest) -> Option<Cow<'static, str>> {
    if request.condition.is_some() {
        return Some("this agent has no terminal whose program could wait for a prompt (`if`); it runs each command by itself".into());
    }
    if let Some(long) = &request.long_text {
        let bytes = long.bytes();
        return Some(format!("this agent runs each command by itself, as an argument of a program, of which a system takes 128 KiB at most: a text of more than 65,536 bytes (64 KiB) is for the terminal of an agent, and this one has {bytes}; put it into a file on the agent's machine and name that").into());
    }
    match &request.input {
        None | Some(CommandInput::Text) => None,
        Some(CommandInput::Secret) => Some("this agent has no terminal into which a secret could be typed; it runs each command by itself, and would show it to others on its machine".into()),
        Some(CommandInput::Keys) => Some("this agent has no terminal in which keys could be pressed; it runs each command by itself".into()),
        Some(CommandInput::Unknown(word)) => Some(unknown_input(word).into()),
    }
}

/// Why a command with an input that this agent does not know is refused.
pub(super) fn unknown_input(word: &str) -> String {
    format!("unknown input {word:?}; this agent knows text, keys and secret")
}
