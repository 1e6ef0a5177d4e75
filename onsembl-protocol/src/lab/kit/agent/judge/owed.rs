//! What one call must bring: `events` fills it in, `actions` holds what was done against it.

use crate::close::CloseCause;
use crate::id::LinkId;
use crate::lab::Invariant;
use crate::session::EchoBits;
use std::vec::Vec;

/// What a call owes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Owed {
    Dial,
    Hello(LinkId),
    Beat(LinkId),
    Pong(LinkId, Option<EchoBits>),
    Close(LinkId, Option<CloseCause>),
}

/// What one call must bring: what it owes, and why the status changes, if it may.
pub(super) struct Expected {
    pub(super) owed: Vec<(Owed, Invariant)>,
    pub(super) change: Invariant,
    /// A beat ahead of its time.
    pub(super) news: bool,
}

impl Expected {
    pub(super) fn owe(&mut self, owed: Owed, name: Invariant) {
        self.owed.push((owed, name));
    }
}
