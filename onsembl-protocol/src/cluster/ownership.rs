//! Whether an agent is this node's: one machine for each agent that the node knows.
//!
//! The greatest epoch wins, wherever it is heard of, in whatever order, and however often: messages may be lost, repeated
//! and late. What a node has of an agent ends as soon as it knows of a newer epoch of another node; until then the
//! database refuses its writes. Nothing is claimed here: claims follow from hellos, and guards from sweeps.

use super::owner_row::{Hold, Owner};
use crate::id::{Epoch, NodeRun};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How often the owner is read while it is in doubt.
const READ_EVERY: Duration = Duration::from_secs(1);

/// What a node has of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Held {
    /// No owner is known.
    Nothing,
    /// The node's own, under this registration.
    Own(Owner),
    /// It was the node's own, and the database refused a write: there is a newer epoch, of which nothing else is known yet.
    Doubted(Owner),
    /// Another node's, or of this node under a registration or a claim that it does not know of.
    Elsewhere(Owner),
}

/// How what a node has of an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum Ending {
    /// The agent has a newer session elsewhere: a link that is still open is closed as superseded, or as replaced if that
    /// is another process.
    NewerSession,
    /// Another node awaits the agent: a link that is still open is closed so that the agent comes back at once.
    ComeBack,
}

/// Events of [`Ownership`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum OwnershipEvent {
    /// The database passed the agent to this node under this epoch.
    Granted {
        epoch: Epoch,
        owner: Owner,
        /// Whose it was before.
        before: Option<Owner>,
    },
    /// A node or the database says who owned the agent under this epoch.
    Heard { epoch: Epoch, owner: Owner },
    /// The database refused a write of this epoch.
    Bounced(Epoch),
    /// This registration of the node is over.
    Deposed(NodeRun),
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// Actions of [`Ownership`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum OwnershipAction {
    /// Tell that node that the agent is not its own any more. It need not arrive.
    Tell { run: NodeRun, epoch: Epoch },
    /// Drop the session or the wait under this epoch, with its machine. Nothing more of it is shown or stored.
    End { epoch: Epoch, how: Ending },
    /// Read the agent's row; answer with `Heard`.
    ReadOwner,
}

/// What a node knows of the owner of one agent. A [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    epoch: Epoch,
    held: Held,
    read_at: Timestamp,
}

impl Default for Ownership {
    fn default() -> Self {
        Self { epoch: Epoch(0), held: Held::Nothing, read_at: Timestamp::ORIGIN }
    }
}

type Out = Actions<OwnershipAction>;

impl Ownership {
    /// What the node has of the agent.
    pub const fn held(&self) -> Held {
        self.held
    }

