//! What a status says of how a command ended.

use onsembl_protocol::model::Exit;
use onsembl_protocol::wire::payload::{CommandPhase, CommandStatus};

/// How the command ended, once it is over.
pub(super) fn finished(status: &CommandStatus, cancelled: bool) -> anyhow::Result<Option<Exit>> {
    let because = || status.because.clone().unwrap_or_default();
    let exit = status.signal.map(Exit::Signal).or(status.exit_code.map(Exit::Code));
    match &status.status {
        CommandPhase::Pending
        | CommandPhase::Queued
        | CommandPhase::Delivered
        | CommandPhase::Running
        | CommandPhase::Cancelling => Ok(None),
        CommandPhase::Unknown(word) => {
            tracing::warn!(word, "a status that this version does not know");
            Ok(None)
        }
        CommandPhase::Lost | CommandPhase::OutcomeUnknown => anyhow::bail!("{}", because()),
        CommandPhase::Completed | CommandPhase::Failed | CommandPhase::Cancelled => match exit {
            Some(exit) => Ok(Some(exit)),
            // Typed into a terminal; or never started, because it was cancelled from here.
            None if status.status == CommandPhase::Completed || cancelled => {
                Ok(Some(Exit::Code(0)))
            }
            None => anyhow::bail!("{}", because()),
        },
    }
}

/// Whether nothing more comes of a command in this phase.
pub(super) const fn is_over(phase: &CommandPhase) -> bool {
    match phase {
        CommandPhase::Pending
        | CommandPhase::Queued
        | CommandPhase::Delivered
        | CommandPhase::Running
        | CommandPhase::Cancelling
        | CommandPhase::Unknown(_) => false,
        CommandPhase::Completed
        | CommandPhase::Failed
        | CommandPhase::Cancelled
        | CommandPhase::Lost
        | CommandPhase::OutcomeUnknown => true,
    }
}
