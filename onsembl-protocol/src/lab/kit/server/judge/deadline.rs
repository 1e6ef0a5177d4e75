//! When the server asks to be woken.

use super::Judge;
use super::life::Life;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::time::Deadline;

impl Judge {
    pub(super) fn wakes_in_time(&mut self, call: &Call<'_>) -> Result<(), Violation> {
        let over = matches!(self.life, Life::New | Life::Gone);
        if !over && call.deadline == Deadline::Never {
            let name = Invariant::EveryWaitHasADeadline;
            call.blame(name, "a deadline until the end", "asks for no wake-up")?;
        }
        match &mut self.life {
            Life::New => Ok(()),
            Life::Gone if call.deadline == Deadline::Never => Ok(()),
            Life::Gone => call.blame(Invariant::TerminalIsFinal, "no wake-up", call.did()),
            Life::Joining(j, _) => {
                call.wakes_by(j.by, Invariant::HelloIsAnswered, "the hello is given up")
            }
            Life::Away(away) => {
                call.wakes_by(away.until, Invariant::ResumeWindowIsKept, "the window is over")
            }
            Life::Session(s, other) => {
                if s.silence.was_attended(call.at) {
                    s.silence.armed(call.deadline);
                }
                call.wakes_by(s.silence.due(), s.silence.name(), s.silence.next_word())?;
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
}
