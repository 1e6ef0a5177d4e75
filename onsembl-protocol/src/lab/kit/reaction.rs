//! What the thing under test answers, and the log of a run, from which twins are run again.

use super::violation::Violation;
use crate::lab::Invariant;
use crate::step::Step;
use crate::time::{Deadline, Now};
use core::fmt::Debug;
use std::format;
use std::vec::Vec;

/// What one input brought: what was done, in order, and when to wake next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a reaction is there to be judged"]
#[allow(missing_docs, reason = "the names say all")]
pub struct Reaction<A> {
    pub actions: Vec<A>,
    /// When to wake next, if nothing else comes first.
    pub deadline: Deadline,
}

impl<A: Copy> From<Step<A>> for Reaction<A> {
    fn from(step: Step<A>) -> Self {
        Self { actions: step.actions.into_iter().collect(), deadline: step.deadline }
    }
}

/// Whatever is driven.
pub(super) trait Subject {
    type Event: Copy + Debug;
    type Output: Clone + Debug + PartialEq;

    fn handle(&mut self, event: Self::Event, now: Now) -> Reaction<Self::Output>;
}

/// Every input of a run with the step of the script that it belongs to, and its reaction.
pub(super) struct Log<E, O> {
    pub(super) step: usize,
    entries: Vec<(usize, E, Now, Reaction<O>)>,
}

impl<E: Copy + Debug, O: Clone + Debug + PartialEq> Log<E, O> {
    pub(super) const fn new() -> Self {
        Self { step: 0, entries: Vec::new() }
    }

    pub(super) fn push(&mut self, event: E, now: Now, reaction: Reaction<O>) {
        self.entries.push((self.step, event, now, reaction));
    }

    pub(super) fn last_event(&self) -> Option<E> {
        self.entries.last().map(|(_, event, ..)| *event)
    }

    /// Runs twins of the subject over the same inputs: once as they were, and once with moments
    /// before the last one taken for the last one. Both must answer as the subject did.
    pub(super) fn twins_agree<S>(
        &self,
        make: impl Fn() -> S,
        waived: &[Invariant],
    ) -> Result<(), (usize, Violation)>
    where
        S: Subject<Event = E, Output = O>,
    {
        let same = Invariant::SameInputsSameOutputs;
        let backwards = Invariant::BackwardsTimeStandsStill;
        if waived.contains(&same) {
            return Ok(());
        }
        self.twin_agrees(make(), same, |now, _| now)?;
        if waived.contains(&backwards) {
            return Ok(());
        }
        self.twin_agrees(make(), backwards, |now, last| now.not_before(&last))
    }

    fn twin_agrees<S>(
        &self,
        mut twin: S,
        invariant: Invariant,
        moment: impl Fn(Now, Now) -> Now,
    ) -> Result<(), (usize, Violation)>
    where
        S: Subject<Event = E, Output = O>,
    {
        let mut last: Option<(Now, Now)> = None;
        for (step, event, now, reaction) in &self.entries {
            let (first, before) = last.unwrap_or((*now, *now));
            let heard_at = moment(*now, before);
            last = Some((first, heard_at));
            let other = twin.handle(*event, heard_at);
            if other != *reaction {
                let at = now.monotonic.saturating_since(first.monotonic);
                let (expected, happened) = (format!("{other:?}"), format!("{reaction:?}"));
                let input = format!("{event:?}");
                return Err((*step, Violation { invariant, at, input, expected, happened }));
            }
        }
        Ok(())
    }
}
