//! Fleets that are not read yet: at the start of a server those whose agents are all away. One is read when one of its
//! agents comes, or its user asks for something; until then it takes no memory. What comes for it while it is read
//! waits here. Fleets that were read are recovered in turns, so that a large one holds up no other.

use crate::id::UserId;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::{self, Vec};

/// Agents that are recovered in one go, before other users are served.
const RECOVERED_AT_ONCE: usize = 64;

/// The fleets that are being read, or recovered. `I` is what waits for one, `A` an agent as it is stored.
#[derive(Debug)]
pub struct UnreadFleets<I, A> {
    /// What waits for each fleet. It is bounded where it comes from: links and requests of a user are.
    waiting: BTreeMap<UserId, Vec<I>>,
    read: VecDeque<ReadFleet<A>>,
}

/// The agents of a fleet, of which some may be recovered already.
#[derive(Debug)]
struct ReadFleet<A> {
    user: UserId,
    agents: vec::IntoIter<A>,
    count: usize,
}

/// What is to be done next with a fleet that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Recovery<I, A> {
    /// These agents of it are to be recovered; more may follow.
    Some(Vec<A>),
    /// It is recovered.
    Done {
        /// Whose it is.
        user: UserId,
        /// How many agents it has.
        agents: usize,
        /// What waited for it.
        waited: Vec<I>,
    },
}

impl<I, A> Default for UnreadFleets<I, A> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), read: VecDeque::new() }
    }
}

impl<I, A> UnreadFleets<I, A> {
    /// Keeps what came for this fleet until it is recovered. Whether it is the first, so that the fleet is to be read.
    pub fn defer(&mut self, user: &UserId, input: I) -> bool {
        match self.waiting.entry(user.clone()) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(input);
                false
            }
            Entry::Vacant(waiting) => {
                let _ = waiting.insert(Vec::from([input]));
                true
            }
        }
    }

    /// This fleet was read, and is to be recovered in turn.
    pub fn read(&mut self, user: UserId, agents: Vec<A>) {
        let count = agents.len();
        self.read.push_back(ReadFleet { user, agents: agents.into_iter(), count });
    }

    /// Whether one is to be recovered.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        !self.read.is_empty()
    }

    /// What is to be recovered next.
    pub fn next_recovery(&mut self) -> Option<Recovery<I, A>> {
        let mut fleet = self.read.pop_front()?;
        let some: Vec<_> = fleet.agents.by_ref().take(RECOVERED_AT_ONCE).collect();
        if some.is_empty() {
            let ReadFleet { user, count: agents, .. } = fleet;
            let waited = self.waiting.remove(&user).unwrap_or_default();
            return Some(Recovery::Done { user, agents, waited });
        }
        self.read.push_back(fleet);
        Some(Recovery::Some(some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_for_a_fleet_waits_in_order_until_all_of_it_is_recovered() {
        let (ann, bob) = (UserId::new("ann"), UserId::new("bob"));
        let mut unread = UnreadFleets::<u8, usize>::default();
        assert!(unread.defer(&ann, 1));
        assert!(!unread.defer(&ann, 2), "it is being read");
        assert!(unread.defer(&bob, 3));
        assert!(!unread.is_recovering() && unread.next_recovery().is_none());
        unread.read(ann.clone(), (0..RECOVERED_AT_ONCE + 1).collect());
        unread.read(bob.clone(), Vec::new());
        assert_eq!(unread.next_recovery(), Some(Recovery::Some((0..RECOVERED_AT_ONCE).collect())));
        // Its turn comes before the rest of the larger one.
        let done = Recovery::Done { user: bob, agents: 0, waited: Vec::from([3]) };
        assert_eq!(unread.next_recovery(), Some(done));
        assert_eq!(unread.next_recovery(), Some(Recovery::Some(Vec::from([RECOVERED_AT_ONCE]))));
        assert!(!unread.defer(&ann, 4), "it is not recovered yet");
        let agents = RECOVERED_AT_ONCE + 1;
        let done = Recovery::Done { user: ann.clone(), agents, waited: Vec::from([1, 2, 4]) };
        assert_eq!(unread.next_recovery(), Some(done));
        assert!(!unread.is_recovering() && unread.defer(&ann, 5), "and may be dropped again");
    }
}
