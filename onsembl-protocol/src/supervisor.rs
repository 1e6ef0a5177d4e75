//! Many machines behind one timer.
//!
//! [`Supervisor`] owns the machines of one shard and the deadline of each. Its next wake may be
//! early, never late; a sweep does a bounded amount of work and says whether more is due. For now
//! it scans a dense column of deadlines, which is also the model that any cleverer index will be
//! tested against (design study, 4.2).

use crate::session::{DashboardAction, DashboardConnection, DashboardEvent};
use crate::session::{ServerAction, ServerConnection, ServerEvent};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use alloc::vec::Vec;

/// A machine that a [`Supervisor`] can own.
pub trait Machine {
    /// What happens to it.
    type Event;
    /// What it asks for.
    type Action: Copy;

    /// Takes one event at one moment.
    fn handle(&mut self, event: Self::Event, now: Now) -> Step<Self::Action>;

    /// The event that says "your deadline came".
    fn wake() -> Self::Event;

    /// Its deadline.
    fn deadline(&self) -> Deadline;
}

impl Machine for ServerConnection {
    type Event = ServerEvent;
    type Action = ServerAction;

    fn handle(&mut self, event: ServerEvent, now: Now) -> Step<ServerAction> {
        Self::handle(self, event, now)
    }

    fn wake() -> ServerEvent {
        ServerEvent::Wake
    }

    fn deadline(&self) -> Deadline {
        Self::deadline(self)
    }
}

impl Machine for DashboardConnection {
    type Event = DashboardEvent;
    type Action = DashboardAction;

    fn handle(&mut self, event: DashboardEvent, now: Now) -> Step<DashboardAction> {
        Self::handle(self, event, now)
    }

    fn wake() -> DashboardEvent {
        DashboardEvent::Wake
    }

    fn deadline(&self) -> Deadline {
        Self::deadline(self)
    }
}

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
    /// Whether the budget ended the sweep before all that was due was woken.
    pub more_due: bool,
}

/// Owns the machines of one shard.
#[derive(Debug)]
pub struct Supervisor<M> {
    slots: Vec<Slot<M>>,
    deadlines: Vec<Deadline>,
    free: Vec<u32>,
    resume_at: usize,
}

#[derive(Debug)]
struct Slot<M> {
    generation: u32,
    machine: Option<M>,
}

impl<M: Machine> Supervisor<M> {
    /// Owns nothing yet.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), deadlines: Vec::new(), free: Vec::new(), resume_at: 0 }
    }

    /// Takes a machine in.
    pub fn insert(&mut self, machine: M) -> Key {
        let deadline = machine.deadline();
        if let Some(slot) = self.free.pop()
            && let Some(entry) = self.slots.get_mut(slot as usize)
        {
            entry.machine = Some(machine);
            let generation = entry.generation;
            self.set_deadline(slot, deadline);
            return Key { slot, generation };
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, machine: Some(machine) });
        self.deadlines.push(deadline);
        Key { slot, generation: 0 }
    }

    /// Gives a machine back.
    pub fn remove(&mut self, key: Key) -> Option<M> {
        let entry = self.slots.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let machine = entry.machine.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.set_deadline(key.slot, Deadline::Never);
        self.free.push(key.slot);
        Some(machine)
    }

    /// The machine, to look at.
    pub fn get(&self, key: Key) -> Option<&M> {
        let entry = self.slots.get(key.slot as usize)?;
        if entry.generation == key.generation { entry.machine.as_ref() } else { None }
    }

    /// Hands a machine an event and re-arms its deadline. `None` if the key names nothing.
    #[must_use = "perform the actions in order"]
    pub fn handle(&mut self, key: Key, event: M::Event, now: Now) -> Option<Actions<M::Action>> {
        let entry = self.slots.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let step = entry.machine.as_mut()?.handle(event, now);
        self.set_deadline(key.slot, step.deadline);
        Some(step.actions)
    }

    /// When to sweep next: not later than the earliest deadline.
    pub fn next_wake(&self) -> Deadline {
        self.deadlines.iter().copied().fold(Deadline::Never, Deadline::min)
    }

    /// Wakes at most `budget` machines whose deadline has come, fairly over successive sweeps.
    pub fn sweep(
        &mut self,
        now: Now,
        budget: usize,
        mut each: impl FnMut(Key, Actions<M::Action>),
    ) -> Swept {
        let at = now.monotonic;
        let count = self.slots.len();
        let mut swept = Swept { woken: 0, more_due: false };
        for offset in 0..count {
            let slot = (self.resume_at + offset) % count;
            if !self.is_due(slot, at) {
                continue;
            }
            if swept.woken == budget {
                self.resume_at = slot;
                swept.more_due = true;
                break;
            }
            let Some(entry) = self.slots.get(slot) else { continue };
            let key = Key { slot: slot as u32, generation: entry.generation };
            if let Some(actions) = self.handle(key, M::wake(), now) {
                swept.woken += 1;
                each(key, actions);
            }
        }
        swept
    }

    /// Every key in use.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, s)| s.machine.is_some())
            .map(|(slot, s)| Key { slot: slot as u32, generation: s.generation })
    }

    /// How many machines there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_due(&self, slot: usize, at: Timestamp) -> bool {
        self.deadlines.get(slot).is_some_and(|d| d.is_due(at))
    }

    fn set_deadline(&mut self, slot: u32, deadline: Deadline) {
        if let Some(d) = self.deadlines.get_mut(slot as usize) {
            *d = deadline;
        }
    }
}

impl<M: Machine> Default for Supervisor<M> {
    fn default() -> Self {
        Self::new()
    }
}
