//! Commands: whose turn it is, how they live, what is written down of them, who may give them, and
//! how they end.

mod agent_commands;
mod fate;
mod journal;
mod left_behind;
mod lifecycle;
mod queue;
mod routing;

pub(crate) use crate::model::Exit;
pub(crate) use agent_commands::{AgentCommands, CancelDecision, Decision, TypingEnd};
pub use fate::Fate;
pub use journal::{Awaited, CommandJournal, JournalEntry, Remains, Standing};
pub use left_behind::{Cleared, LeftBehind, ProcessIdentity, RunTag};
pub(crate) use lifecycle::{CommandAction, CommandEvent, CommandLifecycle, CommandTerms, Returned};
pub use lifecycle::{CommandCause, CommandOrigin, CommandStage, CommandView};
pub(crate) use queue::CommandQueue;
pub use queue::DEFAULT_SLOTS;
pub use routing::{Candidate, Unroutable, choose_agent};
pub(crate) use routing::{watches_agent, watches_command, watches_output};

#[cfg(test)]
mod tests;
