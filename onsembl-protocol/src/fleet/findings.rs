//! What agents found while they were away: it is stored, and confirmed when it is. Judged by whoever asks why.

use super::action::Question;
use super::agent_view::SleptTime;
use super::event::StoreFault;
use super::note::FleetNote;
use super::row::FindingsRecord;
use super::state::State;
use crate::id::AgentId;
use crate::model::{Capabilities, Cause, Confidence};
use crate::time::Now;
use crate::wire::ServerToAgent;
use crate::wire::payload::{AgentBlackBox, BlackBoxAck};
use alloc::collections::BTreeSet;
use alloc::string::ToString;

/// Agents whose findings are being stored. At most one message of each: it sends the next in its next session.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeSet<AgentId>);

impl Findings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An agent tells what it found.
    pub(super) fn on_told(
        &mut self,
        state: &mut State,
        agent: &AgentId,
        told: AgentBlackBox,
        now: Now,
    ) {
        let Some(epoch) = state.roster.agent(agent).map(|known| known.epoch) else { return };
        let instance = state.roster.process(agent);
        let agreed = state.roster.session(agent).map(|(_, session)| session.capabilities);
        if !agreed.is_some_and(Capabilities::keeps_black_boxes) || !self.0.insert(agent.clone()) {
            let note = FleetNote::FindingsDropped { agent: agent.clone() };
            return state.out.note(note);
        }
        let AgentBlackBox { number, entries } = told;
        let latest = entries.iter().rev().find(|told| told.finding.cause == Cause::AgentSlept);
        if let Some(sleep) = latest.filter(|told| told.finding.confidence == Confidence::High) {
            let from = now.wall.before(sleep.ago);
            state.show_slept(agent, SleptTime { from, until: from.after(sleep.lasted) });
        }
        let (agent, at) = (agent.clone(), now.wall);
        let record = FindingsRecord { agent, epoch, instance, number, told: entries, at };
        state.out.ask(Question::KeepFindings(record));
    }

    /// The store has taken them, or has not.
    pub(super) fn on_kept(
        &mut self,
        state: &mut State,
        agent: &AgentId,
        number: u64,
        kept: Result<(), StoreFault>,
    ) {
        let _ = self.0.remove(agent);
        let is_over = match &kept {
            // What is refused would be refused again.
            Ok(()) | Err(StoreFault::Refused(_)) => true,
            Err(StoreFault::OverLimit(_) | StoreFault::Unavailable(_)) => false,
        };
        if let Err(fault) = kept {
            let why = fault.to_string();
            state.out.note(FleetNote::FindingsNotKept { agent: agent.clone(), why });
        }
        if is_over {
            // Without a session the confirmation is lost; the agent tells it again in the next one.
            let _ = state.send(agent, ServerToAgent::BlackBoxAck(BlackBoxAck { number }));
        }
    }
}
