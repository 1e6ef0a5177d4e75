//! Every message that this server makes goes over a link that takes 1 MiB (P-380): what peers say is cut, measured in the
//! form that will be sent, or refused. The kit holds each message against the limit.

use super::bench::{Bench, Keeps};
use super::server::{Down, Sent};
use onsembl_protocol::fleet::{Answer, FleetLimits, LogRecord, Request, StoredBody};
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::model::Stream;
use onsembl_protocol::wire::payload::{
    CommandRequest, EmergencyStop, ErrorCode, OutputContent, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};

/// The most that a chunk holds (P-113).
const CHUNK: usize = 32 * 1024;

fn wrote(id: &CommandId, content: OutputContent, numbers: Option<u64>) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: id.clone(),
        agent_id: None,
        stream: Stream::Stdout.into(),
        content,
        sequence: numbers.map(ChunkSequence),
        offset: numbers.map(|_| ByteOffset(0)),
        incarnation: numbers.map(|_| Incarnation(7)),
    })
}

/// The chunks, which follow one another without hole or overlap and with numbers that grow.
fn whole(records: &[LogRecord]) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    let mut last = ChunkSequence(0);
    for record in records {
        let StoredBody::Chunk(bytes) = &record.body else { panic!("{record:?}") };
        assert!(!bytes.is_empty() && bytes.len() <= CHUNK, "{} bytes", bytes.len());
        assert_eq!(record.offset, ByteOffset(all.len() as u64));
        assert!(record.sequence > last);
        last = record.sequence;
        all.extend_from_slice(bytes);
    }
    all
}

#[test]
fn output_is_cut_to_chunks_however_it_came() {
    let text = "\u{1}".repeat(1_000_000);
    let letters = "é".repeat(100_000);
    for (content, is_text) in [
        (OutputContent::Text(text.clone()), true),
        (OutputContent::Bytes(text.clone().into()), false),
        (OutputContent::Text(letters.clone()), true),
    ] {
        let bytes = content.as_bytes().to_vec();
        let mut bench = Bench::new(FleetLimits::DEFAULT);
        let link = bench.join("first", Keeps::Journal("its journal"), &[]);
        let id = CommandId::new("c-00");
        bench.command(&id);
        let _ = bench.take_sent();
        bench.hear(link, wrote(&id, content.clone(), Some(1)));
        bench.calm();
        let records = bench.taken_output();
        assert_eq!(whole(&records), bytes);
        if is_text {
            let is_text = |record: &LogRecord| match &record.body {
                StoredBody::Chunk(bytes) => std::str::from_utf8(bytes).is_ok(),
                StoredBody::Gap { .. } => false,
            };
            assert!(records.iter().all(is_text), "it is cut between characters");
        }
        // What is sent again is taken once, and what comes next continues behind all pieces.
        bench.hear(link, wrote(&id, content, Some(1)));
        bench.calm();
        assert_eq!(bench.taken_output(), []);
    }
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join_legacy("wrapper");
    let id = CommandId::new("c-00");
    bench.command(&id);
    let _ = bench.take_sent();
    bench.hear(link, wrote(&id, OutputContent::Text(text.clone()), None));
    bench.hear(link, wrote(&id, OutputContent::Text(letters.clone()), None));
    bench.calm();
    let both = [text.into_bytes(), letters.into_bytes()].concat();
    assert_eq!(whole(&bench.taken_output()), both);
}

#[test]
fn a_request_is_measured_in_the_form_that_a_wrapper_gets() {
    let refusal = |count: usize, legacy: bool| {
        let mut bench = Bench::new(FleetLimits::DEFAULT);
        let _link = match legacy {
            true => bench.join_legacy("wrapper"),
            false => bench.join("first", Keeps::Journal("its journal"), &[]),
        };
        let mut request = CommandRequest::new(CommandId::new("c-00"), bench.agent(), "echo");
        request.args = vec!["x".repeat(60_000); count];
        bench.request(Request::Command(Box::new(request)));
        bench.calm();
        bench.take_sent().iter().find_map(|sent| match sent {
            Sent::Reply(_, Answer::Refused(error)) => Some(error.code.clone()),
            _ => None,
        })
    };
    // In the text of a wrapper they go out twice.
    assert_eq!(refusal(15, true), Some(ErrorCode::InvalidMessage));
    assert_eq!(refusal(15, false), None);
    assert_eq!(refusal(8, true), None);
}

#[test]
fn a_momentary_stop_of_many_names_reaches_its_agent() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join_legacy("wrapper");
    let mut names: Vec<String> =
        (0..900).map(|n| format!("{n:04}{}", "\u{1}".repeat(250))).collect();
    names.push(bench.agent().as_str().to_owned());
    let stop = EmergencyStop {
        reason: Some("\u{1}".repeat(60_000)),
        affected_agents: names,
        ..EmergencyStop::default()
    };
    bench.request(Request::StopOnce(stop));
    bench.calm();
    let agent: AgentId = bench.agent();
    let told = bench.take_sent().into_iter().find_map(|sent| match sent {
        Sent::Down(_, Down::Message(message)) => match *message {
            ServerToAgent::EmergencyStop(stop) => Some(stop.affected_agents),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(told, Some(vec![agent.as_str().to_owned()]));
}
