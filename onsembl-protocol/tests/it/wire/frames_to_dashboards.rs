//! What servers send to dashboards, as literal frames.

use super::{message, read};
use onsembl_protocol::id::{AgentId, CommandId, PresenceVersion};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToDashboard::{self, *};
use onsembl_protocol::wire::payload as p;
use onsembl_protocol::wire::payload::{
    AgentType, CommandPhase, ErrorCode, OutputContent, Selection, StreamContent, StreamType,
    Subscriptions,
};

/// Frames as the existing server writes them to a dashboard.
pub(super) const EXISTING: &[&str] = &[
    r#"{"type":"DASHBOARD_CONNECTED","id":"msg-1","timestamp":1762041600000,"payload":{"agents":[{"agentId":"a","name":"dev","type":"CLAUDE","status":"DISCONNECTED","version":"1.0.0","capabilities":["interrupt"],"lastHeartbeat":null},{"agentId":"b","name":"ops","type":"CUSTOM","status":"CONNECTED","version":"1.0.0","capabilities":[],"lastHeartbeat":"2025-11-02T00:00:00.000Z","metrics":{"commandsExecuted":1,"uptime":2,"memoryUsage":3,"cpuUsage":4}}],"timestamp":1762041600000}}"#,
    r#"{"type":"AGENT_STATUS","id":"msg-2","timestamp":1762041600001,"payload":{"agentId":"a","status":"connected","activityState":"IDLE","queuedCommands":0,"lastPing":"2025-11-02T00:00:00.000Z"}}"#,
    r#"{"type":"ACK","id":"msg-3","timestamp":1762041600002,"payload":{"messageId":"msg_1","success":true,"unsubscription":{"type":"agent","id":"a"},"subscriptions":{"agents":["*"],"commands":["c"],"traces":true,"terminals":false}}}"#,
    r#"{"type":"AGENT_CONNECTED","id":"msg-4","timestamp":1762041600003,"payload":{"agentId":"a","agentName":"dev","agentType":"CLAUDE","version":"1.0.0","hostMachine":"h","capabilities":{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":true},"timestamp":1762041600003}}"#,
    r#"{"type":"AGENT_DISCONNECT","id":"msg-5","timestamp":1762041600004,"payload":{"agentId":"a","reason":"Normal disconnection","timestamp":1762041600004}}"#,
    r#"{"type":"COMMAND_STATUS","id":"msg-6","timestamp":1762041600005,"payload":{"commandId":"c","agentId":"a","status":"EXECUTING","progress":{"percent":5,"message":"x"},"startedAt":1762041600005}}"#,
    r#"{"type":"TERMINAL_STREAM","id":"msg-7","timestamp":1762041600006,"payload":{"commandId":"c","agentId":"a","content":"hello","streamType":"STDOUT","ansiCodes":"\u001b[0m","timestamp":1762041600006}}"#,
    r#"{"type":"TERMINAL_STREAM","id":"msg-8","timestamp":1762041600007,"payload":{"commandId":"c","agentId":"a","content":["hello","world"],"streamType":"stderr","timestamp":1762041600006,"sequence":1,"isBlank":false}}"#,
    r#"{"type":"TRACE_STREAM","id":"msg-9","timestamp":1762041600008,"payload":{"commandId":"c","agentId":"a","trace":{}}}"#,
    r#"{"type":"QUEUE_UPDATE","id":"msg-10","timestamp":1762041600009,"payload":{"agentId":"a","queueSize":0,"queued":[]}}"#,
    r#"{"type":"EMERGENCY_STOP","id":"msg-11","timestamp":1762041600010,"payload":{"reason":"x","triggeredBy":"u","timestamp":1762041600010}}"#,
    r#"{"type":"ERROR","id":"msg-12","timestamp":1762041600011,"payload":{"code":"ROUTING_FAILED","message":"Agent not connected"}}"#,
    r#"{"type":"PING","id":"ping-1","timestamp":1762041600012,"payload":{"timestamp":1762041600012}}"#,
    r#"{"type":"PONG","id":"msg-13","timestamp":1762041600013,"payload":{"timestamp":1762041600012,"latency":1}}"#,
    r#"{"type":"TOKEN_REFRESH","id":"msg-14","timestamp":1762041600014,"payload":{"accessToken":"t","expiresIn":3600}}"#,
];

/// Frames as our server writes them to a dashboard of ours.
pub(super) const OURS: &[&str] = &[
    r#"{"type":"AGENT_STATUS","id":"m-1","timestamp":1762041600001,"payload":{"agentId":"a","status":"timed-out","activityState":"IDLE","queuedCommands":0,"lastPing":null,"since":"2025-11-02T00:00:00.250Z","because":"no frame from the agent for 90s","presenceVersion":12}}"#,
    r#"{"type":"COMMAND_COMPLETE","id":"m-2","timestamp":1762041600002,"payload":{"commandId":"c","status":"FAILED","exitCode":2,"executionTime":5,"duration":5,"tokensUsed":0}}"#,
    r#"{"type":"TERMINAL_STREAM","id":"m-3","timestamp":1762041600003,"payload":{"commandId":"c","agentId":"a","streamType":"STDOUT","content":"gA==","encoding":"base64","timestamp":1762041600003,"sequence":9,"offset":4096,"incarnation":5}}"#,
    r#"{"type":"OUTPUT_GAP","id":"m-4","timestamp":1762041600004,"payload":{"commandId":"c","agentId":"a","incarnation":5,"streamType":"STDOUT","sequence":9,"offset":300,"because":"agent-died","timestamp":1762041600004}}"#,
    r#"{"type":"KEYBOARD_STATE","id":"m-5","timestamp":1762041600005,"payload":{"commandId":"terminal-0193","agentId":"a","holder":"h-1","name":"ann at desk","since":1762041600004,"taken":0}}"#,
    r#"{"type":"OUTPUT_BEHIND","id":"m-6","timestamp":1762041600006,"payload":{"commandId":"terminal-0193","agentId":"a","incarnation":5,"offset":900}}"#,
    r#"{"type":"TERMINAL_SIZE","id":"m-5","timestamp":1762041600005,"payload":{"commandId":"terminal-0194","agentId":"a","incarnation":5,"offset":900,"size":{"columns":100,"rows":30}}}"#,
];

