//! What the agent decides by itself within a range, and what must not be put off beyond it.

use super::super::subject::Observation;
use super::Judge;
use super::events;
use super::owed::{Expected, Owed};
use super::state::{State, Wait};
use crate::close::CloseCause;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::AgentStatusKind;
use std::format;

/// What the agent may decide by itself within a range: when to dial, and what to say of a
/// silence.
pub(super) fn chooses(
    judge: &mut Judge,
    call: &Call<'_>,
    seen: &[Observation],
    e: &mut Expected,
) -> Result<(), Violation> {
    let shows = |phase| seen.contains(&Observation::Shown(phase));
    let dials = seen.iter().find_map(Observation::dialled);
    if let Some(link) = dials {
        let by = call.at.saturating_add(judge.rules.dial_timeout);
        match judge.state {
            State::Idle if e.owed.iter().any(|(owed, _)| *owed == Owed::Dial) => {}
            State::Reconnecting { window, .. } => {
                if call.at < window.from {
                    let wait = window.from.saturating_since(call.at);
                    let expected = format!("no dial for another {wait:?}");
                    call.blame(Invariant::RedialsByBackoff, expected, call.output())?;
                }
            }
            State::Closed => {
                return call.blame(e.change, "no dial any more", call.output());
            }
            State::Idle
            | State::Connecting { .. }
            | State::Joining { .. }
            | State::Connected(_) => {
                return call.blame(Invariant::OneLinkAtATime, "no dial", call.output());
            }
        }
        judge.state = State::Connecting { link, by };
        e.change = Invariant::ComesBack;
    }
    let State::Connected(s) = &mut judge.state else { return Ok(()) };
    if shows(AgentStatusKind::Stale) && !s.silence.is_stale() {
        s.silence.goes_stale(call)?;
    } else if shows(AgentStatusKind::TimedOut) {
        s.silence.times_out(call)?;
        let owed = Owed::Close(s.link, Some(CloseCause::Silent));
        e.owe(owed, Invariant::OneLinkAtATime);
        events::back_off(judge, call.at, Wait::TimedOut, Invariant::SilentPeerTimesOutExactly, e);
    } else if call.is_overdue(s.silence.due()) {
        call.blame(s.silence.name(), s.silence.next_text(), call.output())?;
    }
    if let State::Connected(s) = &mut judge.state {
        e.news = s.news && s.beats.all_seen(s.seen);
        if e.news || call.is_overdue(s.beats.due()) {
            e.owe(Owed::Beat(s.link), Invariant::BeatsEveryInterval);
        }
    }
    Ok(())
}
