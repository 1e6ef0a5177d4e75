//! What servers send to agents, as literal frames: the existing server's, and those of ours.

use super::{message, read};
use onsembl_protocol::id::{
    AgentId, BeatSequence, ByteOffset, CommandId, Epoch, Incarnation, MessageId, ServerInstanceId,
    SessionId, UserId,
};
use onsembl_protocol::liveness::{HeartbeatTiming, WireTiming};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::NextBeat;
use onsembl_protocol::wire::ServerToAgent::{self, *};
use onsembl_protocol::wire::payload as p;
use onsembl_protocol::wire::payload::{
    AgentControl, ControlAction, ErrorCode, ErrorContext, ExecutionConstraints, Feature, Priority,
    RecordedBeat, RecordingLag, Secret, SeenBeat, StreamType, Welcome,
};

/// Frames as the existing server writes them to an agent.
pub(super) const EXISTING: &[&str] = &[
    r#"{"type":"ACK","id":"msg-1762041600010-k3j","timestamp":1762041600010,"payload":{"messageId":"connect-1762041600000","success":true,"connectionId":"agent-1762041600000-z9","agentId":"9c5b94b1-35ad-49bb-b118-8e8fc24abf80","authenticated":true}}"#,
    r#"{"type":"ACK","id":"msg-1762041600011-k3k","timestamp":1762041600011,"payload":{"messageId":"cmd-1-17","success":true,"sequence":4,"received":true}}"#,
    r#"{"type":"PING","id":"ping-1762041630000-q1","timestamp":1762041630000,"payload":{"timestamp":1762041630000}}"#,
    r#"{"type":"COMMAND_REQUEST","id":"msg-1762041640000-aa","timestamp":1762041640000,"payload":{"commandId":"cmd-1762041-x7","content":"ls -la","command":"ls -la","type":"NATURAL","priority":5,"args":[],"executionConstraints":{"timeLimitMs":300000,"maxRetries":1},"dashboardId":"dashboard-1-z","userId":"u-1"}}"#,
    r#"{"type":"COMMAND_CANCEL","id":"msg-1","timestamp":1762041650000,"payload":{"commandId":"cmd-1762041-x7","reason":"User requested","force":false}}"#,
    r#"{"type":"AGENT_CONTROL","id":"msg-2","timestamp":1762041650001,"payload":{"action":"STOP","reason":"Control from dashboard u-1","gracefulShutdown":true,"timeout":30000}}"#,
    r#"{"type":"EMERGENCY_STOP","id":"msg-3","timestamp":1762041650002,"payload":{"reason":"Emergency stop","triggeredBy":"u-1","timestamp":1762041650002}}"#,
    r#"{"type":"TOKEN_REFRESH","id":"msg-4","timestamp":1762041650003,"payload":{"accessToken":"eyJhbGciOi","expiresIn":3600,"refreshToken":"r"}}"#,
    r#"{"type":"SERVER_HEARTBEAT","id":"msg-5","timestamp":1762041650004,"payload":{"serverTime":1762041650004,"nextPingExpected":1762041680004,"maintenanceWindow":{"start":1,"end":2,"message":"x"}}}"#,
    r#"{"type":"ERROR","id":"msg-6","timestamp":1762041650005,"payload":{"code":"UNKNOWN_MESSAGE_TYPE","message":"Unknown message type: AGENT_HEARTBEAT"}}"#,
];

