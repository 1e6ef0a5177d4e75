//! What one call must bring: `events` fills it in, `actions` holds what was done against it.

use crate::id::LinkId;
use crate::lab::Invariant;
use std::vec::Vec;

/// What one call must bring.
pub(super) struct Expected {
    pub(super) owed: Vec<(Owed, Invariant)>,
    pub(super) change: Invariant,
    pub(super) may_send_normal: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Owed {
    Admit(LinkId),
    Welcome(LinkId),
    Beat(LinkId),
    Answer(LinkId),
    Record,
    Close(LinkId),
    Forget,
}

impl Expected {
    pub(super) fn owe(&mut self, owed: Owed, name: Invariant) {
        self.owed.push((owed, name));
    }
}
