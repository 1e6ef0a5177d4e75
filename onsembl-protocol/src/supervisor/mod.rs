//! Many machines behind one timer.
//!
//! [`Supervisor`] owns the machines of one shard and the deadline of each. Its next wake may be
//! early, never late; a sweep does a bounded amount of work and says whether more is due. Nothing
//! is allocated and nothing is locked for an event, and its cost does not grow with the number of
//! machines, but for the cache misses that a larger memory brings.
//!
//! `machine.rs` says what a machine is to a supervisor, `minima.rs` finds the earliest deadline.

mod machine;
mod minima;

pub use machine::Machine;

use crate::step::Actions;
use crate::time::{Deadline, Now};
use alloc::vec::Vec;
use core::fmt;
use minima::{FAN_OUT, Minima};

/// Names a machine of a supervisor. A key whose machine was removed names nothing, also when its
/// slot is in use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// The slot, dense from zero; for what is kept beside the machines.
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What one sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "when more is due, sweep again before sleeping"]
pub struct Swept {
    /// Machines that were woken.
    pub woken: usize,
    /// Blocks of machines that were looked through and held none that was due.
    pub in_vain: usize,
    /// Whether the budget ended the sweep before all that may be due was looked at.
    pub more_due: bool,
}

/// Owns the machines of one shard.
///
/// Each part of a machine has a column of its own, so that a heartbeat finds all it needs of one
/// machine in [`HOT_BYTES`](Self::HOT_BYTES) and leaves the rest where it is.
pub struct Supervisor<M: Machine> {
    rules: M::Rules,
    generations: Vec<u32>,
    /// `None`: the slot is free.
    hot: Vec<Option<M::Hot>>,
    /// Of a free slot it is left over.
    cold: Vec<M::Cold>,
    free: Vec<u32>,
    minima: Minima,
    resume_at: usize,
}

impl<M: Machine> Supervisor<M> {
    /// What each connection takes of the memory that a heartbeat touches: its hot part, the
    /// generation of its slot, and its share of the index, which is 8 bytes for 16 slots, 8 for
    /// each 16 of those, and so on: less than one byte.
    pub const HOT_BYTES: usize = size_of::<Option<M::Hot>>() + size_of::<u32>() + 1;

    /// Owns nothing yet; all machines will live by these rules.
    pub const fn new(rules: M::Rules) -> Self {
        Self {
            rules,
            generations: Vec::new(),
            hot: Vec::new(),
            cold: Vec::new(),
            free: Vec::new(),
            minima: Minima::new(),
            resume_at: 0,
        }
    }

    /// The rules of all machines.
    pub const fn rules(&self) -> &M::Rules {
        &self.rules
    }

    /// Takes a machine in. From now on it lives by the [`rules`](Self::rules) of this supervisor;
    /// make it with the same.
    pub fn insert(&mut self, machine: M) -> Key {
        let (hot, cold) = machine.into_parts();
        let deadline = M::deadline_of_parts(&self.rules, &hot, &cold);
        let slot = self.free.pop().unwrap_or(self.hot.len() as u32);
        let at = slot as usize;
        if let (Some(free), Some(left_over)) = (self.hot.get_mut(at), self.cold.get_mut(at)) {
            (*free, *left_over) = (Some(hot), cold);
        } else {
            self.generations.push(0);
            self.hot.push(Some(hot));
            self.cold.push(cold);
            self.minima.cover(self.hot.len());
        }
        self.minima.lower(at, deadline);
        Key { slot, generation: self.generations.get(at).copied().unwrap_or_default() }
    }

    /// Gives a machine back.
    pub fn remove(&mut self, key: Key) -> Option<M> {
        let slot = self.slot_of(key)?;
        let hot = self.hot.get_mut(slot)?.take()?;
        let generation = self.generations.get_mut(slot)?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(M::from_parts(&self.rules, hot, *self.cold.get(slot)?))
    }

