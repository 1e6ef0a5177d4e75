//! Heartbeat numbers: those sent, those seen by the peer, those recorded.
//!
//! [`HeartbeatTracker`] serves both ends. It distinguishes a silent link from heartbeats that are not seen by the
//! peer and from heartbeats that are seen but not recorded (P-73 to P-75).

use crate::id::BeatSequence;
use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Timestamp};
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The latest heartbeat of the peer, and how long ago it came: what each beat says of the other
/// direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    /// Number of that beat.
    pub sequence: BeatSequence,
    /// Time since it was received.
    pub age: Duration,
}

/// A fault that does not end the session, with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Impairment {
    /// Heartbeats arrive at the server, but its store does not record them.
    NotRecorded,
    /// Frames of the peer arrive, but it does not see our heartbeats.
    NotSeenByPeer,
    /// A legacy peer sends other frames, but does not answer probes.
    ProbeUnanswered,
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRecorded => "heartbeats received but not recorded",
            Self::NotSeenByPeer => "heartbeats sent but not seen by the peer",
            Self::ProbeUnanswered => "probes sent but not answered, other frames arrive",
        })
    }
}

/// Own beats whose times are remembered. Patience is at most two intervals, and a beat ahead of the
/// schedule is sent only after a nap: the oldest of eight is past it.
const REMEMBERED: usize = 8;

/// The heartbeats of one session, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeartbeatTracker {
    interval: Duration,
    next_due: Timestamp,
    sent: BeatSequence,
    /// When the latest own beats left, the latest first.
    left_at: [Timestamp; REMEMBERED],
    heard: Option<(BeatSequence, Timestamp)>,
}

impl HeartbeatTracker {
    /// A tracker whose first beat is due at once.
    pub(crate) fn new(timing: HeartbeatTiming, now: Timestamp) -> Self {
        Self {
            interval: timing.interval(),
            next_due: now,
            sent: BeatSequence(0),
            left_at: [now; REMEMBERED],
            heard: None,
        }
    }

    /// When the next own beat is due.
    pub(crate) fn due(&self) -> Deadline {
        #[cfg(onsembl_faults)]
        if super::planted::PlantedFault::TimerNeverStarted.is_planted() {
            return Deadline::Never;
        }
        Deadline::At(self.next_due)
    }

    /// Numbers a beat that leaves at `now`. A beat of the schedule moves the schedule on by whole
    /// intervals, and after an absence by one from now: never a burst of missed beats.
    pub(crate) fn send(&mut self, now: Timestamp) -> BeatSequence {
        self.next_due = next_on_schedule(self.next_due, self.interval, now);
        self.sent = self.sent.next();
        self.left_at.rotate_right(1);
        if let Some(latest) = self.left_at.first_mut() {
            *latest = now;
        }
        self.sent
    }

    /// Makes the next beat due at once (the host has just woken from sleep).
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.next_due = self.next_due.min(now);
    }

    /// The peer's beat `sequence` was received.
    pub(crate) fn on_heard(&mut self, sequence: BeatSequence, now: Timestamp) {
        self.heard = Some((sequence, now));
    }

    /// The report to the peer about its heartbeats.
    pub(crate) fn seen(&self, now: Timestamp) -> Option<Seen> {
        self.heard.map(|(sequence, at)| Seen { sequence, age: now.saturating_since(at) })
    }

    /// The latest own beat.
    pub(crate) const fn sent(&self) -> BeatSequence {
        self.sent
    }

    /// When the peer should have confirmed an own beat later than `confirmed`, given `patience`:
    /// `Never` if there is none it has not confirmed. Judged by the time at which the first
    /// unconfirmed beat really left, as far back as that is remembered, because after an absence
    /// beats do not lie an interval apart.
    pub(crate) fn confirmation_due(&self, confirmed: BeatSequence, patience: Duration) -> Deadline {
        let Some(behind) = self.sent.0.checked_sub(confirmed.0).and_then(|n| n.checked_sub(1))
        else {
            return Deadline::Never;
        };
        let index = usize::try_from(behind).unwrap_or(usize::MAX).min(REMEMBERED - 1);
        match self.left_at.get(index) {
            Some(left) => Deadline::At(left.saturating_add(patience)),
            None => Deadline::Never,
        }
    }
}

