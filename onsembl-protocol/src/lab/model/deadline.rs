//! What must hold of the deadlines of a machine, at either end.

use super::host::Host;
use super::rules::Rules;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::LocalNanos;
use alloc::format;
use alloc::string::String;

/// A step came at the deadline that the machine had asked for.
#[inline]
pub(super) fn kept(
    asked: Option<LocalNanos>,
    now: LocalNanos,
    host: &Host,
    rules: &Rules,
) -> Checked {
    let Some(asked) = asked else { return Ok(()) };
    demand(
        now <= asked.max(host.back) + rules.tolerance,
        Invariant::ServedInTime,
        "a step at the deadline",
        || format!("one {} ns after it", now - asked),
    )
}

/// After a step the machine asks for a deadline in time for what is `due` next.
#[inline]
pub(super) fn fits(
    deadline: Option<LocalNanos>,
    due: Option<LocalNanos>,
    now: LocalNanos,
    rules: &Rules,
    state: impl FnOnce() -> String,
) -> Checked {
    demand(
        deadline.is_some() == due.is_some(),
        Invariant::EveryWaitHasADeadline,
        "a deadline if and only if something is due",
        || format!("{deadline:?}, due {due:?}"),
    )?;
    let (Some(deadline), Some(due)) = (deadline, due) else { return Ok(()) };
    demand(deadline + rules.wobble > now, Invariant::DeadlineAfterNow, "a later deadline", || {
        format!("{deadline} at {now}")
    })?;
    demand(
        deadline <= due.max(now + 1) + rules.wobble,
        Invariant::DeadlineSoonEnough,
        "a deadline not later than the next duty",
        || format!("{deadline}, due {due}, at {now}, {}", state()),
    )
}
