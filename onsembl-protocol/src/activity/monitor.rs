//! What one program does: from facts, with the time they came, to what is told.

use super::claim::{Change, Claim};
use super::config::ActivityConfig;
use super::fact::{Fact, Input};
use super::marks::Marks;
use super::stream::StreamReader;
use crate::model::{ActivityFact, ActivityLane, ActivityState, Question};
use crate::time::{Deadline, Timestamp};
use alloc::vec::Vec;
use core::time::Duration;

/// A program that has not written for so long is quiet. Programs that draw while they wait do so each second.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// How long a state is told before another one is. Hooks come in groups (a tool, the permission for it, the tool), and
/// nobody reads what stood for less.
const DWELL: Duration = Duration::from_millis(500);

/// How long a question lasts that a later fact speaks against, if nothing else is said and nothing typed: it may
/// have been
/// answered in a way that was not seen, and then nobody is to be called forever.
const DOUBTED_FOR: Duration = Duration::from_secs(10 * 60);

/// Facts that are taken within a second. A program at work has some ten; one that has more says nothing that anybody
/// could follow.
const MOST_FACTS: u32 = 100;

const SECOND: Duration = Duration::from_secs(1);

/// What a program does, in the agent's own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: ActivityState,
    pub(crate) since: Timestamp,
    pub(crate) basis: Option<(ActivityFact, ActivityLane, Timestamp)>,
    pub(crate) question: Option<Question>,
}

impl Seen {
    /// Whether it is worth reporting behind the other: a further fact for the same is not.
    pub(crate) fn is_another(&self, told: &Self) -> bool {
        (&self.state, self.since, &self.question) != (&told.state, told.since, &told.question)
    }
}

/// Whether a fact was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// There were too many within a second. What the program does is unknown then.
    TooMany,
}

/// What one program does. A [queue machine](crate::step#two-contracts) whose only output is the state to be told.
#[derive(Debug)]
pub(crate) struct ActivityMonitor {
    config: ActivityConfig,
    claim: Option<Current>,
    began: Timestamp,
    /// When it wrote last, and since when it has done so without a pause.
    wrote: Option<(Timestamp, Timestamp)>,
    reads: Option<Timestamp>,
    /// When something was submitted to it, or it said so: what happened before is over.
    turn: Timestamp,
    /// The second in which facts are counted.
    counted: (Timestamp, u32),
    marks: Marks,
    stream: Option<StreamReader>,
    /// It has said at least once what it does.
    has_spoken: bool,
    told: Option<Told>,
}

#[derive(Debug)]
struct Current {
    claim: Claim,
    since: Timestamp,
    basis: (ActivityFact, ActivityLane, Timestamp),
    /// Until when it stays, since a fact speaks against it.
    until: Option<Timestamp>,
}

impl Current {
    fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Debug)]
struct Told {
    seen: Seen,
    at: Timestamp,
}

impl ActivityMonitor {
    pub(crate) fn new(config: ActivityConfig, now: Timestamp) -> Self {
        let stream = config.stream.map(StreamReader::new);
        Self {
            config,
            claim: None,
            began: now,
            wrote: None,
            reads: None,
            turn: Timestamp::ORIGIN,
            counted: (now, 0),
            marks: Marks::default(),
            stream,
            has_spoken: false,
            told: None,
        }
    }

    /// It wrote this into its terminal.
    pub(crate) fn on_terminal_output(&mut self, bytes: &[u8], now: Timestamp) -> Taken {
        self.on_written(now);
        let facts = self.marks.read(bytes);
        self.take_all(&ActivityLane::Terminal, facts, now)
    }

    /// It wrote this into a pipe.
    pub(crate) fn on_piped_output(&mut self, bytes: &[u8], now: Timestamp) -> Taken {
        self.on_written(now);
        let facts = self.stream.as_mut().map_or_else(Vec::new, |stream| stream.read(bytes));
        self.take_all(&ActivityLane::Stream, facts, now)
    }

    fn on_written(&mut self, now: Timestamp) {
        let since = match self.wrote {
            Some((last, since)) if now < last.saturating_add(QUIET_AFTER) => since,
            Some(_) | None => now,
        };
        self.wrote = Some((now, since));
    }

    fn take_all(&mut self, lane: &ActivityLane, facts: Vec<Fact>, now: Timestamp) -> Taken {
        let all =
            facts.into_iter().map(|fact| self.on_fact(lane.clone(), &fact, Duration::ZERO, now));
        all.fold(Taken::Yes, |all, one| if one == Taken::Yes { all } else { one })
    }

