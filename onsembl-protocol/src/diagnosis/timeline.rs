//! What was shown of an agent over time, corrected by what was proven later: the log stays as it is, and the timeline
//! is made of log and corrections.

use super::record::{DropRecord, Return, between};
use crate::model::Cause;
use crate::session::PresenceStatus;
use crate::time::WallTime;
use alloc::vec::Vec;
use core::time::Duration;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// From when on what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Logged {
    pub at: WallTime,
    pub status: PresenceStatus,
}

/// A time in which the agent's machine slept, proven when it woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Sleep {
    pub from: WallTime,
    pub until: WallTime,
}

impl Sleep {
    /// The sleeps that an agent tells of at its return. None began before it was last heard, or lasted beyond the
    /// return.
    pub fn told<'a>(drop: &DropRecord, back: &'a Return) -> impl Iterator<Item = Self> + 'a {
        let heard = earlier(drop.at, drop.quiet);
        let slept = back.told.iter().filter(|told| told.finding.cause == Cause::AgentSlept);
        slept.filter_map(move |told| {
            let from = earlier(back.at, told.ago).max(heard);
            let until = earlier(back.at, told.ago.saturating_sub(told.lasted)).min(back.at);
            (from < until).then_some(Self { from, until })
        })
    }
}

/// What is told of a part of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// What was published.
    Published(PresenceStatus),
    /// The agent's machine slept, though something else was published then.
    Asleep,
}

/// A part of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Span {
    pub from: WallTime,
    pub until: WallTime,
    pub condition: Condition,
}

/// The timeline up to `until`: the log, in which each time that the agent was not there and slept is asleep. Both
/// come in the order of time. A time in which it was online stays so: it was heard.
#[must_use]
pub fn timeline(log: &[Logged], sleeps: &[Sleep], until: WallTime) -> Vec<Span> {
    let mut spans = Vec::new();
    for (n, logged) in log.iter().enumerate() {
        let end = log.get(n + 1).map_or(until, |next| next.at).min(until);
        let published = Condition::Published(logged.status);
        let mut from = logged.at;
        if !was_heard(logged.status) {
            let meanwhile = |sleep: &&Sleep| sleep.from < end && sleep.until > logged.at;
            for sleep in sleeps.iter().filter(meanwhile) {
                push(&mut spans, from, sleep.from, published);
                push(&mut spans, from.max(sleep.from), sleep.until.min(end), Condition::Asleep);
                from = from.max(sleep.until);
            }
        }
        push(&mut spans, from, end, published);
    }
    spans
}

const fn was_heard(status: PresenceStatus) -> bool {
    match status {
        PresenceStatus::Online | PresenceStatus::Error | PresenceStatus::Connecting => true,
        PresenceStatus::Stale
        | PresenceStatus::TimedOut
        | PresenceStatus::Reconnecting
        | PresenceStatus::Offline => false,
    }
}

/// Adds a part, if it is one, or lengthens the one before.
fn push(spans: &mut Vec<Span>, from: WallTime, until: WallTime, condition: Condition) {
    if from >= until {
        return;
    }
    match spans.last_mut() {
        Some(last) if last.condition == condition && last.until == from => last.until = until,
        Some(_) | None => spans.push(Span { from, until, condition }),
    }
}

/// How a time was spent. Written in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Availability {
    /// In session and heard.
    pub there: Duration,
    /// Asleep: neither there nor missing.
    pub asleep: Duration,
    /// Missing, or silent.
    pub missing: Duration,
}

impl Availability {
    /// Of a timeline.
    #[must_use]
    pub fn of(spans: &[Span]) -> Self {
        let mut sum = Self::default();
        for span in spans {
            let share = match span.condition {
                Condition::Asleep => &mut sum.asleep,
                Condition::Published(PresenceStatus::Online | PresenceStatus::Error) => {
                    &mut sum.there
                }
                Condition::Published(
                    PresenceStatus::Connecting
                    | PresenceStatus::Stale
                    | PresenceStatus::TimedOut
                    | PresenceStatus::Reconnecting
                    | PresenceStatus::Offline,
                ) => &mut sum.missing,
            };
            *share = share.saturating_add(between(span.from, span.until));
        }
        sum
    }

    /// The part of the time in which it was awake that it was there, in tenths of a percent, rounded down; `None`
    /// if it was never awake.
    pub fn permille(&self) -> Option<u16> {
        let there = self.there.as_millis();
        let awake = there.saturating_add(self.missing.as_millis());
        let permille = there.saturating_mul(1000).checked_div(awake)?;
        u16::try_from(permille).ok()
    }
}

impl Serialize for Availability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut fields = serializer.serialize_struct("Availability", 4)?;
        fields.serialize_field("there_ms", &millis(self.there))?;
        fields.serialize_field("asleep_ms", &millis(self.asleep))?;
        fields.serialize_field("missing_ms", &millis(self.missing))?;
        fields.serialize_field("permille", &self.permille())?;
        fields.end()
    }
}

fn earlier(at: WallTime, by: Duration) -> WallTime {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(at.unix_millis().saturating_sub(millis))
}
