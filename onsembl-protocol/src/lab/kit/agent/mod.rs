//! Tests of the agent's end: machines with our types, and wrappers with a loop of their own.

mod judge;
mod orders;
mod rules;
mod story;
mod subject;
mod text;

pub use judge::Judge;
pub use orders::{Promised, check_orders, check_orders_with};
pub use rules::Rules;
pub use story::{Happening, Link, scripts};
pub use subject::{AgentUnderTest, Observation, WrapperUnderTest};
pub use text::{TextEvent, TextObservation, TextWrapperUnderTest};

use super::drive::{Stage, play};
use super::plan::{Plan, Verdict, hunt};
use super::reaction::{Log, Reaction};
use super::script::Script;
use super::violation::Violation;
use crate::id::LinkId;
use crate::session::{AgentEvent, AgentInbound, AgentStatusKind, SessionTerms};
use crate::time::{Deadline, Now};
use core::time::Duration;
use std::vec::Vec;
use subject::{AgentSubject, Machine, Wrapper};
use text::Texts;

/// Time that runs on behind the last step of a script, so that what was forgotten shows.
const TAIL: Duration = Duration::from_secs(200);

/// Tells the scripts of [`Plan::default`] to a machine that keeps to [`Rules::DEFAULT`].
///
/// # Panics
///
/// If an invariant does not hold, with the shortest script that shows it.
#[track_caller]
#[allow(clippy::panic, reason = "how a test fails")]
pub fn check<A: AgentUnderTest>(make: impl Fn() -> A) {
    if let Err(failure) = check_with(&Plan::default(), Rules::DEFAULT, make) {
        panic!("{failure}");
    }
}

/// Tells the scripts of a plan to a machine that keeps to these rules. `make` is called for each.
pub fn check_with<A: AgentUnderTest>(
    plan: &Plan,
    rules: Rules,
    make: impl Fn() -> A,
) -> Verdict<Happening> {
    hunt_with(plan, rules, || Machine(make()))
}

/// Tells the scripts of [`Plan::default`] to a wrapper that keeps to [`Rules::DEFAULT`].
///
/// # Panics
///
/// If an invariant does not hold, with the shortest script that shows it.
#[track_caller]
#[allow(clippy::panic, reason = "how a test fails")]
pub fn check_wrapper<W: WrapperUnderTest>(make: impl Fn() -> W) {
    if let Err(failure) = check_wrapper_with(&Plan::default(), Rules::DEFAULT, make) {
        panic!("{failure}");
    }
}

/// Tells the scripts of a plan to a wrapper that keeps to these rules. `make` is called for each.
pub fn check_wrapper_with<W: WrapperUnderTest>(
    plan: &Plan,
    rules: Rules,
    make: impl Fn() -> W,
) -> Verdict<Happening> {
    hunt_with(plan, rules, || Wrapper(make()))
}

/// Tells the scripts of [`Plan::default`] to a wrapper that reads and writes texts and keeps to
/// [`Rules::DEFAULT`].
///
/// # Panics
///
/// If an invariant does not hold, with the shortest script that shows it.
#[track_caller]
#[allow(clippy::panic, reason = "how a test fails")]
pub fn check_text_wrapper<W: TextWrapperUnderTest>(make: impl Fn() -> W) {
    if let Err(failure) = check_text_wrapper_with(&Plan::default(), Rules::DEFAULT, make) {
        panic!("{failure}");
    }
}

/// Tells the scripts of a plan to a wrapper that reads and writes texts and keeps to these rules.
/// `make` is called for each.
pub fn check_text_wrapper_with<W: TextWrapperUnderTest>(
    plan: &Plan,
    rules: Rules,
    make: impl Fn() -> W,
) -> Verdict<Happening> {
    hunt_with(plan, rules, || Texts::new(make()))
}

fn hunt_with<S: AgentSubject>(
    plan: &Plan,
    rules: Rules,
    make: impl Fn() -> S,
) -> Verdict<Happening> {
    hunt(plan, &scripts(rules, plan.longest_script()), |script: &Script<Happening>| {
        let mut stage = AgentStage {
            subject: make(),
            judge: Judge::new(rules).waiving(plan.waived()),
            log: Log::new(),
            dialled: Vec::new(),
        };
        let outcome = play(&mut stage, script, Some(Happening::Start), TAIL);
        stage.log.twins_agree(&make, plan.waived())?;
        outcome
    })
}

