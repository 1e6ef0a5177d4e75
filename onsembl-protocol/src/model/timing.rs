//! The three times of liveness, and the check that they make sense together.

use crate::time::Timestamp;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Heartbeat interval, stale-after and timeout-after of one session.
///
/// `interval < stale_after < timeout_after` always holds. The server decides; the agent obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WireTiming", try_from = "WireTiming")]
pub struct HeartbeatTiming {
    interval_ms: u32,
    stale_after_ms: u32,
    timeout_after_ms: u32,
}

/// Three times that cannot go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTiming {
    /// The interval is below [`HeartbeatTiming::MIN_INTERVAL`].
    #[error("the heartbeat interval must be at least 10ms")]
    IntervalTooShort,
    /// One silent interval would already be stale.
    #[error("stale-after must be longer than the heartbeat interval")]
    StaleNotAfterInterval,
    /// There would be no stale phase.
    #[error("timeout-after must be longer than stale-after")]
    TimeoutNotAfterStale,
    /// One of them is above [`HeartbeatTiming::MAX`].
    #[error("heartbeat times must be at most 24h")]
    TooLong,
}

impl HeartbeatTiming {
    /// 30 s, 45 s and 90 s: the interval and time-out of the existing wrappers and their
    /// server, and one and a half intervals until a silence is worth showing.
    pub const DEFAULT: Self =
        Self { interval_ms: 30_000, stale_after_ms: 45_000, timeout_after_ms: 90_000 };
    /// Below this, timers and schedulers are the larger part of any measured silence.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
    /// The longest of the three times.
    pub const MAX: Duration = Duration::from_secs(24 * 3600);

    /// Checks the three times, which count in whole milliseconds.
    ///
    /// ```
    /// use onsembl_protocol::liveness::HeartbeatTiming;
    /// use std::time::Duration;
    ///
    /// let seconds = Duration::from_secs;
    /// let timing = HeartbeatTiming::new(seconds(10), seconds(15), seconds(30)).unwrap();
    /// assert_eq!(timing.stale_after(), seconds(15));
    /// assert!(HeartbeatTiming::new(seconds(10), seconds(5), seconds(30)).is_err());
    /// ```
    pub const fn new(
        interval: Duration,
        stale_after: Duration,
        timeout_after: Duration,
    ) -> Result<Self, InvalidTiming> {
        let max = Self::MAX.as_millis();
        let (i, s, t) = (interval.as_millis(), stale_after.as_millis(), timeout_after.as_millis());
        if i > max || s > max || t > max {
            return Err(InvalidTiming::TooLong);
        }
        if i < Self::MIN_INTERVAL.as_millis() {
            return Err(InvalidTiming::IntervalTooShort);
        }
        if s <= i {
            return Err(InvalidTiming::StaleNotAfterInterval);
        }
        if t <= s {
            return Err(InvalidTiming::TimeoutNotAfterStale);
        }
        Ok(Self { interval_ms: i as u32, stale_after_ms: s as u32, timeout_after_ms: t as u32 })
    }

    /// Time between two heartbeats of one direction.
    pub const fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms as u64)
    }

    /// Silence after which the peer is stale.
    pub const fn stale_after(self) -> Duration {
        Duration::from_millis(self.stale_after_ms as u64)
    }

    /// Silence after which the link is given up.
    pub const fn timeout_after(self) -> Duration {
        Duration::from_millis(self.timeout_after_ms as u64)
    }

    /// How long an answer may wait for the recording of the heartbeat it answers, and the age from
    /// which an unrecorded heartbeat is named: half an interval, so that both ends know within two
    /// intervals whatever the phase.
    pub const fn recording_grace(self) -> Duration {
        Duration::from_millis(self.interval_ms as u64 / 2)
    }

    /// When a peer that is silent since then is stale.
    pub(crate) const fn stale_at(self, silent_from: Timestamp) -> Timestamp {
        silent_from.after_millis(self.stale_after_ms)
    }

    /// Until when a heartbeat of that time may go unrecorded and unanswered.
    pub(crate) const fn grace_until(self, since: Timestamp) -> Timestamp {
        since.after_millis(self.interval_ms / 2)
    }

    /// Whether a heartbeat of that time has waited longer than it may.
    pub(crate) const fn is_grace_over(self, since: Timestamp, now: Timestamp) -> bool {
        now.is_past(since, self.interval_ms / 2)
    }
}

impl Default for HeartbeatTiming {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The three times as they travel, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireTiming {
    /// Heartbeat interval.
    pub heartbeat_interval_ms: u64,
    /// Silence until stale.
    pub stale_after_ms: u64,
    /// Silence until timed-out.
    pub timeout_after_ms: u64,
}

impl From<HeartbeatTiming> for WireTiming {
    fn from(t: HeartbeatTiming) -> Self {
        Self {
            heartbeat_interval_ms: t.interval_ms.into(),
            stale_after_ms: t.stale_after_ms.into(),
            timeout_after_ms: t.timeout_after_ms.into(),
        }
    }
}

impl TryFrom<WireTiming> for HeartbeatTiming {
    type Error = InvalidTiming;

    fn try_from(w: WireTiming) -> Result<Self, InvalidTiming> {
        Self::new(
            Duration::from_millis(w.heartbeat_interval_ms),
            Duration::from_millis(w.stale_after_ms),
            Duration::from_millis(w.timeout_after_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_is_a_day() {
        let day = Duration::from_secs(86_400);
        let new = |timeout| HeartbeatTiming::new(HeartbeatTiming::MIN_INTERVAL, day / 2, timeout);
        assert!(new(day).is_ok());
        assert_eq!(new(day + Duration::from_millis(1)), Err(InvalidTiming::TooLong));
    }

    #[test]
    fn an_answer_waits_half_an_interval_for_the_store() {
        assert_eq!(HeartbeatTiming::DEFAULT.recording_grace(), Duration::from_secs(15));
    }

    #[test]
    fn the_times_arrive_as_they_were_sent_and_are_checked() {
        let ms = Duration::from_millis;
        let timing = HeartbeatTiming::new(ms(100), ms(250), ms(500)).unwrap();
        let wire = WireTiming::from(timing);
        assert_eq!(HeartbeatTiming::try_from(wire), Ok(timing));
        let wrong = WireTiming { timeout_after_ms: 250, ..wire };
        assert_eq!(HeartbeatTiming::try_from(wrong), Err(InvalidTiming::TimeoutNotAfterStale));
    }
}
