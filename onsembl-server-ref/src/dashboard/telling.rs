//! What a command wrote and how it ended, in the form that a dashboard takes. What it was told
//! already, and when it is told more, is not decided here.

use super::lines::LineAssembler;
use super::words;
use crate::board::CommandEntry;

use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::output::{LogRecord, StoredBody, gap_notice};
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{
    DashboardExtensions, Feature, OutputContent, OutputGap, StreamContent, TerminalStream,
};

/// How a dashboard takes output.
#[derive(Clone, Copy)]
pub(super) enum Taste {
    /// Whole lines, and a gap is a line too.
    Lines,
    /// Bytes; a gap it sees by the next offset.
    Bytes,
    /// Bytes and gaps.
    Records,
}

impl Taste {
    /// What it asked for in its hello.
    pub(super) fn of(extensions: Option<&DashboardExtensions>) -> Self {
        let has = |feature| extensions.is_some_and(|e| e.features.contains(&feature));
        match (has(Feature::OutputBytes), has(Feature::OutputSpool)) {
            (true, true) => Self::Records,
            (true, false) => Self::Bytes,
            (false, _) => Self::Lines,
        }
    }
}

/// A record in words, if it gives any.
pub(super) fn output(
    lines: &mut LineAssembler,
    command_id: CommandId,
    agent: AgentId,
    record: LogRecord,
    taste: Taste,
) -> Option<ServerToDashboard> {
    let LogRecord { incarnation, sequence, stream, offset, body, at } = record;
    let said = match (body, taste) {
        (StoredBody::Gap { .. }, Taste::Bytes) => return None,
        (StoredBody::Gap { length, because }, Taste::Records) => {
            return Some(ServerToDashboard::OutputGap(OutputGap {
                command_id,
                agent_id: Some(agent),
                incarnation,
                stream_type: stream.into(),
                sequence,
                offset,
                length,
                because,
                timestamp: Some(at),
            }));
        }
        (StoredBody::Chunk(bytes), Taste::Bytes | Taste::Records) => {
            return Some(ServerToDashboard::TerminalStream(TerminalStream {
                command_id,
                agent_id: Some(agent),
                stream: stream.into(),
                content: StreamContent::Bytes(OutputContent::from_bytes(&bytes)),
                timestamp: Some(at),
                sequence: Some(sequence),
                offset: Some(offset),
                incarnation: Some(incarnation),
            }));
        }
        (StoredBody::Chunk(bytes), Taste::Lines) => lines.push(stream, &bytes),
        (StoredBody::Gap { length, because }, Taste::Lines) => {
            let mut said = lines.push(stream, b"\n");
            said.retain(|line| !line.is_empty());
            said.push(gap_notice(length, because));
            said
        }
    };
    (!said.is_empty()).then(|| {
        ServerToDashboard::TerminalStream(TerminalStream {
            command_id,
            agent_id: Some(agent),
            stream: stream.into(),
            content: StreamContent::Lines(said),
            timestamp: Some(at),
            sequence: Some(sequence),
            offset: None,
            incarnation: None,
        })
    })
}

/// The end of a command: what is left of its lines, and how it ended.
pub(super) fn end(
    lines: &mut LineAssembler,
    id: &CommandId,
    entry: &CommandEntry,
    extended: bool,
) -> Vec<ServerToDashboard> {
    let mut said = Vec::new();
    for (stream, line) in lines.finish() {
        said.push(ServerToDashboard::TerminalStream(TerminalStream {
            command_id: id.clone(),
            agent_id: Some(entry.agent.clone()),
            stream: stream.into(),
            content: StreamContent::Lines(vec![line]),
            timestamp: None,
            sequence: None,
            offset: None,
            incarnation: None,
        }));
    }
    if let Some(view) = &entry.view
        && (extended || *id != CommandId::of_session(&entry.agent))
    {
        said.push(ServerToDashboard::CommandStatus(words::command(
            id, entry, view, None, extended,
        )));
        if !extended {
            let complete = words::complete(id, entry, view);
            said.push(ServerToDashboard::CommandComplete(complete));
        }
    }
    said
}