    /// A fact that happened this long ago.
    pub(crate) fn on_fact(
        &mut self,
        lane: ActivityLane,
        fact: &Fact,
        age: Duration,
        now: Timestamp,
    ) -> Taken {
        if !self.counts(now) {
            self.claim = None;
            return Taken::TooMany;
        }
        let at = now.saturating_sub(age);
        let _ = self.claim.take_if(|current| !current.lasts(now));
        let before = self.claim.as_ref().map(|current| &current.claim);
        let change = Claim::after(before, &lane, fact, &self.config);
        if *fact == Fact::PromptSubmitted {
            self.turn = self.turn.max(at);
        }
        match change {
            Change::Stays => {}
            Change::Confirmed => {
                if let Some(current) = &mut self.claim {
                    current.until = None;
                }
            }
            // What happened before the question says nothing of it.
            Change::Doubted => {
                if let Some(current) = self.claim.as_mut().filter(|current| current.basis.2 <= at) {
                    let _ = current.until.get_or_insert(at.saturating_add(DOUBTED_FOR));
                }
            }
            Change::Ends => self.claim = None,
            // It is of an earlier turn.
            Change::Becomes(claim) if claim.awaits_somebody() && at < self.turn => {}
            Change::Becomes(claim) => {
                self.has_spoken = true;
                let since = match self.claim.take() {
                    Some(current) if current.claim == claim => current.since,
                    Some(_) | None => at,
                };
                let basis = (fact.name(), lane, at);
                self.claim = Some(Current { claim, since, basis, until: None });
            }
        }
        Taken::Yes
    }

    fn counts(&mut self, now: Timestamp) -> bool {
        let (since, count) = self.counted;
        if since.saturating_add(SECOND) <= now {
            self.counted = (now, 1);
            return true;
        }
        self.counted = (since, count.saturating_add(1));
        count < MOST_FACTS
    }

    /// Something is typed into it.
    pub(crate) fn on_input(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Submits => self.turn = now,
            Input::Interrupts | Input::Key => {}
        }
        let Some(current) = &self.claim else { return };
        match current.claim.after_input(input) {
            Change::Stays | Change::Confirmed | Change::Doubted => {}
            Change::Ends => self.claim = None,
            Change::Becomes(claim) => {
                let basis = (ActivityFact::Input, ActivityLane::Terminal, now);
                self.claim = Some(Current { claim, since: now, basis, until: None });
            }
        }
    }

    /// It has shown that it reads its terminal.
    pub(crate) fn on_reads(&mut self, now: Timestamp) {
        let _ = self.reads.get_or_insert(now);
    }

    /// Whether it has ever said what it does.
    pub(crate) const fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// What it does now.
    pub(crate) fn now(&self, now: Timestamp) -> Seen {
        let lasting = self.claim.as_ref().filter(|current| current.lasts(now));
        if let Some(Current { claim, since, basis, .. }) = lasting {
            let (state, question) = match claim {
                Claim::Working => (ActivityState::Working, None),
                Claim::Waiting => (ActivityState::Waiting, None),
                Claim::Asking(question) => (ActivityState::Asking, Some(question.clone())),
            };
            return Seen { state, since: *since, basis: Some(basis.clone()), question };
        }
        let of = |fact, at| Some((fact, ActivityLane::Terminal, at));
        let (state, since, basis) = match self.wrote {
            Some((last, since)) if now < last.saturating_add(QUIET_AFTER) => {
                (ActivityState::Writing, since, of(ActivityFact::Output, since))
            }
            Some((last, _)) => (ActivityState::Quiet, last, of(ActivityFact::Output, last)),
            None => match self.reads {
                Some(at) => (ActivityState::Quiet, self.began, of(ActivityFact::Reads, at)),
                None => (ActivityState::Quiet, self.began, of(ActivityFact::Started, self.began)),
            },
        };
        Seen { state, since, basis, question: None }
    }

    /// What is told of it. It changes at most once within [`DWELL`].
    pub(crate) fn tell(&mut self, now: Timestamp) -> &Seen {
        let seen = self.now(now);
        let is_due = match &self.told {
            None => true,
            Some(told) => told.seen.is_another(&seen) && told.at.saturating_add(DWELL) <= now,
        };
        match (&mut self.told, is_due) {
            (Some(told), false) => &told.seen,
            (told, _) => &told.insert(Told { seen, at: now }).seen,
        }
    }

    /// When [`tell`](Self::tell) may give another state, if nothing else happens.
    pub(crate) fn deadline(&self, now: Timestamp) -> Deadline {
        let Some(told) = &self.told else { return Deadline::At(now) };
        if told.seen.is_another(&self.now(now)) {
            return Deadline::At(told.at.saturating_add(DWELL));
        }
        if let Some(until) =
            self.claim.as_ref().and_then(|current| current.until).filter(|at| now < *at)
        {
            return Deadline::At(until);
        }
        match (&told.seen.state, self.wrote) {
            (ActivityState::Writing, Some((last, _))) => {
                Deadline::At(last.saturating_add(QUIET_AFTER))
            }
            (
                ActivityState::Writing
                | ActivityState::Working
                | ActivityState::Waiting
                | ActivityState::Asking
                | ActivityState::Quiet
                | ActivityState::Gone
                | ActivityState::Unknown(_),
                _,
            ) => Deadline::Never,
        }
    }
}

#[cfg(test)]
mod tests;