/// When the beat after one that leaves at `now` is due, if that one was due at `due`: one sent ahead
/// of the schedule does not move it, one sent after an absence restarts it.
pub(crate) fn next_on_schedule(due: Timestamp, interval: Duration, now: Timestamp) -> Timestamp {
    if due > now {
        return due;
    }
    let on_schedule = due.saturating_add(interval);
    if on_schedule > now { on_schedule } else { now.saturating_add(interval) }
}

/// `HeartbeatTracker::confirmation_due` for callers that know only when the latest beat was sent, and judges
/// by the schedule.
pub(crate) fn confirmation_due(
    sent: BeatSequence,
    sent_at: Timestamp,
    confirmed: BeatSequence,
    interval: Duration,
    patience: Duration,
) -> Deadline {
    let Some(open) = sent.0.checked_sub(confirmed.0).filter(|n| *n > 0) else {
        return Deadline::Never;
    };
    let later = u32::try_from(open - 1).unwrap_or(u32::MAX);
    let first = sent_at.saturating_sub(interval.saturating_mul(later));
    Deadline::At(first.saturating_add(patience))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn beats_keep_their_schedule_and_do_not_burst_after_an_absence() {
        let mut b = HeartbeatTracker::new(HeartbeatTiming::DEFAULT, at(0));
        assert_eq!(b.send(at(5)), BeatSequence(1));
        assert_eq!(b.due(), Deadline::At(at(30_000)));
        assert_eq!(b.send(at(30_040)), BeatSequence(2));
        assert_eq!(b.due(), Deadline::At(at(60_000)));
        assert_eq!(b.send(at(400_000)), BeatSequence(3));
        assert_eq!(b.due(), Deadline::At(at(430_000)));
    }

    #[test]
    fn the_first_unconfirmed_beat_sets_the_date() {
        let mut b = HeartbeatTracker::new(HeartbeatTiming::DEFAULT, at(0));
        for n in 0..3 {
            let _ = b.send(at(n * 30_000));
        }
        let patience = Duration::from_secs(45);
        assert_eq!(b.confirmation_due(BeatSequence(3), patience), Deadline::Never);
        assert_eq!(b.confirmation_due(BeatSequence(2), patience), Deadline::At(at(105_000)));
        assert_eq!(b.confirmation_due(BeatSequence(0), patience), Deadline::At(at(45_000)));
    }

    #[test]
    fn a_beat_that_left_late_is_judged_by_when_it_left() {
        let mut b = HeartbeatTracker::new(HeartbeatTiming::DEFAULT, at(0));
        let _ = b.send(at(0));
        let _ = b.send(at(100_000));
        let _ = b.send(at(100_500));
        let patience = Duration::from_secs(30);
        assert_eq!(b.confirmation_due(BeatSequence(1), patience), Deadline::At(at(130_000)));
    }

    #[test]
    fn a_beat_ahead_of_the_schedule_does_not_move_it_and_one_behind_keeps_it() {
        let interval = Duration::from_secs(30);
        let next = |due, now| next_on_schedule(at(due), interval, at(now));
        assert_eq!(next(10_000, 9_999), at(10_000));
        assert_eq!(next(10_000, 10_000), at(40_000));
        assert_eq!(next(10_000, 39_999), at(40_000));
        assert_eq!(next(10_000, 40_000), at(70_000));
        assert_eq!(next(10_000, 50_000), at(80_000));
    }

    #[test]
    fn by_the_schedule_the_first_unconfirmed_beat_left_whole_intervals_ago() {
        let (interval, patience) = (Duration::from_secs(30), Duration::from_secs(45));
        let due = |confirmed| {
            let (sent, confirmed) = (BeatSequence(3), BeatSequence(confirmed));
            confirmation_due(sent, at(90_000), confirmed, interval, patience)
        };
        assert_eq!(due(4), Deadline::Never);
        assert_eq!(due(3), Deadline::Never);
        assert_eq!(due(2), Deadline::At(at(135_000)));
        assert_eq!(due(0), Deadline::At(at(75_000)));
    }
}
