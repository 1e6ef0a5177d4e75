//! What agents ask at the beginning of a session: how far the streams that they hold are stored.

use super::action::Question;
use super::event::StoreFault;
use super::note::FleetNote;
use super::row::StreamPosition;
use super::state::State;
use crate::id::AgentId;
use crate::wire::ServerToAgent;
use crate::wire::payload::{OutputResume, OutputState, ReportedStream, ResumePosition};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

/// What a stream that an agent tells of counts besides the id of its command.
const STREAM_COST: usize = 128;

/// What streams that an agent tells of count while they wait.
pub(super) fn cost_of(streams: &[ReportedStream]) -> usize {
    let each = |stream: &ReportedStream| stream.command_id.as_str().len() + STREAM_COST;
    streams.iter().map(each).fold(STREAM_COST, usize::saturating_add)
}

/// Pages that wait for the store.
#[derive(Debug, Default)]
pub(super) struct Resumes {
    waiting: BTreeMap<u64, (AgentId, OutputState)>,
    of_agent: BTreeMap<AgentId, usize>,
    bytes: usize,
    next: u64,
}

impl Resumes {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An agent says what it holds.
    pub(super) fn on_state(&mut self, state: &mut State, agent: &AgentId, reported: OutputState) {
        let own = self.of_agent.get(agent).copied().unwrap_or(0);
        let limits = state.limits;
        let bytes = self.bytes.saturating_add(cost_of(&reported.streams));
        if own >= limits.pages_of_agent
            || self.waiting.len() >= limits.pages
            || bytes > limits.page_bytes
        {
            // Not answered: an agent that gets no answer in time sends from the oldest that it holds.
            return state.out.note(FleetNote::StatesDropped { agent: agent.clone() });
        }
        let mut commands: Vec<_> = reported.streams.iter().map(|s| s.command_id.clone()).collect();
        commands.dedup();
        self.bytes = bytes;
        self.next = self.next.wrapping_add(1);
        let _ = self.waiting.insert(self.next, (agent.clone(), reported));
        let _ = self.of_agent.insert(agent.clone(), own + 1);
        state.out.ask(Question::Positions { ticket: self.next, commands });
    }

    /// The store has looked.
    pub(super) fn on_positions(
        &mut self,
        state: &mut State,
        ticket: u64,
        positions: Result<Vec<StreamPosition>, StoreFault>,
    ) {
        let Some((agent, reported)) = self.waiting.remove(&ticket) else { return };
        self.bytes = self.bytes.saturating_sub(cost_of(&reported.streams));
        let left = self.of_agent.get(&agent).map_or(0, |pages| pages.saturating_sub(1));
        match left {
            0 => drop(self.of_agent.remove(&agent)),
            left => drop(self.of_agent.insert(agent.clone(), left)),
        }
        let positions = match positions {
            Ok(positions) => positions,
            Err(fault) => {
                // The agent sends everything again when it has waited long enough.
                let why = fault.to_string();
                return state.out.note(FleetNote::PositionsNotRead { agent, why });
            }
        };
        let by_stream: BTreeMap<_, _> = positions
            .iter()
            .map(|p| ((&p.command, p.incarnation, p.stream), p.committed))
            .collect();
        let streams = reported.streams.iter().map(|reported| {
            let stream = reported.stream_type.stream();
            let committed = by_stream.get(&(&reported.command_id, reported.incarnation, stream));
            ResumePosition {
                command_id: reported.command_id.clone(),
                incarnation: reported.incarnation,
                stream_type: stream.into(),
                // A stream that is not stored begins at 0.
                offset: committed.copied().unwrap_or_default(),
            }
        });
        let resume = OutputResume { streams: streams.collect(), more: reported.more };
        // Without a session the answer is lost; the agent asks again in the next one.
        let _ = state.send(&agent, ServerToAgent::OutputResume(resume));
    }
}
