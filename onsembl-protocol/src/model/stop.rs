//! Words about emergency stops: for whom one is, and how far an agent is with it.

use super::wire_enum;
use crate::id::AgentId;

/// For whom a stop is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StopScope {
    /// Every agent of the user, also those that come later.
    All,
    Agent(AgentId),
}

impl StopScope {
    /// The agent, if it is for one only.
    pub const fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::All => None,
            Self::Agent(agent) => Some(agent),
        }
    }
}

wire_enum! {
    /// How far an agent is with a stop.
    pub enum StopStage {
        /// It is written down: nothing starts any more, also not after a restart.
        Received = "RECEIVED",
        /// Every process group was killed.
        Acted = "ACTED",
        /// Every process group was seen empty.
        Verified = "VERIFIED",
    }
}

wire_enum! {
    /// How far an agent is with a stop, as dashboards are sent it.
    pub enum StopProgress {
        /// It is away, and starts nothing when it returns.
        Away = "away",
        /// The order was sent, and it cannot say what it did: a legacy wrapper.
        NotConfirmed = "not-confirmed",
        /// The order was sent; the agent has not answered yet.
        Told = "told",
        /// It has written it down: nothing starts.
        Received = "received",
        /// It has killed everything.
        Acted = "acted",
        /// It has seen that nothing lives.
        Verified = "verified",
    }
}
