//! Silence. It demands: a peer is stale exactly `stale_after` after the last frame that was handed
//! over for the current wire, and timed out exactly `timeout_after` after it; never earlier by the
//! observer's own monotonic clock, and while the observer is there not later than the tolerance.
//! A time-out follows only a stale phase that was watched. Where the observer itself was away, its
//! absence is not counted; as it cannot know when it fell asleep, it may grant its peer up to all
//! the time until its return.

use super::host::{Absence, Host};
use super::rules::Rules;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::LocalNanos;
use alloc::format;

const STALE: Invariant = Invariant::SilentPeerGoesStaleExactly;
const TIMED_OUT: Invariant = Invariant::SilentPeerTimesOutExactly;

/// What one end must think of the silence of the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    heard: LocalNanos,
    /// `heard`, later by the absences that cannot have gone unnoticed.
    counted_from: LocalNanos,
    /// The beginning of the stale phase that was shown, later by the absences in it.
    watched_from: Option<LocalNanos>,
}

impl Silence {
    #[inline]
    pub(super) fn heard(&mut self, now: LocalNanos) {
        *self = Self { heard: now, counted_from: now, watched_from: None };
    }

    pub(super) fn is_stale(&self) -> bool {
        self.watched_from.is_some()
    }

    /// The observer was away, having been back from its last absence since `host.back`.
    pub(super) fn absent(&mut self, absence: Absence, before: LocalNanos, rules: &Rules) {
        let noticed = |due: LocalNanos| {
            absence.from < due && due + rules.absence + rules.tolerance < absence.to
        };
        match &mut self.watched_from {
            Some(watched) => {
                if absence.length() > rules.look_every + rules.absence + rules.tolerance {
                    *watched += absence.length();
                    self.counted_from += absence.length();
                }
            }
            None => {
                let earliest = self.counted_from + rules.stale_after;
                let latest = self.heard.max(before) + rules.stale_after;
                if noticed(earliest) && noticed(latest) {
                    self.counted_from += absence.length();
                }
            }
        }
    }

    /// The peer is called stale now.
    pub(super) fn called_stale(&mut self, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        self.not_before(STALE, rules.stale_after, now, rules)?;
        self.not_after(STALE, rules.stale_after, now, host, rules)?;
        self.watched_from = Some(now);
        Ok(())
    }

    /// The silent link is given up now.
    pub(super) fn called_dead(&self, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        self.not_before(TIMED_OUT, rules.timeout_after, now, rules)?;
        let phase = rules.timeout_after - rules.stale_after;
        let watched = self.watched_from.map(|from| now.saturating_sub(from));
        demand(
            watched.is_some_and(|w| w + rules.absence + rules.tolerance >= phase),
            Invariant::TimedOutOnlyAfterObservedStale,
            "a stale phase of timeout-after less stale-after, watched to its end",
            || format!("{watched:?} ns of it watched"),
        )?;
        self.not_after(TIMED_OUT, rules.timeout_after, now, host, rules)
    }

    /// Nothing was said of the silence until now.
    #[inline]
    pub(super) fn unnamed(&self, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        let verdict = if self.is_stale() { TIMED_OUT } else { STALE };
        self.not_after(verdict, self.patience(rules), now, host, rules)
    }

    /// The latest time of the next verdict.
    #[inline]
    pub(super) fn due(&self, host: &Host, rules: &Rules) -> LocalNanos {
        host.latest(self.heard, self.patience(rules))
    }

    #[inline]
    fn patience(&self, rules: &Rules) -> u64 {
        if self.is_stale() { rules.timeout_after } else { rules.stale_after }
    }

    fn not_before(
        &self,
        verdict: Invariant,
        patience: u64,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        let latest = now + rules.wobble;
        demand(
            latest >= self.heard + patience,
            verdict,
            "silence for the whole of stale-after or timeout-after",
            || format!("{} ns of {patience}", now.saturating_sub(self.heard)),
        )?;
        demand(
            latest >= self.counted_from + patience,
            Invariant::AbsenceIsNotSilence,
            "own absence not counted as silence of the peer",
            || format!("{} ns of {patience}", now.saturating_sub(self.counted_from)),
        )
    }

    #[inline]
    fn not_after(
        &self,
        verdict: Invariant,
        patience: u64,
        now: LocalNanos,
        host: &Host,
        rules: &Rules,
    ) -> Checked {
        demand(
            now <= host.latest(self.heard, patience) + rules.tolerance,
            verdict,
            "a verdict on the silence at stale-after and at timeout-after",
            || format!("silence for {} ns, patience {patience}", now.saturating_sub(self.heard)),
        )
    }
}
