//! When the server asks to be woken.

use super::Judge;
use super::state::State;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::time::Deadline;

pub(super) fn wakes_in_time(judge: &mut Judge, call: &Call<'_>) -> Result<(), Violation> {
    let over = matches!(judge.state, State::Offline | State::Closed);
    if !over && call.deadline == Deadline::Never {
        let name = Invariant::EveryWaitHasADeadline;
        call.blame(name, "a deadline until the end", "asks for no wake-up")?;
    }
    match &mut judge.state {
        State::Offline => Ok(()),
        State::Closed if call.deadline == Deadline::Never => Ok(()),
        State::Closed => call.blame(Invariant::TerminalIsFinal, "no wake-up", call.output()),
        State::Connecting(j, _) => {
            call.wakes_by(j.by, Invariant::HelloIsAnswered, "the hello is given up")
        }
        State::Reconnecting(away) => {
            call.wakes_by(away.until, Invariant::ResumeWindowIsKept, "the window is over")
        }
        State::Online(s, other) => {
            if s.silence.was_attended(call.at) {
                s.silence.armed(call.deadline);
            }
            call.wakes_by(s.silence.due(), s.silence.name(), s.silence.next_text())?;
            call.wakes_by(s.beats.due(), Invariant::BeatsEveryInterval, "a beat is due")?;
            if let Some(by) = s.answer_by {
                call.wakes_by(by, Invariant::BeatIsAnswered, "the answer is due")?;
            }
            if let Some(j) = other {
                call.wakes_by(j.by, Invariant::HelloIsAnswered, "the hello is given up")?;
            }
            Ok(())
        }
    }
}
