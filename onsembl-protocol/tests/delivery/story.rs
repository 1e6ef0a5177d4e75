//! What is told of a world that fails, one line for each thing that happened.

use super::server::{Down, Up};
use onsembl_protocol::id::ByteOffset;
use onsembl_protocol::output::{LogRecord, Run, StoredBody, Stream, StreamState};
use std::cell::RefCell;
use std::rc::Rc;

pub(super) type Story = Rc<RefCell<Vec<String>>>;

pub(super) fn show(word: &Up) -> String {
    match word {
        Up::Opened(command) => format!("it opened {command}"),
        Up::Holds(held) => format!("it holds {}", show_held(held)),
        Up::Wrote(sent) => {
            let r = &sent.record;
            let (n, stream, offset, length) = (r.sequence, r.stream, r.offset, r.length());
            let kind = if r.bytes_held() == 0 { "a gap" } else { "bytes" };
            format!("{} {n}: {kind} of {stream} {offset} + {length}", sent.run.command)
        }
        Up::Over(command, wrote) => format!("{command} is over, and wrote {wrote:?}"),
        Up::BrokeOff(run, stream, offset) => {
            format!("{stream} of {} broke off at {offset}", run.command)
        }
    }
}

pub(super) fn show_held(held: &[StreamState]) -> String {
    let written = held.iter().filter(|s| s.produced.0 > 0);
    let show = |s: &StreamState| {
        let (command, stream) = (&s.run.command, s.stream);
        format!("[{command} {stream} {}..{}, {} in gaps]", s.stored, s.produced, s.gaps)
    };
    written.map(show).collect()
}

pub(super) fn show_answer(word: &Down) -> String {
    let show = |(run, stream, offset): &(Run, Stream, ByteOffset)| {
        if offset.0 == 0 { String::new() } else { format!("[{} {stream} {offset}]", run.command) }
    };
    match word {
        Down::Ack(run, stream, offset, open) => {
            let how = if *open { " where it breaks off" } else { "" };
            format!("that {stream} of {} is stored up to {offset}{how}", run.command)
        }
        Down::Confirm(command) => format!("that the end of {command} is stored"),
        Down::Unknown(command) => format!("that nobody knows {command}"),
        Down::Cancel(command) => format!("that {command} is to be ended"),
        Down::Resume(places) => {
            format!("where to resume: {}", places.iter().map(show).collect::<String>())
        }
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
