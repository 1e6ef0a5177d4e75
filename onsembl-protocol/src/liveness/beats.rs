//! Heartbeats as numbers: what was sent, what the peer says it saw, what was recorded.
//!
//! [`BeatLedger`] serves both ends. It is what tells "the link is silent" from "they hear nothing
//! of us" and from "they hear us, but nothing is recorded" (the three faults of the seed document).

use super::timing::HeartbeatTiming;
use crate::id::BeatSequence;
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

/// A fault that does not end the session, named so that nobody has to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Impairment {
    /// Heartbeats arrive at the server, but its store does not record them.
    NotRecorded,
    /// The peer speaks, but does not see our heartbeats.
    NotSeenByPeer,
    /// A legacy peer lives by other frames, but does not answer probes.
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

/// The heartbeats of one session, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatLedger {
    interval: Duration,
    next_due: Timestamp,
    sent: BeatSequence,
    sent_at: Timestamp,
    heard: Option<(BeatSequence, Timestamp)>,
}

impl BeatLedger {
    /// A ledger whose first beat is due at once.
    pub fn new(timing: HeartbeatTiming, now: Timestamp) -> Self {
        Self {
            interval: timing.interval(),
            next_due: now,
            sent: BeatSequence(0),
            sent_at: now,
            heard: None,
        }
    }

    /// When the next own beat is due.
    pub fn due(&self) -> Deadline {
        Deadline::At(self.next_due)
    }

    /// Numbers a beat that leaves at `now`. A beat of the schedule moves the schedule on by whole
    /// intervals, and after an absence by one from now: never a burst of missed beats.
    pub fn send(&mut self, now: Timestamp) -> BeatSequence {
        self.next_due = next_on_schedule(self.next_due, self.interval, now);
        self.sent = self.sent.next();
        self.sent_at = now;
        self.sent
    }

    /// Makes the next beat due at once (the host has just woken from sleep).
    pub fn hurry(&mut self, now: Timestamp) {
        self.next_due = self.next_due.min(now);
    }

    /// The peer's beat `sequence` was received.
    pub fn on_heard(&mut self, sequence: BeatSequence, now: Timestamp) {
        self.heard = Some((sequence, now));
    }

    /// What to tell the peer of its beats.
    pub fn seen(&self, now: Timestamp) -> Option<Seen> {
        self.heard.map(|(sequence, at)| Seen { sequence, age: now.saturating_since(at) })
    }

    /// The latest own beat.
    pub const fn sent(&self) -> BeatSequence {
        self.sent
    }

    /// When the peer should have confirmed an own beat later than `confirmed`, given `patience`:
    /// `Never` if there is none it has not confirmed. Beats leave once an interval, so the time of
    /// the first unconfirmed one follows from the last one's.
    pub fn confirmation_due(&self, confirmed: BeatSequence, patience: Duration) -> Deadline {
        confirmation_due(self.sent, self.sent_at, confirmed, self.interval, patience)
    }
}

/// When the beat after one that leaves at `now` is due, if that one was due at `due`: one sent ahead
/// of the schedule does not move it, one sent after an absence begins it anew.
pub(crate) fn next_on_schedule(due: Timestamp, interval: Duration, now: Timestamp) -> Timestamp {
    if due > now {
        return due;
    }
    let on_schedule = due.saturating_add(interval);
    if on_schedule > now { on_schedule } else { now.saturating_add(interval) }
}

/// [`BeatLedger::confirmation_due`] for a beat `sent` at `sent_at`.
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
        let mut b = BeatLedger::new(HeartbeatTiming::DEFAULT, at(0));
        assert_eq!(b.send(at(5)), BeatSequence(1));
        assert_eq!(b.due(), Deadline::At(at(30_000)));
        assert_eq!(b.send(at(30_040)), BeatSequence(2));
        assert_eq!(b.due(), Deadline::At(at(60_000)));
        assert_eq!(b.send(at(400_000)), BeatSequence(3));
        assert_eq!(b.due(), Deadline::At(at(430_000)));
    }

    #[test]
    fn the_first_unconfirmed_beat_sets_the_date() {
        let mut b = BeatLedger::new(HeartbeatTiming::DEFAULT, at(0));
        for n in 0..3 {
            let _ = b.send(at(n * 30_000));
        }
        let patience = Duration::from_secs(45);
        assert_eq!(b.confirmation_due(BeatSequence(3), patience), Deadline::Never);
        assert_eq!(b.confirmation_due(BeatSequence(2), patience), Deadline::At(at(105_000)));
        assert_eq!(b.confirmation_due(BeatSequence(0), patience), Deadline::At(at(45_000)));
    }
}
