//! Emergency stops of one user: what is in force, and for whom.
//!
//! A stop is a latch. It holds until somebody releases it, for one agent or for all of the user, also
//! for those that come later. Who keeps it must keep it durably; nothing here touches a store.

use crate::id::{AgentId, StopId, UserId};
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// For whom a stop is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopScope {
    /// Every agent of the user, also those that come later.
    All,
    /// One agent.
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

    /// Whether it is for this agent too.
    pub fn covers(&self, agent: &AgentId) -> bool {
        match self {
            Self::All => true,
            Self::Agent(only) => only == agent,
        }
    }
}

/// An order to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// Which.
    pub id: StopId,
    /// For whom.
    pub scope: StopScope,
    /// Why, for people.
    pub reason: String,
    /// Who gave it.
    pub by: UserId,
    /// When.
    pub at: WallTime,
}

/// The orders of one user that are in force: at most one of each scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopLatch {
    orders: BTreeMap<StopScope, StopOrder>,
}

impl StopLatch {
    /// Puts an order in force. One of the same scope stays as it was, and is given back: pressing the
    /// button twice is one stop.
    pub fn set(&mut self, order: StopOrder) -> &StopOrder {
        self.orders.entry(order.scope.clone()).or_insert(order)
    }

    /// Releases what is in force for exactly this scope; with [`StopScope::All`], everything. Gives the
    /// orders that are not in force any more.
    #[must_use = "what was released must be released in the store too"]
    pub fn release(&mut self, scope: &StopScope) -> Vec<StopOrder> {
        match scope {
            StopScope::All => core::mem::take(&mut self.orders).into_values().collect(),
            StopScope::Agent(_) => self.orders.remove(scope).into_iter().collect(),
        }
    }

    /// What keeps this agent from starting anything: an order for all before one for itself.
    pub fn in_force(&self, agent: &AgentId) -> Option<&StopOrder> {
        let own = || self.orders.get(&StopScope::Agent(agent.clone()));
        self.orders.get(&StopScope::All).or_else(own)
    }

    /// All orders in force.
    pub fn orders(&self) -> impl Iterator<Item = &StopOrder> {
        self.orders.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn order(id: &str, scope: StopScope) -> StopOrder {
        let (reason, by) = ("why".to_string(), UserId::new("ann"));
        StopOrder { id: StopId::new(id), scope, reason, by, at: WallTime::default() }
    }

    fn only(agent: &str) -> StopScope {
        StopScope::Agent(AgentId::new(agent))
    }

    fn stops(latch: &StopLatch, agent: &str) -> Option<StopId> {
        latch.in_force(&AgentId::new(agent)).map(|order| order.id.clone())
    }

    #[test]
    fn a_stop_holds_until_it_is_released_for_its_own_scope() {
        let mut latch = StopLatch::default();
        assert_eq!(latch.set(order("1", only("a"))).id, StopId::new("1"));
        assert_eq!(latch.set(order("2", only("a"))).id, StopId::new("1"), "twice is once");
        assert_eq!(latch.set(order("3", StopScope::All)).id, StopId::new("3"));
        assert_eq!(stops(&latch, "b"), Some(StopId::new("3")), "who comes later is stopped too");
        assert_eq!(latch.release(&only("a")), [order("1", only("a"))]);
        assert_eq!(stops(&latch, "a"), Some(StopId::new("3")), "the one for all still holds");
        assert!(latch.release(&only("b")).is_empty());
        assert_eq!(latch.release(&StopScope::All).len(), 1);
        assert_eq!((stops(&latch, "a"), latch.orders().count()), (None, 0));
    }

    #[test]
    fn releasing_all_releases_those_of_single_agents_too() {
        let mut latch = StopLatch::default();
        let _ = latch.set(order("1", only("a")));
        let _ = latch.set(order("2", only("b")));
        assert_eq!(latch.release(&StopScope::All).len(), 2);
        assert_eq!(stops(&latch, "a"), None);
    }
}