    /// The machine, to look at.
    pub fn get(&self, key: Key) -> Option<M::View<'_>> {
        let slot = self.slot_of(key)?;
        Some(M::view(self.hot.get(slot)?.as_ref()?, self.cold.get(slot)?))
    }

    /// The deadline that the latest event left a machine with.
    pub fn deadline(&self, key: Key) -> Option<Deadline> {
        let slot = self.slot_of(key)?;
        let (hot, cold) = (self.hot.get(slot)?.as_ref()?, self.cold.get(slot)?);
        Some(M::deadline_of_parts(&self.rules, hot, cold))
    }

    /// Hands a machine an event and re-arms its deadline. `None` if the key names nothing.
    #[inline]
    #[must_use = "perform the actions in order"]
    pub fn handle(&mut self, key: Key, event: M::Event, now: Now) -> Option<Actions<M::Action>> {
        let slot = self.slot_of(key)?;
        let hot = self.hot.get_mut(slot)?.as_mut()?;
        let cold = self.cold.get_mut(slot)?;
        let mut did = Actions::none();
        let deadline = M::handle_parts(&self.rules, hot, cold, event, now, &mut did);
        self.minima.lower(slot, deadline);
        Some(did)
    }

    /// Hands every machine the same event, and `each` what comes of it, where anything does. Takes
    /// time in proportion to the number of machines: for what happens once to a whole server.
    pub fn handle_all(
        &mut self,
        event: M::Event,
        now: Now,
        mut each: impl FnMut(Key, Actions<M::Action>),
    ) {
        let columns = self.hot.iter_mut().zip(&mut self.cold).zip(&self.generations);
        for (slot, ((hot, cold), generation)) in columns.enumerate() {
            let Some(hot) = hot else { continue };
            let mut did = Actions::none();
            let deadline = M::handle_parts(&self.rules, hot, cold, event, now, &mut did);
            self.minima.lower(slot, deadline);
            if !did.is_empty() {
                each(Key { slot: slot as u32, generation: *generation }, did);
            }
        }
    }

    /// When to sweep next: not later than the earliest deadline. After a sweep that left nothing
    /// due it is later than that sweep.
    pub fn next_wake(&self) -> Deadline {
        self.minima.earliest()
    }

    /// Wakes machines whose deadline has come, fairly over successive sweeps. The sum of the
    /// machines that it wakes and of the blocks of 16 that it looks through in vain is at most
    /// `budget`.
    pub fn sweep(
        &mut self,
        now: Now,
        budget: usize,
        mut each: impl FnMut(Key, Actions<M::Action>),
    ) -> Swept {
        let at = now.monotonic;
        let mut swept = Swept { woken: 0, in_vain: 0, more_due: false };
        let first = self.resume_at;
        let mut from = first;
        let mut wrapped = false;
        while swept.woken + swept.in_vain < budget {
            let block = match self.minima.first_due(from / FAN_OUT, at) {
                Some(block) if !wrapped || block <= first / FAN_OUT => block,
                None if !wrapped => {
                    (from, wrapped) = (0, true);
                    continue;
                }
                Some(_) | None => break,
            };
            let from_slot = from.max(block * FAN_OUT);
            let left = budget - swept.woken - swept.in_vain;
            let (woken, next) = self.sweep_block(block, from_slot, now, left, &mut each);
            swept.woken += woken;
            swept.in_vain += usize::from(woken == 0);
            from = next;
        }
        self.resume_at = from;
        swept.more_due = self.next_wake().is_due(at);
        swept
    }

    /// Wakes what is due in a block from this slot on, at most `budget` machines, and makes the
    /// minimum of the block exact. Says how many were woken, and the slot to go on with.
    fn sweep_block(
        &mut self,
        block: usize,
        from: usize,
        now: Now,
        budget: usize,
        each: &mut impl FnMut(Key, Actions<M::Action>),
    ) -> (usize, usize) {
        let start = block * FAN_OUT;
        let end = (start + FAN_OUT).min(self.hot.len());
        let mut exact = Deadline::Never;
        let (mut woken, mut next) = (0, start + FAN_OUT);
        let columns = self
            .hot
            .get_mut(start..end)
            .unwrap_or_default()
            .iter_mut()
            .zip(self.cold.get_mut(start..end).unwrap_or_default())
            .zip(self.generations.get(start..end).unwrap_or_default());
        for (slot, ((hot, cold), generation)) in (start..end).zip(columns) {
            let Some(hot) = hot else { continue };
            let mut deadline = M::deadline_of_parts(&self.rules, hot, cold);
            if slot >= from && deadline.is_due(now.monotonic) {
                if woken < budget {
                    let mut did = Actions::none();
                    deadline = M::handle_parts(&self.rules, hot, cold, M::WAKE, now, &mut did);
                    woken += 1;
                    each(Key { slot: slot as u32, generation: *generation }, did);
                } else {
                    next = next.min(slot);
                }
            }
            exact = exact.min(deadline);
        }
        self.minima.set(block, exact);
        (woken, next)
    }

    /// Every key in use.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.hot
            .iter()
            .zip(&self.generations)
            .enumerate()
            .filter(|(_, (hot, _))| hot.is_some())
            .map(|(slot, (_, generation))| Key { slot: slot as u32, generation: *generation })
    }

    /// How many machines there are.
    pub fn len(&self) -> usize {
        self.hot.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn slot_of(&self, key: Key) -> Option<usize> {
        let slot = key.slot as usize;
        (*self.generations.get(slot)? == key.generation).then_some(slot)
    }
}

impl<M: Machine> fmt::Debug for Supervisor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("machines", &self.len())
            .field("next_wake", &self.next_wake())
            .finish_non_exhaustive()
    }
}