    /// The greatest epoch that the node knows of.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch that the node's writes about the agent carry; `None` if it may write nothing.
    pub const fn fence(&self) -> Option<Epoch> {
        match self.held {
            Held::Own(_) => Some(self.epoch),
            Held::Nothing | Held::Doubted(_) | Held::Elsewhere(_) => None,
        }
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    pub fn handle(&mut self, event: OwnershipEvent, now: Now) -> Step<OwnershipAction> {
        let mut out = Actions::none();
        match event {
            OwnershipEvent::Granted { epoch, owner, before } => {
                self.granted(epoch, owner, before, &mut out);
            }
            OwnershipEvent::Heard { epoch, owner } => self.heard(epoch, owner, &mut out),
            OwnershipEvent::Bounced(epoch) => self.bounced(epoch, now.monotonic, &mut out),
            OwnershipEvent::Deposed(run) => self.deposed(run, &mut out),
            OwnershipEvent::Wake => {
                if let Held::Doubted(_) = self.held
                    && self.read_at <= now.monotonic
                {
                    self.read_at = now.monotonic.saturating_add(READ_EVERY);
                    out.push(OwnershipAction::ReadOwner);
                }
            }
        }
        let deadline = match self.held {
            Held::Doubted(_) => Deadline::At(self.read_at).after(now.monotonic),
            Held::Nothing | Held::Own(_) | Held::Elsewhere(_) => Deadline::Never,
        };
        Step { actions: out, deadline }
    }

    fn granted(&mut self, epoch: Epoch, owner: Owner, before: Option<Owner>, out: &mut Out) {
        if epoch < self.epoch {
            // A newer owner was heard of first. The session is not to begin.
            let how = Ending::NewerSession;
            return out.push(OwnershipAction::End { epoch, how });
        }
        (self.epoch, self.held) = (epoch, Held::Own(owner));
        if let Some(before) = before.filter(|before| before.run != owner.run) {
            out.push(OwnershipAction::Tell { run: before.run, epoch });
        }
    }

    fn heard(&mut self, epoch: Epoch, owner: Owner, out: &mut Out) {
        if epoch < self.epoch {
            return;
        }
        match self.held {
            // The node's own claim, whose answer is on its way or was lost. In the second case a write is refused.
            Held::Own(own) if own.run == owner.run => {}
            Held::Own(_) if epoch == self.epoch => {}
            Held::Own(own) => {
                self.end(own, owner, out);
                (self.epoch, self.held) = (epoch, Held::Elsewhere(owner));
            }
            // What was refused was of the time before this row.
            Held::Doubted(own) if epoch == self.epoch => {
                if own == owner {
                    self.held = Held::Own(own);
                }
            }
            Held::Doubted(own) => {
                self.end(own, owner, out);
                (self.epoch, self.held) = (epoch, Held::Elsewhere(owner));
            }
            Held::Nothing | Held::Elsewhere(_) => {
                (self.epoch, self.held) = (epoch, Held::Elsewhere(owner));
            }
        }
    }

    fn bounced(&mut self, epoch: Epoch, at: Timestamp, out: &mut Out) {
        match self.held {
            Held::Own(own) if epoch == self.epoch => {
                self.held = Held::Doubted(own);
                self.read_at = at.saturating_add(READ_EVERY);
                out.push(OwnershipAction::ReadOwner);
            }
            // Of an earlier session of its own, or known already.
            Held::Own(_) | Held::Nothing | Held::Doubted(_) | Held::Elsewhere(_) => {}
        }
    }

    fn deposed(&mut self, run: NodeRun, out: &mut Out) {
        match self.held {
            Held::Own(own) | Held::Doubted(own) if own.run == run => {
                out.push(OwnershipAction::End { epoch: self.epoch, how: Ending::ComeBack });
                // Nobody owns it now, or somebody of whom this node will hear.
                self.held = Held::Nothing;
            }
            Held::Own(_) | Held::Doubted(_) | Held::Nothing | Held::Elsewhere(_) => {}
        }
    }

    /// What the node has is over, because this one has the agent now.
    fn end(&self, own: Owner, by: Owner, out: &mut Out) {
        let how = match by.hold {
            Hold::Session if by.run != own.run => Ending::NewerSession,
            // A claim of its own whose answer was lost is no session.
            Hold::Session | Hold::Guard => Ending::ComeBack,
        };
        out.push(OwnershipAction::End { epoch: self.epoch, how });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OwnershipAction as A;
    use OwnershipEvent as E;
    use alloc::vec::Vec;

    const OWN: Owner = Owner { run: NodeRun(1), hold: Hold::Session };
    const OTHER: Owner = Owner { run: NodeRun(2), hold: Hold::Session };
    const GUARD: Owner = Owner { run: NodeRun(3), hold: Hold::Guard };

    fn feed(machine: &mut Ownership, event: OwnershipEvent) -> Vec<OwnershipAction> {
        machine.handle(event, Now::without_suspend(Duration::ZERO)).actions.iter().collect()
    }

    fn granted(epoch: u64) -> OwnershipEvent {
        E::Granted { epoch: Epoch(epoch), owner: OWN, before: None }
    }

    fn heard(epoch: u64, owner: Owner) -> OwnershipEvent {
        E::Heard { epoch: Epoch(epoch), owner }
    }

    #[test]
    fn an_agent_is_whose_epoch_is_the_greatest() {
        let mut agent = Ownership::default();
        assert_eq!(agent.fence(), None);
        let claim = E::Granted { epoch: Epoch(3), owner: OWN, before: Some(OTHER) };
        assert_eq!(feed(&mut agent, claim), [A::Tell { run: NodeRun(2), epoch: Epoch(3) }]);
        assert_eq!(agent.fence(), Some(Epoch(3)));
        assert_eq!(feed(&mut agent, heard(2, OTHER)), []);
        assert_eq!(feed(&mut agent, heard(4, OWN)), [], "its own claim is on its way");
        assert_eq!(agent.fence(), Some(Epoch(3)));
        let end = A::End { epoch: Epoch(3), how: Ending::NewerSession };
        assert_eq!(feed(&mut agent, heard(5, OTHER)), [end]);
        assert_eq!((agent.fence(), agent.held()), (None, Held::Elsewhere(OTHER)));
        let end = A::End { epoch: Epoch(4), how: Ending::NewerSession };
        assert_eq!(feed(&mut agent, granted(4)), [end], "late");
        assert_eq!(agent.held(), Held::Elsewhere(OTHER));
    }

    #[test]
    fn a_refused_write_leaves_it_in_doubt_until_the_row_is_read() {
        let mut agent = Ownership::default();
        let _ = feed(&mut agent, granted(3));
        assert_eq!(feed(&mut agent, E::Bounced(Epoch(2))), []);
        assert_eq!(feed(&mut agent, E::Bounced(Epoch(3))), [A::ReadOwner]);
        assert_eq!(agent.fence(), None);
        let later = Now::without_suspend(Duration::from_secs(1));
        let step = agent.handle(E::Wake, later);
        assert!(step.actions.iter().eq([A::ReadOwner]));
        assert!(Deadline::At(later.monotonic).is_before(step.deadline));
        let mut same = agent;
        assert_eq!(feed(&mut same, heard(3, OWN)), []);
        assert_eq!(same.fence(), Some(Epoch(3)));
        let end = A::End { epoch: Epoch(3), how: Ending::ComeBack };
        assert_eq!(feed(&mut agent, heard(4, GUARD)), [end]);
        assert_eq!(agent.held(), Held::Elsewhere(GUARD));
    }

    #[test]
    fn nothing_is_left_of_a_registration_that_is_over() {
        let mut agent = Ownership::default();
        let _ = feed(&mut agent, granted(3));
        assert_eq!(feed(&mut agent, E::Deposed(NodeRun(9))), []);
        let end = A::End { epoch: Epoch(3), how: Ending::ComeBack };
        assert_eq!(feed(&mut agent, E::Deposed(NodeRun(1))), [end]);
        assert_eq!((agent.fence(), agent.held()), (None, Held::Nothing));
        assert_eq!(feed(&mut agent, E::Deposed(NodeRun(1))), []);
    }
}
