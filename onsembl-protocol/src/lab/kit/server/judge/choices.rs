//! What is said of a silence within a range, and what must not be put off beyond it.

use super::Judge;
use super::owed::{Expected, Owed};
use super::report::report;
use super::state::{Absence, Away, State};
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::{PresenceStatus, ServerAction};

/// What may be said of a silence within a range.
pub(super) fn chooses(
    judge: &mut Judge,
    call: &Call<'_>,
    output: &[ServerAction],
    e: &mut Expected,
) -> Result<(), Violation> {
    let State::Online(s, other) = &mut judge.state else { return Ok(()) };
    let other = *other;
    let shown = output.iter().find_map(|action| report(*action)).map(|p| p.status);
    let closed = |link| output.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link));
    let mut overdue = e.owed.is_empty();
    if shown == Some(PresenceStatus::Stale) && !s.silence.is_stale() {
        s.silence.goes_stale(call)?;
    } else if shown == Some(PresenceStatus::TimedOut)
        || (shown == Some(PresenceStatus::Connecting) && other.is_some() && closed(s.link))
    {
        s.silence.times_out(call)?;
        e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
        e.change = Invariant::SilentPeerTimesOutExactly;
        let until = call.at.saturating_add(judge.config.resume_window);
        let away = Away { why: Absence::TimedOut, until };
        judge.state = match other {
            Some(j) => State::Connecting(j, Some(away)),
            None => State::Reconnecting(away),
        };
        overdue = false;
    }
    let State::Online(s, _) = &mut judge.state else { return Ok(()) };
    if !overdue {
        return Ok(());
    }
    if call.is_overdue(s.silence.due()) {
        call.blame(s.silence.name(), s.silence.next_text(), call.output())?;
    }
    if call.is_overdue(s.beats.due()) {
        e.owe(Owed::Beat(s.link), Invariant::BeatsEveryInterval);
    }
    if s.answer_by.is_some_and(|by| call.is_overdue(by)) {
        e.owe(Owed::Answer(s.link), Invariant::BeatIsAnswered);
    }
    Ok(())
}
