//! Between the messages of the real worker and the words of the server of this world.

use super::server::{Down, Up};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::output::{Outgoing, Record, RecordBody, Run, StreamState, Written};
use onsembl_protocol::wire::payload::{
    Ack, CommandCancel, ErrorCode, ErrorContext, ErrorReply, OutputAck, OutputGap, OutputResume,
    StreamPlace, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};

/// What a message says, if it says anything of output.
pub(super) fn up(message: AgentToServer) -> Option<Up> {
    Some(match message {
        AgentToServer::TerminalOpened(opened) => Up::Opened(opened.command_id),
        AgentToServer::OutputState(state) => {
            assert!(!state.more, "no world has so many streams");
            let held = state.streams.into_iter().map(|held| StreamState {
                run: run(held.command_id, held.incarnation),
                stream: held.stream_type.stream(),
                produced: held.produced,
                stored: held.stored,
                gaps: held.gaps,
            });
            Up::Holds(held.collect())
        }
        AgentToServer::Output(output) => {
            let TerminalOutput {
                command_id, stream, content, sequence, offset, incarnation, ..
            } = output;
            let (stream, body) = (stream.stream(), RecordBody::Chunk(content.into_bytes()));
            wrote(
                command_id,
                incarnation.unwrap(),
                stream,
                sequence.unwrap(),
                offset.unwrap(),
                body,
            )
        }
        AgentToServer::OutputGap(gap) => {
            let OutputGap { command_id, incarnation, stream_type, sequence, offset, .. } = gap;
            let stream = stream_type.stream();
            match gap.length {
                None => Up::BrokeOff(run(command_id, incarnation), stream, offset),
                Some(length) => {
                    let body = RecordBody::Gap { length, because: gap.because };
                    wrote(command_id, incarnation, stream, sequence, offset, body)
                }
            }
        }
        AgentToServer::CommandComplete(report) => {
            Up::Over(report.command_id.clone(), Written::of(&report))
        }
        AgentToServer::CommandAck(_) => return None,
        other => panic!("in no world of output: {other:?}"),
    })
}

fn wrote(
    command: CommandId,
    incarnation: Incarnation,
    stream: onsembl_protocol::output::Stream,
    sequence: ChunkSequence,
    offset: ByteOffset,
    body: RecordBody,
) -> Up {
    let record = Record { sequence, stream, offset, body };
    Up::Wrote(Outgoing { run: run(command, incarnation), record })
}

fn run(command: CommandId, incarnation: Incarnation) -> Run {
    Run { command, incarnation }
}

/// The message that says so.
pub(super) fn down(word: Down) -> ServerToAgent {
    match word {
        Down::Ack(Run { command, incarnation }, stream, offset, open_gap) => {
            let (command_id, stream_type) = (command, stream.into());
            let ack = OutputAck { command_id, incarnation, stream_type, offset, open_gap };
            ServerToAgent::OutputAck(ack)
        }
        Down::Confirm(id) => {
            ServerToAgent::Ack(Ack { command_id: Some(id), success: true, ..Ack::default() })
        }
        Down::Unknown(id) => ServerToAgent::Error(ErrorReply {
            code: ErrorCode::CommandNotFound,
            message: String::new(),
            context: ErrorContext { command_id: Some(id), ..ErrorContext::default() },
            details: None,
            original_message_id: None,
            recoverable: None,
        }),
        Down::Cancel(command_id) => ServerToAgent::CommandCancel(CommandCancel {
            command_id,
            agent_id: None,
            reason: None,
            force: false,
        }),
        Down::Resume(places) => {
            let place = |(run, stream, offset): (Run, onsembl_protocol::output::Stream, _)| {
                let (command_id, incarnation) = (run.command, run.incarnation);
                StreamPlace { command_id, incarnation, stream_type: stream.into(), offset }
            };
            let streams = places.into_iter().map(place).collect();
            ServerToAgent::OutputResume(OutputResume { streams, more: false })
        }
    }
}
