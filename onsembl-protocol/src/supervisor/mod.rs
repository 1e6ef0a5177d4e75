//! Many machines behind one timer.
//!
//! [`Supervisor`] owns the machines of one shard and the deadline of each. Its next wake may be
//! early, never late; a sweep does a bounded amount of work and says whether more is due. Nothing
//! is allocated and nothing is locked for an event, and its cost does not grow with the number of
//! machines, but for the cache misses that a larger memory brings.
//!
//! `machine.rs` says what a machine is to a supervisor, `slots.rs` keeps them, `minima.rs` finds the
//! earliest deadline.
//!
//! Tier 1 of the [crate](crate#what-is-public-in-tiers): the connection.

mod machine;
mod minima;
mod slots;

pub use machine::Machine;
pub use slots::Key;

use crate::step::Actions;
use crate::time::{Deadline, Now};
use core::fmt;
use minima::{FAN_OUT, Minima};
use slots::Slots;

/// Events of a batch whose machines are read in one go: more than a processor can have on the way
/// from memory, few enough that all of it is still near when its turn comes.
const READ_AHEAD: usize = 32;

/// What one sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "when more is due, sweep again before sleeping"]
#[non_exhaustive]
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
/// The parts of a machine lie apart, so that a heartbeat finds all it needs of one machine in
/// [`HOT_BYTES`](Self::HOT_BYTES) and leaves the rest where it is.
///
/// ```
/// use onsembl_protocol::id::{Epoch, PresenceVersion};
/// use onsembl_protocol::session::{ServerConfig, ServerConnection};
/// use onsembl_protocol::supervisor::Supervisor;
/// use onsembl_protocol::time::Now;
/// use std::time::Duration;
///
/// let (rules, now) = (ServerConfig::DEFAULT, Now::without_suspend(Duration::ZERO));
/// let mut agents = Supervisor::<ServerConnection>::new(rules);
/// let (machine, _actions) = {
///     let (machine, step) = ServerConnection::recovered(rules, PresenceVersion(3), Epoch(2), now);
///     (machine, step.actions)
/// };
/// let key = agents.insert(machine);
/// assert_eq!(agents.next_wake(), agents.deadline(key).unwrap()); // one timer for all of them
/// ```
pub struct Supervisor<M: Machine> {
    rules: M::Rules,
    slots: Slots<M::Hot, M::Cold>,
    minima: Minima,
    resume_at: usize,
}

impl<M: Machine> Supervisor<M> {
    /// What each connection takes of the memory that a heartbeat touches: its hot part, the
    /// generation of its slot, and its share of the index, which is 8 bytes for 16 slots, 8 for
    /// each 16 of those, and so on: less than one byte.
    pub const HOT_BYTES: usize = Slots::<M::Hot, M::Cold>::HOT_BYTES + 1;

    /// Owns nothing yet; all machines will live by these rules.
    pub const fn new(rules: M::Rules) -> Self {
        Self { rules, slots: Slots::new(), minima: Minima::new(), resume_at: 0 }
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
        let key = self.slots.insert(hot, cold);
        self.minima.cover(self.slots.capacity());
        self.minima.lower(key.slot(), deadline);
        key
    }

    /// Gives a machine back.
    pub fn remove(&mut self, key: Key) -> Option<M> {
        let (hot, cold) = self.slots.remove(key)?;
        Some(M::from_parts(&self.rules, hot, cold))
    }

