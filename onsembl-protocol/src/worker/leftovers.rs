//! What is left of a run that has ended: when it is looked at, and how it is ended if that is ordered. Here is when; the
//! edge signals and looks.

use super::run_stop::{LONGEST_GRACE, RunSignal, RunStopOrder};
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// How soon it is looked at again after an order; the pause doubles.
const SOON: Duration = Duration::from_millis(10);
/// The longest pause while it is to end.
const WHILE_ENDING: Duration = Duration::from_millis(500);
/// The pause while nobody wants anything of it. A look reads all processes of the machine.
const AT_LEISURE: Duration = Duration::from_secs(10);

/// What is left of one run.
#[derive(Clone, Copy, Debug)]
pub struct Leftovers {
    wanted: Wanted,
    look_at: Timestamp,
    pause: Duration,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// It was asked to end, and is killed then.
    Ending(Timestamp),
    Killed,
}

impl Leftovers {
    /// Something lives of a run that ended.
    pub const fn new(now: Timestamp) -> Self {
        Self { wanted: Wanted::Nothing, look_at: now.saturating_add(SOON), pause: SOON }
    }

    /// This is ordered, perhaps again: it changes nothing if as much was done before.
    #[must_use = "the signal is taken for sent"]
    pub fn order(&mut self, order: RunStopOrder, now: Timestamp) -> Option<RunSignal> {
        let (wanted, signal) = match (order, self.wanted) {
            (RunStopOrder::Terminate(grace), Wanted::Nothing) => {
                let kill_at = now.saturating_add(grace.min(LONGEST_GRACE));
                (Wanted::Ending(kill_at), RunSignal::End)
            }
            (RunStopOrder::Kill, Wanted::Nothing | Wanted::Ending(_)) => {
                (Wanted::Killed, RunSignal::Kill)
            }
            (RunStopOrder::Terminate(_), Wanted::Ending(_) | Wanted::Killed)
            | (RunStopOrder::Kill, Wanted::Killed) => return None,
        };
        let look_at = now.saturating_add(SOON);
        *self = Self { wanted, look_at, pause: SOON };
        Some(signal)
    }

    /// It is looked at now, behind this signal.
    #[must_use = "the signal is taken for sent"]
    pub fn look(&mut self, now: Timestamp) -> Option<RunSignal> {
        let longest = match self.wanted {
            Wanted::Ending(kill_at) if kill_at <= now => {
                self.wanted = Wanted::Killed;
                self.pause = SOON;
                WHILE_ENDING
            }
            Wanted::Ending(_) | Wanted::Killed => WHILE_ENDING,
            Wanted::Nothing => AT_LEISURE,
        };
        self.pause = (self.pause * 2).min(longest);
        self.look_at = now.saturating_add(self.pause);
        // Also what was born while the others were killed.
        (self.wanted == Wanted::Killed).then_some(RunSignal::Kill)
    }

    /// When to look again.
    pub fn deadline(&self) -> Deadline {
        Deadline::At(match self.wanted {
            Wanted::Ending(kill_at) => self.look_at.min(kill_at),
            Wanted::Nothing | Wanted::Killed => self.look_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    /// Looks whenever it is due until then. The signals, and how often it was looked.
    fn watch(left: &mut Leftovers, until: Timestamp) -> (usize, usize) {
        let (mut kills, mut looks) = (0, 0);
        while let Deadline::At(due) = left.deadline()
            && due <= until
        {
            looks += 1;
            kills += usize::from(left.look(due) == Some(RunSignal::Kill));
        }
        (kills, looks)
    }

    #[test]
    fn what_nobody_wants_anything_of_is_looked_at_rarely_and_left_alone() {
        let mut left = Leftovers::new(at(0));
        let (kills, looks) = watch(&mut left, at(3_600_000));
        assert_eq!(kills, 0);
        assert!((360..=380).contains(&looks), "{looks}");
    }

    #[test]
    fn what_is_asked_to_end_is_killed_after_its_grace_again_and_again() {
        let mut left = Leftovers::new(at(0));
        let _ = watch(&mut left, at(60_000));
        let order = RunStopOrder::Terminate(Duration::from_secs(5));
        assert_eq!(left.order(order, at(60_000)), Some(RunSignal::End));
        assert_eq!(left.order(order, at(60_001)), None, "once");
        assert_eq!(watch(&mut left, at(64_999)).0, 0);
        assert_eq!(left.look(at(65_000)), Some(RunSignal::Kill));
        let (kills, looks) = watch(&mut left, at(75_000));
        assert!(kills == looks && kills >= 20, "{kills} of {looks}");
    }

    #[test]
    fn a_kill_does_not_wait_for_the_grace_and_nothing_takes_it_back() {
        let mut left = Leftovers::new(at(0));
        let order = RunStopOrder::Terminate(Duration::from_secs(5));
        assert_eq!(left.order(order, at(0)), Some(RunSignal::End));
        assert_eq!(left.order(RunStopOrder::Kill, at(10)), Some(RunSignal::Kill));
        assert_eq!(left.order(RunStopOrder::Kill, at(20)), None);
        assert_eq!(left.order(order, at(30)), None);
    }
}
