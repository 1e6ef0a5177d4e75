//! What the parts of a worker hand on: actions for the edge, in their order, and what is still to be done inside about
//! an event. No part feeds another while that one's outputs are being acted upon.

use super::event::WorkerAction;
use super::note::WorkerNote;
use super::work::Work;
use alloc::collections::VecDeque;

/// The outputs of a worker that nothing has taken yet.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    todo: VecDeque<Work>,
    actions: VecDeque<WorkerAction>,
}

impl Outputs {
    pub(super) fn act(&mut self, action: WorkerAction) {
        self.actions.push_back(action);
    }

    pub(super) fn note(&mut self, note: WorkerNote) {
        self.act(WorkerAction::Note(note));
    }

    /// To be done behind all that is to be done already.
    pub(super) fn later(&mut self, work: impl IntoIterator<Item = Work>) {
        self.todo.extend(work);
    }

    pub(super) fn take_work(&mut self) -> Option<Work> {
        self.todo.pop_front()
    }

    pub(super) fn take_action(&mut self) -> Option<WorkerAction> {
        self.actions.pop_front()
    }
}
