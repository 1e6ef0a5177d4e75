//! Which machine of the shard is which seat of which fleet. Two numberings meet here, and nothing else.

use onsembl_protocol::fleet::SeatId;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::supervisor::Key;
use std::collections::BTreeMap;

/// The machines of all fleets.
#[derive(Debug, Default)]
pub(super) struct Seats {
    by_key: BTreeMap<Key, Seated>,
    keys: BTreeMap<SeatId, Key>,
    /// Whose heartbeats a machine records.
    machines: BTreeMap<AgentId, Key>,
}

/// What a machine is to its fleet.
#[derive(Clone, Debug)]
pub(super) struct Seated {
    pub(super) user: UserId,
    pub(super) seat: SeatId,
    /// Known once the store has opened a session for it.
    pub(super) agent: Option<AgentId>,
}

impl Seats {
    pub(super) fn insert(&mut self, key: Key, user: UserId, seat: SeatId) {
        let _ = self.keys.insert(seat, key);
        let _ = self.by_key.insert(key, Seated { user, seat, agent: None });
    }

    /// A machine is of this agent from now on.
    pub(super) fn bind(&mut self, key: Key, agent: &AgentId) {
        if let Some(seated) = self.by_key.get_mut(&key) {
            seated.agent = Some(agent.clone());
            let _ = self.machines.insert(agent.clone(), key);
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Seated> {
        let seated = self.by_key.remove(&key)?;
        let _ = self.keys.remove(&seated.seat);
        if let Some(agent) = &seated.agent
            && self.machines.get(agent) == Some(&key)
        {
            let _ = self.machines.remove(agent);
        }
        Some(seated)
    }

    pub(super) fn of(&self, key: Key) -> Option<&Seated> {
        self.by_key.get(&key)
    }

    pub(super) fn key(&self, seat: SeatId) -> Option<Key> {
        self.keys.get(&seat).copied()
    }

    pub(super) fn machine_of(&self, agent: &AgentId) -> Option<Key> {
        self.machines.get(agent).copied()
    }
}