/// Frames as our server writes them to an agent of ours.
pub(super) const OURS: &[&str] = &[
    r#"{"type":"ACK","id":"m-1","timestamp":1762041600010,"payload":{"messageId":"i-1","success":true,"connectionId":"agent-1","agentId":"a","authenticated":true,"extensions":{"features":["heartbeats"],"sessionId":"s-1","epoch":3,"serverInstance":"srv","heartbeatIntervalMs":1000,"staleAfterMs":2500,"timeoutAfterMs":5000,"resumeWindowMs":300000,"outputWindowBytes":262144}}}"#,
    r#"{"type":"SERVER_HEARTBEAT","id":"m-2","timestamp":1762041600011,"payload":{"serverTime":1762041600011,"nextPingExpected":1762041601011,"sequence":4,"seen":{"sequence":3,"ageMs":12},"recorded":{"sequence":2,"at":1762041600009},"recordingLag":{"ageMs":700,"why":"database busy"}}}"#,
    r#"{"type":"OUTPUT_ACK","id":"m-3","timestamp":1762041600012,"payload":{"commandId":"c","incarnation":1762041600000,"streamType":"STDERR","offset":98304}}"#,
    r#"{"type":"OUTPUT_RESUME","id":"m-6","timestamp":1762041600015,"payload":{"streams":[{"commandId":"c","incarnation":5,"streamType":"STDERR","offset":300}],"more":true}}"#,
    r#"{"type":"OUTPUT_QUERY","id":"m-7","timestamp":1762041600016,"payload":{"query":"q-1"}}"#,
    r#"{"type":"STOP_RELEASE","id":"m-8","timestamp":1762041600017,"payload":{"stopId":"s-1"}}"#,
    r#"{"type":"PONG","id":"m-4","timestamp":1762041600013,"payload":{"timestamp":1762041600013}}"#,
    r#"{"type":"ERROR","id":"m-5","timestamp":1762041600014,"payload":{"code":"INVALID_MESSAGE","message":"no","context":{"commandId":"c","agentId":"a"},"details":{"commandId":"c"},"originalMessageId":"i-9","recoverable":true}}"#,
    r#"{"type":"TERMINAL_INPUT","id":"m-10","timestamp":1762041600019,"payload":{"commandId":"terminal-0193","holder":"h-1","sequence":1,"bytes":"bHMN"}}"#,
    r#"{"type":"COMMAND_TEXT","id":"m-11","timestamp":1762041600020,"payload":{"commandId":"cmd-7","offset":0,"bytes":"bHM="}}"#,
    r#"{"type":"OUTPUT_CREDIT","id":"m-12","timestamp":1762041600021,"payload":{"commandId":"c","incarnation":1762041600000,"streamType":"STDOUT","offset":131072}}"#,
    r#"{"type":"BLACK_BOX_ACK","id":"m-9","timestamp":1762041600018,"payload":{"number":1}}"#,
];

