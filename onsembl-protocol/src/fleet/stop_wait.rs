//! A stop that is not answered yet: what it waits for, and its report of how far each agent is.

use super::action::{Answer, Token};
use super::event::StoreFault;
use super::note::FleetNote;
use super::report::{StopReport, StoppedAgent};
use super::state::State;
use super::stop_turns::{Stopped, agents_behind};
use crate::id::{AgentId, StopId};
use crate::stop::StopOrder;
use crate::time::{Now, Timestamp};
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A stop that is not answered yet.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) token: Token,
    /// The orders in force for it, of which the first is reported.
    pub(super) orders: Vec<StopOrder>,
    /// Those of them that the store has not taken.
    pub(super) unstored: BTreeSet<StopId>,
    /// Those that were not in force before.
    pub(super) new: BTreeSet<StopId>,
    pub(super) fault: Option<StoreFault>,
    pub(super) commands: Stopped,
    pub(super) until: Timestamp,
    pub(super) report: Report,
}

/// What is answered to a stop.
#[derive(Debug)]
pub(super) enum Report {
    /// That it is durable. A dashboard is shown how far its agents are.
    Stored,
    /// How far this agent is, once it has said all that it will.
    OfOne(AgentId),
    /// The same of all agents.
    OfAll(Course),
}

/// How far the report of a stop of all is. No list of agents is kept for it: it goes by their ids.
#[derive(Debug)]
pub(super) enum Course {
    /// The order is being sent to the agents.
    Sending,
    /// All agents up to this one have said all that they will.
    Awaiting { behind: Option<AgentId> },
    /// What they said is written down, up to this one.
    Reporting { behind: Option<AgentId>, agents: Vec<StoppedAgent> },
}

/// What came of looking at a report.
pub(super) enum Progress {
    Complete,
    /// Something is to be heard first.
    Waits,
    /// The event has looked at as many agents as it may.
    Cut,
}

impl Wait {
    /// Goes on with the report, by at most `room` looks at agents, which it takes from it. Each agent is looked at until
    /// it is done and never again.
    pub(super) fn goes_on(&mut self, state: &State, room: &mut usize, now: Now) -> Progress {
        let Some(order) = self.orders.first().map(|order| order.id.clone()) else {
            return Progress::Complete;
        };
        let is_late = self.until <= now.monotonic;
        let course = match &mut self.report {
            Report::Stored => return Progress::Complete,
            Report::OfOne(agent) if is_late || !state.stop_state(agent, &order).is_pending() => {
                return Progress::Complete;
            }
            Report::OfOne(_) => return Progress::Waits,
            Report::OfAll(course) => course,
        };
        if let Course::Awaiting { behind } = course {
            // Nobody is waited for any more when the time is over.
            let next = |behind: Option<&AgentId>| match is_late {
                true => None,
                false => agents_behind(state, behind, 1).pop(),
            };
            while let Some(agent) = next(behind.as_ref()) {
                if *room == 0 {
                    return Progress::Cut;
                }
                *room = room.saturating_sub(1);
                if state.stop_state(&agent, &order).is_pending() {
                    return Progress::Waits;
                }
                *behind = Some(agent);
            }
            *course = Course::Reporting { behind: None, agents: Vec::new() };
        }
        match course {
            Course::Sending | Course::Awaiting { .. } => Progress::Waits,
            Course::Reporting { behind, agents } => {
                let next = agents_behind(state, behind.as_ref(), *room);
                let is_all = next.len() < *room;
                *room = room.saturating_sub(next.len());
                agents.extend(next.iter().map(|agent| told_of(state, agent, &order)));
                *behind = next.into_iter().next_back().or_else(|| behind.take());
                if is_all { Progress::Complete } else { Progress::Cut }
            }
        }
    }

    /// Answers it.
    pub(super) fn answer(self, state: &mut State) {
        let Self { token, orders, fault, commands, report, .. } = self;
        if let Some(fault) = fault {
            let why = fault.to_string();
            let text = format!(
                "the stop is in force, but would not survive a restart of the server: {why}"
            );
            for order in &orders {
                let why = why.clone();
                state.out.note(FleetNote::StopNotStored { stop: order.id.clone(), why });
            }
            let error = ErrorReply::new(ErrorCode::StorageUnavailable, text);
            return state.out.reply(token, Err(error));
        }
        let Some(order) = orders.first().map(|order| &order.id) else {
            return state.out.reply(token, Ok(()));
        };
        let agents = match report {
            Report::Stored => return state.out.reply(token, Ok(())),
            Report::OfOne(agent) => {
                let known = state.roster.agent(&agent);
                known.map(|_| told_of(state, &agent, order)).into_iter().collect()
            }
            Report::OfAll(Course::Reporting { agents, .. }) => agents,
            Report::OfAll(Course::Sending | Course::Awaiting { .. }) => Vec::new(),
        };
        let Stopped { killed, notified } = commands;
        let report =
            StopReport { stop_id: order.as_str().to_owned(), agents, commands: killed, notified };
        state.out.answer(token, Answer::Stopped(report));
    }
}

/// How far an agent is.
fn told_of(state: &State, agent: &AgentId, order: &StopId) -> StoppedAgent {
    let known = state.roster.agent(agent);
    StoppedAgent {
        name: known.map_or_else(|| agent.as_str().to_owned(), |known| known.shown.name.clone()),
        state: state.stop_state(agent, order),
        agent_id: agent.as_str().to_owned(),
    }
}
