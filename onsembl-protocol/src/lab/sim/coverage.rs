//! What a run met: kinds of faults, and edges of the status graphs of both machines.

use super::fault::FaultKind;
use crate::lab::fact::{AgentStatus, Status};

use AgentStatus as A;
use Status as S;

/// Every edge of the agent's status graph.
pub const AGENT_EDGES: &[(AgentStatus, AgentStatus)] = &[
    (A::Idle, A::Connecting),
    (A::Connecting, A::Joining),
    (A::Connecting, A::Reconnecting),
    (A::Connecting, A::Closed),
    (A::Joining, A::Connected),
    (A::Joining, A::Reconnecting),
    (A::Joining, A::Closed),
    (A::Connected, A::Stale),
    (A::Connected, A::Reconnecting),
    (A::Connected, A::Closed),
    (A::Stale, A::Connected),
    (A::Stale, A::TimedOut),
    (A::Stale, A::Reconnecting),
    (A::Stale, A::Closed),
    (A::TimedOut, A::Connecting),
    (A::TimedOut, A::Closed),
    (A::Reconnecting, A::Connecting),
    (A::Reconnecting, A::Closed),
];

/// Every edge of the server's status graph of an agent.
pub const SERVER_EDGES: &[(Status, Status)] = &[
    (S::Offline, S::Connecting),
    (S::Offline, S::Reconnecting),
    (S::Connecting, S::Online),
    (S::Connecting, S::Reconnecting),
    (S::Connecting, S::TimedOut),
    (S::Connecting, S::Offline),
    (S::Online, S::Stale),
    (S::Online, S::Reconnecting),
    (S::Online, S::Connecting),
    (S::Online, S::Offline),
    (S::Online, S::Error),
    (S::Error, S::Stale),
    (S::Error, S::Online),
    (S::Error, S::Reconnecting),
    (S::Error, S::Connecting),
    (S::Error, S::Offline),
    (S::Stale, S::Online),
    (S::Stale, S::Error),
    (S::Stale, S::TimedOut),
    (S::Stale, S::Connecting),
    (S::Stale, S::Reconnecting),
    (S::Stale, S::Offline),
    (S::TimedOut, S::Connecting),
    (S::TimedOut, S::Offline),
    (S::Reconnecting, S::Connecting),
    (S::Reconnecting, S::Offline),
];

const AGENT_STATUSES: [AgentStatus; 8] = [
    A::Idle,
    A::Connecting,
    A::Joining,
    A::Connected,
    A::Stale,
    A::TimedOut,
    A::Reconnecting,
    A::Closed,
];
const STATUSES: [Status; 7] =
    [S::Connecting, S::Online, S::Stale, S::TimedOut, S::Reconnecting, S::Offline, S::Error];

/// What was met, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    kinds: [u64; FaultKind::ALL.len()],
    agent: [[u64; 8]; 8],
    server: [[u64; 7]; 7],
}

impl Default for Coverage {
    fn default() -> Self {
        Self { kinds: [0; FaultKind::ALL.len()], agent: [[0; 8]; 8], server: [[0; 7]; 7] }
    }
}

impl Coverage {
    pub(super) fn met(&mut self, kind: FaultKind) {
        self.kinds[kind as usize] += 1;
    }

    pub(super) fn agent_went(&mut self, from: AgentStatus, to: AgentStatus) {
        self.agent[from as usize][to as usize] += 1;
    }

    pub(super) fn server_went(&mut self, from: Status, to: Status) {
        self.server[from as usize][to as usize] += 1;
    }

    /// How often a kind of fault took effect.
    pub fn fault(&self, kind: FaultKind) -> u64 {
        self.kinds[kind as usize]
    }

    /// How often an agent went from one status to another.
    pub fn agent_edge(&self, from: AgentStatus, to: AgentStatus) -> u64 {
        self.agent[from as usize][to as usize]
    }

    /// How often the server's machine of an agent went from one status to another.
    pub fn server_edge(&self, from: Status, to: Status) -> u64 {
        self.server[from as usize][to as usize]
    }

    /// Every edge that was met, of the agents and of the server's machines.
    pub fn edges(
        &self,
    ) -> (
        impl Iterator<Item = (AgentStatus, AgentStatus)> + '_,
        impl Iterator<Item = (Status, Status)> + '_,
    ) {
        let agent = AGENT_STATUSES.iter().flat_map(|&from| AGENT_STATUSES.map(|to| (from, to)));
        let server = STATUSES.iter().flat_map(|&from| STATUSES.map(|to| (from, to)));
        (
            agent.filter(|(from, to)| self.agent_edge(*from, *to) > 0),
            server.filter(|(from, to)| self.server_edge(*from, *to) > 0),
        )
    }

    /// Adds what another run met.
    pub fn add(&mut self, other: &Self) {
        let add = |mine: &mut u64, theirs: &u64| *mine += theirs;
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(m, t)| add(m, t));
        let (mine, theirs) = (self.agent.as_flattened_mut(), other.agent.as_flattened());
        mine.iter_mut().zip(theirs).for_each(|(m, t)| add(m, t));
        let (mine, theirs) = (self.server.as_flattened_mut(), other.server.as_flattened());
        mine.iter_mut().zip(theirs).for_each(|(m, t)| add(m, t));
    }
}
