//! The judge of an agent: it follows what happens and says after each call what did not hold.
//!
//! It is a model of what must be true, told from the rules and not from the machine.
//!
//! Here live the judge and the order in which it looks at a call:
//!
//! | file | what is judged there |
//! | --- | --- |
//! | `quiet` | calls that may cause nothing |
//! | `events` | nothing: what the event leads to, and so what is owed |
//! | `choices` | what the agent decides by itself within a range: dials, and words about a silence |
//! | `report` | the status that is shown |
//! | `actions` | that what was done is allowed, and that what is owed was done |
//! | `deadline` | that the agent asks to be woken in time |
//!
//! They share `state`, where the agent must be, and `owed`, what one call must bring.

mod actions;
mod choices;
mod deadline;
mod events;
mod owed;
mod quiet;
mod report;
mod state;

use super::rules::{Rules, Windows};
use super::subject::Observation;
use crate::id::LinkId;
use crate::lab::Invariant;
use crate::lab::kit::call::{Bench, Call};
use crate::lab::kit::reaction::Reaction;
use crate::lab::kit::violation::Violation;
use crate::session::{AgentEvent, AgentStatusKind};
use crate::time::{Deadline, Now};
use core::time::Duration;
use owed::Expected;
use state::State;
use std::format;
use std::vec::Vec;

/// From this gain of the boot clock on the host counts as having slept (P-66).
const SLEPT: Duration = Duration::from_secs(1);

/// Judges one agent, call by call.
#[derive(Clone, Debug)]
pub struct Judge {
    rules: Rules,
    bench: Bench,
    windows: Windows,
    shown: AgentStatusKind,
    state: State,
    open: Vec<LinkId>,
    newest: LinkId,
}

impl Judge {
    /// A judge of an agent that was not started yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            bench: Bench::default(),
            windows: Windows::new(rules),
            shown: AgentStatusKind::Idle,
            state: State::Idle,
            open: Vec::new(),
            newest: LinkId(0),
        }
    }

    /// Without these invariants.
    #[must_use]
    pub fn waiving(mut self, invariants: &[Invariant]) -> Self {
        self.bench.waive(invariants);
        self
    }

    /// Where the agent must be now.
    pub const fn phase(&self) -> AgentStatusKind {
        self.state.phase()
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.bench.deadline()
    }

    /// Judges one call: what came in, when, and what the agent did. The first call is the start of
    /// all its clocks. After a violation the judge has lost the thread; begin with a new one.
    pub fn saw(
        &mut self,
        event: AgentEvent,
        now: Now,
        reaction: &Reaction<Observation>,
    ) -> Result<(), Violation> {
        self.saw_with_status(event, now, reaction, None)
    }

    pub(super) fn saw_with_status(
        &mut self,
        event: AgentEvent,
        now: Now,
        reaction: &Reaction<Observation>,
        status: Option<AgentStatusKind>,
    ) -> Result<(), Violation> {
        let mut bench = core::mem::take(&mut self.bench);
        let size = (reaction.actions.len(), reaction.deadline);
        let verdict = bench
            .open(&event, event == AgentEvent::Wake, now, &reaction.actions, size)
            .and_then(|call| self.judge(event, &call, &reaction.actions, status));
        self.bench = bench;
        verdict
    }

    fn judge(
        &mut self,
        event: AgentEvent,
        call: &Call<'_>,
        seen: &[Observation],
        status: Option<AgentStatusKind>,
    ) -> Result<(), Violation> {
        quiet::silent_calls(self, event, call, seen)?;
        let mut expected =
            Expected { owed: Vec::new(), change: Invariant::NoChangeWithoutReason, news: false };
        let ends = matches!(event, AgentEvent::Stop | AgentEvent::EndOrdered(_));
        if !ends && call.slept >= SLEPT {
            events::sleeps(self, call, &mut expected);
        }
        match event {
            AgentEvent::LinkUp(link) if !self.open.contains(&link) => self.open.push(link),
            AgentEvent::DialFailed(link, _) | AgentEvent::LinkDown(link, _) => {
                self.open.retain(|open| *open != link);
            }
            AgentEvent::Start
            | AgentEvent::LinkUp(_)
            | AgentEvent::Received(..)
            | AgentEvent::Wake
            | AgentEvent::News
            | AgentEvent::TokenChanged
            | AgentEvent::Stop
            | AgentEvent::EndOrdered(_) => {}
        }
        events::expect(self, event, call.at, &mut expected);
        choices::chooses(self, call, seen, &mut expected)?;
        report::one_report(self, call, seen, status)?;
        actions::performs(self, call, seen, &expected)?;
        if self.state.phase() != self.shown {
            let wanted = format!("{}, not {}", self.state.phase(), self.shown);
            call.blame(expected.change, wanted, call.output())?;
        }
        if self.state.link().is_none() && !self.open.is_empty() {
            let wanted = format!("no link while {}", self.state.phase());
            call.blame(Invariant::OneLinkAtATime, wanted, format!("still holds {:?}", self.open))?;
        }
        deadline::wakes_in_time(self, call, &expected)
    }
}
