//! What is going to happen, in order of time. Small `Copy` events; all that an event is about lies
//! in tables elsewhere.

use alloc::collections::BinaryHeap;
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
    /// It is over.
    Over(u32),
    /// A process of this agent is started, if none is running.
    StartAgent(u32),
    /// The server is started, if it is not running.
    StartServer,
    /// The faults are over for good.
    Calm,
    /// The timer of this process.
    AgentTimer(u32),
    /// The timer of the server.
    ServerTimer,
}

/// One entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: u64,
    order: u64,
    pub(super) what: What,
}

/// Timers come after everything else of the same instant: what has arrived is handed over before a
/// deadline that has come.
const TIMER: u64 = 1 << 63;

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Due>,
    count: u64,
}

impl Queue {
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
        self.heap.push(Due { at, order, what });
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        self.heap.pop()
    }
}
