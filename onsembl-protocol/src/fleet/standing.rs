//! Where a command that is not over stands: what its fleet knows of it and does not publish, for who asks why it
//! waits. Nothing here changes anything.

use super::action::Flow;
use super::dispatch::NO_QUEUE;
use super::state::State;
use super::view::reason;
use crate::command::CommandView;
use crate::diagnosis::{LinkRead, Sent, Standing};
use crate::id::{AgentId, CommandId};
use crate::model::Dialect;
use crate::time::Now;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A command that is not over, as its fleet has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenCommand {
    /// The agent that is to run it.
    pub agent: AgentId,
    /// Where it is in its lifecycle.
    pub view: CommandView,
    /// The reason, shown to people.
    pub because: String,
    /// For how long the store has been asked to take it, as long as it has not.
    pub unstored_for: Option<Duration>,
    /// Where it stands.
    pub standing: Standing,
    /// Commands that occupy the slots of its agent.
    pub busy_with: Vec<CommandId>,
}

/// The command with this id, if it is not over.
pub(super) fn open_command(state: &State, id: &CommandId, now: Now) -> Option<OpenCommand> {
    let command = state.commands.get(id)?;
    let lifecycle = &command.open()?.lifecycle;
    let agent = state.roster.agent(&command.agent)?;
    let slots = match state.roster.session(&command.agent) {
        Some((_, session)) if session.capabilities.dialect() == Dialect::Legacy => NO_QUEUE,
        Some(_) | None => agent.slots,
    };
    let view = lifecycle.view();
    Some(OpenCommand {
        agent: command.agent.clone(),
        view,
        because: reason(command.detail.as_deref(), &view),
        unstored_for: lifecycle.unstored_for(now),
        busy_with: agent.queue.occupants().filter(|occupant| *occupant != id).cloned().collect(),
        standing: Standing {
            sent: match lifecycle.sendings(now) {
                None => Sent::Maybe,
                Some((0, _)) => Sent::Never,
                Some((times, ago)) => Sent::Times(times, ago),
            },
            ahead: agent.queue.ahead(id, now.monotonic),
            occupied: agent.queue.occupied(),
            slots: (slots != NO_QUEUE).then_some(slots),
            read: match state.roster.backpressure.flow(&command.agent) {
                Flow::Resumed => LinkRead::Read,
                Flow::Paused => LinkRead::Paused,
            },
        },
    })
}
