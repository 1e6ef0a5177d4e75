//! When to dial again: exponential windows with one random point in each.
//!
//! Attempt *k* falls at a uniformly random point of window *k*, and the rest of the window is
//! waited out before window *k*+1 begins. So the arrivals of a fleet that lost its server together
//! stay uniform, instead of bunching behind the shortest sleepers (P-64).

use crate::time::Timestamp;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest wait that a `Retry-After` may ask for. A minute spares a server that is overloaded; an
/// hour, from a proxy that sends it with each error, would keep an agent away from a healthy server.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(60);

/// Windows of a backoff and the time after which a session counts as stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffPolicy {
    first: Duration,
    cap: Duration,
    stable_after: Duration,
    unauthorized: Duration,
}

/// A policy that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("backoff windows must be above zero, and the cap at least as long as the first window")]
pub struct InvalidBackoff;

impl BackoffPolicy {
    /// First window 1 s, doubling up to 30 s (base and cap of the existing wrappers); a
    /// session is stable after 10 s; a refused token is tried again each 30 to 60 s.
    pub const DEFAULT: Self = Self {
        first: Duration::from_secs(1),
        cap: Duration::from_secs(30),
        stable_after: Duration::from_secs(10),
        unauthorized: Duration::from_secs(30),
    };

    /// A policy with these windows.
    ///
    /// ```
    /// use onsembl_protocol::liveness::BackoffPolicy;
    /// use std::time::Duration;
    ///
    /// let (first, cap) = (Duration::from_millis(500), Duration::from_secs(60));
    /// let patient = BackoffPolicy::new(first, cap, Duration::from_secs(10)).unwrap();
    /// assert_eq!(patient.longest_window(), cap);
    /// assert!(BackoffPolicy::new(cap, first, Duration::ZERO).is_err());
    /// ```
    pub fn new(
        first: Duration,
        cap: Duration,
        stable_after: Duration,
    ) -> Result<Self, InvalidBackoff> {
        if first.is_zero() || cap < first {
            return Err(InvalidBackoff);
        }
        Ok(Self { first, cap, stable_after, ..Self::DEFAULT })
    }

    /// How long a session must last before the windows are reset.
    pub(crate) const fn stable_after(&self) -> Duration {
        self.stable_after
    }

    /// The first window.
    #[cfg(feature = "sim")]
    pub(crate) const fn first_window(&self) -> Duration {
        self.first
    }

    /// The longest window.
    pub const fn longest_window(&self) -> Duration {
        self.cap
    }

    /// The shortest wait after a refused token; the longest is twice as long.
    #[cfg(feature = "sim")]
    pub(crate) const fn refused_wait(&self) -> Duration {
        self.unauthorized
    }

    /// The longest possible wait between two attempts, absent a server's retry-after: the rest of
    /// one capped window and all of the next.
    pub fn longest_wait(&self) -> Duration {
        self.cap.saturating_mul(2).max(self.unauthorized.saturating_mul(2))
    }
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The schedule of dial attempts of one agent. Deterministic in its seed.
///
/// ```
/// use onsembl_protocol::liveness::{Backoff, BackoffPolicy};
/// use onsembl_protocol::time::Timestamp;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, 7);
/// let mut now = Timestamp::ORIGIN;
/// for _ in 0..10 {
///     let next = backoff.next_attempt(now);
///     assert!(next > now && next.saturating_since(now) <= BackoffPolicy::DEFAULT.longest_wait());
///     now = next;
/// }
/// backoff.reset(); // a session was stable
/// assert_eq!(backoff.attempts(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    policy: BackoffPolicy,
    random: SplitMix64,
    failures: u32,
    window_ends: Timestamp,
}

