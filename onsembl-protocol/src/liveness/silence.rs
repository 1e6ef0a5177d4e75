//! The decision on a silence, as a pure function of four times.
//!
//! An observer keeps the times where it suits it: [`HeartbeatMonitor`] all of them in
//! one place, the session of a supervised agent only those that it does not keep already. That is
//! why the time of the last look is asked for, and only when it matters.
//!
//! [`HeartbeatMonitor`]: super::HeartbeatMonitor

use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// A wake-up later than this means that the observer itself was suspended (stopped, starved, paused), and that time
/// is not counted as silence of the peer. Ordinary timers are late by a few
/// milliseconds, on a starved machine by tens; half a second is neither.
pub const OVERSLEEP_TOLERANCE: Duration = Duration::from_millis(500);

/// While a peer is stale the monitor looks at least this often, so that time-out follows only a
/// stale phase that was really watched.
pub const STALE_CHECK: Duration = Duration::from_secs(1);

/// The liveness of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Liveness {
    /// Heard of within `stale-after`.
    Live,
    /// Silent for `stale-after`; still connected, may speak again.
    Stale,
    /// Silent for `timeout-after`; final for this monitor.
    TimedOut,
}

/// What is known of a peer, and since when it has been silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) liveness: Liveness,
    /// When the peer was last heard, moved later by all the time in which this process did not run to
    /// listen. Never later than the last look.
    pub(crate) from: Timestamp,
}

impl Silence {
    /// The peer was heard just now.
    pub(crate) const fn broken(now: Timestamp) -> Self {
        Self { liveness: Liveness::Live, from: now }
    }

    /// When to look next, if the last look was at `looked_at`.
    pub(crate) fn due(
        self,
        timing: HeartbeatTiming,
        looked_at: impl FnOnce() -> Timestamp,
    ) -> Deadline {
        match self.liveness {
            Liveness::Live => Deadline::At(timing.stale_at(self.from)),
            Liveness::Stale => {
                let looked_at = looked_at();
                let timeout_at = self.from.saturating_add(timing.timeout_after());
                let check_at = looked_at.saturating_add(STALE_CHECK);
                Deadline::At(timeout_at.min(check_at)).after(looked_at)
            }
            Liveness::TimedOut => Deadline::Never,
        }
    }

    /// Notes that this process runs at `now`. If it is far behind the time that was `due`, the
    /// peer is forgiven all the time since the last look, because where in it the observer fell
    /// asleep is unknown; then the answer is how late he is.
    pub(crate) fn attend(
        &mut self,
        due: Deadline,
        now: Timestamp,
        looked_at: impl FnOnce() -> Timestamp,
    ) -> Option<Duration> {
        let late = overslept(due, now)?;
        self.from = self.from.saturating_add(now.saturating_since(looked_at()));
        Some(late)
    }

    /// The peer was heard; what that changes.
    pub(crate) fn on_received(&mut self, now: Timestamp) -> Option<Liveness> {
        let revived = match self.liveness {
            Liveness::TimedOut => return None,
            Liveness::Live => None,
            Liveness::Stale => Some(Liveness::Live),
        };
        *self = Self::broken(now);
        revived
    }

    /// Time has passed; what that changes. One step at most, so that a time-out always follows a
    /// stale phase that was watched.
    pub(crate) fn on_wake(&mut self, timing: HeartbeatTiming, now: Timestamp) -> Option<Liveness> {
        let silence = now.saturating_since(self.from);
        let next = match self.liveness {
            Liveness::Live if silence >= timing.stale_after() => Liveness::Stale,
            Liveness::Stale if silence >= timing.timeout_after() => Liveness::TimedOut,
            Liveness::Live | Liveness::Stale | Liveness::TimedOut => return None,
        };
        self.liveness = next;
        Some(next)
    }
}

/// How late an observer is at `now`, if it is later than timers are.
#[inline]
pub(crate) fn overslept(due: Deadline, now: Timestamp) -> Option<Duration> {
    match due {
        Deadline::At(at) => {
            let late = now.saturating_since(at);
            (late > OVERSLEEP_TOLERANCE).then_some(late)
        }
        Deadline::Never => None,
    }
}
