//! A latching emergency stop: how far this agent is with it. Killing is the worker's; here is what may be
//! said of it.

use crate::id::StopId;
use crate::stop::StopGuard;
use crate::wire::payload::StopStage;

/// The stop in force for this agent.
#[derive(Debug, Default)]
pub(super) struct EmergencyStop {
    guard: StopGuard,
    survivors: Survivors,
}

/// What nobody can say that it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Survivors {
    #[default]
    None,
    /// It is not known to have ended, so the stop cannot be reported as verified.
    Possible,
}

impl EmergencyStop {
    /// What an earlier process wrote down.
    pub(super) fn recovered(stop: Option<StopId>) -> Self {
        Self { guard: StopGuard::recovered(stop), survivors: Survivors::None }
    }

    /// An order came, perhaps again. Whether it is new: then everything is to be killed at once, and the
    /// order written down.
    pub(super) fn on_order(&mut self, stop: StopId) -> bool {
        self.guard.on_order(stop)
    }

    /// The order is written down.
    pub(super) fn on_durable(&mut self, stop: &StopId) {
        let _ = self.guard.on_durable(stop);
    }

    /// A session says which stop is in force. Gives the one that is not any more.
    pub(super) fn on_welcome(&mut self, in_force: Option<&StopId>) -> Option<StopId> {
        let released = self.guard.on_welcome(in_force);
        self.released(released)
    }

    /// An order is released. Gives the one that was in force.
    pub(super) fn on_release(&mut self, stop: &StopId) -> Option<StopId> {
        let released = self.guard.on_release(stop);
        self.released(released)
    }

    fn released(&mut self, released: Option<StopId>) -> Option<StopId> {
        if released.is_some() {
            self.survivors = Survivors::None;
        }
        released
    }

    /// Something was left that nobody looks after, perhaps by an earlier process of the agent.
    pub(super) fn on_survivors(&mut self) {
        self.survivors = Survivors::Possible;
    }

    /// Nothing runs, and nothing lives of what ran. Whether that is news for the server.
    pub(super) fn on_nothing_runs(&mut self) -> bool {
        self.survivors == Survivors::None && self.guard.on_empty()
    }

    /// What is to be said.
    pub(super) fn receipt(&self) -> Option<(StopId, StopStage)> {
        self.guard.receipt()
    }

    pub(super) const fn is_latched(&self) -> bool {
        self.guard.is_latched()
    }

    pub(super) const fn order(&self) -> Option<&StopId> {
        self.guard.order()
    }
}
