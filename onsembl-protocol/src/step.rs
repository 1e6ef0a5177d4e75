//! What a machine is given and what comes out of it.
//!
//! # Two contracts
//!
//! **A reducer** has outputs that are few and small. `handle(event, now)` returns a [`Step`]: what is to
//! be done, in order, and when to wake. Nothing stays queued inside, so nothing can be forgotten there
//! and no order of calls can be got wrong. Actions are `Copy`; bytes never pass through a reducer.
//!
//! **A queue machine** has outputs that own bytes, or as many as there is work. It takes what happened
//! (`handle`, or one `on_…` method for each kind of event), gives what is to be done one by one
//! (`poll_action`, until there is none), and says when to wake (`deadline`). Actions come in the order in
//! which they were caused; take all of them after each input, before the deadline is armed.
//!
//! For both: time comes with each input, and a wake-up too early is harmless. **No machine is fed while
//! an action of its own is being performed**: what an action brings at once is handed over behind the
//! others, or the rest of them would be performed against a state that is over. Each machine says in its
//! documentation which contract it keeps. What has neither actions nor a deadline is a value, and part of
//! the machine that holds it.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use crate::time::Deadline;
use serde::{Serialize, Serializer};

/// The most actions that one input can cause.
pub const MAX_ACTIONS: usize = 4;

/// Actions in the order in which they are to be performed, at most [`MAX_ACTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions<A: Copy> {
    slots: [Option<A>; MAX_ACTIONS],
    lost: u8,
}

impl<A: Copy> Actions<A> {
    /// No actions.
    pub const fn none() -> Self {
        Self { slots: [None; MAX_ACTIONS], lost: 0 }
    }

    /// Adds an action behind the others.
    pub(crate) fn push(&mut self, action: A) {
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(action),
            None => {
                debug_assert!(false, "a transition caused more than MAX_ACTIONS actions");
                self.lost = self.lost.saturating_add(1);
            }
        }
    }

    /// Actions that did not fit and cannot be performed: a defect of the machine, whose driver counts and
    /// logs it. Zero of every machine of this crate.
    pub const fn lost(&self) -> u8 {
        self.lost
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
///
/// ```
/// use onsembl_protocol::session::{AgentAction, AgentConfig, AgentConnection, AgentEvent};
/// use onsembl_protocol::time::{Deadline, Now};
/// use std::time::Duration;
///
/// let mut agent = AgentConnection::new(AgentConfig::DEFAULT, 1);
/// let step = agent.handle(AgentEvent::Start, Now::without_suspend(Duration::ZERO));
/// for action in step.actions {
///     if let AgentAction::Dial(link) = action {
///         println!("open link {link}");
///     }
/// }
/// assert_ne!(step.deadline, Deadline::Never); // arm it
/// ```
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

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> Actions<u8> {
        let mut actions = Actions::none();
        (0..5).for_each(|n| actions.push(n));
        actions
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "more than MAX_ACTIONS"))]
    fn an_action_too_many_is_seen_and_the_others_are_kept() {
        let actions = five();
        assert_eq!(actions.lost(), 1);
        assert!(actions.iter().eq(0..4));
    }
}
