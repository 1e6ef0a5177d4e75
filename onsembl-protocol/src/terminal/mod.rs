//! A long-lived program under a terminal: when it is started, who may type, and what reaches it.
//!
//! A command for such an agent is one submission: exactly its text is typed, followed by Enter, or
//! it is refused (field defect 9). What the program writes belongs to no command but to the terminal
//! itself, which is a command that the agent opened: its id begins with [`TERMINAL_PREFIX`].
//!
//! Here are decisions only: nothing opens a terminal, and nothing draws one.

mod desk;
mod keeper;
mod keys;
mod line;
mod modes;
mod size;
mod submission;

pub use desk::{Desk, DeskAction, Typed};
pub use keeper::{AfterEnd, TerminalKeeper};
pub use keys::MOST_KEYS;
pub use modes::Modes;
pub use size::TerminalSize;
pub use submission::{LINE_BYTES, LineMode, Typing, Untypeable};

use crate::id::{AgentId, CommandId};
use alloc::format;
use core::fmt;

/// How the id of a terminal begins. Ids that begin so are minted by agents; nobody else may ask for
/// a command under one.
pub const TERMINAL_PREFIX: &str = "terminal-";

impl CommandId {
    /// The id of a terminal. `unique` tells it from every other of its user.
    pub fn of_terminal(unique: impl fmt::Display) -> Self {
        Self::new(format!("{TERMINAL_PREFIX}{unique}"))
    }

    /// Where legacy dashboards show what an agent writes beside its commands (wire reference, 3.4).
    pub fn of_session(agent: &AgentId) -> Self {
        Self::new(format!("agent-session-{agent}"))
    }

    /// Whether it names a terminal.
    pub fn is_terminal(&self) -> bool {
        self.as_str().starts_with(TERMINAL_PREFIX)
    }
}
