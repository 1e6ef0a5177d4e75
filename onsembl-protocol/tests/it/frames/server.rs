//! The server's end: what each type of an agent counts as, and what is said for what a machine wants.

use super::agent::{profile, rules};
use crate::support::{now, secs};
use bytes::Bytes;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{
    AgentId, BeatSequence, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation, MessageId,
    SessionId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::Seen;
use onsembl_protocol::model::{Capabilities, Dialect, SERVER_FEATURES, Stream};
use onsembl_protocol::session::frames::{self, Admission, FromAgent};
use onsembl_protocol::session::{BeatOut, Reading, ServerConfig, ServerInbound, StoreTrouble};
use onsembl_protocol::wire::payload::ErrorCode;
use onsembl_protocol::wire::{
    AgentFrame, AgentToServer, MessageSet, NextBeat, OutputFrame, encode,
};
use std::time::Duration;

fn reading(text: &str) -> Reading {
    frames::read(text, &Limits::DEFAULT, SERVER_FEATURES).reading
}

#[test]
fn what_is_no_message_is_said_to_be_none() {
    let read = frames::read("no message", &Limits::DEFAULT, SERVER_FEATURES);
    assert_eq!(read.reading, Reading::Undecodable);
    let FromAgent::Undecodable(error) = read.content else { panic!("{:?}", read.content) };
    assert_eq!(frames::undecodable(&error).code, ErrorCode::InvalidMessage);
    let read = frames::read_binary(Bytes::from_static(b"\x09"), &Limits::DEFAULT);
    assert_eq!(read.reading, Reading::Undecodable);
}

#[test]
fn binary_output_is_a_message_like_any_other() {
    let output = OutputFrame {
        command_id: CommandId::new("c"),
        incarnation: Incarnation(7),
        stream: Stream::Stdout,
        sequence: ChunkSequence(1),
        offset: ByteOffset(0),
        bytes: Bytes::from_static(b"hi"),
    };
    let written = output.encode().unwrap();
    let read = frames::read_binary(written.clone(), &Limits::DEFAULT);
    assert_eq!(read.reading, Reading::Message);
    let FromAgent::Message(None, AgentFrame::Other(message)) = read.content else {
        panic!("{:?}", read.content)
    };
    let AgentToServer::Output(read) = *message else { panic!("{message:?}") };
    assert_eq!(read, output.into());
}

#[test]
fn every_type_of_an_agent_counts_as_something() {
    for kind in AgentToServer::TYPES {
        let payload = match *kind {
            "AGENT_ERROR"
            | "TRACE_EVENT"
            | "INVESTIGATION_REPORT"
            | "PING"
            | "PONG"
            | "AGENT_HEARTBEAT"
            | "AGENT_CONNECT" => "{}",
            "OUTPUT_STATE" => r#"{"streams":[]}"#,
            "AGENT_BLACK_BOX" => r#"{"number":1,"entries":[]}"#,
            "TERMINAL_INPUT_STATE" => r#"{"commandId":"terminal-1","holder":"h"}"#,
            "STOP_RECEIPT" => r#"{"stopId":"s","stage":"ACTED"}"#,
            "OUTPUT_GAP" => {
                r#"{"commandId":"c","incarnation":1,"streamType":"STDOUT","sequence":1,"offset":0,"because":"stopped"}"#
            }
            "AGENT_ACTIVITY" => r#"{"commandId":"terminal-1","state":"waiting","fact":"prompt"}"#,
            "TERMINAL_SIZE" => {
                r#"{"commandId":"c","incarnation":1,"offset":0,"size":{"columns":80,"rows":24}}"#
            }
            _ => r#"{"commandId":"c","status":"RECEIVED"}"#,
        };
        let expected = match *kind {
            "AGENT_CONNECT" => Reading::Hello(Capabilities::LEGACY),
            "AGENT_HEARTBEAT" => {
                Reading::Beat(ServerInbound::Heartbeat { sequence: None, seen: None })
            }
            "PONG" => Reading::Beat(ServerInbound::Pong),
            "PING" => Reading::Ping,
            _ => Reading::Message,
        };
        assert_eq!(
            reading(&format!(r#"{{"type":"{kind}","payload":{payload}}}"#)),
            expected,
            "{kind}"
        );
    }
    assert_eq!(reading(r#"{"type":"TIME_TRAVEL"}"#), Reading::Unknown);
}

#[test]
fn a_heartbeat_counts_alike_however_it_is_read() {
    let beat = r#""payload":{"sequence":31,"seen":{"sequence":30,"ageMs":12}}"#;
    let number = |n| Some(BeatSequence(n));
    let expected =
        Reading::Beat(ServerInbound::Heartbeat { sequence: number(31), seen: number(30) });
    assert_eq!(reading(&format!(r#"{{"type":"AGENT_HEARTBEAT",{beat}}}"#)), expected);
    // With its type last it is read the careful way.
    assert_eq!(reading(&format!(r#"{{{beat},"type":"AGENT_HEARTBEAT"}}"#)), expected);
}

#[test]
fn a_hello_settles_what_the_session_may_rely_on() {
    let hello = AgentToServer::Connect(profile().hello(None));
    let text = encode(&MessageId::new("m"), now(Duration::ZERO).wall, &hello);
    let Reading::Hello(agreed) = reading(&text) else { panic!("no hello") };
    assert_eq!(agreed.dialect(), Dialect::Extended);
    assert_eq!(agreed.features(), SERVER_FEATURES);
    let admission = Admission::new(AgentId::new("taught"), SessionId::new("s"), Epoch(4));
    let config = ServerConfig::DEFAULT;
    let id = Some(MessageId::new("m"));
    let ack = frames::welcome(id.clone(), agreed, &admission, &rules(), &config);
    assert_eq!((ack.message_id, ack.agent_id), (id.clone(), Some(AgentId::new("taught"))));
    let extensions = ack.extensions.expect("the session and its rules");
    assert_eq!((extensions.epoch, extensions.features), (Epoch(4), SERVER_FEATURES.to_vec()));
    let legacy = frames::welcome(id, Capabilities::LEGACY, &admission, &rules(), &config);
    assert_eq!(legacy.extensions, None);
}

#[test]
fn a_heartbeat_says_what_its_machine_wants_said() {
    let wall = now(secs(5)).wall;
    let beat = BeatOut {
        sequence: BeatSequence(3),
        seen: Some(Seen { sequence: BeatSequence(2), age: Duration::from_millis(40) }),
        recorded: Some((BeatSequence(1), wall)),
        lag: Some((secs(16), StoreTrouble::Full)),
    };
    let messages = frames::heartbeat(&beat, ServerConfig::DEFAULT.timing, wall);
    assert_eq!(messages.seen.map(|s| (s.sequence.0, s.age_ms)), Some((2, 40)));
    assert_eq!(messages.recorded.map(|r| (r.sequence.0, r.at)), Some((1, Some(wall))));
    assert_eq!(messages.next_ping_expected, Some(NextBeat::At(now(secs(35)).wall)));
    let lag = messages.recording_lag.expect("it lags");
    assert_eq!((lag.age_ms, lag.why.as_str()), (16_000, "disk full"));
}

#[test]
fn only_what_is_for_good_is_forbidden() {
    for cause in CloseCause::ALL {
        let code = if matches!(cause, CloseCause::Deleted | CloseCause::Revoked) {
            ErrorCode::Forbidden
        } else if matches!(cause, CloseCause::TokenExpired) {
            ErrorCode::Unauthorized
        } else {
            ErrorCode::StorageUnavailable
        };
        assert_eq!(frames::not_admitted(*cause, "why").code, code);
    }
}
