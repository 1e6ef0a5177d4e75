//! The one place that judges whether a peer lives.
//!
//! [`HeartbeatMonitor`] knows only how long it has heard nothing. It is used by the agent for its
//! server, by the server for its agents and for its dashboards. It sends nothing and closes
//! nothing: it reports, and the session machine that holds it acts.

use super::silence::{Liveness, Silence};
use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What one observation brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a change that is not acted on is a verdict that is lost"]
pub struct Observation {
    /// The liveness changed to this.
    pub changed: Option<Liveness>,
    /// The observer itself came this much too late, and forgave the peer that time.
    pub overslept: Option<Duration>,
}

/// Watches one peer over one link: live, stale, timed-out, as a pure function of what was heard
/// and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatMonitor {
    timing: HeartbeatTiming,
    silence: Silence,
    heard_at: Timestamp,
    observed_at: Timestamp,
}

impl HeartbeatMonitor {
    /// Starts live, as if the peer had just been heard.
    pub const fn new(timing: HeartbeatTiming, now: Timestamp) -> Self {
        Self { timing, silence: Silence::broken(now), heard_at: now, observed_at: now }
    }

    /// Any frame of the peer was received: it lives.
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

    /// The times changed (the server's answer to the hello named them).
    pub const fn set_timing(&mut self, timing: HeartbeatTiming) {
        self.timing = timing;
    }

    /// What is known of the peer.
    pub const fn liveness(&self) -> Liveness {
        self.silence.liveness
    }

    /// When the last frame was received.
    pub const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    /// The times in force.
    pub const fn timing(&self) -> HeartbeatTiming {
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
        assert_eq!(m.heard_at(), at(1_000));
        let _ = sleep_until(&mut m, 200_000);
        let _ = m.on_received(at(200_000));
        assert_eq!(m.heard_at(), at(1_000));
    }

    #[test]
    fn the_times_may_change_while_it_watches() {
        let ms = Duration::from_millis;
        let quick = HeartbeatTiming::new(ms(100), ms(250), ms(500)).unwrap();
        let mut m = HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at(0));
        m.set_timing(quick);
        assert_eq!(m.timing(), quick);
        assert_eq!(sleep_until(&mut m, 1_000), [(250, Liveness::Stale), (500, Liveness::TimedOut)]);
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
