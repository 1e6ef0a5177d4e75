//! What is recorded of a drop: its end as the server saw it, and its other end, with what the agent tells then.

use super::hop_tracker::Ways;
use crate::model::{Cause, Dialect, PastFinding};
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
    /// What the server's hop tracker said of the link.
    pub ways: Ways,
    /// Where the agent's heartbeats stopped on the server, if they did.
    pub stopped_at: Option<Cause>,
    /// What the agent spoke.
    pub dialect: Dialect,
    /// What the server knows of the time since.
    pub since: SinceThen,
}

/// What a server knows itself of the time in which an agent was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinceThen {
    /// How long that is by now, if it is not back.
    pub away: Duration,
    /// How long after its end a server ran again, if none ran then.
    pub restarted_after: Duration,
    /// How much of it this server did not run though its process was there.
    pub stalled: Duration,
    /// How it turned the agent away meanwhile, if it did.
    pub turned_away: Option<TurnedAway>,
}

/// How a server turned an agent away: the dials that it refused one after the other, for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// For what.
    pub cause: Cause,
    /// When it did first.
    pub first: WallTime,
    /// When it did last.
    pub last: WallTime,
    /// How often.
    pub times: u32,
}

/// An agent that is turned away looks for another token each second, and dials again after 60 s at most. What is further
/// apart is another time.
const TURNED_AWAY_AGAIN: Duration = Duration::from_secs(600);

impl TurnedAway {
    /// It is turned away now, and was so before.
    #[must_use]
    pub fn now(before: Option<Self>, cause: Cause, now: WallTime) -> Self {
        match before {
            Some(before)
                if before.cause == cause && between(before.last, now) <= TURNED_AWAY_AGAIN =>
            {
                Self { last: now, times: before.times.saturating_add(1), ..before }
            }
            Some(_) | None => Self { cause, first: now, last: now, times: 1 },
        }
    }
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
