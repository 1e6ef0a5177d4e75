//! Which command of an agent is next: by priority, then in order of arrival, without starvation.
//!
//! Knows neither links nor stores. An agent has a number of slots; what occupies one is with the agent or
//! on its way there.

use crate::model::Priority;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;
use core::time::Duration;

/// A command that waits counts as one priority more for each such period, up to the highest. So the
/// lowest is served like an emergency after three minutes.
pub(super) const AGEING: Duration = Duration::from_secs(60);

/// Slots of an agent that does not say how many it has.
pub const DEFAULT_SLOTS: usize = 4;

/// The line of one agent.
#[derive(Clone, Debug)]
pub(crate) struct CommandQueue<K> {
    slots: usize,
    occupants: BTreeSet<K>,
    /// By priority, and then in the order of arrival.
    waiting: BTreeMap<(Priority, Arrival), Waiting<K>>,
    /// Where each of them stands.
    positions: BTreeMap<K, (Priority, Arrival)>,
    arrivals: Arrival,
}

/// The number of an arrival.
type Arrival = u64;

#[derive(Clone, Debug)]
struct Waiting<K> {
    key: K,
    since: Timestamp,
}

impl<K> Default for CommandQueue<K> {
    fn default() -> Self {
        Self {
            slots: DEFAULT_SLOTS,
            occupants: BTreeSet::new(),
            waiting: BTreeMap::new(),
            positions: BTreeMap::new(),
            arrivals: 0,
        }
    }
}

impl<K: Ord + Clone> CommandQueue<K> {
    /// The agent says how many commands it runs at once; it has one slot at least. A command that occupies a
    /// slot keeps it.
    pub(crate) fn set_slots(&mut self, slots: usize) {
        self.slots = slots.max(1);
    }

    /// A command joins the end of the queue. One that waits or occupies a slot already
    /// stays where it is.
    pub(crate) fn join(&mut self, key: K, priority: Priority, now: Timestamp) {
        if self.occupants.contains(&key) || self.positions.contains_key(&key) {
            return;
        }
        let at = (priority, self.arrivals);
        let _ = self.positions.insert(key.clone(), at);
        let _ = self.waiting.insert(at, Waiting { key, since: now });
        self.arrivals = self.arrivals.saturating_add(1);
    }

    /// The agent has this command, however it came there.
    pub(crate) fn occupy(&mut self, key: &K) {
        self.step_out(key);
        let _ = self.occupants.insert(key.clone());
    }

    /// It is over, or its user does not want it any more: its slot is free.
    pub(crate) fn leave(&mut self, key: &K) {
        self.step_out(key);
        let _ = self.occupants.remove(key);
    }

    /// Gives a free slot to the one whose turn it is.
    #[must_use = "the command occupies the slot and would never be sent"]
    pub(crate) fn take_next(&mut self, now: Timestamp) -> Option<K> {
        if self.occupants.len() >= self.slots {
            return None;
        }
        // Within a priority the order is that of arrival, so that only the first of each has to be compared.
        let first_of = |priority| {
            let (at, waiting) =
                self.waiting.range((priority, 0)..=(priority, Arrival::MAX)).next()?;
            Some((rank(priority, waiting.since, now), Reverse(at.1), *at))
        };
        let (_, _, at) = PRIORITIES.into_iter().filter_map(first_of).max()?;
        let Waiting { key, .. } = self.waiting.remove(&at)?;
        let _ = self.positions.remove(&key);
        let _ = self.occupants.insert(key.clone());
        Some(key)
    }

    /// How many of those that wait would be served before this one, if nothing changed; as many as wait if it is
    /// not among them. Looks at all of them.
    pub(crate) fn ahead(&self, key: &K, now: Timestamp) -> usize {
        let turn = |at: &(Priority, Arrival), waiting: &Waiting<K>| {
            (rank(at.0, waiting.since, now), Reverse(at.1))
        };
        let of_key = self.positions.get(key).and_then(|at| Some(turn(at, self.waiting.get(at)?)));
        let is_before = |other| of_key.is_none_or(|own| other > own);
        self.waiting.iter().filter(|(at, waiting)| is_before(turn(at, waiting))).count()
    }

    /// Who occupies a slot.
    pub(crate) fn occupants(&self) -> impl Iterator<Item = &K> {
        self.occupants.iter()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many occupy a slot.
    pub(crate) fn occupied(&self) -> usize {
        self.occupants.len()
    }

    fn step_out(&mut self, key: &K) {
        if let Some(at) = self.positions.remove(key) {
            let _ = self.waiting.remove(&at);
        }
    }
}

const PRIORITIES: [Priority; 4] =
    [Priority::Low, Priority::Normal, Priority::High, Priority::Emergency];

fn rank(priority: Priority, since: Timestamp, now: Timestamp) -> u64 {
    let base = match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Emergency => HIGHEST,
    };
    // Else commands of a higher priority could keep one waiting forever.
    let aged = now.saturating_since(since).as_secs() / AGEING.as_secs();
    base.saturating_add(aged).min(HIGHEST)
}

/// The rank of an emergency.
const HIGHEST: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    fn drain(queue: &mut CommandQueue<u32>, now: Timestamp) -> Vec<u32> {
        core::iter::from_fn(|| {
            let next = queue.take_next(now)?;
            queue.leave(&next);
            Some(next)
        })
        .collect()
    }

    #[test]
    fn the_more_urgent_comes_first_and_of_equals_the_earlier() {
        let mut queue = CommandQueue::default();
        let order = [Priority::Low, Priority::Normal, Priority::Emergency, Priority::Normal];
        for (key, priority) in (0..).zip(order) {
            queue.join(key, priority, at(0));
        }
        queue.join(4, Priority::High, at(0));
        assert_eq!([2, 4, 1, 3, 0].map(|key| queue.ahead(&key, at(1))), [0, 1, 2, 3, 4]);
        assert_eq!(queue.ahead(&0, at(180)), 0, "an emergency by its age, and the first");
        assert_eq!(drain(&mut queue, at(1)), [2, 4, 1, 3, 0]);
    }

    #[test]
    fn who_waits_rises_and_nobody_starves() {
        let mut queue = CommandQueue::default();
        queue.set_slots(1);
        queue.join(0, Priority::Low, at(0));
        let mut served_at = None;
        // Something more urgent each second, one served each second.
        for second in 0..600u32 {
            queue.join(1 + second, Priority::Emergency, at(second.into()));
            let next = queue.take_next(at(second.into())).unwrap();
            queue.leave(&next);
            if next == 0 {
                served_at = Some(second);
            }
        }
        assert_eq!(served_at, Some(180));
    }

    #[test]
    fn no_more_occupy_a_slot_than_there_are() {
        let mut queue = CommandQueue::default();
        for key in 0..6 {
            queue.join(key, Priority::Normal, at(0));
            queue.join(key, Priority::Emergency, at(0));
        }
        let occupied: Vec<u32> = core::iter::from_fn(|| queue.take_next(at(0))).collect();
        assert_eq!(occupied, [0, 1, 2, 3]);
        assert_eq!((queue.waiting(), queue.occupied()), (2, 4));
        queue.set_slots(0);
        for key in 0..4 {
            assert_eq!(queue.take_next(at(0)), None);
            queue.leave(&key);
        }
        assert_eq!((queue.take_next(at(0)), queue.take_next(at(0))), (Some(4), None));
        // One of an earlier run of the server takes its slot without asking.
        queue.occupy(&9);
        queue.leave(&4);
        assert_eq!(queue.take_next(at(0)), None);
        queue.leave(&9);
        assert_eq!(queue.take_next(at(0)), Some(5));
    }
}
