//! The judge of the server's end: it follows what happens to one agent and says after each call what
//! did not hold.
//!
//! Here live the judge and the order in which it looks at a call:
//!
//! | file | what is judged there |
//! | --- | --- |
//! | `quiet` | calls that may cause nothing |
//! | `events` | nothing: what the event leads to, and so what is owed |
//! | `choices` | what is said of a silence within a range |
//! | `report` | what is published |
//! | `actions` | that what was done is allowed, and that what is owed was done |
//! | `deadline` | that the server asks to be woken in time |
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

use crate::lab::Invariant;
use crate::lab::kit::call::{Bench, Call};
use crate::lab::kit::reaction::Reaction;
use crate::lab::kit::violation::Violation;
use crate::session::{Presence, PresenceStatus, ServerAction, ServerConfig, ServerEvent};
use crate::time::{Deadline, Now};
use owed::Expected;
use state::State;
use std::format;
use std::vec::Vec;

/// Judges the server's end of one agent, call by call.
#[derive(Clone, Debug)]
pub struct Judge {
    config: ServerConfig,
    bench: Bench,
    presence: Presence,
    state: State,
}

impl Judge {
    /// A judge of a server's end that has seen no hello yet, and that shows this.
    pub fn new(config: ServerConfig, presence: Presence) -> Self {
        Self { config, bench: Bench::default(), presence, state: State::Offline }
    }

    /// Without these invariants.
    #[must_use]
    pub fn waiving(mut self, invariants: &[Invariant]) -> Self {
        self.bench.waive(invariants);
        self
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.bench.deadline()
    }

    /// Judges one call: what came in, when, what was done, and what is published after it.
    /// After a violation the judge has lost the thread; begin with a new one.
    pub fn saw(
        &mut self,
        event: ServerEvent,
        now: Now,
        reaction: &Reaction<ServerAction>,
        presence: Presence,
    ) -> Result<(), Violation> {
        let mut bench = core::mem::take(&mut self.bench);
        let size = (reaction.actions.len(), reaction.deadline);
        let verdict = bench
            .open(&event, event == ServerEvent::Wake, now, &reaction.actions, size)
            .and_then(|call| self.judge(event, now, &call, &reaction.actions, presence));
        self.bench = bench;
        verdict
    }

    fn judge(
        &mut self,
        event: ServerEvent,
        now: Now,
        call: &Call<'_>,
        output: &[ServerAction],
        presence: Presence,
    ) -> Result<(), Violation> {
        quiet::silent_calls(self, event, call)?;
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        if call.is_late() {
            events::forgive(self, call);
        }
        let change = match self.state {
            State::Reconnecting(_) => Invariant::ResumeWindowIsKept,
            State::Offline | State::Connecting(..) | State::Online(..) | State::Closed => {
                Invariant::NoChangeWithoutReason
            }
        };
        let mut expected = Expected { owed: Vec::new(), change, may_send_normal: false };
        events::expect(self, event, call.at, &mut expected);
        choices::chooses(self, call, output, &mut expected)?;
        report::one_report(self, now, call, output, presence)?;
        if self.state.status() != self.presence.status {
            let wanted = format!("{:?}, not {:?}", self.state.status(), self.presence.status);
            let online = |s| {
                matches!(s, PresenceStatus::Online | PresenceStatus::Stale | PresenceStatus::Error)
            };
            let session = matches!(self.state, State::Online(..));
            let name = if online(self.presence.status) && !session {
                Invariant::OnlineNeedsASession
            } else {
                expected.change
            };
            call.blame(name, wanted, call.output())?;
        }
        actions::performs(self, call, output, &expected)?;
        deadline::wakes_in_time(self, call)
    }
}
