//! What is still to be done about an event. The list is worked off one by one, so that nothing is fed while its
//! own outputs are being acted upon.

use crate::id::CommandId;
use crate::wire::payload::CommandComplete;

/// What an event brings about, one thing after another.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Take commands from the line, as far as there are slots.
    Advance,
    /// The start of a command is written down, or need not be: start it.
    Start(CommandId),
    /// A command is over.
    Over(CommandComplete),
    /// Something that the report of this command waits for has happened.
    Settle(CommandId),
    /// A command was taken: say so if it waits.
    Acknowledge(CommandId),
}
