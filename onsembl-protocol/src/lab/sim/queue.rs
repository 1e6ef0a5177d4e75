//! What is going to happen, in order of time. Small `Copy` events; all that an event is about lies
//! in tables elsewhere.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The front of this wire's inbox at its agent.
    ToAgent(u32),
    /// The front of this wire's inbox at the server.
    ToServer(u32),
    /// A dial over this wire gets to the other side.
    DialArrives(u32),
    /// The next write of the store.
    Store,
    /// This planned fault begins.
    Begin(u32),
    Over(u32),
    /// A process of this agent is started, if none is running.
    StartAgent(u32),
    /// The server is started, if it is not running.
    StartServer,
    /// The faults are over permanently.
    Calm,
    /// The timer of this process.
    AgentTimer(u32),
    /// The timer of the server.
    ServerTimer,
}

/// One entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheduled {
    pub(super) at: u64,
    order: u64,
    pub(super) what: What,
}

/// Timers come after everything else of the same instant: what has arrived is handed over before a
/// deadline that has come.
const TIMER: u64 = 1 << 63;

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Width of a bucket as a power of two, in nanoseconds: 17 ms, about as much as lies between two
/// events of a hundred quiet agents.
const WIDTH: u32 = 24;
/// Buckets of the wheel: 69 s, more than most timers are ahead.
const BUCKETS: usize = 4096;
const WORDS: usize = BUCKETS / 64;
const NONE: u32 = u32::MAX;

/// The queue: a wheel of buckets with what is near, and a heap with what is far. A bucket is a list
/// in no order that mostly holds one entry, and a bit says whether it holds any.
#[derive(Debug)]
pub(super) struct Queue {
    heads: Vec<u32>,
    occupied: [u64; WORDS],
    nodes: Vec<Node>,
    free: u32,
    /// The bucket of the latest entry taken, counted from the beginning of time.
    bucket: u64,
    far: BinaryHeap<Scheduled>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    due: Scheduled,
    next: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            heads: alloc::vec![NONE; BUCKETS],
            occupied: [0; WORDS],
            nodes: Vec::new(),
            free: NONE,
            bucket: 0,
            far: BinaryHeap::new(),
            count: 0,
        }
    }
}

impl Queue {
    /// Puts an entry in; not before the latest one that was taken.
    pub(super) fn push(&mut self, at: u64, what: What) {
        self.count += 1;
        let order = match what {
            What::AgentTimer(_) | What::ServerTimer => self.count | TIMER,
            What::ToAgent(_)
            | What::ToServer(_)
            | What::DialArrives(_)
            | What::Store
            | What::Begin(_)
            | What::Over(_)
            | What::StartAgent(_)
            | What::StartServer
            | What::Calm => self.count,
        };
        let due = Scheduled { at, order, what };
        if self.is_near(at) { self.put(due) } else { self.far.push(due) }
    }

    /// Takes the earliest entry.
    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        loop {
            while let Some(far) = self.far.peek()
                && self.is_near(far.at)
                && let Some(far) = self.far.pop()
            {
                self.put(far);
            }
            match self.next_bucket() {
                Some(bucket) => {
                    self.bucket = bucket;
                    return Some(self.take(bucket as usize % BUCKETS));
                }
                None => self.bucket = self.far.peek()?.at >> WIDTH,
            }
        }
    }

    const fn is_near(&self, at: u64) -> bool {
        at >> WIDTH < self.bucket + BUCKETS as u64
    }

    fn put(&mut self, due: Scheduled) {
        let slot = (due.at >> WIDTH).max(self.bucket) as usize % BUCKETS;
        let node = Node { due, next: self.heads[slot] };
        let index = self.free;
        if index == NONE {
            self.heads[slot] = self.nodes.len() as u32;
            self.nodes.push(node);
        } else {
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            self.heads[slot] = index;
        }
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// The first bucket from the present one on that holds anything.
    fn next_bucket(&self) -> Option<u64> {
        let from = self.bucket as usize % BUCKETS;
        let mut word = self.occupied[from / 64] & (u64::MAX << (from % 64));
        let mut index = from / 64;
        for _ in 0..=WORDS {
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                let ahead = (slot + BUCKETS - from) % BUCKETS;
                return Some(self.bucket + ahead as u64);
            }
            index = (index + 1) % WORDS;
            word = self.occupied[index];
        }
        None
    }

    /// Takes the earliest entry of a bucket that holds one.
    fn take(&mut self, slot: usize) -> Scheduled {
        let first = self.heads[slot];
        let (mut best, mut before_best) = (first, NONE);
        let mut before = first;
        while let next = self.nodes[before as usize].next
            && next != NONE
        {
            if self.nodes[next as usize].due > self.nodes[best as usize].due {
                (best, before_best) = (next, before);
            }
            before = next;
        }
        let Node { due, next } = self.nodes[best as usize];
        match before_best {
            NONE => self.heads[slot] = next,
            before => self.nodes[before as usize].next = next,
        }
        if self.heads[slot] == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.nodes[best as usize].next = self.free;
        self.free = best;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn entries_come_in_order_of_time_then_class_then_arrival() {
        let mut random = Random::of(1, 1);
        let (mut queue, mut model) = (Queue::default(), BinaryHeap::new());
        let (mut now, mut taken) = (0, 0);
        for _ in 0..200_000 {
            if random.once_in(2) || model.is_empty() {
                let reach = random.pick([1, 1_000_000, 30_000_000_000, 400_000_000_000]);
                let at = now + random.below(reach);
                let what = random.pick([What::ServerTimer, What::Store, What::ToAgent(7)]);
                queue.push(at, what);
                let timer = if what == What::ServerTimer { TIMER } else { 0 };
                model.push(Scheduled { at, order: queue.count | timer, what });
            } else {
                let due = queue.pop();
                assert_eq!(due, model.pop());
                now = due.map_or(now, |due| due.at);
                taken += 1;
            }
        }
        assert!(taken > 90_000);
        while let Some(due) = model.pop() {
            assert_eq!(queue.pop(), Some(due));
        }
        assert_eq!(queue.pop(), None);
    }
}
