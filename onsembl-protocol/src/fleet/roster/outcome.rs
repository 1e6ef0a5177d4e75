//! What a session, or the end of one, means for the commands of an agent.

use crate::close::{CloseCause, CloseReason, Initiator};
use crate::command::Returned;
use crate::id::{AgentId, CommandId, JournalId};
use crate::model::Dialect;
use alloc::vec::Vec;

/// An agent is in session.
#[derive(Debug)]
pub(in crate::fleet) struct Began {
    pub(in crate::fleet) agent: AgentId,
    /// What it shows of its past.
    pub(in crate::fleet) returned: Returned,
    /// The commands that it knows.
    pub(in crate::fleet) commands: Vec<CommandId>,
    /// The journal that it keeps.
    pub(in crate::fleet) journal: Option<JournalId>,
    /// Whether it had a session until now.
    pub(in crate::fleet) course: SessionCourse,
}

/// How a session follows on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum SessionCourse {
    /// It takes over from that.
    Unbroken,
    /// The agent had none for a time.
    Resumed,
}

/// An agent is in session no more.
#[derive(Debug)]
pub(in crate::fleet) struct Lost {
    pub(in crate::fleet) agent: AgentId,
    /// What it spoke.
    pub(in crate::fleet) dialect: Dialect,
    pub(in crate::fleet) course: LossCourse,
}

/// What is to be expected of an agent whose session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum LossCourse {
    /// Nothing is known of a next one.
    Lost,
    /// It said that it continues over another link (P-18).
    HandedOver,
}

impl LossCourse {
    /// What the end of its link says.
    pub(in crate::fleet) fn of(reason: CloseReason) -> Self {
        let says_so = reason.initiator == Initiator::Peer && reason.cause == CloseCause::Superseded;
        if says_so { Self::HandedOver } else { Self::Lost }
    }
}

/// An agent has no machine any more.
#[derive(Debug)]
pub(in crate::fleet) struct LostAgent {
    pub(in crate::fleet) agent: AgentId,
    /// It keeps a journal, and can say what became of its commands whenever it is back.
    pub(in crate::fleet) journals: bool,
}