#[test]
fn the_existing_servers_welcome_teaches_the_id() {
    assert_eq!(
        read::<ServerToAgent>(EXISTING[0]).message,
        Ack(p::Ack {
            message_id: Some(MessageId::new("connect-1762041600000")),
            success: true,
            connection_id: Some("agent-1762041600000-z9".into()),
            agent_id: Some(AgentId::new("9c5b94b1-35ad-49bb-b118-8e8fc24abf80")),
            authenticated: Some(true),
            ..p::Ack::default()
        })
    );
    let Ack(ack) = read::<ServerToAgent>(EXISTING[1]).message else { panic!() };
    assert_eq!((ack.sequence, ack.received, ack.agent_id), (Some(4), Some(true), None));
    let Ack(bare) = message("ACK", r#"{"messageId":"x"}"#) else { panic!() };
    assert!(bare.success, "an acknowledgement that does not say otherwise is one");
}

#[test]
fn our_welcome_names_the_session_and_its_rules() {
    let Ack(ack) = read::<ServerToAgent>(OURS[0]).message else { panic!() };
    let timing =
        WireTiming { heartbeat_interval_ms: 1000, stale_after_ms: 2500, timeout_after_ms: 5000 };
    assert!(HeartbeatTiming::try_from(timing).is_ok());
    assert_eq!(
        ack.extensions,
        Some(Welcome {
            features: vec![Feature::Heartbeats],
            session_id: SessionId::new("s-1"),
            epoch: Epoch(3),
            server_instance: ServerInstanceId::new("srv"),
            timing,
            resume_window_ms: 300_000,
            output_window_bytes: 262_144,
            stopped: None,
        })
    );
}

#[test]
fn a_probe_carries_what_is_to_be_echoed() {
    let Ping(ping) = read::<ServerToAgent>(EXISTING[2]).message else { panic!() };
    assert_eq!(ping.timestamp, Some(1_762_041_630_000.0));
    let Ping(bare) = message("PING", "{}") else { panic!() };
    assert_eq!(bare.timestamp, None);
}

#[test]
fn the_existing_servers_request_is_read_whole() {
    let CommandRequest(request) = read::<ServerToAgent>(EXISTING[3]).message else { panic!() };
    assert_eq!(request.command_id, Some(CommandId::new("cmd-1762041-x7")));
    assert_eq!((request.text.as_str(), request.priority), ("ls -la", Priority::Normal));
    let constraints = ExecutionConstraints { time_limit_ms: Some(300_000), max_retries: Some(1) };
    assert_eq!(request.constraints, constraints);
    assert_eq!(request.user_id, Some(UserId::new("u-1")));
}

#[test]
fn orders_are_read() {
    assert_eq!(
        read::<ServerToAgent>(EXISTING[4]).message,
        CommandCancel(p::CommandCancel {
            command_id: CommandId::new("cmd-1762041-x7"),
            agent_id: None,
            reason: Some("User requested".into()),
            force: false,
        })
    );
    assert_eq!(
        read::<ServerToAgent>(EXISTING[5]).message,
        Control(AgentControl {
            agent_id: None,
            action: ControlAction::Stop,
            reason: Some("Control from dashboard u-1".into()),
            graceful_shutdown: Some(true),
            timeout: Some(30_000),
            size: None,
        })
    );
    let EmergencyStop(stop) = read::<ServerToAgent>(EXISTING[6]).message else { panic!() };
    assert_eq!(stop.triggered_by.as_deref(), Some("u-1"));
}

#[test]
fn tokens_are_read_and_never_printed() {
    let TokenRefresh(refresh) = read::<ServerToAgent>(EXISTING[7]).message else { panic!() };
    assert_eq!(refresh.access_token.reveal(), "eyJhbGciOi");
    assert_eq!(refresh.refresh_token.as_ref().map(Secret::reveal), Some("r"));
    let printed = format!("{refresh:?} {}", refresh.access_token);
    assert!(!printed.contains("eyJ"), "{printed}");
}

#[test]
fn heartbeats_of_both_kinds_of_servers_are_read() {
    let Heartbeat(old) = read::<ServerToAgent>(EXISTING[8]).message else { panic!() };
    let expected = WallTime::from_unix_millis(1_762_041_680_004);
    assert_eq!(old.next_ping_expected, Some(NextBeat::At(expected)));
    assert_eq!((old.sequence, old.recorded), (None, None));

    let Heartbeat(ours) = read::<ServerToAgent>(OURS[1]).message else { panic!() };
    assert_eq!(ours.sequence, Some(BeatSequence(4)));
    assert_eq!(ours.seen, Some(SeenBeat { sequence: BeatSequence(3), age_ms: 12 }));
    let at = Some(WallTime::from_unix_millis(1_762_041_600_009));
    assert_eq!(ours.recorded, Some(RecordedBeat { sequence: BeatSequence(2), at }));
    let lag = RecordingLag { age_ms: 700, why: "database busy".into() };
    assert_eq!(ours.recording_lag, Some(lag));
}

#[test]
fn errors_of_both_kinds_of_servers_are_read() {
    let Error(old) = read::<ServerToAgent>(EXISTING[9]).message else { panic!() };
    assert_eq!(old.code, ErrorCode::UnknownMessageType);
    assert_eq!(old.context, ErrorContext::default());
    let Error(ours) = read::<ServerToAgent>(OURS[7]).message else { panic!() };
    assert_eq!(ours.context.command_id, Some(CommandId::new("c")));
    assert_eq!(ours.original_message_id, Some(MessageId::new("i-9")));
    assert_eq!(ours.recoverable, Some(true));
}

#[test]
fn stored_output_is_named_by_stream_and_offset() {
    assert_eq!(
        read::<ServerToAgent>(OURS[2]).message,
        OutputAck(p::OutputAck {
            command_id: CommandId::new("c"),
            incarnation: Incarnation(1_762_041_600_000),
            stream_type: StreamType::Stderr,
            offset: ByteOffset(98_304),
            open_gap: false,
        })
    );
}

#[test]
fn an_agent_is_told_where_to_go_on_and_asked_what_it_holds() {
    let OutputResume(resume) = read::<ServerToAgent>(OURS[3]).message else { panic!() };
    assert!(resume.more);
    assert_eq!(resume.streams[0].offset, ByteOffset(300));
    let OutputQuery(ask) = read::<ServerToAgent>(OURS[4]).message else { panic!() };
    assert_eq!(ask.query, "q-1");
}

#[test]
fn a_stop_holds_under_its_id_until_that_is_released() {
    let StopRelease(release) = read::<ServerToAgent>(OURS[5]).message else { panic!() };
    assert_eq!(release.stop_id.as_str(), "s-1");
    let latching = r#"{"reason":"smoke","stopId":"s-1"}"#;
    let EmergencyStop(stop) = message("EMERGENCY_STOP", latching) else { panic!() };
    assert_eq!(stop.stop_id, Some(release.stop_id));
}
