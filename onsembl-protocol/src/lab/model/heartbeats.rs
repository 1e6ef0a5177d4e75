//! Heartbeats, the server's end. It demands: what is heard is recorded, what is called recorded is;
//! beats are counted, tell truly what was seen, leave each interval and answer within half of one;
//! a lag of the store is named in time, only if there is one, and no longer than it lasts.

use super::host::Host;
use super::rules::Rules;
use super::seat::{Came, Seat};
use super::sessions;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Ailment, Down, Epoch, LocalNanos, Presence, Sequence, Status, Up, Wire};
use alloc::format;

/// The machine is given a frame.
#[inline]
pub(super) fn heard(seat: &mut Seat, wire: Wire, frame: Up, now: LocalNanos) -> Checked {
    let Some(session) = seat.session.as_mut().filter(|s| s.wire == wire) else {
        return seat.informed(Came::Foreign);
    };
    seat.step.was_stale = session.silence.is_stale();
    session.silence.heard(now);
    seat.step.came = match frame {
        Up::Beat { sequence, seen } => {
            session.extended = true;
            session.seen = session.seen.max(seen);
            session.heard = session.heard.max(sequence);
            session.unrecorded.happened(sequence, now);
            session.unanswered = session.unanswered.or(Some(now));
            seat.step.record = Some(sequence);
            Came::Beat(sequence)
        }
        Up::Pong => {
            session.probed = None;
            Came::Pong
        }
        Up::Hello | Up::Other => Came::Frame,
    };
    Ok(())
}

/// The machine sends a frame.
#[inline]
pub(super) fn says(
    seat: &mut Seat,
    wire: Wire,
    frame: Down,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    seat.does()?;
    let current = seat.session.is_some_and(|s| s.wire == wire);
    demand(
        current,
        Invariant::SpeaksOverCurrentWire,
        "frames over the wire of the session only",
        || format!("{frame:?} over {wire:?}"),
    )?;
    if let Down::Welcome(epoch) = frame {
        return sessions::welcomes(seat, wire, epoch);
    }
    demand(!seat.step.welcome, Invariant::WelcomeIsCommitted, "the welcome first", || {
        format!("{frame:?}")
    })?;
    let Some(s) = &mut seat.session else { return Ok(()) };
    match frame {
        Down::Beat { sequence, seen, recorded, lagging } => {
            demand(sequence == s.sent + 1, Invariant::BeatsAreNumbered, "the next number", || {
                format!("{sequence} after {}", s.sent)
            })?;
            demand(seen == s.heard, Invariant::SeenIsHeard, "the latest beat heard", || {
                format!("{seen} instead of {}", s.heard)
            })?;
            demand(
                recorded <= s.committed && recorded >= s.recorded,
                Invariant::RecordedIsCommitted,
                "what the store holds, and not less than before",
                || format!("{recorded}, held: {}, said: {}", s.committed, s.recorded),
            )?;
            s.recorded = recorded;
            s.sent = sequence;
            let asked = s.unanswered.take();
            if lagging {
                lag_is_true(s.unrecorded.oldest_at_earliest(), now, rules)?;
            }
            answered(asked, now, host, rules)?;
            beats(s.sent_at, now, host, rules)?;
            s.sent_at = now;
        }
        Down::Ping => {
            s.sent += 1;
            beats(s.sent_at, now, host, rules)?;
            s.sent_at = now;
            s.probed = s.probed.or(Some(now));
        }
        Down::Other | Down::Refused | Down::Welcome(_) => {}
    }
    Ok(())
}

#[inline]
pub(super) fn beat_asked(
    seat: &mut Seat,
    epoch: Epoch,
    sequence: Sequence,
    now: LocalNanos,
) -> Checked {
    seat.does()?;
    let Some(s) = seat.session.as_mut() else {
        return demand(false, Invariant::BeatIsRecorded, "nothing without a session", || {
            format!("beat {sequence}")
        });
    };
    let came = seat.step.came;
    if came == Came::Pong && !s.extended && sequence == s.heard + 1 {
        s.heard = sequence;
        s.unrecorded.happened(sequence, now);
        seat.step.came = Came::Frame;
        return Ok(());
    }
    let heard = seat.step.record.take() == Some(sequence) && epoch == s.epoch;
    demand(
        heard,
        Invariant::BeatIsRecorded,
        "the heartbeat of this step under its number and epoch, once",
        || format!("{sequence} under {epoch} upon {came:?}"),
    )
}

#[inline]
pub(super) fn beat_committed(seat: &mut Seat, epoch: Epoch, sequence: Sequence) -> Checked {
    if let Some(s) = seat.session.as_mut().filter(|s| s.epoch == epoch) {
        s.committed = s.committed.max(sequence);
    }
    Ok(())
}

