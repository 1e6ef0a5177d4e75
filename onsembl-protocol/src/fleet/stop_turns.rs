//! What an order to stop or a release does to many agents, in turns: it is in force in one step, and one event tells,
//! shows and asks a bounded number of agents. The next turn is due at once, so that events of other users come between.

use super::action::SeatId;
use super::note::FleetNote;
use super::state::State;
use super::work::Todo;
use crate::command::CommandEvent;
use crate::id::{AgentId, StopId};
use crate::model::{Capabilities, Dialect, Force};
use crate::stop::{StopOrder, StopScope};
use crate::time::{Deadline, Now};
use crate::wire::ServerToAgent;
use crate::wire::payload::{EmergencyStop, StopRelease};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Bound;

/// Agents that one event tells, shows or asks for stops: about two milliseconds of work in a debug build.
pub(super) const AGENTS_A_TURN: usize = 256;

/// Open commands of the agents of a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stopped {
    /// Those that are being killed.
    pub(super) killed: usize,
    /// Those of agents that cannot confirm anything.
    pub(super) notified: usize,
}

impl Stopped {
    pub(super) const fn all(self) -> usize {
        self.killed.saturating_add(self.notified)
    }

    pub(super) const fn add(&mut self, more: Self) {
        self.killed = self.killed.saturating_add(more.killed);
        self.notified = self.notified.saturating_add(more.notified);
    }
}

/// A pass over agents, in the order of their ids.
#[derive(Debug)]
struct Pass {
    /// The last agent that was passed.
    behind: Option<AgentId>,
    agents: usize,
    stopped: Stopped,
    what: What,
}

/// What happens to each agent of a pass.
#[derive(Debug)]
enum What {
    /// It is told to stop, what it runs is cancelled, and it is shown with the order.
    Stop(StopId),
    /// It is told to stop once, and what it runs is cancelled.
    StopOnce(Box<EmergencyStop>),
    /// It is told that the order is over.
    Release(StopOrder),
    /// The same of orders that are for one agent each.
    ReleaseOnes(VecDeque<StopOrder>),
    /// It is told again, if it has not said that nothing runs. Only those are looked at of which that is unknown.
    Repeat,
}

/// An order of all whose agents were told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) order: StopId,
    pub(super) stopped: Stopped,
}

/// The passes that are in progress. Stops go before the rest.
#[derive(Debug, Default)]
pub(super) struct Turns {
    urgent: VecDeque<Pass>,
    rest: VecDeque<Pass>,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.rest.is_empty()
    }

    /// Tells all agents of an order. A pass of it that has not begun does the same.
    pub(super) fn stop(&mut self, order: StopId) {
        let is_same = |pass: &Pass| {
            pass.behind.is_none() && matches!(&pass.what, What::Stop(of) if *of == order)
        };
        if !self.urgent.iter().any(is_same) {
            self.urgent.push_back(Pass::new(What::Stop(order)));
        }
    }

    /// Stops all agents once. A pass that has not begun does the same.
    pub(super) fn stop_once(&mut self, stop: EmergencyStop) {
        let is_same = |pass: &Pass| pass.behind.is_none() && matches!(pass.what, What::StopOnce(_));
        if !self.urgent.iter().any(is_same) {
            self.urgent.push_back(Pass::new(What::StopOnce(Box::new(stop))));
        }
    }

    /// Tells all agents that these orders are over. Each order is released once, so that there are no more passes than
    /// orders were in force.
    pub(super) fn release(&mut self, orders: Vec<StopOrder>) {
        let mut ones = VecDeque::new();
        for order in orders {
            match &order.scope {
                StopScope::All => self.rest.push_back(Pass::new(What::Release(order))),
                StopScope::Agent(_) => ones.push_back(order),
            }
        }
        if !ones.is_empty() {
            self.rest.push_back(Pass::new(What::ReleaseOnes(ones)));
        }
    }

    /// Tells agents again that have not said that nothing runs.
    pub(super) fn repeat(&mut self) {
        if !self.rest.iter().any(|pass| matches!(pass.what, What::Repeat)) {
            self.rest.push_back(Pass::new(What::Repeat));
        }
    }

    /// One turn. Gives the orders whose agents are all told now.
    pub(super) fn take(&mut self, state: &mut State) -> Vec<Told> {
        let (mut room, mut told) = (AGENTS_A_TURN, Vec::new());
        while room > 0 {
            let line = match self.urgent.is_empty() {
                false => &mut self.urgent,
                true => &mut self.rest,
            };
            let Some(mut pass) = line.pop_front() else { break };
            let agents = pass.next(state, room);
            let is_done = agents.len() < room;
            // A pass costs something too.
            room = room.saturating_sub(agents.len().max(1));
            pass.perform(state, &agents);
            if is_done {
                told.extend(pass.over(state));
            } else {
                pass.behind = agents.into_iter().next_back();
                line.push_front(pass);
            }
        }
        told
    }

    /// When the next turn is due.
    pub(super) fn deadline(&self, now: Now) -> Deadline {
        if self.is_empty() { Deadline::Never } else { Deadline::At(now.monotonic) }
    }
}