struct AgentStage<S: AgentSubject> {
    subject: S,
    judge: Judge,
    log: Log<AgentEvent, S::Output>,
    dialled: Vec<LinkId>,
}

impl<S: AgentSubject> AgentStage<S> {
    fn feed(&mut self, event: AgentEvent, now: Now) -> Result<Deadline, Violation> {
        let event = S::as_told(event);
        let reaction = self.subject.handle(event, now);
        let deadline = reaction.deadline;
        let actions: Vec<Observation> = reaction.actions.iter().map(S::observe).collect();
        self.dialled.extend(actions.iter().filter_map(Observation::dialled));
        self.log.push(event, now, reaction);
        let seen = Reaction { actions, deadline };
        self.judge.saw_with_status(event, now, &seen, self.subject.phase())?;
        Ok(deadline)
    }

    fn link(&self, link: Link) -> Option<LinkId> {
        let mut newest_first = self.dialled.iter().rev().copied();
        match link {
            Link::Current => newest_first.next(),
            Link::Previous => newest_first.nth(1),
            Link::Unknown => Some(LinkId(9_999_999)),
        }
    }

    fn joins(&mut self, terms: SessionTerms, now: Now) -> Result<Option<Deadline>, Violation> {
        let phase = self.judge.phase();
        let Some(link) = self.link(Link::Current) else { return Ok(None) };
        match phase {
            AgentStatusKind::Connecting => {
                let _ = self.feed(AgentEvent::LinkUp(link), now)?;
            }
            AgentStatusKind::Joining => {}
            AgentStatusKind::Idle
            | AgentStatusKind::Connected
            | AgentStatusKind::Stale
            | AgentStatusKind::TimedOut
            | AgentStatusKind::Reconnecting
            | AgentStatusKind::Closed => return Ok(None),
        }
        self.feed(AgentEvent::Received(link, AgentInbound::HelloAccepted(terms)), now).map(Some)
    }

    fn event(&self, what: Happening) -> Option<AgentEvent> {
        let received = |link, frame| Some(AgentEvent::Received(self.link(link)?, frame));
        match what {
            Happening::Start | Happening::Joins(_) => Some(AgentEvent::Start),
            Happening::LinkUp(link) => Some(AgentEvent::LinkUp(self.link(link)?)),
            Happening::DialFails(link, why) => Some(AgentEvent::DialFailed(self.link(link)?, why)),
            Happening::HelloAccepted(link, terms) => {
                received(link, AgentInbound::HelloAccepted(terms))
            }
            Happening::HelloRefused(link, why) => received(link, AgentInbound::HelloRefused(why)),
            Happening::Frame(link, frame) => received(link, frame),
            Happening::LinkEnds(link, reason) => {
                Some(AgentEvent::LinkDown(self.link(link)?, reason))
            }
            Happening::News => Some(AgentEvent::News),
            Happening::TokenChanged => Some(AgentEvent::TokenChanged),
            Happening::Stop => Some(AgentEvent::Stop),
            Happening::EndOrdered(order) => Some(AgentEvent::EndOrdered(order)),
        }
    }
}

impl<S: AgentSubject> Stage for AgentStage<S> {
    type Happening = Happening;

    fn wake(&mut self, now: Now) -> Result<Deadline, Violation> {
        self.feed(AgentEvent::Wake, now)
    }

    fn happen(&mut self, what: Happening, now: Now) -> Result<Option<Deadline>, Violation> {
        if let Happening::Joins(terms) = what {
            // In session already, or over: there is nothing to wait for.
            return match self.judge.phase() {
                AgentStatusKind::Connecting
                | AgentStatusKind::Joining
                | AgentStatusKind::TimedOut
                | AgentStatusKind::Reconnecting => self.joins(terms, now),
                AgentStatusKind::Idle
                | AgentStatusKind::Connected
                | AgentStatusKind::Stale
                | AgentStatusKind::Closed => Ok(Some(self.judge.deadline())),
            };
        }
        match self.event(what) {
            Some(event) => self.feed(event, now).map(Some),
            None => Ok(Some(self.judge.deadline())),
        }
    }

    fn again(&mut self, now: Now) -> Result<Option<Deadline>, Violation> {
        self.log.last_event().map(|event| self.feed(event, now)).transpose()
    }

    fn comes(&mut self, step: usize) {
        self.log.step = step;
    }
}