    /// The machine, to look at.
    pub fn get(&self, key: Key) -> Option<M::View<'_>> {
        self.slots.get(key).map(|(hot, cold)| M::view(hot, cold))
    }

    /// The deadline that the latest event left a machine with.
    pub fn deadline(&self, key: Key) -> Option<Deadline> {
        let (hot, cold) = self.slots.get(key)?;
        Some(M::deadline_of_parts(&self.rules, hot, cold))
    }

    /// Hands a machine an event and re-arms its deadline. `None` if the key names nothing.
    #[inline]
    #[must_use = "perform the actions in order"]
    pub fn handle(&mut self, key: Key, event: M::Event, now: Now) -> Option<Actions<M::Action>> {
        // Filled where the caller will find it, because it is large to copy.
        let mut out = Some(Actions::none());
        if !out.as_mut().is_some_and(|out| self.turn(key, event, now, out)) {
            out = None;
        }
        out
    }

    /// [`handle`](Self::handle) for many events of one moment, in their order; `each` gets what it
    /// would return.
    ///
    /// With more machines than the caches of the processor hold this is faster than one by one: the
    /// machines of the next 32 events are read together, so their ways from memory overlap.
    pub fn handle_batch(
        &mut self,
        events: &[(Key, M::Event)],
        now: Now,
        mut each: impl FnMut(Key, Option<&Actions<M::Action>>),
    ) {
        for events in events.chunks(READ_AHEAD) {
            for (key, _) in events {
                self.slots.read_ahead(*key);
                self.minima.read_ahead(key.slot());
            }
            for (key, event) in events {
                let mut out = Actions::none();
                let known = self.turn(*key, *event, now, &mut out);
                each(*key, known.then_some(&out));
            }
        }
    }

    /// Hands every machine the same event, and `each` what comes of it, where anything does. Takes
    /// time in proportion to the number of machines: for what happens once to a whole server.
    pub fn handle_all(
        &mut self,
        event: M::Event,
        now: Now,
        mut each: impl FnMut(Key, Actions<M::Action>),
    ) {
        for (key, hot, cold) in self.slots.iter_mut() {
            let mut out = Actions::none();
            let deadline = M::handle_parts(&self.rules, hot, cold, event, now, &mut out);
            self.minima.lower(key.slot(), deadline);
            if !out.is_empty() {
                each(key, out);
            }
        }
    }

    /// When to sweep next: not later than the earliest deadline. After a sweep that left nothing
    /// due it is later than that sweep.
    pub fn next_wake(&self) -> Deadline {
        self.minima.earliest()
    }

    /// Wakes machines whose deadline has come, fairly over successive sweeps. The sum of the
    /// machines that it wakes and of the blocks of 16 that it looks through without a result is at most
    /// `budget`.
    pub fn sweep(
        &mut self,
        now: Now,
        budget: usize,
        mut each: impl FnMut(Key, Actions<M::Action>),
    ) -> Swept {
        let at = now.monotonic;
        let mut swept = Swept { woken: 0, in_vain: 0, more_due: false };
        // Where the last sweep ended: a budget that is too small for all then starves none.
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
    /// minimum of the block exact. Says how many were woken, and the slot to continue with.
    fn sweep_block(
        &mut self,
        block: usize,
        from: usize,
        now: Now,
        budget: usize,
        each: &mut impl FnMut(Key, Actions<M::Action>),
    ) -> (usize, usize) {
        let mut exact = Deadline::Never;
        let (mut woken, mut next) = (0, (block + 1) * FAN_OUT);
        for (key, hot, cold) in self.slots.block_mut(block) {
            let mut deadline = M::deadline_of_parts(&self.rules, hot, cold);
            if key.slot() >= from && deadline.is_due(now.monotonic) {
                if woken < budget {
                    let mut out = Actions::none();
                    deadline = M::handle_parts(&self.rules, hot, cold, M::WAKE, now, &mut out);
                    woken += 1;
                    each(key, out);
                } else {
                    next = next.min(key.slot());
                }
            }
            exact = exact.min(deadline);
        }
        self.minima.set(block, exact);
        (woken, next)
    }

    /// Every key in use.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.slots.keys()
    }

    /// How many machines there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the key names a machine; then it took the event, and its deadline is armed.
    #[inline]
    fn turn(&mut self, key: Key, event: M::Event, now: Now, out: &mut Actions<M::Action>) -> bool {
        let Some((hot, cold)) = self.slots.get_mut(key) else { return false };
        let deadline = M::handle_parts(&self.rules, hot, cold, event, now, out);
        self.minima.lower(key.slot(), deadline);
        true
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
