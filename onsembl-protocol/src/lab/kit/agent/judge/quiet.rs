//! Calls that may cause nothing: after the end, too early, or of another link.

use super::super::subject::Observation;
use super::state::State;
use super::{Judge, SLEPT};
use crate::lab::Invariant;
use crate::lab::kit::call::{Call, SLACK};
use crate::lab::kit::violation::Violation;
use crate::session::AgentEvent;
use crate::time::Deadline;

/// Calls that may cause nothing.
pub(super) fn silent_calls(
    judge: &Judge,
    event: AgentEvent,
    call: &Call<'_>,
    seen: &[Observation],
) -> Result<(), Violation> {
    let orphan = match event {
        AgentEvent::LinkUp(link) => Some(link),
        AgentEvent::Start
        | AgentEvent::DialFailed(..)
        | AgentEvent::Received(..)
        | AgentEvent::LinkDown(..)
        | AgentEvent::Wake
        | AgentEvent::News
        | AgentEvent::TokenChanged
        | AgentEvent::Stop
        | AgentEvent::EndOrdered(_) => None,
    };
    let drops = |o: &Observation| matches!(o, Observation::Closed(l, _) if Some(*l) == orphan);
    if matches!(judge.state, State::Closed) {
        if !seen.iter().all(drops) || call.deadline != Deadline::Never {
            call.blame(Invariant::TerminalIsFinal, "nothing, and no wake-up", call.output())?;
        }
        return Ok(());
    }
    if call.slept >= SLEPT {
        return Ok(());
    }
    if call.is_early() {
        let watched = matches!(judge.state, State::Connected(s) if s.silence.is_stale());
        call.must_be_silent(Invariant::EarlyWakeIsSilent, !watched)?;
    }
    let named = match event {
        AgentEvent::LinkUp(link)
        | AgentEvent::DialFailed(link, _)
        | AgentEvent::Received(link, _)
        | AgentEvent::LinkDown(link, _) => Some(link),
        AgentEvent::Start
        | AgentEvent::Wake
        | AgentEvent::News
        | AgentEvent::TokenChanged
        | AgentEvent::Stop
        | AgentEvent::EndOrdered(_) => None,
    };
    if named.is_some() && named != judge.state.link() {
        let name = Invariant::OldLinkChangesNothing;
        if !seen.iter().all(drops) {
            call.must_be_silent(name, true)?;
        }
        let overdue = call.asked.is_due(call.at.saturating_add(SLACK));
        if call.deadline != call.asked && !overdue {
            call.blame(name, "the deadline stays", call.output())?;
        }
    }
    Ok(())
}
