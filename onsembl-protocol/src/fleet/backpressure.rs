//! Back-pressure with hysteresis: an agent whose output the store does not take fast enough is not read, and none
//! of a user of whom that can be said of all agents together. What output costs is unknown here.

use super::action::Flow;
use super::collections::Map;
use super::limits::FleetLimits;
use crate::id::AgentId;
use alloc::vec::Vec;

/// Output of a user's agents that is not stored yet, and who is not read because of it.
#[derive(Debug)]
pub(super) struct Backpressure {
    agents: Map<AgentId, Throttle>,
    /// Of all agents.
    unstored: usize,
    /// Whether agents are read, as far as all of them together go.
    all: Flow,
    most_of_agent: usize,
    most_of_user: usize,
}

impl Backpressure {
    pub(super) const fn new(limits: &FleetLimits) -> Self {
        Self {
            agents: Map::new(),
            unstored: 0,
            all: Flow::Resumed,
            most_of_agent: limits.unstored_output,
            most_of_user: limits.unstored_output_of_user,
        }
    }

    /// An agent whose output counts from now on.
    pub(super) fn admit(&mut self, agent: &AgentId) {
        if !self.agents.contains_key(agent) {
            let _ = self.agents.insert(agent.clone(), Throttle::new(self.most_of_agent));
        }
    }

    /// An agent is no more, and nothing of it waits.
    pub(super) fn remove(&mut self, agent: &AgentId) {
        let waiting = self.agents.remove(agent).map_or(0, |throttle| throttle.waiting);
        self.unstored = self.unstored.saturating_sub(waiting);
    }

    /// A link of an agent begins, which is read. What changes for it.
    pub(super) fn begin(&mut self, agent: &AgentId) -> Option<Flow> {
        self.agents.get_mut(agent)?.begin()
    }

    /// So much more of an agent waits for the store. What changes, and for which agents.
    pub(super) fn add(&mut self, agent: &AgentId, cost: usize) -> Vec<(AgentId, Flow)> {
        let Some(throttle) = self.agents.get_mut(agent) else { return Vec::new() };
        let own = throttle.add(cost).map(|flow| (agent.clone(), flow));
        self.unstored = self.unstored.saturating_add(cost);
        let mut changes: Vec<_> = own.into_iter().collect();
        // Of all together too: many agents that each stay below their own bound fill the memory of the server.
        if self.unstored >= self.most_of_user {
            match core::mem::replace(&mut self.all, Flow::Paused) {
                Flow::Resumed => self.with_all(Flow::Paused, &mut changes),
                // One that was admitted since.
                Flow::Paused => {
                    let throttle = self.agents.get_mut(agent);
                    let flow = throttle.and_then(|throttle| throttle.with_all(Flow::Paused));
                    changes.extend(flow.map(|flow| (agent.clone(), flow)));
                }
            }
        }
        changes
    }

    /// So much less of an agent waits. What changes, and for which agents.
    pub(super) fn release(&mut self, agent: &AgentId, cost: usize) -> Vec<(AgentId, Flow)> {
        let Some(throttle) = self.agents.get_mut(agent) else { return Vec::new() };
        let before = throttle.waiting;
        let own = throttle.free(cost).map(|flow| (agent.clone(), flow));
        self.unstored = self.unstored.saturating_sub(before.saturating_sub(throttle.waiting));
        let mut changes: Vec<_> = own.into_iter().collect();
        // At half, as for one agent: at the bound itself each record that is stored would resume all links.
        if self.all == Flow::Paused && self.unstored < self.most_of_user / 2 {
            self.all = Flow::Resumed;
            self.with_all(Flow::Resumed, &mut changes);
        }
        changes
    }

    /// Whether the link of an agent is read.
    pub(super) fn flow(&self, agent: &AgentId) -> Flow {
        self.agents.get(agent).map_or(Flow::Resumed, Throttle::flow)
    }

    fn with_all(&mut self, flow: Flow, changes: &mut Vec<(AgentId, Flow)>) {
        let each = self.agents.iter_mut();
        changes.extend(each.filter_map(|(id, t)| Some((id.clone(), t.with_all(flow)?))));
    }
}

/// The part of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Throttle {
    /// Most bytes that may wait for the store.
    most: usize,
    waiting: usize,
    /// For its own sake.
    own: Flow,
    /// For the sake of all agents of its user.
    all: Flow,
}

impl Throttle {
    const fn new(most: usize) -> Self {
        Self { most, waiting: 0, own: Flow::Resumed, all: Flow::Resumed }
    }

    /// So much more waits. What changes.
    fn add(&mut self, cost: usize) -> Option<Flow> {
        let before = self.flow();
        self.waiting = self.waiting.saturating_add(cost);
        if self.waiting >= self.most {
            self.own = Flow::Paused;
        }
        self.changed(before)
    }

    /// So much less waits. What changes: half of the bound is free before the link is read again, or it
    /// would be paused and resumed with each record.
    fn free(&mut self, cost: usize) -> Option<Flow> {
        let before = self.flow();
        self.waiting = self.waiting.saturating_sub(cost);
        if self.waiting < self.most / 2 {
            self.own = Flow::Resumed;
        }
        self.changed(before)
    }

    /// All agents of the user together have too much that waits, or not any more. What changes.
    fn with_all(&mut self, flow: Flow) -> Option<Flow> {
        let before = self.flow();
        self.all = flow;
        self.changed(before)
    }

    /// A link begins, which is read. What changes.
    fn begin(&mut self) -> Option<Flow> {
        // A new link does not make room: what waits came over an earlier one.
        self.own = if self.waiting >= self.most { Flow::Paused } else { Flow::Resumed };
        self.changed(Flow::Resumed)
    }

    const fn flow(&self) -> Flow {
        match (self.own, self.all) {
            (Flow::Resumed, Flow::Resumed) => Flow::Resumed,
            (Flow::Paused, _) | (_, Flow::Paused) => Flow::Paused,
        }
    }

    fn changed(&self, before: Flow) -> Option<Flow> {
        Some(self.flow()).filter(|now| *now != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_pauses_at_the_bound_and_resumes_at_half_of_it() {
        const THROTTLE_AT: usize = 1000;
        let mut throttle = Throttle::new(THROTTLE_AT);
        assert_eq!(throttle.add(THROTTLE_AT - 1), None);
        assert_eq!(throttle.add(1), Some(Flow::Paused));
        assert_eq!(throttle.add(1), None);
        assert_eq!(throttle.begin(), Some(Flow::Paused), "a new link is paused at once");
        assert_eq!(throttle.free(THROTTLE_AT / 2), None);
        assert_eq!(throttle.free(2), Some(Flow::Resumed));
        assert_eq!(throttle.begin(), None);
    }

    #[test]
    fn an_agent_is_read_when_neither_it_nor_all_have_too_much() {
        let mut throttle = Throttle::new(10);
        assert_eq!(throttle.with_all(Flow::Paused), Some(Flow::Paused));
        assert_eq!(throttle.add(10), None);
        assert_eq!(throttle.with_all(Flow::Resumed), None);
        assert_eq!(throttle.free(10), Some(Flow::Resumed));
        assert_eq!(throttle.with_all(Flow::Paused), Some(Flow::Paused));
        assert_eq!(throttle.begin(), Some(Flow::Paused), "a new link is paused at once");
    }
}
