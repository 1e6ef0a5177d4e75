//! Output that is not to be stored: what its agent sent, what of it the server heard, and what must hold. Written is
//! relayed or declared to be missing, in order; nothing is sent twice, acknowledged as stored, or waits forever.

use super::agent::Agent;
use super::judge::Faults;
use super::truth::{Process, ProcessState};
use super::viewer::{Seen, View, Viewer};
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::limits::OUTPUT_WINDOW;
use onsembl_protocol::model::{GapCause, Stream};
use onsembl_protocol::wire::payload::{OutputCredit, TerminalOutput};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{RECORD_COST, SpoolBounds};
use std::collections::BTreeMap;

type Key = (CommandId, Stream);

/// What was sent and heard of each stream.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// Everything before it was sent, or left out.
    sent: BTreeMap<Key, u64>,
    /// What is on the link without credit.
    on_link: BTreeMap<Key, Vec<(u64, u64)>>,
    /// What the server heard, from and to.
    heard: BTreeMap<Key, Vec<(u64, u64)>>,
}

fn span(output: &TerminalOutput) -> (Key, u64, u64) {
    let from = output.offset.map_or(0, |offset| offset.0);
    let to = from + output.content.as_bytes().len() as u64;
    ((output.command_id.clone(), output.stream.stream()), from, to)
}

impl Passing {
    pub(super) fn on_said(&mut self, message: &AgentToServer, processes: &[Process]) {
        let AgentToServer::Output(output) = message else { return };
        let (key, from, to) = span(output);
        let process = processes.iter().find(|p| p.run.command == key.0);
        if !process.is_some_and(|p| p.keeping.is_unstored()) {
            return;
        }
        let sent = self.sent.entry(key.clone()).or_default();
        assert!(from >= *sent, "sent again: {key:?} from {from}, and {sent} was sent");
        *sent = to;
        let on_link = self.on_link.entry(key).or_default();
        on_link.push((from, to));
        let bytes: u64 = on_link.iter().map(|(from, to)| to - from).sum();
        assert!(bytes <= OUTPUT_WINDOW, "{bytes} bytes are on the link");
    }

    pub(super) fn on_heard(&mut self, message: &AgentToServer) {
        if let AgentToServer::Output(output) = message {
            let (key, from, to) = span(output);
            self.heard.entry(key).or_default().push((from, to));
        }
    }

    pub(super) fn on_answered(&mut self, message: &ServerToAgent) {
        if let ServerToAgent::OutputCredit(credit) = message {
            let key = (credit.command_id.clone(), credit.stream_type.stream());
            let on_link = self.on_link.entry(key).or_default();
            on_link.retain(|(_, to)| *to > credit.offset.0);
        }
    }

    pub(super) fn on_link_ended(&mut self) {
        self.on_link.clear();
    }

    /// Credit is given for what was heard, and for nothing else.
    pub(super) fn check_credit(&self, credit: &OutputCredit, processes: &[Process]) {
        let key = (credit.command_id.clone(), credit.stream_type.stream());
        let process = processes.iter().find(|p| p.run.command == key.0).unwrap();
        assert!(process.keeping.is_unstored(), "{credit:?} for what is stored");
        let heard = self.heard.get(&key).map_or(&[][..], Vec::as_slice);
        assert!(heard.iter().any(|(_, to)| *to == credit.offset.0), "{credit:?}, and {heard:?}");
    }

    fn has_heard(&self, key: &Key, at: u64, end: u64) -> bool {
        let heard = self.heard.get(key).map_or(&[][..], Vec::as_slice);
        let mut at = at;
        for (from, to) in heard {
            if *from <= at && at < *to {
                at = *to;
            }
        }
        at >= end
    }
}

/// What waits is counted, and bounded.
pub(super) fn check_step(
    agent: &Agent,
    processes: &[Process],
    bounds: SpoolBounds,
    most_read: u64,
) {
    let held = agent.held();
    for (state, _) in &held.relayed {
        let process = processes.iter().find(|p| p.run == state.run).unwrap();
        let (read, produced) = (*process.read.get(state.stream), state.produced.0);
        assert!(process.keeping.is_unstored() && state.gaps == 0, "{state:?}");
        assert!(state.stored.0 <= produced && produced <= read, "{state:?}, read {read}");
    }
    let runs = held.relayed.len() as u64 / Stream::ALL.len() as u64;
    let late = (runs + 1) * (most_read + 6 * RECORD_COST);
    assert!(
        held.relayed_memory <= bounds.memory + late,
        "{} bytes wait, more than {} and {late}",
        held.relayed_memory,
        bounds.memory
    );
}

/// Who watches has everything up to the end, or was told that it has not.
pub(super) fn check_view(
    view: &View,
    viewer: &Viewer,
    process: &Process,
    stream: Stream,
    faults: &Faults,
) {
    let id = &process.run.command;
    let context = format!("{stream} of {id}: {view:?}, {:?}", process.state);
    let Some(mut at) = view.from else { return };
    for piece in &view.seen {
        let end = at + piece.length();
        match piece {
            Seen::Bytes(_) => {
                let key = (id.clone(), stream);
                assert!(faults.passing.has_heard(&key, at, end), "never came: {context}");
            }
            Seen::Gap(_, because) => assert_eq!(*because, GapCause::NotKept, "{context}"),
        }
        at = end;
    }
    let is_given_up = faults.dropped.contains(id)
        || faults.closed_before.contains(id)
        || faults.restored
        || faults.broken.contains(id);
    let wrote = *process.wrote.get(stream);
    match process.state {
        ProcessState::Done if view.open.is_none() && !is_given_up => {
            assert_eq!(at, wrote, "{context}");
        }
        ProcessState::Done => {}
        ProcessState::Orphaned => {
            assert!(view.open.is_some() || viewer.came_late || is_given_up, "{context}");
        }
        ProcessState::Runs | ProcessState::Exited => panic!("not over: {context}"),
    }
    assert!(ByteOffset(at) <= ByteOffset(wrote), "{context}");
}
