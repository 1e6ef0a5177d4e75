//! The clocks of this host, as samples for the machines of the core.
//!
//! The one place of the crate that reads a clock for the core, and the one that sleeps for it.

use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Samples the clocks. All clones share one origin, so their timestamps compare.
///
/// The monotonic clock is tokio's, so that it stands still with the paused time of tests.
///
/// ```
/// use onsembl_transport::clock::SystemClock;
/// use std::time::Duration;
///
/// let clock = SystemClock::new();
/// let (before, after) = (clock.now(), clock.now());
/// assert!(after.monotonic >= before.monotonic);
/// assert!(after.suspended_since(&before) < Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
    boot_origin: Duration,
}

impl SystemClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), boot_origin: boot_time() }
    }

    /// One sample of all clocks.
    pub fn now(&self) -> Now {
        let monotonic = Timestamp::from_origin(self.origin.elapsed());
        let boot = if cfg!(target_os = "linux") {
            Timestamp::from_origin(boot_time().saturating_sub(self.boot_origin))
        } else {
            monotonic
        };
        Now { monotonic, boot, wall: wall_time() }
    }

    /// Returns when `deadline` has come; never, if it is [`Deadline::Never`]. Cancel-safe.
    pub async fn sleep_until(&self, deadline: Deadline) {
        let at = match deadline {
            Deadline::Never => None,
            Deadline::At(at) => self.origin.checked_add(at.since_origin()),
        };
        match at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Time since the host started, suspended or not.
#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(t.tv_nsec).unwrap_or(0);
    Duration::new(secs, nanos)
}

/// No such clock is read here; [`SystemClock::now`] takes the monotonic one instead.
#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    Duration::ZERO
}

fn wall_time() -> WallTime {
    let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_monotonic_clock_is_that_of_the_runtime_and_deadlines_are_met() {
        let clock = SystemClock::new();
        let before = clock.now();
        let hour = Duration::from_secs(3600);
        clock.sleep_until(Deadline::At(before.monotonic.saturating_add(hour))).await;
        assert_eq!(clock.now().monotonic.saturating_since(before.monotonic), hour);
    }

    #[tokio::test(start_paused = true)]
    async fn never_is_never() {
        let clock = SystemClock::new();
        for deadline in [Deadline::Never, Deadline::At(Timestamp::MAX)] {
            let year = Duration::from_secs(365 * 24 * 3600);
            assert!(tokio::time::timeout(year, clock.sleep_until(deadline)).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_host_that_is_awake_was_not_suspended() {
        let clock = SystemClock::new();
        let first = clock.now();
        clock
            .sleep_until(Deadline::At(first.monotonic.saturating_add(Duration::from_millis(20))))
            .await;
        let second = clock.now();
        assert!(second.suspended_since(&first) < Duration::from_millis(5));
        assert!(second.boot > first.boot);
        assert!(second.wall.unix_millis() > 1_700_000_000_000);
    }
}
