//! Whether starts and ends are written down, and whether the last of them could be.

use super::event::{Journalling, WorkerAction};
use super::outputs::Outputs;
use crate::command::JournalEntry;

/// The journal, as far as the worker knows of it.
#[derive(Debug)]
pub(super) struct Journal {
    keeping: Journalling,
    last: Last,
}

/// What became of the entry that was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Written,
    Failed,
}

impl Journal {
    pub(super) const fn new(keeping: Journalling) -> Self {
        Self { keeping, last: Last::Written }
    }

    pub(super) const fn keeping(&self) -> &Journalling {
        &self.keeping
    }

    pub(super) fn is_kept(&self) -> bool {
        self.keeping == Journalling::Kept
    }

    /// Asks for an entry, if entries are written at all.
    pub(super) fn write(&self, entry: JournalEntry, out: &mut Outputs) {
        if self.is_kept() {
            out.act(WorkerAction::Journal(entry));
        }
    }

    /// An entry was written, or could not be.
    pub(super) const fn on_written(&mut self, outcome: &Result<(), alloc::string::String>) {
        self.last = match outcome {
            Ok(()) => Last::Written,
            Err(_) => Last::Failed,
        };
    }

    /// Whether it takes nothing.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.keeping, Journalling::Failed(_)) || self.last == Last::Failed
    }
}
