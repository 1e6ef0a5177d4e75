//! The only machine that decides whether a peer is alive.
//!
//! [`HeartbeatMonitor`] tracks only the time since the last frame. The agent uses it for its server, the server for
//! its agents and dashboards. It sends and closes nothing: it reports, and the session machine that owns it acts.

use super::silence::{Liveness, Silence};
use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The result of one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a change that is not acted on is a verdict that is lost"]
pub struct Observation {
    /// The liveness changed to this.
    pub changed: Option<Liveness>,
    /// The observer itself was late by this much, and does not count that time against the peer.
    pub overslept: Option<Duration>,
}

/// Watches one peer over one link: live, stale, timed-out, as a pure function of the times of its frames.
///
/// ```
/// use onsembl_protocol::liveness::{HeartbeatMonitor, HeartbeatTiming, Liveness};
/// use onsembl_protocol::time::{Deadline, Timestamp};
///
/// let mut peer = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, Timestamp::ORIGIN);
/// let mut seen = Vec::new();
/// while peer.liveness() != Liveness::TimedOut {
///     let Deadline::At(wake) = peer.deadline() else { unreachable!("it watches") };
///     if peer.on_wake(wake).changed.is_some() {
///         seen.push((wake.since_origin().as_secs(), peer.liveness()));
///     }
/// }
/// assert_eq!(seen, [(45, Liveness::Stale), (90, Liveness::TimedOut)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatMonitor {
    timing: HeartbeatTiming,
    silence: Silence,
    heard_at: Timestamp,
    observed_at: Timestamp,
}

impl HeartbeatMonitor {
    /// Starts live, as if a frame had just been received.
    pub const fn new(timing: HeartbeatTiming, now: Timestamp) -> Self {
        Self { timing, silence: Silence::broken(now), heard_at: now, observed_at: now }
    }

    /// A frame of the peer was received: it is alive.
    pub fn on_received(&mut self, now: Timestamp) -> Observation {
        let (now, overslept) = self.attend(now);
        if self.liveness() != Liveness::TimedOut {
            self.heard_at = now;
        }
        Observation { changed: self.silence.on_received(now), overslept }
    }

    /// The clock has moved. Harmless at any time; changes at most one step per call, so that a
    /// time-out is always preceded by a stale phase that was observed.
    pub fn on_wake(&mut self, now: Timestamp) -> Observation {
        let (now, overslept) = self.attend(now);
        Observation { changed: self.silence.on_wake(self.timing, now), overslept }
    }

    /// The liveness of the peer.
    pub const fn liveness(&self) -> Liveness {
        self.silence.liveness
    }

    /// The times in force.
    pub(crate) const fn timing(&self) -> HeartbeatTiming {
        self.timing
    }

    /// When to call [`on_wake`](Self::on_wake) next.
    pub fn deadline(&self) -> Deadline {
        self.silence.due(self.timing, || self.observed_at).after(self.observed_at)
    }

    /// Notes that this process runs at `now`, which stands still if the clock steps back.
    fn attend(&mut self, now: Timestamp) -> (Timestamp, Option<Duration>) {
        let now = now.max(self.observed_at);
        let (due, last) = (self.deadline(), self.observed_at);
        self.observed_at = now;
        (now, self.silence.attend(due, now, || last))
    }
}

#[cfg(test)]
mod tests {
    use super::super::silence::OVERSLEEP_TOLERANCE;
    use super::*;
    use std::vec::Vec;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    /// Wakes the monitor exactly when it asks, and notes each change with its time.
    fn sleep_until(m: &mut HeartbeatMonitor, end: u64) -> Vec<(u64, Liveness)> {
        let mut seen = Vec::new();
        while let Deadline::At(t) = m.deadline() {
            if t > at(end) {
                break;
            }
            if let Some(l) = m.on_wake(t).changed {
                seen.push((t.since_origin().as_millis() as u64, l));
            }
        }
        seen
    }

    #[test]
    fn silence_is_stale_then_timed_out_to_the_millisecond() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        assert_eq!(
            sleep_until(&mut m, 200_000),
            [(45_000, Liveness::Stale), (90_000, Liveness::TimedOut)]
        );
    }

    #[test]
    fn any_frame_makes_a_stale_peer_live_again() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        assert_eq!(sleep_until(&mut m, 89_000).len(), 1);
        assert_eq!(m.on_received(at(89_500)).changed, Some(Liveness::Live));
        assert_eq!(sleep_until(&mut m, 134_000), []);
        assert_eq!(sleep_until(&mut m, 135_000), [(134_500, Liveness::Stale)]);
    }

    #[test]
    fn an_observer_that_was_away_for_an_hour_condemns_nobody() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        let back = m.on_wake(at(3_600_000));
        assert_eq!(back.changed, None);
        assert!(back.overslept.is_some());
        assert_eq!(
            sleep_until(&mut m, 4_000_000),
            [(3_645_000, Liveness::Stale), (3_690_000, Liveness::TimedOut)]
        );
    }

    #[test]
    fn absence_in_the_stale_phase_is_not_counted_either() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        assert_eq!(sleep_until(&mut m, 50_000), [(45_000, Liveness::Stale)]);
        assert_eq!(m.on_wake(at(89_000)).changed, None);
        assert_eq!(sleep_until(&mut m, 128_900), []);
        assert_eq!(sleep_until(&mut m, 129_100), [(129_000, Liveness::TimedOut)]);
    }

    #[test]
    fn a_clock_that_steps_back_stands_still() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        let _ = m.on_received(at(60_000));
        let before = m;
        assert_eq!(m.on_wake(at(10)), Observation::default());
        assert_eq!(m, before);
    }

    #[test]
    fn it_is_heard_when_a_frame_comes_and_never_after_its_time_out() {
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        let _ = m.on_received(at(1_000));
        assert_eq!(m.heard_at, at(1_000));
        let _ = sleep_until(&mut m, 200_000);
        let _ = m.on_received(at(200_000));
        assert_eq!(m.heard_at, at(1_000));
    }

    #[test]
    fn up_to_the_tolerance_nobody_has_overslept() {
        let late = |by: Duration| {
            let due = at(1_000);
            super::super::overslept(Deadline::At(due), due.saturating_add(by))
        };
        assert_eq!(late(OVERSLEEP_TOLERANCE), None);
        let more = OVERSLEEP_TOLERANCE + Duration::from_nanos(1);
        assert_eq!(late(more), Some(more));
    }
}
