//! Which machine of the edge is which seat of which fleet, and of which agent. Fleets number their seats, and an edge names
//! its machines in its own way (`M`): the two meet here, and nothing else.

use super::action::SeatId;
use crate::id::{AgentId, UserId};
use alloc::collections::BTreeMap;

/// The machines of all fleets of a server.
#[derive(Debug)]
pub struct Seats<M> {
    machines: BTreeMap<M, Seated>,
    by_seat: BTreeMap<SeatId, M>,
    by_agent: BTreeMap<AgentId, M>,
}

/// What a machine is to its fleet.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Seated {
    pub user: UserId,
    pub seat: SeatId,
    /// Known once the store has opened a session for it.
    pub agent: Option<AgentId>,
}

impl<M> Default for Seats<M> {
    fn default() -> Self {
        let machines = BTreeMap::new();
        Self { machines, by_seat: BTreeMap::new(), by_agent: BTreeMap::new() }
    }
}

impl<M: Copy + Ord> Seats<M> {
    /// A fleet of this user has this machine at this seat.
    pub fn insert(&mut self, machine: M, user: UserId, seat: SeatId) {
        let _ = self.by_seat.insert(seat, machine);
        let _ = self.machines.insert(machine, Seated { user, seat, agent: None });
    }

    /// The machine at this seat is of this agent from now on.
    pub fn bind(&mut self, seat: SeatId, agent: &AgentId) {
        let Some(machine) = self.by_seat.get(&seat) else { return };
        if let Some(seated) = self.machines.get_mut(machine) {
            seated.agent = Some(agent.clone());
            let _ = self.by_agent.insert(agent.clone(), *machine);
        }
    }

    /// The machine is gone.
    pub fn remove(&mut self, machine: M) -> Option<Seated> {
        let seated = self.machines.remove(&machine)?;
        let _ = self.by_seat.remove(&seated.seat);
        // The agent may have a newer one.
        if let Some(agent) = &seated.agent
            && self.by_agent.get(agent) == Some(&machine)
        {
            let _ = self.by_agent.remove(agent);
        }
        Some(seated)
    }

    /// What this machine is.
    #[must_use]
    pub fn of(&self, machine: M) -> Option<&Seated> {
        self.machines.get(&machine)
    }

    /// The machine at this seat.
    #[must_use]
    pub fn machine(&self, seat: SeatId) -> Option<M> {
        self.by_seat.get(&seat).copied()
    }

    /// The newest machine of this agent: the one that records its heartbeats.
    #[must_use]
    pub fn machine_of(&self, agent: &AgentId) -> Option<M> {
        self.by_agent.get(agent).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_whose_older_machine_goes_keeps_the_newer_one() {
        let (user, agent) = (UserId::new("u"), AgentId::new("a"));
        let mut seats = Seats::default();
        for machine in [7, 8] {
            let seat = SeatId(100 + machine);
            seats.insert(machine, user.clone(), seat);
            assert_eq!(seats.of(machine).map(|seated| &seated.agent), Some(&None));
            seats.bind(seat, &agent);
        }
        assert_eq!((seats.machine(SeatId(107)), seats.machine_of(&agent)), (Some(7), Some(8)));
        let gone = seats.remove(7).unwrap();
        assert_eq!((gone.user, gone.seat, gone.agent), (user, SeatId(107), Some(agent.clone())));
        assert_eq!((seats.machine(SeatId(107)), seats.machine_of(&agent)), (None, Some(8)));
        let _ = seats.remove(8);
        assert_eq!(seats.machine_of(&agent), None);
        seats.bind(SeatId(108), &agent);
        assert_eq!(seats.machine_of(&agent), None, "nobody has the seat any more");
    }
}
