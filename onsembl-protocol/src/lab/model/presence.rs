//! Presence. It demands: versions grow by one, or to those of a newer epoch; `since` moves with the
//! status; the status changes along the published edges, is what links and sessions amount to, and
//! the reason is what happened; nothing is reported twice.

use super::dialling::Loss;
use super::heartbeats;
use super::host::Host;
use super::links::{AGENT_STOPPED, NORMAL, TOLD_TO_RESTART, TOLD_TO_STOP};
use super::rules::Rules;
use super::seat::{Came, Seat, is_unseen};
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Ailment, End, EndedBy, LocalNanos, Order, Presence, Status, When, Why};
use alloc::format;

/// The epoch stands in the upper bits of a version.
const EPOCH_BITS: u32 = 20;

/// The published graph: where a status may go. Staying is always allowed.
const fn edge(from: Status, to: Status) -> bool {
    match from {
        Status::Offline => matches!(to, Status::Connecting),
        Status::Connecting => {
            matches!(to, Status::Online | Status::TimedOut | Status::Reconnecting | Status::Offline)
        }
        Status::Online => matches!(
            to,
            Status::Stale
                | Status::Error
                | Status::Connecting
                | Status::Reconnecting
                | Status::Offline
        ),
        Status::Error => matches!(
            to,
            Status::Stale
                | Status::Online
                | Status::Connecting
                | Status::Reconnecting
                | Status::Offline
        ),
        Status::Stale => true,
        Status::TimedOut | Status::Reconnecting => {
            matches!(to, Status::Connecting | Status::Offline)
        }
    }
}

/// The machine publishes.
pub(super) fn shows(
    seat: &mut Seat,
    next: Presence,
    when: When,
    host: &Host,
    rules: &Rules,
) -> Checked {
    seat.does()?;
    let before = seat.shown;
    demand(!seat.step.shown, Invariant::OneReportPerStep, "one report a step", || {
        format!("{:?} after {:?}", next.status, before.status)
    })?;
    let version = before.version.max(next.epoch << EPOCH_BITS) + 1;
    demand(
        next.version == version && (is_unseen(next.epoch) || version > seat.last_version),
        Invariant::VersionGrowsByOne,
        "the next version, or the first one of a newer epoch",
        || format!("{} after {}", next.version, before.version.max(seat.last_version)),
    )?;
    demand(next.epoch >= before.epoch, Invariant::EpochsGrow, "no older epoch", || {
        format!("{} after {}", next.epoch, before.epoch)
    })?;
    let since = if next.status == before.status { before.since } else { when.wall };
    demand(
        next.since == since,
        Invariant::SinceMovesOnlyWithStatus,
        "since now if the status changes, else as it was",
        || format!("{} instead of {since}", next.since),
    )?;
    let recovered = (next.status, next.why) == (Status::Reconnecting, Why::ServerRestarted);
    demand(
        seat.recovering == recovered,
        Invariant::RestartIsHonest,
        "reconnecting, because the server was restarted, first and only after a restart",
        || format!("{:?}, {:?}", next.status, next.why),
    )?;
    demand(
        recovered || next.status == before.status || edge(before.status, next.status),
        Invariant::StatusEdges,
        "a published edge",
        || format!("{:?} -> {:?}", before.status, next.status),
    )?;
    heartbeats::ailment_is_true(seat, next, when.local, rules)?;
    let again = (next.status, next.why, next.epoch) == (before.status, before.why, before.epoch);
    if again {
        // What troubles the store may change; it is not among the facts.
        let differs = next.ailment != before.ailment || next.ailment == Some(Ailment::NotRecorded);
        demand(differs, Invariant::NoEmptyReport, "something new", || {
            format!("{:?} again", next.status)
        })?;
    } else if !recovered {
        because(seat, next, when.local, host, rules)?;
    }
    seat.shown = next;
    if !is_unseen(next.epoch) {
        seat.last_version = next.version;
    }
    seat.step.shown = true;
    seat.recovering = false;
    Ok(())
}

