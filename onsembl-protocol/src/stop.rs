//! Emergency stops: what is in force for whom ([`StopLatch`], the server's end), and how far an agent is
//! with one ([`StopGuard`]).
//!
//! A stop is a latch. It is in force until it is released, for one agent or for all of the user, also
//! for those that come later. Who keeps it must keep it durably; nothing here touches a store.

use crate::id::{AgentId, StopId, UserId};
use crate::limits::Limits;
#[doc(no_inline)]
pub(crate) use crate::model::StopScope;
use crate::model::StopStage;
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// An order to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StopOrder {
    pub id: StopId,
    pub scope: StopScope,
    pub reason: String,
    pub by: UserId,
    pub at: WallTime,
}

impl StopId {
    /// Under which id a stop that an agent says is in force is adopted for that agent alone. It does not change
    /// when it is adopted again. It is as short as the wire allows, 256 bytes.
    #[must_use]
    pub fn adopted_for(&self, agent: &AgentId) -> Self {
        let suffix = alloc::format!("@{agent}");
        let own = self.as_str().strip_suffix(&suffix).unwrap_or(self.as_str());
        let room = Limits::DEFAULT.name_bytes.saturating_sub(suffix.len());
        Self::new(alloc::format!("{}{suffix}", &own[..own.floor_char_boundary(room)]))
    }
}

/// The orders of one user that are in force: at most one of each scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StopLatch {
    orders: BTreeMap<StopScope, StopOrder>,
}

impl StopLatch {
    /// Puts an order in force. One of the same scope stays as it was, and is given back: pressing the
    /// button twice is one stop.
    pub(crate) fn set(&mut self, order: StopOrder) -> &StopOrder {
        self.orders.entry(order.scope.clone()).or_insert(order)
    }

    /// Releases what is in force for exactly this scope; with [`StopScope::All`], everything. Gives the
    /// orders that are not in force any more.
    #[must_use = "what was released must be released in the store too"]
    pub(crate) fn release(&mut self, scope: &StopScope) -> Vec<StopOrder> {
        match scope {
            StopScope::All => core::mem::take(&mut self.orders).into_values().collect(),
            StopScope::Agent(_) => self.orders.remove(scope).into_iter().collect(),
        }
    }

    /// What keeps this agent from starting anything: an order for all before one for itself.
    pub(crate) fn in_force(&self, agent: &AgentId) -> Option<&StopOrder> {
        let own = || self.orders.get(&StopScope::Agent(agent.clone()));
        self.orders.get(&StopScope::All).or_else(own)
    }

    /// The order for all, if one is in force.
    pub(crate) fn all(&self) -> Option<&StopOrder> {
        self.orders.get(&StopScope::All)
    }

    /// All orders in force.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &StopOrder> {
        self.orders.values()
    }
}

/// The agent's end of a stop: while it has one, nothing starts. It must be kept durably.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StopGuard {
    latched: Option<LatchedStop>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LatchedStop {
    id: StopId,
    record: StopOnDisk,
    processes: Stopped,
}

/// Whether a successor of this process would know the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopOnDisk {
    Unwritten,
    Durable,
}

/// What is left of that which ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// Something may live yet.
    NotVerified,
    /// Every process group was seen empty.
    Verified,
}

impl StopGuard {
    /// A guard that an earlier process wrote down, if one was.
    pub(crate) fn recovered(id: Option<StopId>) -> Self {
        let (record, processes) = (StopOnDisk::Durable, Stopped::NotVerified);
        Self { latched: id.map(|id| LatchedStop { id, record, processes }) }
    }

    /// An order came. Whether it is new: then everything is to be killed at once, and the order
    /// written down.
    #[must_use = "a new order must be carried out and written down"]
    pub(crate) fn on_order(&mut self, id: StopId) -> bool {
        let is_new = self.latched.as_ref().is_none_or(|latched| latched.id != id);
        if is_new {
            let (record, processes) = (StopOnDisk::Unwritten, Stopped::NotVerified);
            self.latched = Some(LatchedStop { id, record, processes });
        }
        is_new
    }

    /// An order is written down. Whether that is the one that is in force.
    pub(crate) fn on_durable(&mut self, id: &StopId) -> bool {
        let latched = self.latched.as_mut().filter(|latched| latched.id == *id);
        latched.map(|latched| latched.record = StopOnDisk::Durable).is_some()
    }

    /// Nothing runs any more, and every group was seen empty. Whether that is news.
    pub(crate) fn on_empty(&mut self) -> bool {
        let latched =
            self.latched.as_mut().filter(|latched| latched.processes == Stopped::NotVerified);
        latched.map(|latched| latched.processes = Stopped::Verified).is_some()
    }

    /// An order is released. Gives what was in force, which is to be struck out; another one stays.
    pub(crate) fn on_release(&mut self, id: &StopId) -> Option<StopId> {
        self.latched.take_if(|latched| latched.id == *id).map(|latched| latched.id)
    }

    /// A session says which stop is in force. Whatever else is latched is released, and given back.
    pub(crate) fn on_welcome(&mut self, in_force: Option<&StopId>) -> Option<StopId> {
        self.latched.take_if(|latched| Some(&latched.id) != in_force).map(|latched| latched.id)
    }

    /// Whether nothing may start.
    pub(crate) const fn is_latched(&self) -> bool {
        self.latched.is_some()
    }

    /// The order that is in force.
    pub(crate) const fn order(&self) -> Option<&StopId> {
        match &self.latched {
            Some(latched) => Some(&latched.id),
            None => None,
        }
    }

    /// What is to be said: nothing before it is durable, since only then it holds whatever happens.
    /// Killing does not wait for that.
    pub(crate) fn receipt(&self) -> Option<(StopId, StopStage)> {
        let latched = self.latched.as_ref()?;
        let stage = match (latched.record, latched.processes) {
            (StopOnDisk::Unwritten, Stopped::NotVerified | Stopped::Verified) => return None,
            (StopOnDisk::Durable, Stopped::NotVerified) => StopStage::Acted,
            (StopOnDisk::Durable, Stopped::Verified) => StopStage::Verified,
        };
        Some((latched.id.clone(), stage))
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
        assert_eq!(stops(&latch, "b"), Some(StopId::new("3")), "a later one is stopped too");
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

    #[test]
    fn an_agent_holds_a_stop_until_just_that_one_is_released() {
        let id = |n: &str| StopId::new(n);
        let mut guard = StopGuard::default();
        assert_eq!((guard.is_latched(), guard.receipt(), guard.on_empty()), (false, None, false));
        assert!(guard.on_order(id("1")));
        assert!(!guard.on_order(id("1")), "again is nothing new");
        assert_eq!(guard.receipt(), None, "it would not survive a crash yet");
        assert!(!guard.on_durable(&id("0")) && guard.on_durable(&id("1")));
        assert_eq!(guard.receipt(), Some((id("1"), StopStage::Acted)));
        assert!(guard.on_empty() && !guard.on_empty());
        assert_eq!(guard.receipt(), Some((id("1"), StopStage::Verified)));
        assert_eq!(guard.on_release(&id("0")), None);
        assert_eq!(guard.on_welcome(Some(&id("1"))), None);
        assert!(guard.is_latched());
        assert_eq!(guard.on_release(&id("1")), Some(id("1")));
        let mut successor = StopGuard::recovered(Some(id("1")));
        assert!(successor.is_latched());
        assert!(successor.on_order(id("2")), "another one replaces it");
        assert_eq!(successor.on_welcome(None), Some(id("2")));
        assert!(!successor.is_latched());
    }
}