#[inline]
pub(super) fn beat_answered(seat: &mut Seat, epoch: Epoch, sequence: Sequence) -> Checked {
    if let Some(s) = seat.session.as_mut().filter(|s| s.epoch == epoch) {
        s.unrecorded.confirmed(sequence);
    }
    seat.informed(Came::Store)
}

pub(super) fn fault_reported(seat: &mut Seat, wire: Wire) -> Checked {
    match seat.session.as_mut().filter(|s| s.wire == wire) {
        Some(session) => {
            session.faulted = true;
            seat.informed(Came::Faulted)
        }
        None => seat.informed(Came::Foreign),
    }
}

/// What is said to ail the session does ail it.
pub(super) fn ailment_is_true(
    seat: &Seat,
    next: Presence,
    now: LocalNanos,
    rules: &Rules,
) -> Checked {
    let Some(ailment) = next.ailment else { return Ok(()) };
    let session = match next.status {
        Status::Online | Status::Stale | Status::Error => seat.session.as_ref(),
        Status::Connecting | Status::TimedOut | Status::Reconnecting | Status::Offline => None,
    };
    let Some(s) = session else {
        return demand(
            false,
            Invariant::AilmentOnlyInSession,
            "no ailment without a session",
            || format!("{ailment:?} while {:?}", next.status),
        );
    };
    match ailment {
        Ailment::NotRecorded => lag_is_true(s.unrecorded.oldest_at_earliest(), now, rules),
        Ailment::NotSeen => {
            demand(s.seen < s.sent, Invariant::LagIsTrue, "a beat that was not seen", || {
                format!("{} of {} seen", s.seen, s.sent)
            })
        }
        Ailment::ProbeUnanswered => demand(
            s.probed.is_some_and(|at| now + rules.wobble >= at + rules.interval * 5 / 2),
            Invariant::LagIsTrue,
            "a probe that is not answered for two intervals and a half",
            || format!("the oldest left at {:?}, now {now}", s.probed),
        ),
    }
}

/// What had to be done by now is done.
#[inline]
pub(super) fn in_time(seat: &Seat, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
    if let Some(s) = &seat.session {
        s.silence.unnamed(now, host, rules)?;
        beats(s.sent_at, now, host, rules)?;
        answered(s.unanswered, now, host, rules)?;
        let named = seat.shown.ailment == Some(Ailment::NotRecorded);
        if let Some(oldest) = s.unrecorded.oldest_at_latest() {
            demand(
                named || now <= host.latest(oldest, 2 * rules.interval) + rules.tolerance,
                Invariant::LagNamedInTime,
                "a heartbeat that is not recorded named within two intervals",
                || format!("nothing said after {} ns", now - oldest),
            )?;
        }
        if named {
            demand(
                lag_is_true(s.unrecorded.oldest_at_earliest(), now, rules).is_ok(),
                Invariant::LagHeals,
                "no lag named when none is left",
                || "not recorded".into(),
            )?;
        }
    }
    if let Some(hello) = &seat.hello {
        demand(
            now <= host.latest(hello.since, rules.admission_timeout) + rules.tolerance,
            Invariant::GivesUpInTime,
            "a hello answered or closed in time",
            || format!("{} ns after it", now - hello.since),
        )?;
    } else if seat.session.is_none()
        && let Some(awaited) = &seat.awaited
    {
        demand(
            now <= host.latest(awaited.since, rules.resume_window) + rules.tolerance,
            Invariant::ResumeWindowIsKept,
            "offline when the resume window is over",
            || format!("awaited for {} ns", now - awaited.since),
        )?;
    }
    Ok(())
}

/// A beat leaves no later than an interval after the last one.
#[inline]
pub(super) fn beats(sent_at: LocalNanos, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
    demand(
        now <= host.latest(sent_at, rules.interval) + rules.tolerance,
        Invariant::BeatsEveryInterval,
        "a heartbeat each interval",
        || format!("none for {} ns", now - sent_at),
    )
}

#[inline]
fn answered(asked: Option<LocalNanos>, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
    let Some(asked) = asked else { return Ok(()) };
    demand(
        now <= host.latest(asked, rules.interval / 2) + rules.tolerance,
        Invariant::BeatIsAnswered,
        "an answer within half an interval",
        || format!("none for {} ns", now - asked),
    )
}

fn lag_is_true(oldest: Option<LocalNanos>, now: LocalNanos, rules: &Rules) -> Checked {
    demand(
        oldest.is_some_and(|at| now + rules.wobble >= at + rules.interval / 2),
        Invariant::LagIsTrue,
        "a heartbeat that is not recorded for half an interval",
        || format!("the oldest came at {oldest:?}, now {now}"),
    )
}
