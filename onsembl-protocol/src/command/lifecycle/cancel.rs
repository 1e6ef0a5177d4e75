//! The cancellation of a command: with or without grace, when it is repeated, and when it is shown as
//! unconfirmed.

use crate::model::Force;
use crate::time::Timestamp;
use core::time::Duration;

/// How often a cancel is repeated until the agent reports that the process has ended.
const CANCEL_EVERY: Duration = Duration::from_secs(5);
/// How long after a cancel it is shown as unconfirmed: the agent's grace of 5 s, 2 s for the
/// kernel, and the ways.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// A cancellation that is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cancel {
    pub(super) force: Force,
    /// When it is sent the next time.
    pub(super) again_at: Timestamp,
    /// When it is to be shown as unconfirmed; `None` once it is.
    overdue_at: Option<Timestamp>,
}

/// Whether a repetition is the first one that is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    InTime,
    /// The agent had enough time to confirm.
    Overdue,
}

impl Cancel {
    /// One that is to be sent at this moment.
    pub(super) fn due(force: Force, at: Timestamp) -> Self {
        Self { force, again_at: at, overdue_at: Some(at.saturating_add(CONFIRM_WITHIN)) }
    }

    /// One that is sent at this moment. An order without grace is not taken back by a later one with it.
    pub(super) fn ordered(before: Option<Self>, force: Force, at: Timestamp) -> Self {
        let force = before.map_or(force, |before| force.max(before.force));
        Self { again_at: at.saturating_add(CANCEL_EVERY), ..Self::due(force, at) }
    }

    /// It is sent again at this moment.
    pub(super) fn repeat(&mut self, at: Timestamp) -> Repetition {
        self.again_at = at.saturating_add(CANCEL_EVERY);
        match self.overdue_at.take_if(|overdue_at| *overdue_at <= at) {
            Some(_) => Repetition::Overdue,
            None => Repetition::InTime,
        }
    }
}
