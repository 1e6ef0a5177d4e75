//! Why an agent ends.

use crate::close::CloseCause;
use crate::command::Exit;
use crate::session::{AgentCause, EndOrder};
use alloc::string::String;

/// Why an agent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// Its machine says so.
    Shutdown,
    /// The server orders it.
    Ordered(EndOrder),
    /// The program that it was attached to ended.
    ProgramEnded(Exit),
    /// The program that it was to be attached to cannot be started, for this reason.
    ProgramCannotStart(String),
    /// The server refuses it permanently.
    Refused(AgentCause),
}

impl WorkerEnd {
    /// The remote order that is obeyed, if one is.
    pub const fn order(&self) -> Option<EndOrder> {
        match self {
            Self::Ordered(order) => Some(*order),
            Self::Shutdown
            | Self::ProgramEnded(_)
            | Self::ProgramCannotStart(_)
            | Self::Refused(_) => None,
        }
    }

    /// Whether another process of this agent took over.
    pub(super) fn is_replacement(&self) -> bool {
        matches!(
            self,
            Self::Refused(AgentCause::LinkEnded(reason)) if reason.cause == CloseCause::Replaced
        )
    }
}
