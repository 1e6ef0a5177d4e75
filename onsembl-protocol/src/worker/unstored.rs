//! The output that a worker has not had stored, copied out for the simulators that judge it. Nothing decides by it.

use super::Worker;
use crate::output::StreamState;
use alloc::vec::Vec;

/// The unstored output of a [`Worker`], and the streams that it keeps an account of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnstoredOutput {
    /// Each stream of which something is known.
    pub streams: Vec<(StreamState, WriterState)>,
    /// Bytes that the server has not stored.
    pub unstored: u64,
    /// Bytes of those that are in memory.
    pub memory: u64,
    /// Each stream of which nothing is to be stored: `stored` is how much of it was given away.
    pub relayed: Vec<(StreamState, WriterState)>,
    /// Bytes that wait to be given away.
    pub relayed_memory: u64,
}

/// The state of the process that wrote a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WriterState {
    Running,
    /// It runs, and its output is thrown away, because the server does not know it.
    Muted,
    /// It ended under this worker.
    Ended,
    /// An earlier worker started it, and all that it wrote is known.
    Left,
    /// An earlier worker started it, and what it wrote at the end is unknown.
    LeftOpen,
}

impl UnstoredOutput {
    /// A copy of what the outbox of a worker accounts for.
    pub fn of(worker: &Worker) -> Self {
        let delivery = &worker.course.handover.delivery;
        let (outbox, relay, left) = (delivery.outbox(), delivery.relay(), delivery.left());
        let with_run = |state: StreamState| {
            let id = &state.run.command;
            let run = match (worker.course.commands.is_running(id), left.has(id)) {
                (true, _) if worker.course.commands.is_muted(id) => WriterState::Muted,
                (true, _) => WriterState::Running,
                (false, true) if left.is_open(id) => WriterState::LeftOpen,
                (false, true) => WriterState::Left,
                (false, false) => WriterState::Ended,
            };
            (state, run)
        };
        Self {
            streams: outbox.states().map(with_run).collect(),
            unstored: outbox.unstored(),
            memory: outbox.in_memory(),
            relayed: relay.states().map(with_run).collect(),
            relayed_memory: relay.in_memory(),
        }
    }

    /// Whether the processes of a worker have to wait, because as much is unstored as may be.
    pub fn is_full(worker: &Worker) -> bool {
        worker.course.handover.delivery.outbox().is_full()
    }
}
