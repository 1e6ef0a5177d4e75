//! A live session: what was heard, what was said, and the judgement on both.
//!
//! [`Session`] is what hearing a frame touches; [`SessionCold`] is what else a session keeps. Times that
//! must be equal are stored once. Nothing is published here.

use super::super::server_types::{
    BeatOut, Claimant, PresenceStatus, ServerAction, ServerInbound, StoreTrouble,
};
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::liveness::{Impairment, Liveness, Seen, Silence, confirmation_due, next_on_schedule};
use crate::model::{Dialect, HeartbeatTiming};
use crate::time::{Deadline, Timestamp, WallTime};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What hearing a frame reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) epoch: Epoch,
    pub(super) dialect: Dialect,
    pub(super) liveness: Liveness,
    /// With `liveness` the monitor of the link: see [`Silence`].
    silent_from: Timestamp,
    /// Whether the latest event of the machine was also a look at the link. If it was not, the
    /// time of the last look is in [`SessionCold`].
    pub(super) looked: bool,
    /// Whether a newer link waits beside this session.
    pub(super) challenged: bool,

    /// The greatest number of a heartbeat of the agent.
    heard: BeatSequence,
    /// When its latest heartbeat came.
    latest_at: Option<Timestamp>,
    /// Whether the latest heartbeat had a number below the greatest; then that is in [`SessionCold`].
    out_of_order: bool,
    pub(super) unrecorded_since: Option<Timestamp>,

    /// When the next own beat leaves: the one of the schedule, or an answer ahead of it.
    beat_at: Timestamp,
    /// Whether a heartbeat of the agent waits for its answer.
    answering: bool,
    /// The number of the latest own beat.
    sent: BeatSequence,
    /// Since when the agent owes a sign. One with the extensions: when the latest own beat left. A
    /// legacy one: when the oldest unanswered probe left.
    owing_since: Option<Timestamp>,
    unseen_by_agent: bool,
    /// The impairment that is published.
    pub(super) shown: Option<Impairment>,
}

/// Whether the agent reported in its session that it cannot continue; recordings say it as a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub(super) enum Fault {
    None,
    Reported,
}

impl From<bool> for Fault {
    fn from(faulted: bool) -> Self {
        if faulted { Self::Reported } else { Self::None }
    }
}

impl From<Fault> for bool {
    fn from(fault: Fault) -> Self {
        fault == Fault::Reported
    }
}

/// What else a session keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionCold {
    /// When the next own beat of the schedule is due.
    next_due: Timestamp,
    pub(super) recorded: Option<(BeatSequence, WallTime)>,
    /// The number of the agent's latest heartbeat, if it came out of order.
    latest: BeatSequence,
    /// The time of the last look at the link, if other events came since.
    pub(super) looked_at: Timestamp,
    pub(super) faulted: Fault,
}

impl SessionCold {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self {
            next_due: at,
            recorded: None,
            latest: BeatSequence(0),
            looked_at: at,
            faulted: Fault::None,
        }
    }
}

/// A link whose session is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Joining {
    pub(super) link: LinkId,
    pub(super) dialect: Dialect,
    pub(super) claimant: Claimant,
    pub(super) give_up_at: Timestamp,
}

impl Session {
    /// A session that begins now: the first beat is due at once.
    pub(super) const fn new(joining: Joining, epoch: Epoch, at: Timestamp) -> Self {
        let Silence { liveness, from: silent_from } = Silence::broken(at);
        Self {
            link: joining.link,
            epoch,
            dialect: joining.dialect,
            liveness,
            silent_from,
            looked: true,
            challenged: false,
            heard: BeatSequence(0),
            latest_at: None,
            out_of_order: false,
            unrecorded_since: None,
            beat_at: at,
            answering: false,
            sent: BeatSequence(0),
            owing_since: None,
            unseen_by_agent: false,
            shown: None,
        }
    }

    pub(super) const fn status(&self, cold: &SessionCold) -> PresenceStatus {
        match (self.liveness, cold.faulted) {
            (Liveness::Live, Fault::None) => PresenceStatus::Online,
            (Liveness::Live, Fault::Reported) => PresenceStatus::Error,
            (Liveness::Stale | Liveness::TimedOut, _) => PresenceStatus::Stale,
        }
    }

    const fn silence(&self) -> Silence {
        Silence { liveness: self.liveness, from: self.silent_from }
    }

    const fn set_silence(&mut self, silence: Silence) {
        self.liveness = silence.liveness;
        self.silent_from = silence.from;
    }

