//! Which machine is which seat of the fleet, and of which agent it is by the truth of the world.

use crate::fleet::SeatId;
use crate::supervisor::Key;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a machine is to its fleet, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seated {
    pub(super) key: Key,
    pub(super) seat: SeatId,
    /// Of the hello that it was put in for, or of the row: the fleet was not asked.
    pub(super) agent: u32,
    /// The store has opened a session for it, so that its beats have a row.
    pub(super) bound: bool,
}

/// The machines of a server's process, until the fleet knows that they are removed.
#[derive(Debug)]
pub(super) struct Seats {
    /// Sorted by key.
    list: Vec<Seated>,
    keys: BTreeMap<SeatId, Key>,
    latest: Vec<Option<Key>>,
}

impl Seats {
    pub(super) fn new(agents: usize) -> Self {
        Self { list: Vec::new(), keys: BTreeMap::new(), latest: alloc::vec![None; agents] }
    }

    pub(super) fn insert(&mut self, seated: Seated) {
        let at = self.list.partition_point(|other| other.key < seated.key);
        self.list.insert(at, seated);
        let _ = self.keys.insert(seated.seat, seated.key);
        self.latest[seated.agent as usize] = Some(seated.key);
    }

    pub(super) fn of_key(&self, key: Key) -> Option<Seated> {
        let at = self.list.binary_search_by_key(&key, |seated| seated.key).ok()?;
        Some(self.list[at])
    }

    pub(super) fn of_seat(&self, seat: SeatId) -> Option<Seated> {
        self.of_key(*self.keys.get(&seat)?)
    }

    /// The latest machine of an agent.
    pub(super) fn of_agent(&self, agent: u32) -> Option<Seated> {
        self.of_key(self.latest[agent as usize]?)
    }

    pub(super) fn bind(&mut self, key: Key) {
        if let Ok(at) = self.list.binary_search_by_key(&key, |seated| seated.key) {
            self.list[at].bound = true;
        }
    }

    pub(super) fn remove(&mut self, seat: SeatId) {
        let Some(key) = self.keys.remove(&seat) else { return };
        self.list.retain(|seated| seated.key != key);
        for latest in &mut self.latest {
            let _ = latest.take_if(|other| *other == key);
        }
    }
}
