//! Sessions. It demands: a hello is served; epochs grow; a session belongs to the process whose
//! hello opened it; the latest hello counts, and of two wires of an agent one is current, the other
//! learns which of the two reasons ended it.

use super::seat::{Came, Hello, Owed, Seat, Session};
use super::silence::Silence;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Epoch, LocalNanos, Process, Wire};
use alloc::format;

pub(super) fn joined(seat: &mut Seat, wire: Wire, process: Process, now: LocalNanos) -> Checked {
    seat.informed(Came::Hello)?;
    if let Some(earlier) = seat.hello {
        seat.owe_close(earlier.wire, Owed::Superseded);
    }
    seat.hello = Some(Hello { wire, process, since: now, counted_from: now });
    seat.step.ask = Some(wire);
    Ok(())
}

pub(super) fn session_asked(seat: &mut Seat, wire: Wire) -> Checked {
    seat.does()?;
    demand(
        seat.step.ask == Some(wire),
        Invariant::HelloIsAnswered,
        "a session asked for once, for the wire of the hello",
        || format!("{wire:?} asked for, {:?} open", seat.step.ask),
    )?;
    seat.step.ask = None;
    Ok(())
}

pub(super) fn session_committed(seat: &mut Seat, epoch: Epoch, process: Process) -> Checked {
    demand(
        seat.committed.is_none_or(|(before, _)| epoch > before),
        Invariant::EpochsGrow,
        "a greater epoch for each session",
        || format!("{epoch} after {:?}", seat.committed),
    )?;
    seat.committed = Some((epoch, process));
    Ok(())
}

pub(super) fn session_answered(
    seat: &mut Seat,
    wire: Wire,
    epoch: Epoch,
    now: LocalNanos,
) -> Checked {
    seat.known = true;
    let Some(hello) = seat.hello.filter(|h| h.wire == wire) else {
        return seat.informed(Came::Foreign);
    };
    let committed = seat
        .committed
        .is_some_and(|(latest, by)| epoch < latest || (epoch == latest && by == hello.process));
    demand(
        committed,
        Invariant::WelcomeIsCommitted,
        "a session that the store holds for this process",
        || format!("epoch {epoch} for {:?}, held: {:?}", hello.process, seat.committed),
    )?;
    let came = match seat.session {
        None => Came::Opened,
        Some(old) if old.process == hello.process => {
            seat.owe_close(old.wire, Owed::Superseded);
            Came::TakenOver
        }
        Some(old) => {
            seat.owe_close(old.wire, Owed::Replaced { legacy: !old.extended });
            Came::Replaced
        }
    };
    let mut silence = Silence::default();
    silence.heard(now);
    seat.session = Some(Session {
        wire,
        process: hello.process,
        epoch,
        silence,
        faulted: false,
        extended: false,
        unrecorded: Default::default(),
        heard: 0,
        committed: 0,
        recorded: 0,
        sent: 0,
        sent_at: now,
        seen: 0,
        unanswered: None,
        probed: None,
    });
    seat.hello = None;
    seat.awaited = None;
    seat.step.welcome = true;
    seat.informed(came)
}

pub(super) fn session_denied(seat: &mut Seat, wire: Wire) -> Checked {
    if seat.hello.is_none_or(|h| h.wire != wire) {
        return seat.informed(Came::Foreign);
    }
    seat.hello = None;
    seat.step.hello_ended = true;
    seat.owe_close(wire, Owed::Any);
    seat.informed(Came::Denied)
}

pub(super) fn welcomes(seat: &mut Seat, wire: Wire, epoch: Epoch) -> Checked {
    let session = seat.session.filter(|s| seat.step.welcome && s.wire == wire);
    demand(
        session.is_some_and(|s| s.epoch == epoch),
        Invariant::WelcomeIsCommitted,
        "one welcome, for the session that was opened in this step",
        || format!("epoch {epoch} over {wire:?}"),
    )?;
    seat.step.welcome = false;
    Ok(())
}
