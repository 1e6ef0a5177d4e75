//! A machine that writes down what happens to it, line by line.

use super::frame::FrameNote;
use super::line::{Head, Start, Tape, What, WhatOf};
use super::machine::Recordable;
use crate::step::{Actions, Step};
use crate::time::Now;
use alloc::vec::Vec;

/// A machine and its recording. Use it instead of the machine.
#[derive(Clone, Debug)]
pub struct Script<M: Recordable> {
    machine: M,
    tape: Tape,
}

impl<M: Recordable> Script<M> {
    /// Makes the machine, and writes the head and the first entry to `out`. `None` if the machine needs
    /// a seed and there is none; then nothing is written.
    pub fn begin(
        head: &Head<M>,
        origin: M::Origin,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<(Self, Step<M::Action>)> {
        let what: WhatOf<M> = What::Start(Start::Origin(origin));
        let (machine, step) = M::begin(head.config, &head.seeds, origin, now)?;
        let mut tape = Tape::new();
        tape.head(head, None, now, out);
        let done = (&step.actions, step.deadline, machine.status());
        tape.entry::<M, FrameNote>(&what, now, None, done, out);
        Some((Self { machine, tape }, step))
    }

    /// Hands the machine an event and writes the entry to `out`.
    pub fn handle(
        &mut self,
        event: M::Event,
        now: Now,
        frame: Option<FrameNote>,
        out: &mut Vec<u8>,
    ) -> Step<M::Action> {
        let step = self.machine.handle(event, now);
        let done = (&step.actions, step.deadline, self.machine.status());
        self.tape.entry::<M, _>(&What::Event(event), now, frame.as_ref(), done, out);
        step
    }

    /// Writes the end mark.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.tape.end(out);
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }
}

/// Makes a machine as an entry says. `None` if it needs a seed and there is none.
pub(super) fn start<M: Recordable>(
    config: M::Config,
    seeds: &[u64],
    start: Start<M::Origin, M::Snapshot>,
    now: Now,
) -> Option<(M, Step<M::Action>)> {
    match start {
        Start::Origin(origin) => M::begin(config, seeds, origin, now),
        Start::Checkpoint(snapshot) => {
            let machine = M::restore(config, snapshot);
            let step = Step { actions: Actions::none(), deadline: machine.deadline() };
            Some((machine, step))
        }
    }
}
