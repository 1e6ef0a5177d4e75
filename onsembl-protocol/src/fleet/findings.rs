//! What agents found while they were away: it is stored, and confirmed when it is. Judged by whoever asks why.

use super::action::Question;
use super::event::StoreFault;
use super::note::FleetNote;
use super::row::FindingsRecord;
use super::state::State;
use crate::diagnosis::{Sleep, failed_dials};
use crate::id::AgentId;
use crate::model::{Capabilities, Cause, Confidence, Evidence, PastFinding};
use crate::session::DialFault;
use crate::time::Now;
use crate::wire::ServerToAgent;
use crate::wire::payload::{AgentBlackBox, BlackBoxAck};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

/// Bytes of the findings of one message, as they are stored in JSON. Of a longer one the evidence is left out.
pub const LONGEST_FINDINGS: usize = 16 * 1024;

/// Agents whose findings are being stored, with the dials that failed by what they told. At most one message of each: it
/// sends the next in its next session.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<AgentId, Vec<(DialFault, u32)>>);

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
        let is_storing = self.0.contains_key(agent);
        if !agreed.is_some_and(Capabilities::keeps_black_boxes) || is_storing {
            let note = FleetNote::FindingsDropped { agent: agent.clone() };
            return state.out.note(note);
        }
        let AgentBlackBox { number, entries } = told;
        let _ = self.0.insert(agent.clone(), failed_dials(&entries).collect());
        let latest = entries.iter().rev().find(|told| told.finding.cause == Cause::AgentSlept);
        if let Some(sleep) = latest.filter(|told| told.finding.confidence == Confidence::High) {
            let from = now.wall.before(sleep.ago);
            state.show_slept(agent, Sleep { from, until: from.after(sleep.lasted) });
        }
        let (agent, at) = (agent.clone(), now.wall);
        let told = within(entries, LONGEST_FINDINGS);
        let record = FindingsRecord { agent, epoch, instance, number, told, at };
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
        let dials = self.0.remove(agent).unwrap_or_default();
        let is_over = match &kept {
            // What is refused would be refused again.
            Ok(()) | Err(StoreFault::Refused(_)) => true,
            Err(StoreFault::OverLimit(_) | StoreFault::Unavailable(_)) => false,
        };
        match kept {
            // What is not kept is told again, and counts then.
            Ok(()) => dials.into_iter().for_each(|(fault, times)| {
                state.out.note(FleetNote::DialsFailed { agent: agent.clone(), fault, times });
            }),
            Err(fault) => {
                let why = fault.to_string();
                state.out.note(FleetNote::FindingsNotKept { agent: agent.clone(), why });
            }
        }
        if is_over {
            // Without a session the confirmation is lost; the agent tells it again in the next one.
            let _ = state.send(agent, ServerToAgent::BlackBoxAck(BlackBoxAck { number }));
        }
    }
}

/// The findings within a number of bytes: of more, what was found and when, without the evidence.
fn within(told: Vec<PastFinding>, most: usize) -> Vec<PastFinding> {
    if serde_json::to_vec(&told).is_ok_and(|json| json.len() <= most) {
        return told;
    }
    let bare = |told: PastFinding| PastFinding { finding: told.finding.on(Evidence::NONE), ..told };
    told.into_iter().map(bare).collect()
}