    /// Looks at the link: how much too late, if that is more than a timer is. `seen_at` is the time
    /// of the event before this one.
    pub(super) fn look(
        &mut self,
        timing: HeartbeatTiming,
        at: Timestamp,
        seen_at: Timestamp,
        cold: &SessionCold,
    ) -> Option<Duration> {
        let last = last_look(self.looked, seen_at, cold);
        let mut silence = self.silence();
        let late = silence.attend(silence.due(timing, last), at, last);
        self.set_silence(silence);
        self.looked = true;
        late
    }

    /// A frame came: whether that changes the liveness.
    pub(super) fn on_received(&mut self, at: Timestamp) -> Option<Liveness> {
        let mut silence = self.silence();
        let changed = silence.on_received(at);
        self.set_silence(silence);
        changed
    }

    /// Time has passed: whether that changes the liveness.
    pub(super) fn on_wake(&mut self, timing: HeartbeatTiming, at: Timestamp) -> Option<Liveness> {
        let mut silence = self.silence();
        let changed = silence.on_wake(timing, at);
        self.set_silence(silence);
        changed
    }

    /// Takes note of a frame; a heartbeat comes back with the number to record it under.
    pub(super) fn note(
        &mut self,
        frame: ServerInbound,
        timing: HeartbeatTiming,
        at: Timestamp,
        cold: &mut SessionCold,
    ) -> Option<BeatSequence> {
        let sequence = match frame {
            ServerInbound::Other => return None,
            ServerInbound::Pong => match self.dialect {
                // The answer to a probe is all that a wrapper has for a heartbeat.
                Dialect::Legacy => {
                    self.owing_since = None;
                    self.heard.next()
                }
                Dialect::Extended => return None,
            },
            ServerInbound::Heartbeat { sequence, seen } => {
                self.unseen_by_agent =
                    self.unconfirmed(seen.unwrap_or_default(), timing).is_due(at);
                if !self.answering {
                    self.answering = true;
                    self.beat_at = self.beat_at.min(timing.grace_until(at));
                }
                sequence.unwrap_or(self.heard.next())
            }
        };
        self.out_of_order = sequence < self.heard;
        if self.out_of_order {
            cold.latest = sequence;
        } else {
            self.heard = sequence;
        }
        self.latest_at = Some(at);
        self.unrecorded_since = self.unrecorded_since.or(Some(at));
        Some(sequence)
    }

    /// When an agent with the extensions should have seen more of our beats than those.
    fn unconfirmed(&self, seen: BeatSequence, timing: HeartbeatTiming) -> Deadline {
        match (self.dialect, self.owing_since) {
            (Dialect::Extended, Some(sent_at)) => {
                let interval = timing.interval();
                confirmation_due(self.sent, sent_at, seen, interval, unseen_patience(timing))
            }
            (Dialect::Extended | Dialect::Legacy, _) => Deadline::Never,
        }
    }

    /// When the oldest probe left that a legacy agent has not answered.
    const fn unanswered_probe(&self) -> Option<Timestamp> {
        match self.dialect {
            Dialect::Legacy => self.owing_since,
            Dialect::Extended => None,
        }
    }

    /// This process did not run for this long: what waits for the store or an answer may wait longer.
    pub(super) fn forgive(&mut self, absence: Duration) {
        let later = |since: Timestamp| since.saturating_add(absence);
        self.unrecorded_since = self.unrecorded_since.map(later);
        // Of an extended agent it is when our beat left, which is judged when its next one comes.
        if self.dialect == Dialect::Legacy {
            self.owing_since = self.owing_since.map(later);
        }
    }

    /// The store holds the beats up to this one. Beats come once an interval, so the arrival of the
    /// oldest one that it does not hold follows from that of the latest.
    pub(super) fn note_recorded(
        &mut self,
        sequence: BeatSequence,
        timing: HeartbeatTiming,
        at: Timestamp,
    ) {
        let behind = self.heard.0.saturating_sub(sequence.0);
        self.unrecorded_since = match self.latest_at {
            Some(latest) if behind > 0 => {
                let earlier = u32::try_from(behind - 1).unwrap_or(u32::MAX);
                let age = at
                    .saturating_since(latest)
                    .saturating_add(timing.interval().saturating_mul(earlier));
                self.unrecorded_since.map(|since| since.max(at.saturating_sub(age)))
            }
            Some(_) | None => None,
        };
    }

    /// Whether an answer waits for nothing more of the store.
    pub(super) const fn can_answer(&self) -> bool {
        self.answering && self.unrecorded_since.is_none()
    }

