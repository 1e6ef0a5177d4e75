//! What every input of a machine returns: a few actions and the next deadline.
//!
//! Nothing stays queued inside a machine, so nothing can be forgotten there and no order of calls
//! can be got wrong. Actions are small and `Copy`; bytes never pass through a machine.

use crate::time::Deadline;
use serde::{Serialize, Serializer};

/// The most actions that one input can cause.
pub const MAX_ACTIONS: usize = 4;

/// Actions in the order in which they are to be performed, at most [`MAX_ACTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions<A: Copy> {
    slots: [Option<A>; MAX_ACTIONS],
}

impl<A: Copy> Actions<A> {
    /// No actions.
    pub const fn none() -> Self {
        Self { slots: [None; MAX_ACTIONS] }
    }

    /// Adds an action behind the others.
    pub(crate) fn push(&mut self, action: A) {
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "a transition caused more than MAX_ACTIONS actions");
        if let Some(slot) = free {
            *slot = Some(action);
        }
    }

    /// The actions, in order.
    pub fn iter(&self) -> impl Iterator<Item = A> + '_ {
        self.slots.iter().map_while(|slot| *slot)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.slots.first().is_none_or(Option::is_none)
    }
}

impl<A: Copy + Serialize> Serialize for Actions<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<A: Copy> IntoIterator for Actions<A> {
    type Item = A;
    type IntoIter = core::iter::Flatten<core::array::IntoIter<Option<A>, MAX_ACTIONS>>;

    fn into_iter(self) -> Self::IntoIter {
        self.slots.into_iter().flatten()
    }
}

/// The outcome of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "perform the actions in order, then arm the deadline; else the machine stands still"]
pub struct Step<A: Copy> {
    /// What to do, in order.
    pub actions: Actions<A>,
    /// When to call with a wake-up next, if nothing else comes first.
    pub deadline: Deadline,
}

impl<A: Copy> Step<A> {
    /// Performs each action and hands back the deadline to arm. For synchronous drivers.
    pub fn perform(self, each: impl FnMut(A)) -> Deadline {
        self.actions.into_iter().for_each(each);
        self.deadline
    }
}