#[test]
fn the_list_of_agents_is_read_whole() {
    let Connected(list) = read::<ServerToDashboard>(EXISTING[0]).message else { panic!() };
    assert_eq!(list.agents[0].last_heartbeat, None);
    assert_eq!(list.agents[0].capabilities, ["interrupt"]);
    let b = &list.agents[1];
    assert_eq!((b.agent_id.as_str(), b.status.as_str()), ("b", "CONNECTED"));
    assert_eq!(b.agent_type, AgentType::Custom);
    assert_eq!(b.last_heartbeat, Some(WallTime::from_unix_millis(1_762_041_600_000)));
    assert_eq!(b.metrics.unwrap().cpu_usage, Some(4.0));
}

#[test]
fn statuses_of_both_kinds_of_servers_are_read() {
    let AgentStatus(old) = read::<ServerToDashboard>(EXISTING[1]).message else { panic!() };
    assert_eq!((old.status.as_str(), old.presence_version), ("connected", None));
    let AgentStatus(ours) = read::<ServerToDashboard>(OURS[0]).message else { panic!() };
    assert_eq!((ours.status.as_str(), ours.last_ping), ("timed-out", None));
    assert_eq!(ours.since, Some(WallTime::from_unix_millis(1_762_041_600_250)));
    assert_eq!(ours.presence_version, Some(PresenceVersion(12)));
}

#[test]
fn an_acknowledged_subscription_says_all_that_is_subscribed() {
    let Ack(ack) = read::<ServerToDashboard>(EXISTING[2]).message else { panic!() };
    assert_eq!(
        ack.subscriptions,
        Some(Subscriptions {
            agents: Selection::All,
            commands: Selection::Only(["c".into()].into()),
            traces: true,
            terminals: false,
        })
    );
}

#[test]
fn comings_and_goings_are_read() {
    let AgentConnected(came) = read::<ServerToDashboard>(EXISTING[3]).message else { panic!() };
    assert_eq!(came.agent_name.as_deref(), Some("dev"));
    assert_eq!(
        came.capabilities,
        ["interrupt", "trace"],
        "an object, as the existing server has it"
    );
    let AgentDisconnect(went) = read::<ServerToDashboard>(EXISTING[4]).message else { panic!() };
    assert_eq!(went.reason, "Normal disconnection");
}

#[test]
fn command_statuses_and_ends_are_read() {
    let CommandStatus(status) = read::<ServerToDashboard>(EXISTING[5]).message else { panic!() };
    assert_eq!(status.status, CommandPhase::Running);
    assert_eq!(status.started_at, Some(WallTime::from_unix_millis(1_762_041_600_005)));
    let CommandComplete(end) = read::<ServerToDashboard>(OURS[1]).message else { panic!() };
    assert_eq!((end.status, end.exit_code), (CommandPhase::Failed, Some(2)));
}

#[test]
fn output_is_a_text_a_list_of_lines_or_bytes() {
    let content = |frame| match read::<ServerToDashboard>(frame).message {
        TerminalStream(stream) => (stream.stream, stream.content),
        other => panic!("{other:?}"),
    };
    let text = StreamContent::Bytes(OutputContent::Text("hello".into()));
    assert_eq!(content(EXISTING[6]), (StreamType::Stdout, text));
    let lines = StreamContent::Lines(vec!["hello".into(), "world".into()]);
    assert_eq!(content(EXISTING[7]), (StreamType::Stderr, lines));
    let bytes = StreamContent::Bytes(OutputContent::Bytes(vec![0x80].into()));
    assert_eq!(content(OURS[2]), (StreamType::Stdout, bytes));
}

#[test]
fn errors_keep_the_meaning_of_the_existing_codes() {
    let Error(error) = read::<ServerToDashboard>(EXISTING[11]).message else { panic!() };
    assert_eq!(error.code, ErrorCode::AgentOffline);
    let Error(error) =
        message("ERROR", r#"{"code":"FORBIDDEN","message":"no","context":{"commandId":"c"}}"#)
    else {
        panic!()
    };
    assert_eq!(
        error,
        p::ErrorReply::new(ErrorCode::Forbidden, "no").for_command(Some(CommandId::new("c")))
    );
}

#[test]
fn an_agent_without_version_or_capabilities_does_not_hide_the_others() {
    let agents = r#"{"agents":[{"agentId":"a","name":"x","type":"GEMINI","status":"BUSY","version":null,"capabilities":null,"lastHeartbeat":null,"metrics":null}]}"#;
    let Connected(list) = message("DASHBOARD_CONNECTED", agents) else { panic!() };
    assert_eq!(list.agents[0].agent_id, AgentId::new("a"));
    assert_eq!(list.agents[0].version, "");
}
