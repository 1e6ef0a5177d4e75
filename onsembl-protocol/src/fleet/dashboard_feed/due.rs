//! Which commands may have news for a dashboard, and whose output comes next.

use super::super::collections::Set;
use crate::id::CommandId;
use core::ops::Bound;

/// The commands to look at. Each of them may turn out to have nothing new.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    /// Commands whose status may have changed.
    moved: Set<CommandId>,
    /// Terminals of which who types into them may have changed.
    keyboards: Set<CommandId>,
    /// Commands that may have new output.
    wrote: Set<CommandId>,
    /// The command whose output was sent last: the others come first.
    served: Option<CommandId>,
}

impl Due {
    /// The status of this command may have changed.
    pub(super) fn moved(&mut self, id: &CommandId) {
        let _ = self.moved.insert(id.clone());
    }

    /// There may be output of this command.
    pub(super) fn wrote(&mut self, id: &CommandId) {
        let _ = self.wrote.insert(id.clone());
    }

    /// Who types into this terminal may have changed.
    pub(super) fn keyboard(&mut self, id: &CommandId) {
        let _ = self.keyboards.insert(id.clone());
    }

    /// Takes the next terminal of which that may be so.
    pub(super) fn take_keyboard(&mut self) -> Option<CommandId> {
        self.keyboards.pop_first()
    }

    /// Takes the next command whose status may have changed.
    pub(super) fn take_moved(&mut self) -> Option<CommandId> {
        self.moved.pop_first()
    }

    /// The command whose output comes next: round robin, so that none waits for the end of another.
    pub(super) fn next_to_serve(&self) -> Option<CommandId> {
        let after = self.served.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.wrote.range::<CommandId, _>((after, Bound::Unbounded)).next();
        behind.or_else(|| self.wrote.first()).cloned()
    }

    /// Output of this command is sent or read.
    pub(super) fn served(&mut self, id: &CommandId) {
        self.served = Some(id.clone());
    }

    /// There is no more output of this command for now.
    pub(super) fn has_no_output(&mut self, id: &CommandId) {
        let _ = self.wrote.remove(id);
    }
}
