//! What commands left running when they ended. It is known until nothing of it lives: no stop is verified over it,
//! and the agent does not end before it.

use super::background_policy::BackgroundPolicy;
use crate::command::Remains;
use crate::id::CommandId;
use crate::model::Force;
use crate::time::{Deadline, Timestamp};
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

/// How long a process group may take to end after it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Commands whose background processes are kept at once. What another one leaves is ended with it.
pub(super) const MOST_KEPT: usize = 256;

/// Of how many it is known that nothing is left while their reports are not confirmed: as many ends as are
/// remembered.
const MOST_CLEARED: usize = 4096;

/// How soon what is left is killed again: it may have been born while the others were killed.
const SWEEP_AGAIN: Duration = Duration::from_secs(1);

/// What ended commands left.
#[derive(Debug, Default)]
pub(super) struct Background {
    policy: BackgroundPolicy,
    left: BTreeMap<CommandId, Remains>,
    /// Nothing is left of these, and that is not written down before their reports are confirmed: until then
    /// what is written says that the end of their output is unknown.
    cleared: BTreeSet<CommandId>,
    leaving: Leaving,
    /// When an emergency stop ends also what belongs to no single run.
    sweep_at: Deadline,
}

/// How far the end of the agent is with what runs. There is one grace for all of it, from the order on: what is born,
/// or outlives its command, within that time gets what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leaving {
    #[default]
    No,
    /// Everything was asked to end, and is killed then.
    Asked { kill_at: Timestamp },
    /// Everything was killed, and is killed again then if anything is left.
    Killing { again_at: Timestamp },
}

impl Background {
    pub(super) fn new(policy: BackgroundPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A command ended, and something of it lives. How that is to be ended now, if it is.
    pub(super) fn leave(&mut self, id: &CommandId, remains: Remains) -> Option<Force> {
        let is_over_bound = self.left.len() >= MOST_KEPT;
        let _ = self.left.insert(id.clone(), remains);
        match self.policy {
            BackgroundPolicy::Kill => Some(Force::Grace),
            BackgroundPolicy::Keep if is_over_bound || self.leaving != Leaving::No => {
                Some(Force::Grace)
            }
            BackgroundPolicy::Keep => None,
        }
    }

    /// Whether the agent ends, and the grace of that is over.
    pub(super) const fn is_being_killed(&self) -> bool {
        match self.leaving {
            Leaving::Killing { .. } => true,
            Leaving::No | Leaving::Asked { .. } => false,
        }
    }

    /// Nothing of it lives any more. Whether that is news.
    pub(super) fn clear(&mut self, id: &CommandId) -> bool {
        let is_news = self.left.remove(id).is_some();
        if is_news {
            let _ = self.cleared.insert(id.clone());
            // A successor looks for one that is forgotten here, and finds nothing.
            while self.cleared.len() > MOST_CLEARED {
                let _ = self.cleared.pop_first();
            }
        }
        is_news
    }

    /// Its report is confirmed. Whether that nothing is left of it is to be written down now.
    pub(super) fn take_cleared(&mut self, id: &CommandId) -> bool {
        self.cleared.remove(id)
    }

    pub(super) fn has(&self, id: &CommandId) -> bool {
        self.left.contains_key(id)
    }

    /// What is to be written down of its end.
    pub(super) fn remains(&self, id: &CommandId) -> Option<Remains> {
        self.left.get(id).cloned()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &CommandId> {
        self.left.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.left.len()
    }

    /// The agent ends: everything is killed after the grace, or at once.
    pub(super) fn begin_leaving(&mut self, force: Force, now: Timestamp) {
        match (self.leaving, force) {
            (Leaving::No, Force::Grace) => {
                self.leaving = Leaving::Asked { kill_at: now.saturating_add(GRACE) };
            }
            (Leaving::No | Leaving::Asked { .. }, Force::AtOnce) => {
                self.leaving = Leaving::Asked { kill_at: now };
            }
            (Leaving::Asked { .. }, Force::Grace) | (Leaving::Killing { .. }, _) => {}
        }
    }

    /// The agent ends, and something lives. Whether it is to be killed now, all of it; it comes again until
    /// nothing is left.
    pub(super) fn take_killing(&mut self, now: Timestamp) -> bool {
        let is_due = self.killing_at().is_due(now);
        if is_due {
            self.leaving = Leaving::Killing { again_at: now.saturating_add(SWEEP_AGAIN) };
        }
        is_due
    }

    /// When everything that lives is killed, because the agent ends.
    pub(super) const fn killing_at(&self) -> Deadline {
        match self.leaving {
            Leaving::No => Deadline::Never,
            Leaving::Asked { kill_at: at } | Leaving::Killing { again_at: at } => Deadline::At(at),
        }
    }

    /// An emergency stop: nothing gets a grace.
    pub(super) fn sweep_at_once(&mut self) {
        self.sweep_at = Deadline::At(Timestamp::ORIGIN);
    }

    /// An emergency stop is in force. Whether to end also what belongs to one of several runs, whichever; it comes
    /// again until nothing is left.
    pub(super) fn take_sweep(&mut self, now: Timestamp) -> bool {
        let is_due = !self.is_empty() && self.sweep_at.is_due(now);
        if is_due {
            self.sweep_at = Deadline::At(now.saturating_add(SWEEP_AGAIN));
        }
        is_due
    }

    /// When to look at that again. Only while no command runs: before, nothing is swept.
    pub(super) fn deadline(&self) -> Deadline {
        if self.is_empty() { Deadline::Never } else { self.sweep_at }
    }

    /// What was in force is released.
    pub(super) fn stop_sweeping(&mut self) {
        self.sweep_at = Deadline::Never;
    }
}
