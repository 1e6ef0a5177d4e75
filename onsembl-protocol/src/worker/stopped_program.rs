//! A program that a signal has stopped (`SIGSTOP`, or the one of Ctrl-Z): it lives, and does nothing until somebody
//! continues it. Here is when that is told, and how somebody can; the edge looks at the process.

use crate::id::CommandId;
use crate::time::{Deadline, Now, Timestamp, WallTime};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Shorter stops are not told of: shells and debuggers stop a program for a moment.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// How often it is told again. A server shows it for a minute.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Whether the program of a terminal is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// It is not.
    Runs,
    /// This process of it is.
    Stopped {
        /// Its number.
        process: i32,
    },
}

/// What is told of the program of a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoppedProgram(State);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Runs,
    Stopped {
        process: i32,
        since: WallTime,
        told: Told,
        tell_at: Timestamp,
    },
    /// It runs again, and a stop was told of.
    Continued,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    NotYet,
    Once,
}

/// What is to be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopNews {
    IsStopped,
    /// The same once more.
    StillStopped,
    RunsAgain,
}

impl StoppedProgram {
    /// It was looked at.
    pub(super) fn on_state(&mut self, seen: ProgramState, now: Now) {
        self.0 = match (self.0, seen) {
            (State::Stopped { process, .. }, ProgramState::Stopped { process: same })
                if process == same =>
            {
                self.0
            }
            (State::Stopped { since, told, tell_at, .. }, ProgramState::Stopped { process }) => {
                State::Stopped { process, since, told, tell_at }
            }
            (State::Runs | State::Continued, ProgramState::Stopped { process }) => State::Stopped {
                process,
                since: now.wall,
                told: Told::NotYet,
                tell_at: now.monotonic.saturating_add(TOLD_AFTER),
            },
            (State::Stopped { told: Told::Once, .. } | State::Continued, ProgramState::Runs) => {
                State::Continued
            }
            (State::Stopped { told: Told::NotYet, .. } | State::Runs, ProgramState::Runs) => {
                State::Runs
            }
        };
    }

    /// What is to be told now.
    pub(super) fn poll(&mut self, now: Timestamp) -> Option<StopNews> {
        match &mut self.0 {
            State::Stopped { told, tell_at, .. } if *tell_at <= now => {
                *tell_at = now.saturating_add(TOLD_EVERY);
                Some(match core::mem::replace(told, Told::Once) {
                    Told::NotYet => StopNews::IsStopped,
                    Told::Once => StopNews::StillStopped,
                })
            }
            State::Continued => {
                self.0 = State::Runs;
                Some(StopNews::RunsAgain)
            }
            State::Stopped { .. } | State::Runs => None,
        }
    }

    /// When there is something to tell.
    pub(super) const fn deadline(&self) -> Deadline {
        match self.0 {
            State::Stopped { tell_at, .. } => Deadline::At(tell_at),
            State::Runs | State::Continued => Deadline::Never,
        }
    }

    /// For people, once it was told: since when it is stopped, and what continues it. `run`: its terminal.
    pub(super) fn why(&self, run: &CommandId) -> Option<String> {
        match self.0 {
            State::Stopped { process, since, told: Told::Once, .. } => Some(format!(
                "stopped by a signal since {since}; continue it on its machine with `kill -CONT {process}`, or start it afresh with `onsembl cancel {run}`"
            )),
            State::Stopped { told: Told::NotYet, .. } | State::Runs | State::Continued => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOPPED: ProgramState = ProgramState::Stopped { process: 7 };

    fn at(ms: u64) -> Now {
        Now::without_suspend(Duration::from_millis(1_000_000 + ms))
    }

    #[test]
    fn a_stop_is_told_when_it_lasts_again_while_it_does_and_that_it_is_over_once() {
        let mut program = StoppedProgram::default();
        let run = CommandId::new("terminal-1");
        program.on_state(STOPPED, at(0));
        assert_eq!((program.poll(at(1_999).monotonic), program.why(&run)), (None, None));
        assert_eq!(program.deadline(), Deadline::At(at(2_000).monotonic));
        assert_eq!(program.poll(at(2_000).monotonic), Some(StopNews::IsStopped));
        program.on_state(STOPPED, at(3_000));
        assert_eq!(program.poll(at(31_999).monotonic), None);
        assert_eq!(program.poll(at(32_000).monotonic), Some(StopNews::StillStopped));
        let why = program.why(&run).unwrap();
        assert!(why.contains("kill -CONT 7") && why.contains("cancel terminal-1"), "{why}");
        assert!(why.contains(&format!("since {}", at(0).wall)), "{why}");
        program.on_state(ProgramState::Runs, at(40_000));
        assert_eq!(program.poll(at(40_000).monotonic), Some(StopNews::RunsAgain));
        program.on_state(ProgramState::Runs, at(41_000));
        assert_eq!((program.poll(at(99_000).monotonic), program.why(&run)), (None, None));
        assert_eq!(program.deadline(), Deadline::Never);
    }

    #[test]
    fn a_stop_for_a_moment_is_not_told_of() {
        let mut program = StoppedProgram::default();
        program.on_state(STOPPED, at(0));
        program.on_state(ProgramState::Runs, at(1_000));
        assert_eq!(program.poll(at(60_000).monotonic), None);
        // One that is stopped again at once was stopped all the time, as far as people see it.
        program.on_state(STOPPED, at(60_000));
        assert_eq!(program.poll(at(62_000).monotonic), Some(StopNews::IsStopped));
        program.on_state(ProgramState::Stopped { process: 8 }, at(63_000));
        assert_eq!(program.poll(at(64_000).monotonic), None);
        assert!(program.why(&CommandId::new("terminal-1")).unwrap().contains("kill -CONT 8"));
    }
}