fn because(
    seat: &mut Seat,
    next: Presence,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    let came = seat.step.came;
    let by_agent = |code| came == Came::Lost(End { by: EndedBy::There, code: Some(code) });
    let holds = match next.why {
        Why::Hello => next.status == Status::Connecting && seat.hello.is_some(),
        Why::Opened => next.status == Status::Online && came == Came::Opened,
        Why::TakenOver => {
            let took = came == Came::TakenOver || seat.step.superseded;
            next.status == Status::Online && took
        }
        Why::Replaced => {
            next.status == Status::Online && came == Came::Replaced && !seat.step.superseded
        }
        Why::NotAdmitted => {
            seat.step.hello_ended && !matches!(came, Came::Lost(_)) && ended(next.status)
        }
        Why::Silence(d) if next.status == Status::Stale => {
            if let Some(s) = &mut seat.session {
                s.silence.called_stale(now, host, rules)?;
            }
            d == rules.stale_after
        }
        Why::Silence(d) => seat.step.gave_up && d == rules.timeout_after,
        Why::HeardAgain => {
            seat.step.was_stale
                && matches!(came, Came::Frame | Came::Pong | Came::Beat(_))
                && matches!(next.status, Status::Online | Status::Error)
        }
        Why::LinkEnded(end) => came == Came::Lost(end) && ended(next.status),
        Why::Stopped => {
            (by_agent(NORMAL) || by_agent(AGENT_STOPPED)) && next.status == Status::Offline
        }
        Why::Ordered(Order::Stop) => by_agent(TOLD_TO_STOP) && next.status == Status::Offline,
        Why::Ordered(Order::Restart) => by_agent(TOLD_TO_RESTART) && next.status == Status::Offline,
        Why::WindowOver => next.status == Status::Offline && seat.awaited.is_some(),
        Why::ServerRestarted => false,
        Why::Evicted => next.status == Status::Offline && came == Came::Evicted,
        Why::Faulted => came == Came::Faulted,
    };
    demand(holds, Invariant::ReasonIsTrue, "a reason that is what happened", || {
        format!("{:?} because {:?}, upon {came:?}", next.status, next.why)
    })?;
    if next.status == Status::Offline {
        goes_offline(seat, next.why, now, host, rules)?;
    }
    Ok(())
}

/// Offline is what remains when nothing does; a window that is open keeps it away.
fn goes_offline(seat: &mut Seat, why: Why, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
    let Some(awaited) = seat.awaited else { return Ok(()) };
    demand(
        now + rules.wobble >= awaited.counted_from + rules.resume_window,
        Invariant::ResumeWindowIsKept,
        "an agent awaited for the whole of the resume window",
        || format!("offline after {} ns", now - awaited.since),
    )?;
    let latest = host.latest(awaited.since, rules.resume_window) + rules.tolerance;
    demand(
        why != Why::WindowOver || now <= latest,
        Invariant::ResumeWindowIsKept,
        "offline when the resume window is over",
        || format!("offline after {} ns", now - awaited.since),
    )?;
    seat.awaited = None;
    Ok(())
}

/// At the end of a step the status is what the model would say by itself.
#[inline]
pub(super) fn status_is_true(seat: &Seat) -> Checked {
    if !seat.installed {
        return Ok(());
    }
    let (is, invariant) = match (&seat.session, &seat.hello, &seat.awaited) {
        (Some(s), _, _) => {
            let is = match (s.silence.is_stale(), s.faulted) {
                (true, _) => Status::Stale,
                (false, true) => Status::Error,
                (false, false) => Status::Online,
            };
            let invariant = match (seat.step.was_stale, s.faulted) {
                (true, _) => Invariant::AnyFrameProvesLife,
                (false, true) => Invariant::FaultIsShown,
                (false, false) => Invariant::StatusIsTrue,
            };
            (is, invariant)
        }
        (None, Some(_), _) => (Status::Connecting, Invariant::StatusIsTrue),
        (None, None, Some(a)) if a.after == Loss::Silence => {
            (Status::TimedOut, Invariant::StatusIsTrue)
        }
        (None, None, Some(_)) => (Status::Reconnecting, Invariant::StatusIsTrue),
        (None, None, None) if seat.step.came == Came::Evicted => {
            (Status::Offline, Invariant::EvictionIsObeyed)
        }
        (None, None, None) => (Status::Offline, Invariant::StatusIsTrue),
    };
    demand(seat.shown.status == is, invariant, "the status that it amounts to", || {
        format!("{:?} instead of {is:?}", seat.shown.status)
    })?;
    let epoch = seat.session.map_or(seat.shown.epoch, |s| s.epoch);
    demand(seat.shown.epoch == epoch, Invariant::StatusIsTrue, "the epoch of the session", || {
        format!("{} instead of {epoch}", seat.shown.epoch)
    })?;
    demand(
        seat.evicted || is != Status::Offline || !seat.step.shown,
        Invariant::TerminalIsFinal,
        "an agent that is offline to be forgotten",
        || "its machine is kept".into(),
    )
}

/// The machine is done.
pub(super) fn forgotten(seat: &mut Seat) -> Checked {
    seat.does()?;
    let over = seat.session.is_none() && seat.hello.is_none() && seat.awaited.is_none();
    demand(over, Invariant::StatusIsTrue, "nothing forgotten that is not over", || {
        format!("forgotten while {:?}", seat.shown.status)
    })?;
    seat.evicted = true;
    Ok(())
}

const fn ended(status: Status) -> bool {
    matches!(status, Status::Reconnecting | Status::TimedOut | Status::Offline)
}
