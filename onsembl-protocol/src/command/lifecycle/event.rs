//! What happens to a command, and what its lifecycle wants done.

use super::view::CommandView;
use crate::model::{CommandAckStatus, CommandPhase, Dialect, Exit, Force};

/// What an agent shows of its past when it has a session again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    pub dialect: Dialect,
    /// It is still the same process.
    pub same_process: bool,
    /// Its journal is the one of its session before, and whole: what is not in it never started.
    pub remembers: bool,
    /// It says that it knows the command.
    pub known: bool,
}

/// What happens to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandEvent {
    /// It is committed to the database.
    Stored,
    /// There is a slot for it on its agent: its turn has come.
    SlotGranted,
    /// The agent acknowledged it.
    Acknowledged(CommandAckStatus),
    /// Output of it came.
    Output,
    /// The agent reported its end.
    Completed {
        /// What the agent says it was.
        phase: CommandPhase,
        /// How the process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Its user cancels it.
    Cancel { force: Force },
    /// The agent has no link any more.
    LinkLost,
    /// The agent closed its link, and said that it continues over another one.
    LinkHandedOver,
    /// The agent has a session again.
    LinkBack(Returned),
    /// The agent is lost, and is not awaited any more.
    AgentLost {
        /// It keeps a journal, and can say what became of its commands whenever it is back.
        journals: bool,
    },
    /// Its user deleted the agent.
    AgentDeleted,
    /// A legacy agent got its next command.
    NextCommand,
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// What to do for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandAction {
    /// Send it to the agent.
    Send,
    /// Send its cancellation to the agent.
    SendCancel { force: Force },
    /// Store and publish where it is.
    Publish(CommandView),
}
