//! What a worker holds of output, copied out for the worlds that judge it. Nothing decides by it.

use super::Worker;
use crate::output::StreamState;
use alloc::vec::Vec;

/// What a [`Worker`] holds of output.
#[derive(Clone, Debug)]
pub struct HeldOutput {
    /// Each stream of which something is known.
    pub streams: Vec<(StreamState, HeldRun)>,
    /// Bytes that the server has not stored.
    pub unstored: u64,
    /// Bytes of those that are in memory.
    pub memory: u64,
}

/// The process that wrote a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldRun {
    /// It runs.
    Running,
    /// It runs, and its output is thrown away, because the server does not know it.
    Muted,
    /// It ended under this worker.
    Ended,
    /// It was an earlier worker's, and all that it wrote is known.
    Left,
    /// It was an earlier worker's, and what it wrote at the end is not known.
    LeftOpen,
}

impl Worker {
    /// What it holds of output.
    pub fn held_output(&self) -> HeldOutput {
        let (outbox, left) = (self.delivery.outbox(), self.delivery.left());
        let with_run = |state: StreamState| {
            let id = &state.run.command;
            let run = match (self.commands.is_running(id), left.has(id)) {
                (true, _) if self.commands.is_muted(id) => HeldRun::Muted,
                (true, _) => HeldRun::Running,
                (false, true) if left.is_open(id) => HeldRun::LeftOpen,
                (false, true) => HeldRun::Left,
                (false, false) => HeldRun::Ended,
            };
            (state, run)
        };
        HeldOutput {
            streams: outbox.states().map(with_run).collect(),
            unstored: outbox.unstored(),
            memory: outbox.in_memory(),
        }
    }

    /// Whether the processes have to wait, because as much is held as may be.
    pub fn output_is_full(&self) -> bool {
        self.delivery.outbox().is_full()
    }
}
