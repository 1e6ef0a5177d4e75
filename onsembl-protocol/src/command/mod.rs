//! Commands: whose turn it is, how they live, what is written down of them, who may give them, and
//! how they end.

mod agent_commands;
mod fate;
mod journal;
mod lifecycle;
mod queue;
mod routing;

#[doc(no_inline)]
pub use crate::model::Exit;
pub use agent_commands::{AgentCommands, CancelDecision, Decision};
pub use fate::Fate;
pub use journal::{
    Awaited, Cleared, CommandJournal, JournalEntry, LeftBehind, ProcessIdentity, Standing,
};
pub use lifecycle::{
    CommandAction, CommandCause, CommandEvent, CommandLifecycle, CommandStage, CommandTerms,
    CommandView, Origin, Returned,
};
pub use queue::{CommandQueue, DEFAULT_SLOTS};
pub use routing::{
    Candidate, Unroutable, choose_agent, watches_agent, watches_command, watches_output,
};

#[cfg(test)]
mod tests;
