//! What is recorded of a drop: its end as the server saw it, and its other end, with what the agent tells then.

use super::ledger::Ways;
use crate::model::{Cause, PastFinding};
use crate::session::PresenceCause;
use crate::time::WallTime;
use alloc::vec::Vec;
use core::time::Duration;

/// What a server recorded of the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRecord {
    /// When it ended.
    pub at: WallTime,
    /// For which cause, as the machine reports it.
    pub how: PresenceCause,
    /// How long the session had lasted.
    pub lived: Duration,
    /// For how long nothing had been heard of the agent then.
    pub quiet: Duration,
    /// How much of that time this server itself did not run.
    pub stalled: Duration,
    /// What the server's ledger said of the link.
    pub ways: Ways,
    /// Where the agent's heartbeats stopped on the server, if they did.
    pub stopped_at: Option<Cause>,
}

/// The agent is in session again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// Since when.
    pub at: WallTime,
    /// Whether it is the process that was in session before.
    pub process: Process,
    /// What it found meanwhile, the oldest first; nothing from an agent without the feature.
    pub told: Vec<PastFinding>,
}

/// What an agent told, and when it told it: its ages count from then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ToldAt {
    pub at: WallTime,
    pub told: PastFinding,
}

impl ToldAt {
    /// When it began, and when it ended, by the clock of whoever was told.
    pub(super) fn span(&self) -> (WallTime, WallTime) {
        let from = self.at.before(self.told.ago);
        (from, from.after(self.told.lasted).min(self.at))
    }
}

/// Whether a process is the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Process {
    Same,
    Other,
    /// It does not say: a legacy wrapper.
    Unknown,
}

/// From one wall time to a later one; zero if it is not later.
pub(super) fn between(from: WallTime, to: WallTime) -> Duration {
    let millis = to.unix_millis().saturating_sub(from.unix_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
