//! What may be said of a peer's silence, and when: a range, because where in an absence the process
//! fell asleep is unknown. Without an absence the range is one instant.

use super::call::Call;
use super::violation::Violation;
use crate::lab::Invariant;
use crate::liveness::{OVERSLEEP_TOLERANCE, STALE_CHECK};
use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    timing: HeartbeatTiming,
    heard_at: Timestamp,
    /// The earliest and the latest time at which the silence that counts began.
    from: (Timestamp, Timestamp),
    attended_at: Timestamp,
    armed: Deadline,
    stale: Option<StalePhase>,
}

#[derive(Clone, Copy, Debug)]
struct StalePhase {
    since: Timestamp,
    absent: Duration,
}

impl Silence {
    pub(super) const fn new(timing: HeartbeatTiming, at: Timestamp) -> Self {
        Self {
            timing,
            heard_at: at,
            from: (at, at),
            attended_at: at,
            armed: Deadline::Never,
            stale: None,
        }
    }

    pub(super) const fn timing(&self) -> HeartbeatTiming {
        self.timing
    }

    pub(super) const fn is_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// A frame came; whether that ended a stale phase.
    pub(super) fn heard(&mut self, at: Timestamp) -> bool {
        let stale = self.stale.take().is_some();
        *self = Self { armed: self.armed, ..Self::new(self.timing, at) };
        stale
    }

    /// A wake-up came: if it came too late, the time since the last one does not count.
    pub(super) fn woken(&mut self, at: Timestamp) {
        let gap = at.saturating_since(self.attended_at);
        let late = self.armed.overdue_by(at) > OVERSLEEP_TOLERANCE;
        let surely = match self.stale {
            None => at.saturating_since(self.due()) > OVERSLEEP_TOLERANCE,
            Some(_) => late && gap > STALE_CHECK + OVERSLEEP_TOLERANCE,
        };
        if surely {
            self.from.0 = self.from.0.saturating_add(gap);
            if let Some(phase) = &mut self.stale {
                phase.absent += gap;
            }
        }
        if late {
            self.from.1 = self.from.1.saturating_add(gap);
        }
        self.attended_at = at;
    }

    /// Whether the peer was looked at in this moment.
    pub(super) fn was_attended(&self, at: Timestamp) -> bool {
        self.attended_at == at
    }

    /// What was asked for by a call that looked at the peer.
    pub(super) fn armed(&mut self, deadline: Deadline) {
        self.armed = deadline;
    }

    /// The latest time of the next verdict.
    pub(super) fn due(&self) -> Timestamp {
        self.from.1.saturating_add(self.patience())
    }

    /// The name of the next verdict's invariant.
    pub(super) const fn name(&self) -> Invariant {
        match self.stale {
            None => Invariant::SilentPeerGoesStaleExactly,
            Some(_) => Invariant::SilentPeerTimesOutExactly,
        }
    }

    pub(super) const fn next_text(&self) -> &'static str {
        match self.stale {
            None => "the silent peer is stale",
            Some(_) => "the silent peer is timed out",
        }
    }

    /// It was called stale.
    pub(super) fn goes_stale(&mut self, call: &Call<'_>) -> Result<(), Violation> {
        self.not_too_early(call)?;
        self.stale = Some(StalePhase { since: call.at, absent: Duration::ZERO });
        Ok(())
    }

    /// It was called timed out.
    pub(super) fn times_out(&self, call: &Call<'_>) -> Result<(), Violation> {
        let name = Invariant::TimedOutOnlyAfterObservedStale;
        let Some(phase) = self.stale else {
            return call.blame(name, "stale first", "timed out at once");
        };
        self.not_too_early(call)?;
        let watched = call.at.saturating_since(phase.since).saturating_sub(phase.absent);
        let whole = self.timing.timeout_after().saturating_sub(self.timing.stale_after());
        if watched + OVERSLEEP_TOLERANCE < whole {
            let expected = std::format!("a stale phase of {whole:?} that was watched");
            call.blame(name, expected, std::format!("it was watched for {watched:?}"))?;
        }
        Ok(())
    }

    fn not_too_early(&self, call: &Call<'_>) -> Result<(), Violation> {
        let counted = call.at.saturating_since(self.from.0);
        if counted >= self.patience() {
            return Ok(());
        }
        let silence = call.at.saturating_since(self.heard_at);
        let expected = std::format!("not before {:?} of silence", self.patience());
        if silence >= self.patience() {
            let happened = std::format!("{counted:?} of silence, the rest was an absence of ours");
            call.blame(Invariant::AbsenceIsNotSilence, expected, happened)
        } else {
            call.blame(self.name(), expected, std::format!("after {silence:?} of silence"))
        }
    }

    const fn patience(&self) -> Duration {
        match self.stale {
            None => self.timing.stale_after(),
            Some(_) => self.timing.timeout_after(),
        }
    }
}
