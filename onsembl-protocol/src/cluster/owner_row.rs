//! The row of the database that says who owns an agent: how it changes hands, and which writes about the agent it accepts.
//!
//! Values without time or I/O. A store applies each rule within one transaction that locks the row, and its tests compare
//! it with these functions.

use crate::id::{Epoch, NodeRun, PresenceVersion};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an owner has of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum Hold {
    /// The agent opened its latest session there. It may be away since.
    Session,
    /// Its node ended, and this one awaits the agent in its place.
    Guard,
}

/// The owner of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Owner {
    pub run: NodeRun,
    pub hold: Hold,
}

/// Whether the registration of a node is in force, as the transaction that asks finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Registration {
    /// It is, and stays so until the transaction ends.
    InForce,
    /// It was ended by another node, or by itself.
    Over,
}

/// The row of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// Only grows; zero before the first session.
    pub epoch: Epoch,
    /// `None` before the first session.
    pub owner: Option<Owner>,
}

/// A node may not claim an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the registration of this node is over, so nobody would notice if it ended; it registers again"
)]
pub struct ClaimRefused;

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WriteKind {
    /// What is now: presence, the end of a session, a journal.
    Present,
    /// What happened, and stays true whoever owns the agent: output, the outcome of a command.
    Past,
}

/// Whether a write is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WriteVerdict {
    Accepted,
    /// If it continues exactly what is stored: a position of output, a command without an outcome.
    AcceptedIfNext,
    /// The agent has a newer owner.
    Refused,
}

impl OwnerRow {
    /// The row after this node opened a session of the agent. `latest` is the version of the agent's latest presence that
    /// is stored.
    ///
    /// # Errors
    /// The node is not registered any more.
    pub const fn claimed(
        self,
        by: NodeRun,
        registration: Registration,
        latest: PresenceVersion,
    ) -> Result<Self, ClaimRefused> {
        match registration {
            Registration::InForce => Ok(self.passed_to(by, Hold::Session, latest)),
            Registration::Over => Err(ClaimRefused),
        }
    }

    /// The row after `by` took over what the ended registration `from` owned; `None` if that does not own the agent. The
    /// epoch is raised as by a session, so that nothing is accepted from a node that was taken for dead too early.
    #[must_use]
    pub const fn swept(self, from: NodeRun, by: NodeRun, latest: PresenceVersion) -> Option<Self> {
        match self.owner {
            Some(owner) if owner.run.0 == from.0 => Some(self.passed_to(by, Hold::Guard, latest)),
            Some(_) | None => None,
        }
    }

    const fn passed_to(self, run: NodeRun, hold: Hold, latest: PresenceVersion) -> Self {
        Self { epoch: self.epoch.next_above(latest), owner: Some(Owner { run, hold }) }
    }

    /// Whether a write of this epoch is accepted. To be judged in the transaction that writes, with the row locked against
    /// claims.
    #[must_use]
    pub const fn judge(self, write: WriteKind, epoch: Epoch) -> WriteVerdict {
        match write {
            WriteKind::Present if epoch.0 == self.epoch.0 => WriteVerdict::Accepted,
            WriteKind::Present => WriteVerdict::Refused,
            // What was acknowledged must never depend on who owns now.
            WriteKind::Past => WriteVerdict::AcceptedIfNext,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: PresenceVersion = PresenceVersion(0);

    #[test]
    fn each_change_of_hands_raises_the_epoch_and_fences_the_owner_before() {
        let (a, b) = (NodeRun(1), NodeRun(2));
        let first = OwnerRow::default().claimed(a, Registration::InForce, NOTHING).unwrap();
        assert_eq!((first.epoch, first.owner.unwrap().hold), (Epoch(1), Hold::Session));
        assert_eq!(first.judge(WriteKind::Present, Epoch(1)), WriteVerdict::Accepted);
        let swept = first.swept(a, b, PresenceVersion((1 << 20) + 7)).unwrap();
        assert_eq!(
            swept,
            OwnerRow { epoch: Epoch(2), owner: Some(Owner { run: b, hold: Hold::Guard }) }
        );
        assert_eq!(swept.judge(WriteKind::Present, Epoch(1)), WriteVerdict::Refused);
        assert_eq!(swept.judge(WriteKind::Past, Epoch(1)), WriteVerdict::AcceptedIfNext);
        assert_eq!(swept.swept(a, b, NOTHING), None, "it is not that node's any more");
        assert_eq!(swept.claimed(a, Registration::Over, NOTHING), Err(ClaimRefused));
        // Versions above the epoch's own are left behind too.
        let far = swept.claimed(a, Registration::InForce, PresenceVersion(9 << 20)).unwrap();
        assert_eq!(far.epoch, Epoch(10));
    }
}