    /// Since when an answer waits for a commit that may still come in time.
    fn awaited_commit(&self, timing: HeartbeatTiming, at: Timestamp) -> Option<Timestamp> {
        match self.dialect {
            Dialect::Extended if self.answering => {
                self.unrecorded_since.filter(|since| !timing.is_grace_over(*since, at))
            }
            // It is not told what is recorded.
            Dialect::Extended | Dialect::Legacy => None,
        }
    }

    pub(super) fn beat_is_due(&self, at: Timestamp) -> bool {
        self.beat_at <= at
    }

    /// The own beat that leaves now: an answer, or one of the schedule.
    pub(super) fn beat(
        &mut self,
        timing: HeartbeatTiming,
        at: Timestamp,
        cold: &mut SessionCold,
        store: Option<StoreTrouble>,
    ) -> ServerAction {
        // A commit may come right behind a beat of the schedule, and is to be told then, not an interval later.
        let awaited = self.awaited_commit(timing, at);
        let answering = core::mem::replace(&mut self.answering, awaited.is_some());
        cold.next_due = next_on_schedule(cold.next_due, timing.interval(), at);
        self.beat_at = cold.next_due;
        self.sent = self.sent.next();
        match self.dialect {
            Dialect::Legacy if !answering => {
                self.owing_since = self.owing_since.or(Some(at));
                return ServerAction::SendPing(self.link);
            }
            Dialect::Legacy => {}
            Dialect::Extended => self.owing_since = Some(at),
        }
        let beat = BeatOut {
            sequence: self.sent,
            seen: self.seen(at, cold),
            recorded: cold.recorded,
            lag: self.lag(timing, at).map(|age| (age, store.unwrap_or(StoreTrouble::Slow))),
        };
        if let Some(since) = awaited {
            self.beat_at = self.beat_at.min(timing.grace_until(since));
        }
        ServerAction::SendBeat { link: self.link, beat }
    }

    fn seen(&self, at: Timestamp, cold: &SessionCold) -> Option<Seen> {
        let sequence = if self.out_of_order { cold.latest } else { self.heard };
        self.latest_at.map(|latest| Seen { sequence, age: at.saturating_since(latest) })
    }

    /// For how long the oldest unrecorded beat has waited, if that is longer than it may.
    fn lag(&self, timing: HeartbeatTiming, at: Timestamp) -> Option<Duration> {
        let since = self.unrecorded_since?;
        timing.is_grace_over(since, at).then(|| at.saturating_since(since))
    }

    pub(super) fn diagnose(&self, timing: HeartbeatTiming, at: Timestamp) -> Option<Impairment> {
        if self.lag(timing, at).is_some() {
            Some(Impairment::NotRecorded)
        } else if self.unseen_by_agent {
            Some(Impairment::NotSeenByPeer)
        } else if self.liveness == Liveness::Live
            && self
                .unanswered_probe()
                .is_some_and(|sent| at.saturating_since(sent) >= probe_patience(timing))
        {
            Some(Impairment::ProbeUnanswered)
        } else {
            None
        }
    }

    /// When to look at the session next; `seen_at` is the time of the latest event.
    pub(super) fn deadline(
        &self,
        timing: HeartbeatTiming,
        seen_at: Timestamp,
        cold: &SessionCold,
    ) -> Deadline {
        let look = self.silence().due(timing, last_look(self.looked, seen_at, cold));
        let mut next = look.min(Deadline::At(self.beat_at));
        if let Some(since) = self.unrecorded_since
            && self.shown != Some(Impairment::NotRecorded)
        {
            next = next.min(Deadline::At(timing.grace_until(since)));
        }
        if let Some(sent) = self.unanswered_probe()
            && self.shown.is_none()
            && self.liveness == Liveness::Live
        {
            next = next.min(Deadline::At(sent.saturating_add(probe_patience(timing))));
        }
        next
    }
}

/// Finds the time of the last look at the link: that of the latest event, or else in [`SessionCold`].
fn last_look(
    looked: bool,
    seen_at: Timestamp,
    cold: &SessionCold,
) -> impl Fn() -> Timestamp + Copy {
    move || if looked { seen_at } else { cold.looked_at }
}

/// The agent confirms our beats with its own next one, up to an interval later; half of one more
/// allows for the way. Judged only when a heartbeat of the agent comes.
fn unseen_patience(timing: HeartbeatTiming) -> Duration {
    timing.interval().saturating_mul(3) / 2
}

/// Two probes and a half without an answer, while other frames come.
fn probe_patience(timing: HeartbeatTiming) -> Duration {
    timing.interval().saturating_mul(5) / 2
}
