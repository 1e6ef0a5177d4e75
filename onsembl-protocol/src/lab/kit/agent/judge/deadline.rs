//! When the agent asks to be woken.

use super::owed::Expected;
use super::state::State;
use super::{Judge, SLEPT};
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::time::Deadline;
use std::format;

/// The deadline comes no later than whatever is due next.
pub(super) fn wakes_in_time(
    judge: &mut Judge,
    call: &Call<'_>,
    expected: &Expected,
) -> Result<(), Violation> {
    if !matches!(judge.state, State::Idle | State::Closed) && call.deadline == Deadline::Never {
        let wanted = format!("a deadline while {}", judge.state.phase());
        call.blame(Invariant::EveryWaitHasADeadline, wanted, "asks for no wake-up")?;
    }
    match &mut judge.state {
        State::Idle | State::Closed => Ok(()),
        State::Connecting { by, .. } => {
            call.wakes_by(*by, Invariant::GivesUpInTime, "the dial is given up")
        }
        State::Joining { by, .. } => {
            call.wakes_by(*by, Invariant::GivesUpInTime, "the hello is given up")
        }
        State::Reconnecting { window, .. } => {
            let slept = expected.change == Invariant::SleepIsNoticed;
            let name = if slept { Invariant::SleepIsNoticed } else { Invariant::ComesBack };
            call.wakes_by(window.by, name, "the next dial is due")
        }
        State::Connected(s) => {
            if s.silence.was_attended(call.at) {
                s.silence.armed(call.deadline);
            }
            call.wakes_by(s.silence.due(), s.silence.name(), s.silence.next_text())?;
            let name = if call.slept >= SLEPT {
                Invariant::SleepIsNoticed
            } else {
                Invariant::BeatsEveryInterval
            };
            call.wakes_by(s.beats.due(), name, "a beat is due")
        }
    }
}
