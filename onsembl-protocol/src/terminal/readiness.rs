//! Whether the program of a terminal reads from it. That it runs shows nothing: what is typed before it reads is
//! thrown away when it sets its terminal, or its Enter arrives as another key (P-350).

use super::settings::TerminalSettings;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// How long a program must be silent, after it wrote, to be taken for one that waits.
const QUIET: Duration = Duration::from_millis(300);
/// Between two looks at the settings of the terminal.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After this long a program that showed nothing is taken for one that reads: `cat` never shows it.
const LONGEST: Duration = Duration::from_secs(10);

/// Whether the program of a terminal reads from it. A [queue machine](crate::step#two-contracts) without a queue.
#[derive(Debug, Default)]
pub(crate) struct Readiness(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing runs, or what runs is being ended: nothing is typed into it.
    #[default]
    Closed,
    Watched(Watched),
    Reads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    since: Timestamp,
    wrote: Option<Timestamp>,
    look_at: Timestamp,
    /// The last look showed a reader.
    set_for_reading: SetForReading,
}

/// One look is not enough: a program that sets its terminal in two steps may throw away what was typed at the
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetForReading {
    No,
    Once,
}

impl Readiness {
    pub(crate) fn on_started(&mut self, now: Timestamp) {
        let set_for_reading = SetForReading::No;
        self.0 = State::Watched(Watched { since: now, wrote: None, look_at: now, set_for_reading });
    }

    /// It ended, or is being ended.
    pub(crate) fn close(&mut self) {
        self.0 = State::Closed;
    }

    /// It wrote; `takes_pastes`: and has switched on pastes in brackets by now.
    pub(crate) fn on_output(&mut self, takes_pastes: bool, now: Timestamp) {
        match &mut self.0 {
            // Only a program that reads its keys itself asks for that.
            State::Watched(_) if takes_pastes => self.0 = State::Reads,
            State::Watched(watched) => watched.wrote = Some(now),
            State::Closed | State::Reads => {}
        }
    }

    /// Its terminal was looked at. `None`: there is nothing to be seen. Whether the program reads.
    pub(crate) fn on_look(&mut self, settings: Option<TerminalSettings>, now: Timestamp) -> bool {
        let watched = match &mut self.0 {
            State::Closed => return false,
            State::Reads => return true,
            State::Watched(watched) => watched,
        };
        let is_set = settings.is_some_and(|settings| settings.show_a_reader());
        let is_quiet = watched.wrote.is_some_and(|at| at.saturating_add(QUIET) <= now);
        let is_late = watched.since.saturating_add(LONGEST) <= now;
        let stays_set = is_set && watched.set_for_reading == SetForReading::Once;
        if stays_set || is_quiet || is_late {
            self.0 = State::Reads;
            return true;
        }
        // It counts from the last look only: a program that set its terminal back begins again.
        watched.set_for_reading = if is_set { SetForReading::Once } else { SetForReading::No };
        watched.look_at = now.saturating_add(LOOK_EVERY);
        false
    }

    /// Whether to look at the terminal, if something waits to be typed.
    pub(crate) fn wants_look(&self, now: Timestamp) -> bool {
        self.deadline().is_due(now)
    }

    /// When to look at the terminal, if something waits to be typed.
    pub(crate) const fn deadline(&self) -> Deadline {
        match self.0 {
            State::Closed => Deadline::Never,
            State::Watched(watched) => Deadline::At(watched.look_at),
            // It is looked at before each typing.
            State::Reads => Deadline::At(Timestamp::ORIGIN),
        }
    }

    /// Whether something that waits waits for the program to show that it reads.
    pub(crate) const fn is_awaited(&self) -> bool {
        matches!(self.0, State::Watched(_))
    }

    /// Whether nothing is typed into what runs, or nothing runs.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.0, State::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Echo, LineMode};
    use super::*;

    const RAW: TerminalSettings =
        TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };
    const OPENED: Option<TerminalSettings> = Some(TerminalSettings::AS_OPENED);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(1000 + ms))
    }

    fn started() -> Readiness {
        let mut readiness = Readiness::default();
        readiness.on_started(at(0));
        readiness
    }

    #[test]
    fn a_program_that_only_runs_is_not_taken_for_a_reader_until_the_bound() {
        let mut readiness = started();
        let mut ms = 0;
        while !readiness.on_look(OPENED, at(ms)) {
            assert!(!readiness.wants_look(at(ms)) && readiness.wants_look(at(ms + 50)));
            ms += 50;
        }
        assert_eq!(ms, 10_000);
    }

    #[test]
    fn a_terminal_that_is_set_for_reading_shows_it_when_it_stays_so() {
        for settings in [RAW, TerminalSettings { echo: Echo::Off, ..TerminalSettings::AS_OPENED }] {
            let mut readiness = started();
            assert!(!readiness.on_look(Some(settings), at(0)));
            assert!(!readiness.on_look(OPENED, at(50)), "it was only for a moment");
            assert!(!readiness.on_look(Some(settings), at(100)));
            assert!(readiness.on_look(Some(settings), at(150)));
            assert!(readiness.on_look(OPENED, at(200)), "it has shown it once and for all");
        }
    }

    #[test]
    fn output_shows_it_when_silence_follows() {
        let mut readiness = started();
        readiness.on_output(false, at(100));
        assert!(!readiness.on_look(OPENED, at(399)));
        readiness.on_output(false, at(399));
        assert!(!readiness.on_look(OPENED, at(450)));
        assert!(readiness.on_look(None, at(699)));
    }

    #[test]
    fn pastes_show_it_at_once() {
        let mut readiness = started();
        readiness.on_output(true, at(100));
        assert!(readiness.on_look(OPENED, at(100)));
    }

    #[test]
    fn nothing_is_typed_into_what_is_being_ended_and_the_next_one_shows_it_anew() {
        let mut readiness = started();
        readiness.on_output(true, at(0));
        readiness.close();
        assert!(!readiness.on_look(Some(RAW), at(60_000)) && !readiness.wants_look(at(60_000)));
        readiness.on_output(true, at(60_000));
        assert!(!readiness.wants_look(at(60_000)));
        readiness.on_started(at(60_001));
        assert!(!readiness.on_look(OPENED, at(60_001)));
    }
}
