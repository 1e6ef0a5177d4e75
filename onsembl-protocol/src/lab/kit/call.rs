//! One call of the thing under test as a judge sees it, with the checks that hold for every machine.

use super::violation::{Elapsed, Violation};
use crate::lab::Invariant;
use crate::liveness::OVERSLEEP_TOLERANCE;
use crate::time::{Deadline, Now, Timestamp};
use core::fmt::Debug;
use core::time::Duration;
use std::format;
use std::string::String;
use std::vec::Vec;

/// How exact judges are: a verdict or a wake-up this much after its instant is not late.
pub(super) const SLACK: Duration = Duration::from_millis(1);

/// Wake-ups in a row that bring nothing within [`SLACK`] of each other, from which on it is spinning.
const SPINNING: u32 = 8;

/// What a judge knows between calls whatever it judges.
#[derive(Clone, Debug, Default)]
pub(super) struct Bench {
    origin: Option<Timestamp>,
    last: Option<Now>,
    deadline: Deadline,
    idle_wakes: u32,
    waived: Vec<Invariant>,
}

/// One call.
pub(super) struct Call<'a> {
    origin: Timestamp,
    /// When; never before the call before.
    pub(super) at: Timestamp,
    /// How long the host slept since the call before.
    pub(super) slept: Duration,
    /// Time since the call before.
    pub(super) gap: Duration,
    pub(super) wake: bool,
    /// What the call before asked for.
    pub(super) asked: Deadline,
    /// What this call asks for.
    pub(super) deadline: Deadline,
    /// How many actions it caused.
    pub(super) actions: usize,
    input: &'a dyn Debug,
    output: &'a dyn Debug,
    waived: &'a [Invariant],
}

impl Bench {
    pub(super) fn waive(&mut self, invariants: &[Invariant]) {
        self.waived.extend_from_slice(invariants);
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Opens a call, and runs the checks that need nothing but times and counts.
    pub(super) fn open<'a>(
        &'a mut self,
        input: &'a dyn Debug,
        wake: bool,
        now: Now,
        output: &'a dyn Debug,
        (actions, deadline): (usize, Deadline),
    ) -> Result<Call<'a>, Violation> {
        let last = self.last.unwrap_or(now);
        let slept = now.suspended_since(&last);
        let now = now.not_before(&last);
        let gap = now.monotonic.saturating_since(last.monotonic);
        let origin = *self.origin.get_or_insert(now.monotonic);
        let asked = core::mem::replace(&mut self.deadline, deadline);
        self.last = Some(now);
        let at = now.monotonic;
        let again = wake && actions == 0 && deadline.is_due(at.saturating_add(SLACK));
        self.idle_wakes = if again { self.idle_wakes + 1 } else { 0 };
        let idle_wakes = self.idle_wakes;
        let waived = &self.waived;
        let call =
            Call { origin, at, slept, gap, wake, asked, deadline, actions, input, output, waived };
        if deadline.is_due(at) {
            let asks = format!("asks for {}", call.deadline_text());
            call.blame(Invariant::DeadlineAfterNow, "a deadline later than now", asks)?;
        }
        if actions > crate::step::MAX_ACTIONS {
            let many = format!("{actions} actions");
            call.blame(Invariant::AtMostFourActions, "at most 4 actions", many)?;
        }
        if idle_wakes > SPINNING {
            let many = format!("{idle_wakes} wake-ups in a row brought nothing");
            call.blame(Invariant::NoSpinning, "a wake-up brings something, or time passes", many)?;
        }
        Ok(call)
    }
}

impl Call<'_> {
    /// A wake-up before the deadline.
    pub(super) fn is_early(&self) -> bool {
        self.wake && !self.asked.is_due(self.at.saturating_add(SLACK))
    }

    /// Whether the process was away: the call comes long after the deadline.
    pub(super) fn is_late(&self) -> bool {
        self.asked.overdue_by(self.at) > OVERSLEEP_TOLERANCE
    }

    /// Nothing may come of this call.
    pub(super) fn must_be_silent(&self, name: Invariant, same_wake: bool) -> Result<(), Violation> {
        if self.actions > 0 {
            self.blame(name, "nothing", format!("{:?}", self.output))?;
        }
        let overdue = self.asked.is_due(self.at.saturating_add(SLACK));
        if same_wake && !overdue && self.deadline != self.asked {
            let expected = format!("the deadline stays {}", self.text(self.asked));
            self.blame(name, expected, format!("asks for {}", self.deadline_text()))?;
        }
        Ok(())
    }

    /// The deadline is not later than `due`, when something is to happen.
    pub(super) fn wakes_by(
        &self,
        due: Timestamp,
        name: Invariant,
        what: &str,
    ) -> Result<(), Violation> {
        let latest = due.max(self.at).saturating_add(SLACK);
        if self.deadline.is_due(latest) {
            return Ok(());
        }
        let expected =
            format!("{} at the latest, because then {what}", self.text(Deadline::At(due)));
        self.blame(name, expected, format!("asks for {}", self.deadline_text()))
    }

    /// A wake-up that comes `SLACK` after `due` must have brought what was due.
    pub(super) fn is_overdue(&self, due: Timestamp) -> bool {
        self.wake && due.saturating_add(SLACK) <= self.at
    }

    /// What was done, or that nothing was.
    pub(super) fn output(&self) -> String {
        if self.actions == 0 {
            format!("nothing; asks for {}", self.deadline_text())
        } else {
            format!("{:?}; asks for {}", self.output, self.deadline_text())
        }
    }

    pub(super) fn blame(
        &self,
        invariant: Invariant,
        expected: impl Into<String>,
        happened: impl Into<String>,
    ) -> Result<(), Violation> {
        if self.waived.contains(&invariant) {
            return Ok(());
        }
        Err(Violation {
            invariant,
            at: self.at.saturating_since(self.origin),
            input: format!("{:?}", self.input),
            expected: expected.into(),
            happened: happened.into(),
        })
    }

    fn deadline_text(&self) -> String {
        self.text(self.deadline)
    }

    fn text(&self, deadline: Deadline) -> String {
        match deadline {
            Deadline::Never => "no wake-up".into(),
            Deadline::At(at) => {
                format!("a wake-up at {}", Elapsed(at.saturating_since(self.origin)))
            }
        }
    }
}