impl Backoff {
    /// A schedule whose random points come from `seed`.
    pub const fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { policy, random: SplitMix64(seed), failures: 0, window_ends: Timestamp::ORIGIN }
    }

    /// The time of the next attempt: always later than `now`.
    pub fn next_attempt(&mut self, now: Timestamp) -> Timestamp {
        let window = self
            .policy
            .first
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.policy.cap);
        self.failures = self.failures.saturating_add(1);
        let start = self.window_ends.max(now);
        self.window_ends = start.saturating_add(window);
        start.saturating_add(self.random.up_to(window)).max(soonest(now))
    }

    /// The next attempt when the server requested a wait of `retry_after`: not before that,
    /// or [`RETRY_AFTER_LIMIT`] if it is longer, and spread over the current window behind it.
    pub fn next_attempt_after(&mut self, now: Timestamp, retry_after: Duration) -> Timestamp {
        let wait = retry_after.min(RETRY_AFTER_LIMIT);
        self.window_ends = self.window_ends.max(now.saturating_add(wait));
        self.next_attempt(now)
    }

    /// The next attempt after a refused token: slow, because only a person can help.
    pub(crate) fn next_attempt_unauthorized(&mut self, now: Timestamp) -> Timestamp {
        let least = self.policy.unauthorized;
        self.window_ends = now.saturating_add(least);
        now.saturating_add(least).saturating_add(self.random.up_to(least))
    }

    /// The next attempt with another token than the one that was refused: by the ordinary windows. A
    /// source that changes its mind again and again gets longer ones each time.
    pub(crate) fn next_attempt_with_new_token(&mut self, now: Timestamp) -> Timestamp {
        self.window_ends = now;
        self.next_attempt(now)
    }

    /// The session was stable, or the host woke from sleep: begin with the first window again.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.window_ends = Timestamp::ORIGIN;
    }

    /// Attempts since the last reset.
    pub const fn attempts(&self) -> u32 {
        self.failures
    }
}

fn soonest(now: Timestamp) -> Timestamp {
    now.saturating_add(Duration::from_nanos(1))
}

/// Sebastiano Vigna's `SplitMix64`. Written out here and not taken from a crate because recordings
/// are replayed against later versions, so the stream must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let scaled = (u128::from(self.next()) * u128::from(nanos)) >> 64;
        Duration::from_nanos(scaled as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_lost_its_server_arrives_uniformly() {
        let mut buckets = [0u32; 10];
        for seed in 0..10_000 {
            let at = Backoff::new(BackoffPolicy::DEFAULT, seed).next_attempt(Timestamp::ORIGIN);
            buckets[(at.since_origin().as_millis() / 100) as usize] += 1;
        }
        assert!(buckets.iter().all(|n| (850..1150).contains(n)), "{buckets:?}");
    }

    #[test]
    fn each_attempt_lies_in_its_own_window_and_the_windows_are_capped() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, seed);
            let mut now = Timestamp::ORIGIN;
            let mut start = 0;
            for window in [1u64, 2, 4, 8, 16, 30, 30, 30] {
                now = backoff.next_attempt(now);
                let s = now.since_origin().as_secs_f64();
                assert!(
                    s >= start as f64 && s <= (start + window) as f64,
                    "{s} in {start}+{window}"
                );
                start += window;
            }
        }
    }

    #[test]
    fn ten_minutes_of_rejection_cost_less_than_thirty_attempts() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, seed);
            let (mut now, mut attempts) = (Timestamp::ORIGIN, 0);
            while now < Timestamp::from_origin(Duration::from_secs(600)) {
                now = backoff.next_attempt(now);
                attempts += 1;
            }
            assert!(attempts < 30, "{attempts}");
        }
    }

    #[test]
    fn a_server_that_asks_for_peace_gets_it() {
        let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, 7);
        let at = backoff.next_attempt_after(Timestamp::ORIGIN, Duration::from_secs(45));
        assert!(at.since_origin() >= Duration::from_secs(45));
    }

    #[test]
    fn no_server_can_ask_for_more_than_a_minute() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, seed);
            for asked in [61, 86_400, 31_536_000, u64::MAX] {
                backoff.reset();
                let at = backoff.next_attempt_after(Timestamp::ORIGIN, Duration::from_secs(asked));
                let waits = at.since_origin();
                assert!(waits >= Duration::from_secs(60), "{waits:?}");
                assert!(waits <= Duration::from_secs(61), "{waits:?}");
            }
        }
    }

    #[test]
    fn attempts_are_counted_until_the_next_reset() {
        let mut backoff = Backoff::new(BackoffPolicy::DEFAULT, 7);
        assert_eq!(backoff.attempts(), 0);
        let now = backoff.next_attempt(Timestamp::ORIGIN);
        let _ = backoff.next_attempt(now);
        assert_eq!(backoff.attempts(), 2);
        backoff.reset();
        assert_eq!(backoff.attempts(), 0);
    }

    #[test]
    fn the_stream_of_a_seed_is_that_of_the_published_generator() {
        // The first numbers of Vigna's reference implementation for the seed 1234567.
        let mut random = SplitMix64(1_234_567);
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(published.map(|_| random.next()), published);
    }
}
