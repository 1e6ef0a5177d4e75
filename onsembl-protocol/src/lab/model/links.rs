//! Links, the server's end. It demands: a wire is given up for a reason, with the code of that
//! reason, and closed in the same step; ends of old wires change nothing; every close has a code
//! that may travel; who must go is gone.

use super::dialling::Loss;
use super::host::Host;
use super::rules::Rules;
use super::seat::{Awaited, Came, Owed, Seat};
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Code, End, EndedBy, LocalNanos, Wire};
use alloc::format;

pub(super) const NORMAL: Code = 1000;
pub(super) const TRY_LATER: Code = 1013;
pub(super) const SILENT: Code = 4100;
pub(super) const SUPERSEDED: Code = 4101;
pub(super) const AGENT_STOPPED: Code = 4103;
pub(super) const TOLD_TO_STOP: Code = 4107;
pub(super) const TOLD_TO_RESTART: Code = 4108;
pub(super) const TOKEN_EXPIRED: Code = 4105;
pub(super) const NO_ANSWER: Code = 4106;
pub(super) const REPLACED: Code = 4200;

/// Whether this code keeps an agent away permanently.
pub(super) const fn keeps_away(code: Code) -> bool {
    matches!(code, 4200..=4202)
}

/// Whether we may send this code (P-81).
pub(super) fn own_code(code: Code) -> Checked {
    demand(
        matches!(code, 1000..=1003 | 1007 | 1008 | 1009 | 1011 | 1013 | 4100..=4108 | 4200..=4202),
        Invariant::CloseHasACause,
        "a close code of the table",
        || Seat::code_text(code),
    )
}

/// The machine is given the end of a wire.
pub(super) fn lost(seat: &mut Seat, wire: Wire, end: End, now: LocalNanos) -> Checked {
    if seat.session.is_some_and(|s| s.wire == wire) {
        seat.session = None;
        let stopped = end.by == EndedBy::There
            && matches!(end.code, Some(NORMAL | AGENT_STOPPED | TOLD_TO_STOP | TOLD_TO_RESTART));
        if seat.hello.is_some() || !stopped {
            let awaited = Awaited { after: Loss::LinkEnded, since: now, counted_from: now };
            seat.awaited = Some(awaited);
        }
        return seat.informed(Came::Lost(end));
    }
    if seat.hello.is_some_and(|h| h.wire == wire) {
        seat.hello = None;
        seat.step.hello_ended = true;
        return seat.informed(Came::Lost(end));
    }
    seat.informed(Came::Foreign)
}

/// The machine is given the order to evict its agent.
pub(super) fn evicted(seat: &mut Seat) -> Checked {
    if seat.evicted {
        return Ok(());
    }
    if let Some(session) = seat.session.take() {
        seat.owe_close(session.wire, Owed::Any);
    }
    if let Some(hello) = seat.hello.take() {
        seat.owe_close(hello.wire, Owed::Any);
    }
    seat.awaited = None;
    seat.sent_away = true;
    seat.informed(Came::Evicted)
}

/// The machine asks to close a wire.
pub(super) fn closes(
    seat: &mut Seat,
    wire: Wire,
    code: Code,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    seat.does()?;
    own_code(code)?;
    let owed = seat.pay_close(wire);
    seat.step.superseded |= owed.is_some() && code == SUPERSEDED;
    demand(
        code != NORMAL || matches!(owed, Some(Owed::Replaced { legacy: true })),
        Invariant::NormalOnlyToLegacy,
        "1000 only to a legacy agent that was replaced",
        || format!("1000, owed: {owed:?}"),
    )?;
    match owed {
        Some(Owed::Superseded) => fits(code == SUPERSEDED, code),
        // Two legacy processes that claim one id count as the same (P-57).
        Some(Owed::Replaced { legacy: true }) => {
            fits(matches!(code, NORMAL | SUPERSEDED | REPLACED), code)
        }
        Some(Owed::Replaced { legacy: false }) => fits(code == REPLACED, code),
        Some(Owed::Any) => {
            demand(!matches!(code, SILENT | NO_ANSWER), REASON, "a code that fits", || {
                Seat::code_text(code)
            })
        }
        None => gives_up(seat, wire, code, now, host, rules),
    }
}

/// It was not required that this wire be closed: it takes a time that is over.
fn gives_up(
    seat: &mut Seat,
    wire: Wire,
    code: Code,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    if let Some(session) = seat.session.filter(|s| s.wire == wire) {
        demand(code == SILENT, REASON, "a live link kept", || Seat::code_text(code))?;
        session.silence.called_dead(now, host, rules)?;
        seat.session = None;
        seat.step.gave_up = true;
        seat.awaited = Some(Awaited { after: Loss::Silence, since: now, counted_from: now });
        return Ok(());
    }
    if let Some(hello) = seat.hello.filter(|h| h.wire == wire) {
        let over = now + rules.wobble >= hello.counted_from + rules.admission_timeout;
        demand(code == TRY_LATER && over, REASON, "a hello that may wait", || {
            format!("code {code} {} ns after it", now - hello.since)
        })?;
        seat.hello = None;
        seat.step.hello_ended = true;
        return Ok(());
    }
    demand(false, REASON, "only wires closed that are current or joining", || {
        format!("{wire:?} closed with {code}")
    })
}

const REASON: Invariant = Invariant::GivenUpForAReason;

fn fits(holds: bool, code: Code) -> Checked {
    demand(holds, Invariant::TakeoverIsTold, "4101 for the same process, 4200 for another", || {
        Seat::code_text(code)
    })
}
