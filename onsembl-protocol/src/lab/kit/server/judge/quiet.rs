//! Calls that may cause nothing: after the end, too early, or of a link that is unknown.

use super::Judge;
use super::state::State;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::ServerEvent;
use crate::time::Deadline;

pub(super) fn silent_calls(
    judge: &Judge,
    event: ServerEvent,
    call: &Call<'_>,
) -> Result<(), Violation> {
    if matches!(judge.state, State::Closed) {
        if call.actions > 0 || call.deadline != Deadline::Never {
            call.blame(Invariant::TerminalIsFinal, "nothing, and no wake-up", call.output())?;
        }
        return Ok(());
    }
    if call.is_late() {
        return Ok(());
    }
    if call.is_early() {
        let watched = matches!(judge.state, State::Online(s, _) if s.silence.is_stale());
        call.must_be_silent(Invariant::EarlyWakeIsSilent, !watched)?;
    }
    match event {
        ServerEvent::Admitted { link, .. }
        | ServerEvent::Rejected { link, .. }
        | ServerEvent::Received(link, _)
        | ServerEvent::Faulted(link)
        | ServerEvent::LinkDown(link, _)
            if !judge.state.knows(link) =>
        {
            call.must_be_silent(Invariant::OldLinkChangesNothing, true)
        }
        ServerEvent::Joined { .. }
        | ServerEvent::Admitted { .. }
        | ServerEvent::Rejected { .. }
        | ServerEvent::Received(..)
        | ServerEvent::Recorded { .. }
        | ServerEvent::Store(_)
        | ServerEvent::Faulted(_)
        | ServerEvent::LinkDown(..)
        | ServerEvent::Evict(_)
        | ServerEvent::Wake => Ok(()),
    }
}
