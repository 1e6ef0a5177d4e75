//! What is told of a world that fails, one line for each thing that happened.

use onsembl_protocol::fleet::{LogRecord, StoredBody};
use onsembl_protocol::wire::payload::ResumePosition;
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{StreamState, WriterState};
use std::cell::RefCell;
use std::rc::Rc;

pub(super) type Story = Rc<RefCell<Vec<String>>>;

pub(super) fn show(message: &AgentToServer) -> String {
    match message {
        AgentToServer::TerminalOpened(opened) => format!("it opened {}", opened.command_id),
        AgentToServer::OutputState(state) => format!("it holds {} streams", state.streams.len()),
        AgentToServer::Output(output) => {
            let (id, stream) = (&output.command_id, output.stream.stream());
            let (n, offset) = (output.sequence, output.offset);
            let length = output.content.as_bytes().len();
            format!("{id} {n:?}: {length} bytes of {stream} from {offset:?}")
        }
        AgentToServer::OutputGap(gap) => {
            let (id, stream, offset) = (&gap.command_id, &gap.stream_type, gap.offset);
            format!("{id}: a gap of {stream} from {offset}, {:?}, {}", gap.length, gap.because)
        }
        AgentToServer::CommandComplete(report) => {
            format!(
                "{} is over ({}), and wrote {:?}",
                report.command_id, report.status, report.output
            )
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn show_states(states: &[(StreamState, WriterState)]) -> String {
    let written = states.iter().filter(|(s, _)| s.produced.0 > 0);
    let show = |(s, _): &(StreamState, WriterState)| {
        let (command, stream) = (&s.run.command, s.stream);
        format!("[{command} {stream} {}..{}, {} in gaps]", s.stored, s.produced, s.gaps)
    };
    written.map(show).collect()
}

pub(super) fn show_answer(message: &ServerToAgent) -> String {
    match message {
        ServerToAgent::OutputAck(ack) => {
            let (stream, id, offset) = (ack.stream_type.stream(), &ack.command_id, ack.offset);
            let how = if ack.open_gap { " where it breaks off" } else { "" };
            format!("that {stream} of {id} is stored up to {offset}{how}")
        }
        ServerToAgent::OutputCredit(credit) => {
            let (stream, id, offset) =
                (credit.stream_type.stream(), &credit.command_id, credit.offset);
            format!("that it may send more of {stream} of {id}, behind {offset}")
        }
        ServerToAgent::OutputResume(resume) => {
            let begun = resume.streams.iter().filter(|position| position.offset.0 > 0);
            let show = |p: &ResumePosition| {
                format!("[{} {} {}]", p.command_id, p.stream_type.stream(), p.offset)
            };
            format!("where to resume: {}", begun.map(show).collect::<String>())
        }
        ServerToAgent::Ack(ack) => format!("that the end of {:?} is stored", ack.command_id),
        ServerToAgent::Error(error) => format!("{}: {:?}", error.code, error.context.command_id),
        ServerToAgent::CommandCancel(cancel) => {
            format!("that {} is to be ended", cancel.command_id)
        }
        ServerToAgent::CommandRequest(request) => format!("a request for {:?}", request.command_id),
        other => format!("{other:?}"),
    }
}

pub(super) fn show_record(record: &LogRecord) -> String {
    let (stream, offset, end) = (record.stream, record.offset, record.end());
    let kind = match &record.body {
        StoredBody::Chunk(_) => "bytes".to_owned(),
        gap => format!("{gap:?}"),
    };
    format!("{} {stream} {offset}..{end} {kind}", record.sequence)
}