impl Pass {
    fn new(what: What) -> Self {
        Self { behind: None, agents: 0, stopped: Stopped::default(), what }
    }

    /// The next agents, at most this many.
    fn next(&self, state: &State, most: usize) -> Vec<AgentId> {
        match &self.what {
            // It was released meanwhile.
            What::Stop(order) if state.latch.all().is_none_or(|all| all.id != *order) => Vec::new(),
            What::Stop(_) | What::StopOnce(_) | What::Release(_) => {
                agents_behind(state, self.behind.as_ref(), most)
            }
            What::ReleaseOnes(orders) => {
                let agents = orders.iter().filter_map(|order| order.scope.agent());
                agents.take(most).cloned().collect()
            }
            What::Repeat => {
                let behind = self.behind.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let left = state.unverified.range::<AgentId, _>((behind, Bound::Unbounded));
                left.take(most).cloned().collect()
            }
        }
    }

    fn perform(&mut self, state: &mut State, agents: &[AgentId]) {
        self.agents = self.agents.saturating_add(agents.len());
        match &mut self.what {
            What::Stop(_) => {
                let Some(order) = state.latch.all().cloned() else { return };
                let stopped = tell(state, agents, &order);
                self.stopped.add(stopped);
            }
            What::StopOnce(stop) => {
                let killed = stop_once(state, agents, stop);
                self.stopped.add(Stopped { killed, notified: 0 });
            }
            What::Release(order) => {
                agents.iter().for_each(|agent| tell_release(state, agent, order));
            }
            What::ReleaseOnes(orders) => {
                for (agent, order) in agents.iter().zip(orders.drain(..agents.len())) {
                    state.out.note(FleetNote::StopReleased { stop: order.id.clone() });
                    tell_release(state, agent, &order);
                }
            }
            What::Repeat => agents.iter().for_each(|agent| repeat(state, agent)),
        }
    }

    /// All agents were passed.
    fn over(self, state: &mut State) -> Option<Told> {
        let Self { agents, stopped, what, .. } = self;
        let commands = stopped.all();
        match what {
            What::Stop(order) => {
                if let Some(all) = state.latch.all().filter(|all| all.id == order) {
                    let (stop, reason) = (Some(all.id.clone()), all.reason.clone());
                    state.out.note(FleetNote::Stop { stop, reason, agents, commands });
                }
                Some(Told { order, stopped })
            }
            What::StopOnce(stop) => {
                let reason = stop.reason.unwrap_or_default();
                state.out.note(FleetNote::Stop { stop: None, reason, agents, commands });
                None
            }
            What::Release(order) => {
                state.out.note(FleetNote::StopReleased { stop: order.id });
                None
            }
            What::ReleaseOnes(_) | What::Repeat => None,
        }
    }
}

/// Agents behind that one, at most this many.
pub(super) fn agents_behind(state: &State, behind: Option<&AgentId>, most: usize) -> Vec<AgentId> {
    let behind = behind.map_or(Bound::Unbounded, Bound::Excluded);
    let agents = state.roster.agents().range::<AgentId, _>((behind, Bound::Unbounded));
    agents.take(most).map(|(agent, _)| agent.clone()).collect()
}

