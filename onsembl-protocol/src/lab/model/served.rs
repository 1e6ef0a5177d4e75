//! The end of a step of the server's end: nothing may be owed, and what is due is done.

use super::deadline;
use super::heartbeats;
use super::host::Host;
use super::presence;
use super::rules::Rules;
use super::seat::{Came, Seat, Step};
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::LocalNanos;
use alloc::format;

/// The step is over.
#[inline]
pub(super) fn served(
    seat: &mut Seat,
    deadline: Option<LocalNanos>,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    nothing_owed(seat)?;
    presence::status_is_true(seat)?;
    heartbeats::in_time(seat, now, host, rules)?;
    deadline::kept(seat.deadline, now, host, rules)?;
    deadline::fits(deadline, due(seat, host, rules), now, rules, || {
        format!("{:?}", seat.shown.status)
    })?;
    seat.deadline = deadline;
    seat.step = Step::NONE;
    Ok(())
}

#[inline]
fn nothing_owed(seat: &Seat) -> Checked {
    let step = &seat.step;
    demand(
        step.close == [None; 2],
        if step.came == Came::Evicted {
            Invariant::EvictionIsObeyed
        } else {
            Invariant::DeadLinkIsClosed
        },
        "every wire that is given up closed in the same step",
        || format!("{:?} left open upon {:?}", step.close, step.came),
    )?;
    demand(
        step.ask.is_none(),
        Invariant::HelloIsAnswered,
        "a session asked for in the step of the hello",
        || format!("{:?} not asked for", step.ask),
    )?;
    demand(
        !step.welcome,
        Invariant::HelloIsAnswered,
        "the hello accepted in the step in which its session is open",
        || "no welcome".into(),
    )?;
    demand(
        step.record.is_none(),
        Invariant::BeatIsRecorded,
        "a heartbeat to be recorded in the step in which it came",
        || format!("{:?} not asked for", step.record),
    )
}

/// The latest time by which something must be done.
#[inline]
fn due(seat: &Seat, host: &Host, rules: &Rules) -> Option<LocalNanos> {
    if !seat.installed || seat.evicted {
        return None;
    }
    let hello = seat.hello.map(|h| host.latest(h.since, rules.admission_timeout));
    if let Some(s) = &seat.session {
        let beat = host.latest(s.sent_at, rules.interval);
        let answer = s.unanswered.map_or(beat, |at| host.latest(at, rules.interval / 2));
        let due = s.silence.due(host, rules).min(beat).min(answer);
        return Some(hello.map_or(due, |hello| due.min(hello)));
    }
    hello.or(seat.awaited.map(|a| host.latest(a.since, rules.resume_window)))
}
