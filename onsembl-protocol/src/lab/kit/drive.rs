//! The driver: it tells a script to a stage in virtual time and keeps every deadline by its habit.

use super::script::{Habit, Moment, Script, What};
use super::violation::Violation;
use crate::time::{Deadline, Now, Timestamp, WallTime};
use core::time::Duration;
use std::vec::Vec;

/// Virtual clocks start here, so that they have room to step back.
const START: Duration = Duration::from_secs(10_000_000);

/// How often a step may wait for the next deadline until it makes sense.
const PATIENCE: u32 = 64;

/// One thing under test with its judge.
pub(super) trait Stage {
    type Happening: Copy;

    fn wake(&mut self, now: Now) -> Result<Deadline, Violation>;

    /// `None`: it makes no sense yet, but may after the next deadline.
    fn happen(&mut self, what: Self::Happening, now: Now) -> Result<Option<Deadline>, Violation>;

    /// The last event once more; `None` if there was none.
    fn again(&mut self, now: Now) -> Result<Option<Deadline>, Violation>;

    /// The step of the script that comes now.
    fn comes(&mut self, step: usize);
}

/// The clocks of a host, and the timer of its driver.
struct Host {
    awake: Duration,
    asleep: Duration,
    deadline: Deadline,
    habit: Habit,
}

/// Tells the script, and lets time run on for `tail` behind its last step.
pub(super) fn play<S: Stage>(
    stage: &mut S,
    script: &Script<S::Happening>,
    begin: Option<S::Happening>,
    tail: Duration,
) -> Result<(), (usize, Violation)> {
    let mut host = Host {
        awake: START,
        asleep: Duration::ZERO,
        deadline: Deadline::Never,
        habit: script.habit,
    };
    let begin = begin.map(|what| Moment { after: Duration::ZERO, what: What::Happens(what) });
    let steps: Vec<_> =
        begin.iter().map(|m| (0, m)).chain(script.steps.iter().enumerate()).collect();
    let last = script.steps.len().saturating_sub(1);
    for (n, step) in steps {
        stage.comes(n);
        host.step(stage, step).map_err(|violation| (n, violation))?;
    }
    host.pass(stage, tail).map_err(|violation| (last, violation))
}

impl Host {
    fn now(&self) -> Now {
        let since_start = self.awake.saturating_sub(START) + self.asleep;
        Now {
            monotonic: Timestamp::from_origin(self.awake),
            boot: Timestamp::from_origin(self.awake + self.asleep),
            wall: WallTime::from_unix_millis(since_start.as_millis() as i64),
        }
    }

    fn step<S: Stage>(&mut self, s: &mut S, step: &Moment<S::Happening>) -> Result<(), Violation> {
        if matches!(step.what, What::Stalled) {
            self.awake += step.after;
            return self.wake(s);
        }
        self.pass(s, step.after)?;
        match step.what {
            What::Happens(what) => {
                for _ in 0..PATIENCE {
                    if let Some(deadline) = s.happen(what, self.now())? {
                        self.deadline = deadline;
                        break;
                    }
                    let Deadline::At(due) = self.deadline else { break };
                    self.pass(s, due.since_origin().saturating_sub(self.awake))?;
                    if self.deadline.is_due(Timestamp::from_origin(self.awake)) {
                        self.wake(s)?;
                    }
                }
                Ok(())
            }
            What::Again => {
                self.deadline = s.again(self.now())?.unwrap_or(self.deadline);
                Ok(())
            }
            What::Woken | What::Stalled => self.wake(s),
            What::ClocksStepBack(by) => {
                self.awake = self.awake.saturating_sub(by);
                self.wake(s)
            }
            What::HostSleeps(by) => {
                self.asleep += by;
                Ok(())
            }
        }
    }

    fn wake<S: Stage>(&mut self, stage: &mut S) -> Result<(), Violation> {
        self.deadline = stage.wake(self.now())?;
        Ok(())
    }

    /// Lets time pass and keeps each deadline in it. One that falls on the end of it is left to the
    /// next time: what arrives at that instant goes first.
    fn pass<S: Stage>(&mut self, stage: &mut S, by: Duration) -> Result<(), Violation> {
        let until = self.awake + by;
        let late = match self.habit {
            Habit::Late(by) => by,
            Habit::Obedient | Habit::Hasty => Duration::ZERO,
        };
        while let Deadline::At(due) = self.deadline {
            let due = due.since_origin() + late;
            if due >= until {
                break;
            }
            let ahead = due.saturating_sub(self.awake);
            if self.habit == Habit::Hasty && ahead > Duration::from_millis(4) {
                self.awake += ahead / 2;
                self.wake(stage)?;
            }
            self.awake = self.awake.max(due);
            self.wake(stage)?;
        }
        self.awake = until;
        Ok(())
    }
}