/// Tells agents of an order, cancels what they run, and shows them with it.
pub(super) fn tell(state: &mut State, agents: &[AgentId], order: &StopOrder) -> Stopped {
    // The order goes to the agents first; everything else can wait.
    for agent in agents {
        if let Some((seat, _)) = state.roster.session(agent) {
            send_order(state, agent, seat, order);
        }
    }
    let mut stopped = Stopped::default();
    for agent in agents {
        let session = state.roster.session(agent).map(|(_, session)| session.capabilities);
        let count = match session.map(Capabilities::dialect) {
            Some(Dialect::Legacy) => &mut stopped.notified,
            Some(Dialect::Extended) | None => &mut stopped.killed,
        };
        for command in state.commands.open_of(agent) {
            *count += 1;
            state.work.feed(&command, CommandEvent::Cancel { force: Force::AtOnce });
        }
        state.show_stop(agent);
    }
    stopped
}

/// Cancels what these agents run, and tells them to stop once. How many commands that were.
pub(super) fn stop_once(state: &mut State, agents: &[AgentId], stop: &EmergencyStop) -> usize {
    let mut commands = 0;
    for agent in agents {
        for command in state.commands.open_of(agent) {
            commands += 1;
            state.work.feed(&command, CommandEvent::Cancel { force: Force::AtOnce });
        }
        // Legacy wrappers stop permanently at it, so that the cancellations come first.
        let message = Box::new(ServerToAgent::EmergencyStop(stop.clone()));
        state.work.add(Todo::Send(agent.clone(), message));
    }
    commands
}

/// Tells an agent that was stopped by this order that it is over. One for which another is in force now hears of
/// that; one that is away learns it from the next welcome.
pub(super) fn tell_release(state: &mut State, agent: &AgentId, order: &StopOrder) {
    // It may hold nothing that could be released: to it the stop was momentary (P-107).
    if let Some((seat, session)) = state.roster.session(agent)
        && session.capabilities.latches_stops()
    {
        let release = StopRelease { stop_id: order.id.clone() };
        state.out.send(seat, ServerToAgent::StopRelease(release));
        if let Some(other) = state.stop_of(agent).cloned() {
            send_order(state, agent, seat, &other);
        }
    }
    state.show_stop(agent);
}

/// Tells an agent again that has not said that nothing runs.
fn repeat(state: &mut State, agent: &AgentId) {
    let pending = state.roster.session(agent).and_then(|(seat, session)| {
        let order = state.stop_of(agent)?;
        session.stop_state(&order.id).is_pending().then(|| (seat, order.clone()))
    });
    match pending {
        Some((seat, order)) => {
            send_order(state, agent, seat, &order);
            state.out.note(FleetNote::StopRepeated { agent: agent.clone(), stop: order.id });
        }
        None => {
            let _ = state.unverified.remove(agent);
        }
    }
}

/// Says to an agent in session that it is stopped. It is told again until it says that nothing runs, if it is a peer
/// that confirms: any other is shown as not confirmed (P-197).
pub(super) fn send_order(state: &mut State, agent: &AgentId, seat: SeatId, order: &StopOrder) {
    let session = state.roster.session(agent).map(|(_, session)| session.capabilities);
    if session.is_some_and(Capabilities::latches_stops) {
        let _ = state.unverified.insert(agent.clone());
    }
    let stop = EmergencyStop {
        reason: Some(order.reason.clone()),
        triggered_by: Some(order.by.as_str().to_owned()),
        timestamp: Some(order.at),
        stop_id: Some(order.id.clone()),
        ..EmergencyStop::default()
    };
    state.out.send(seat, ServerToAgent::EmergencyStop(stop));
}

/// The agent of a scope that names one.
pub(super) fn one_of(state: &State, scope: &StopScope) -> Vec<AgentId> {
    let agent = scope.agent().filter(|agent| state.roster.agent(agent).is_some());
    agent.cloned().into_iter().collect()
}
