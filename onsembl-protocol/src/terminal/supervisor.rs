//! When the program of a terminal is started: with the agent, and again whenever it has ended.

use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// The pause before the second start of a program that ends at once; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a person who mended the program does not wait long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a program must run for the pauses to be reset.
const WAS_WELL: Duration = Duration::from_secs(10);

/// What follows the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterEnd {
    /// It is started again.
    Restart,
    /// The agent ends too: the program was ended at its own terminal.
    Finish,
}

/// Keeps one program running.
#[derive(Debug)]
pub(crate) struct TerminalSupervisor {
    after_end: AfterEnd,
    state: State,
    starts: Starts,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { start_at: Timestamp, why: Down },
    Starting,
    Up { since: Timestamp },
    Over,
}

/// Whether it may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starts {
    Allowed,
    /// An emergency stop is in force.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    NotYet,
    Ended,
    CannotStart,
}

impl TerminalSupervisor {
    /// A program that is to be started now.
    pub(crate) const fn new(after_end: AfterEnd, now: Timestamp) -> Self {
        let state = State::Down { start_at: now, why: Down::NotYet };
        Self { after_end, state, starts: Starts::Allowed, pause: FIRST_PAUSE }
    }

    /// Whether to start it now. After a yes say how it went: [`on_started`](Self::on_started) or
    /// [`on_failed`](Self::on_failed).
    #[must_use = "the program is taken for being started, and would never be"]
    pub(crate) fn take_start(&mut self, now: Timestamp) -> bool {
        let is_due = self.deadline().is_due(now);
        if is_due {
            self.state = State::Starting;
        }
        is_due
    }

    /// It runs.
    pub(crate) fn on_started(&mut self, now: Timestamp) {
        if self.state == State::Starting {
            self.state = State::Up { since: now };
        }
    }

    /// It could not be started, or was not to be.
    pub(crate) fn on_failed(&mut self, now: Timestamp) {
        if self.state == State::Starting {
            self.down(Down::CannotStart, now);
        }
    }

    /// It ended. What follows.
    pub(crate) fn on_ended(&mut self, now: Timestamp) -> AfterEnd {
        if let State::Up { since } = self.state {
            if now.saturating_since(since) >= WAS_WELL {
                self.pause = FIRST_PAUSE;
            }
            // Who ended it under an emergency stop is not who sits before it.
            let after_end = match self.starts {
                Starts::Stopped => AfterEnd::Restart,
                Starts::Allowed => self.after_end,
            };
            match after_end {
                AfterEnd::Restart => self.down(Down::Ended, now),
                AfterEnd::Finish => self.state = State::Over,
            }
            return after_end;
        }
        self.after_end
    }

    fn down(&mut self, why: Down, now: Timestamp) {
        // Doubled, so that a program that cannot run does not occupy its machine.
        self.state = State::Down { start_at: now.saturating_add(self.pause), why };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Nothing may start, or may again.
    pub(crate) const fn set_stopped(&mut self, stopped: bool) {
        self.starts = if stopped { Starts::Stopped } else { Starts::Allowed };
    }

    /// From here on it is started again whenever it ends.
    pub(crate) const fn keep_running(&mut self) {
        self.after_end = AfterEnd::Restart;
    }

    /// The agent ends: nothing is started any more.
    pub(crate) const fn finish(&mut self) {
        self.state = State::Over;
    }

    /// Whether it runs.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether it has run for so long that it is well.
    pub(crate) fn is_well(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Up { since } if now.saturating_since(since) >= WAS_WELL)
    }

    /// Whether the last attempt to start it failed.
    pub(crate) const fn cannot_start(&self) -> bool {
        matches!(self.state, State::Down { why: Down::CannotStart, .. })
    }

    /// When it is to be started.
    pub(crate) const fn deadline(&self) -> Deadline {
        match (self.state, self.starts) {
            (State::Down { start_at, .. }, Starts::Allowed) => Deadline::At(start_at),
            // The release of the stop is an event of its own.
            (State::Down { .. }, Starts::Stopped)
            | (State::Starting | State::Up { .. } | State::Over, _) => Deadline::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn a_program_that_ends_at_once_is_started_ever_more_slowly_and_one_that_was_well_at_once() {
        let mut supervisor = TerminalSupervisor::new(AfterEnd::Restart, at(0));
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(supervisor.take_start(at(now)));
            supervisor.on_started(at(now));
            assert!(supervisor.is_up());
            assert_eq!(supervisor.on_ended(at(now)), AfterEnd::Restart);
            assert_eq!(supervisor.deadline(), Deadline::At(at(now + pause)));
            assert!(!supervisor.take_start(at(now + pause - 1)));
            now += pause;
        }
        assert!(supervisor.take_start(at(now)));
        supervisor.on_started(at(now));
        let _ = supervisor.on_ended(at(now + 10));
        assert_eq!(supervisor.deadline(), Deadline::At(at(now + 11)));
    }

    #[test]
    fn what_cannot_start_is_tried_again_and_said_to_be_so() {
        let mut supervisor = TerminalSupervisor::new(AfterEnd::Finish, at(0));
        assert!(supervisor.take_start(at(0)));
        assert!(!supervisor.take_start(at(0)));
        supervisor.on_failed(at(0));
        assert!(supervisor.cannot_start());
        assert!(supervisor.take_start(at(1)));
        supervisor.on_started(at(1));
        assert!(!supervisor.cannot_start());
        assert_eq!(supervisor.on_ended(at(5)), AfterEnd::Finish);
        assert_eq!(supervisor.deadline(), Deadline::Never);
        assert!(!supervisor.take_start(at(99)));
    }

    #[test]
    fn a_program_that_a_stop_ended_comes_back_when_it_is_released() {
        let mut supervisor = TerminalSupervisor::new(AfterEnd::Finish, at(0));
        assert!(supervisor.take_start(at(0)));
        supervisor.on_started(at(0));
        supervisor.set_stopped(true);
        assert_eq!(supervisor.on_ended(at(5)), AfterEnd::Restart);
        assert_eq!(supervisor.deadline(), Deadline::Never);
        supervisor.set_stopped(false);
        assert!(supervisor.take_start(at(9)));
    }

    #[test]
    fn nothing_starts_while_a_stop_is_in_force_or_after_the_end() {
        let mut supervisor = TerminalSupervisor::new(AfterEnd::Restart, at(0));
        supervisor.set_stopped(true);
        assert!(!supervisor.take_start(at(5)));
        assert_eq!(supervisor.deadline(), Deadline::Never);
        supervisor.set_stopped(false);
        assert_eq!(supervisor.deadline(), Deadline::At(at(0)));
        assert!(supervisor.take_start(at(5)));
        supervisor.on_started(at(5));
        supervisor.finish();
        let _ = supervisor.on_ended(at(6));
        assert_eq!(supervisor.deadline(), Deadline::Never);
        assert!(!supervisor.take_start(at(99)));
    }
}
