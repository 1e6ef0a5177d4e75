//! Where existing peers differ, case by case: each shape that some peer sends is read as what that peer
//! means (PROTOCOL.md, P-24 to P-36). Numbers that are not here are about behaviour or about HTTP; they
//! are proved elsewhere.

use super::{frame, message, read, refused};
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{
    AgentType, CommandAckStatus, CommandPhase, ControlAction, ErrorCode, OutputContent, Priority,
    Selection, StreamType, Subscriptions,
};
use onsembl_protocol::wire::{
    AgentToServer, DashboardToServer, NextBeat, ServerToAgent, ServerToDashboard,
};

const NOON: WallTime = WallTime::from_unix_millis(1_762_041_600_000);

fn request(payload: &str) -> onsembl_protocol::wire::payload::CommandRequest {
    match message("COMMAND_REQUEST", payload) {
        DashboardToServer::CommandRequest(request) => request,
        other => panic!("{other:?}"),
    }
}

fn hello(payload: &str) -> onsembl_protocol::wire::payload::AgentConnect {
    match message("AGENT_CONNECT", payload) {
        AgentToServer::Connect(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn complete(payload: &str) -> onsembl_protocol::wire::payload::CommandComplete {
    match message("COMMAND_COMPLETE", payload) {
        AgentToServer::CommandComplete(end) => end,
        other => panic!("{other:?}"),
    }
}

fn output(payload: &str) -> onsembl_protocol::wire::payload::TerminalOutput {
    match message("TERMINAL_OUTPUT", payload) {
        AgentToServer::Output(output) => output,
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_01_the_text_of_a_command_is_command_or_content() {
    for (payload, text) in [
        (r#"{"command":"ls"}"#, "ls"),
        (r#"{"content":"ls"}"#, "ls"),
        (r#"{"command":"ls","content":"other"}"#, "ls"),
        (r#"{"command":"","content":"ls"}"#, "ls"),
        (r#"{"command":null,"content":"ls"}"#, "ls"),
        (r#"{"command":" "}"#, " "),
    ] {
        assert_eq!(request(payload).text, text, "{payload}");
    }
    for payload in ["{}", r#"{"command":""}"#, r#"{"command":"","content":""}"#, "null"] {
        let error = refused::<DashboardToServer>(&frame("COMMAND_REQUEST", payload));
        assert!(error.to_string().contains("neither `command` nor `content`"), "{error}");
    }
}

/// A trace is for those who look on: whatever is wrong with it, the command is run.
#[test]
fn a_malformed_traceparent_counts_as_absent() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let read = |value: &str| request(&format!(r#"{{"command":"ls","traceparent":{value}}}"#)).trace;
    assert_eq!(read(&format!("\"{good}\"")).map(|trace| trace.to_string()).as_deref(), Some(good));
    for value in ["null", "7", "true", "[]", r#"{"a":1}"#, "\"\"", r#""00-0-0-0""#, r#""\u0000""#] {
        assert_eq!(read(value), None, "{value}");
    }
}

#[test]
fn row_02_a_run_time_is_execution_time_or_duration() {
    for (payload, ms, tokens) in [
        (r#"{"commandId":"c","executionTime":5,"tokensUsed":7}"#, Some(5), 7),
        (r#"{"commandId":"c","duration":5,"exitCode":0}"#, Some(5), 0),
        (r#"{"commandId":"c","executionTime":5,"duration":6}"#, Some(5), 0),
        (r#"{"commandId":"c","duration":"5"}"#, Some(5), 0),
        (r#"{"commandId":"c","duration":5.9,"tokensUsed":null}"#, Some(5), 0),
        (r#"{"commandId":"c"}"#, None, 0),
    ] {
        let end = complete(payload);
        assert_eq!((end.duration_ms, end.tokens_used), (ms, tokens), "{payload}");
    }
}

#[test]
fn row_02_a_missing_status_follows_the_exit_code() {
    for (payload, status, code) in [
        (r#"{"commandId":"c","exitCode":0}"#, CommandPhase::Completed, Some(0)),
        (r#"{"commandId":"c","exitCode":3}"#, CommandPhase::Failed, Some(3)),
        (r#"{"commandId":"c","exitCode":"3"}"#, CommandPhase::Failed, Some(3)),
        (r#"{"commandId":"c","exitCode":null}"#, CommandPhase::Failed, None),
        (r#"{"commandId":"c","status":"interrupted"}"#, CommandPhase::Cancelled, None),
    ] {
        let end = complete(payload);
        assert_eq!((end.status, end.exit_code), (status, code), "{payload}");
    }
}

#[test]
fn row_03_agent_types_come_in_any_case_and_unknown_ones_survive() {
    for (text, agent_type) in [
        ("claude", AgentType::Claude),
        ("Gemini", AgentType::Gemini),
        ("CODEX", AgentType::Codex),
        ("custom", AgentType::Custom),
        ("mock", AgentType::Custom),
        ("LLAMA", AgentType::Unknown("LLAMA".into())),
    ] {
        assert_eq!(hello(&format!(r#"{{"agentType":"{text}"}}"#)).agent_type, agent_type);
    }
    assert_eq!(hello("{}").agent_type, AgentType::Custom);
}

#[test]
fn row_04_ansi_codes_come_in_four_shapes() {
    let raw = "\u{1b}[1;31mred\u{1b}[0m and \u{1b}]0;title\u{7}plain";
    for (codes, shown) in [
        (r#""ansiCodes":true"#, "red and plain"),
        (r#""ansiCodes":false"#, "red and plain"),
        (r#""ansiCodes":"\u001b[1;31m""#, "red and plain"),
        (r#""ansiCodes":["\u001b[1;31m","\u001b[0m"]"#, "red and plain"),
        (r#""ansiCodes":null"#, "red and plain"),
        (r#""ansiCodes":"\u001b[1;31mred\u001b[0m and \u001b]0;title\u0007plain""#, raw),
    ] {
        let payload = format!(r#"{{"commandId":"c","content":"red and plain",{codes}}}"#);
        assert_eq!(output(&payload).content.to_text(), shown, "{codes}");
    }
}

#[test]
fn row_04_a_raw_chunk_is_only_taken_for_one_if_it_is_the_content_with_escapes() {
    for (content, codes) in [
        ("red", r"\u001b[31mred\u001b[0m more"),
        ("red more", r"\u001b[31mred\u001b[0m"),
        ("red", r"\u001b[31mRed"),
    ] {
        let payload = format!(r#"{{"commandId":"c","content":"{content}","ansiCodes":"{codes}"}}"#);
        assert_eq!(output(&payload).content.to_text(), content, "{codes}");
    }
    let only_codes = r#"{"commandId":"c","content":"","ansiCodes":"\u001b[2J"}"#;
    assert_eq!(output(only_codes).content.to_text(), "\u{1b}[2J");
}

#[test]
fn row_05_the_next_ping_is_a_time_or_a_distance() {
    for (value, next) in [
        ("1762041600000", Some(NextBeat::At(NOON))),
        ("30000", Some(NextBeat::In(30_000))),
        (r#""2025-11-02T00:00:00Z""#, Some(NextBeat::At(NOON))),
        ("null", None),
        ("{}", None),
    ] {
        let payload = format!(r#"{{"nextPingExpected":{value}}}"#);
        let ServerToAgent::Heartbeat(beat) = message("SERVER_HEARTBEAT", &payload) else {
            panic!()
        };
        assert_eq!(beat.next_ping_expected, next, "{value}");
    }
}

#[test]
fn rows_06_and_07_ids_are_opaque() {
    for id in ["claude-mh2xk1-a8f3", "9c5b94b1-35ad-49bb-b118-8e8fc24abf80", "cmd_1_é", ""] {
        assert_eq!(hello(&format!(r#"{{"agentId":"{id}"}}"#)).agent_id, id);
        let r = request(&format!(r#"{{"commandId":"{id}","agentId":"{id}","command":"x"}}"#));
        assert_eq!((r.command_id, r.agent_id), (Some(CommandId::new(id)), Some(AgentId::new(id))));
        let text = format!(r#"{{"type":"PONG","id":"{id}"}}"#);
        assert_eq!(read::<AgentToServer>(&text).id, Some(MessageId::new(id)));
    }
}

#[test]
fn row_08_the_status_of_an_agent_survives_whatever_the_word() {
    for word in ["ONLINE", "connected", "busy", "RESTARTING", "timed-out"] {
        let payload = format!(r#"{{"agentId":"a","status":"{word}"}}"#);
        let ServerToDashboard::AgentStatus(s) = message("AGENT_STATUS", &payload) else { panic!() };
        assert_eq!(s.status, word);
    }
}

#[test]
fn row_09_the_status_of_a_command_has_synonyms_in_any_case() {
    for (word, phase) in [
        ("PENDING", CommandPhase::Pending),
        ("pending", CommandPhase::Pending),
        ("QUEUED", CommandPhase::Queued),
        ("ACKNOWLEDGED", CommandPhase::Queued),
        ("RECEIVED", CommandPhase::Queued),
        ("RUNNING", CommandPhase::Running),
        ("EXECUTING", CommandPhase::Running),
        ("Processing", CommandPhase::Running),
        ("COMPLETED", CommandPhase::Completed),
        ("failed", CommandPhase::Failed),
        ("CANCELLED", CommandPhase::Cancelled),
        ("canceled", CommandPhase::Cancelled),
        ("INTERRUPTED", CommandPhase::Cancelled),
        ("PAUSED", CommandPhase::Unknown("PAUSED".into())),
    ] {
        let payload = format!(r#"{{"commandId":"c","status":"{word}"}}"#);
        let ServerToDashboard::CommandStatus(s) = message("COMMAND_STATUS", &payload) else {
            panic!()
        };
        assert_eq!(s.status, phase, "{word}");
    }
    for (word, status) in [
        ("acknowledged", CommandAckStatus::Received),
        ("RECEIVED", CommandAckStatus::Received),
        ("running", CommandAckStatus::Executing),
        ("EXECUTING", CommandAckStatus::Executing),
        ("QUEUED", CommandAckStatus::Queued),
        ("LATER", CommandAckStatus::Unknown("LATER".into())),
    ] {
        let payload = format!(r#"{{"commandId":"c","status":"{word}"}}"#);
        let AgentToServer::CommandAck(ack) = message("COMMAND_ACK", &payload) else { panic!() };
        assert_eq!(ack.status, status, "{word}");
    }
}

#[test]
fn row_10_progress_may_have_either_shape() {
    for progress in ["40", r#"{"percent":40,"message":"x"}"#, "null"] {
        let payload = format!(r#"{{"commandId":"c","status":"running","progress":{progress}}}"#);
        let read = message("COMMAND_STATUS", &payload);
        assert!(matches!(read, ServerToDashboard::CommandStatus(_)), "{progress}");
    }
}

#[test]
fn row_11_a_priority_is_read_on_the_scale_of_its_sender() {
    use Priority::{Emergency, High, Low, Normal};
    for (payload, priority) in [
        // The agents page: `command`, and low is urgent.
        (r#""command":"x","priority":0"#, High),
        (r#""command":"x","priority":5"#, Normal),
        (r#""command":"x","priority":10"#, Low),
        // The commands page: type `execute` or no `command`, and high is urgent.
        (r#""content":"x","type":"execute","priority":10"#, High),
        (r#""content":"x","priority":5"#, Normal),
        (r#""content":"x","priority":1"#, Low),
        (r#""command":"x","type":"EXECUTE","priority":10"#, High),
        // Any other number below 11 with `command`: the scale from 1 to 10.
        (r#""command":"x","priority":9"#, High),
        (r#""command":"x","priority":1"#, Low),
        // The first specification.
        (r#""command":"x","priority":90"#, Emergency),
        (r#""command":"x","priority":70"#, High),
        (r#""content":"x","priority":50"#, Normal),
        (r#""content":"x","priority":20"#, Low),
        (r#""content":"x","priority":-100"#, Low),
        // Words.
        (r#""content":"x","priority":"normal""#, Normal),
        (r#""content":"x","priority":"HIGH""#, High),
        (r#""command":"x","priority":"low""#, Low),
        (r#""command":"x","priority":"emergency""#, Emergency),
        (r#""command":"x","priority":"whatever""#, Normal),
        // Nothing, or nonsense.
        (r#""command":"x""#, Normal),
        (r#""command":"x","priority":null"#, Normal),
        (r#""command":"x","priority":{}"#, Normal),
    ] {
        assert_eq!(request(&format!("{{{payload}}}")).priority, priority, "{payload}");
    }
}

#[test]
fn row_12_subscriptions_come_in_all_shapes() {
    use Selection::{All, None, Only};
    for (value, selection) in [
        ("true", All),
        ("false", None),
        (r#""*""#, All),
        (r#"["*"]"#, All),
        ("[]", All),
        ("null", None),
        (r#"{"all":true}"#, All),
        (r#"{"all":false}"#, None),
        (r#"{"all":false,"ids":["a"]}"#, Only(["a".into()].into())),
        (r#"{"ids":["a"]}"#, Only(["a".into()].into())),
        (r#"["a","b"]"#, Only(["a".into(), "b".into()].into())),
        (r#""a""#, Only(["a".into()].into())),
    ] {
        for key in ["agents", "agent"] {
            let payload = format!(r#"{{"subscriptions":{{"{key}":{value}}}}}"#);
            let DashboardToServer::Init(init) = message("DASHBOARD_INIT", &payload) else {
                panic!()
            };
            let expected = Subscriptions { agents: selection.clone(), ..Default::default() };
            assert_eq!(init.subscriptions, expected, "{key} {value}");
        }
    }
    for (value, flag) in [
        ("true", true),
        ("false", false),
        ("null", false),
        ("[]", true),
        (r#"{"all":true}"#, true),
        (r#""*""#, true),
    ] {
        for key in ["terminals", "terminal"] {
            let payload = format!(r#"{{"subscriptions":{{"{key}":{value}}}}}"#);
            let DashboardToServer::Init(init) = message("DASHBOARD_INIT", &payload) else {
                panic!()
            };
            assert_eq!(init.subscriptions.terminals, flag, "{key} {value}");
        }
    }
    for payload in ["{}", r#"{"subscriptions":{}}"#, r#"{"subscriptions":null}"#] {
        let DashboardToServer::Init(init) = message("DASHBOARD_INIT", payload) else { panic!() };
        assert_eq!(init.subscriptions, Subscriptions::default(), "{payload}");
    }
}

#[test]
fn row_13_times_are_milliseconds_seconds_or_iso() {
    for (value, time) in [
        ("1762041600000", Some(NOON)),
        ("1762041600000.7", Some(NOON)),
        ("1762041600", Some(NOON)),
        (r#""2025-11-02T00:00:00.000Z""#, Some(NOON)),
        (r#""2025-11-02T01:00:00+01:00""#, Some(NOON)),
        (r#""soon""#, None),
        ("null", None),
        ("true", None),
        ("[]", None),
        ("1e300", Some(WallTime::from_unix_millis(i64::MAX))),
    ] {
        let text = format!(r#"{{"type":"PONG","id":"x","timestamp":{value}}}"#);
        assert_eq!(read::<AgentToServer>(&text).timestamp, time, "{value}");
        let payload = format!(r#"{{"agentId":"a","timestamp":{value}}}"#);
        let ServerToDashboard::AgentDisconnect(went) = message("AGENT_DISCONNECT", &payload) else {
            panic!()
        };
        assert_eq!(went.timestamp, time, "{value}");
    }
}

#[test]
fn row_14_a_lifetime_is_seconds_unless_it_cannot_be() {
    for (value, seconds) in [
        ("3600", Some(3600)),
        ("3600000", Some(3600)),
        ("864000", Some(864_000)),
        (r#""3600""#, Some(3600)),
        ("null", None),
    ] {
        let payload = format!(r#"{{"accessToken":"t","expiresIn":{value}}}"#);
        let DashboardToServer::TokenRefresh(t) = message("TOKEN_REFRESH", &payload) else {
            panic!()
        };
        assert_eq!(t.expires_in, seconds, "{value}");
    }
}

#[test]
fn row_15_streams_come_in_any_case() {
    for (word, stream) in [
        ("STDOUT", StreamType::Stdout),
        ("stderr", StreamType::Stderr),
        ("system", StreamType::System),
        ("stdin", StreamType::Unknown("stdin".into())),
    ] {
        let payload = format!(r#"{{"commandId":"c","streamType":"{word}","content":"x"}}"#);
        assert_eq!(output(&payload).stream, stream);
    }
    assert_eq!(output(r#"{"commandId":"c"}"#).stream, StreamType::Stdout);
}

#[test]
fn row_16_a_pong_says_any_number_or_none() {
    for (value, number) in
        [("1762041600000", Some(1.762_041_6e12)), (r#""5""#, Some(5.0)), ("null", None)]
    {
        let payload = format!(r#"{{"timestamp":{value},"latency":-3}}"#);
        let AgentToServer::Pong(pong) = message("PONG", &payload) else { panic!() };
        assert_eq!((pong.timestamp, pong.latency), (number, Some(-3.0)));
    }
}

#[test]
fn row_21_traces_have_two_names() {
    for kind in ["TRACE_STREAM", "TRACE_UPDATE"] {
        let read = message::<ServerToDashboard>(kind, r#"{"traces":[]}"#);
        assert!(matches!(read, ServerToDashboard::Trace(_)), "{kind}");
    }
}

#[test]
fn row_22_an_emergency_stop_is_triggered_or_initiated() {
    let payload = r#"{"reason":"x","initiatedBy":"u","affectedAgents":["a"],"agentsStopped":"2"}"#;
    let DashboardToServer::EmergencyStop(stop) = message("EMERGENCY_STOP", payload) else {
        panic!()
    };
    assert_eq!(stop.triggered_by.as_deref(), Some("u"));
    assert_eq!((stop.affected_agents, stop.agents_stopped), (vec!["a".to_string()], Some(2)));
}

#[test]
fn row_23_control_actions_come_in_any_case() {
    for (word, action) in [
        ("stop", ControlAction::Stop),
        ("RESTART", ControlAction::Restart),
        ("Pause", ControlAction::Pause),
        ("resume", ControlAction::Resume),
        ("START", ControlAction::Start),
        ("dance", ControlAction::Unknown("dance".into())),
    ] {
        let payload = format!(r#"{{"agentId":"a","action":"{word}"}}"#);
        let DashboardToServer::Control(control) = message("AGENT_CONTROL", &payload) else {
            panic!()
        };
        assert_eq!(control.action, action);
    }
}

#[test]
fn row_24_flat_messages_of_old_servers_are_unknown_and_harmless() {
    for (text, kind) in [
        (r#"{"type":"command","commandId":"c","command":"ls","options":{"timeout":1}}"#, "command"),
        (r#"{"type":"error","message":"x"}"#, "error"),
    ] {
        let envelope = read::<ServerToAgent>(text);
        assert_eq!(envelope.message, ServerToAgent::Unknown(kind.into()));
        assert_eq!((envelope.id, envelope.timestamp), (None, None));
    }
}

#[test]
fn row_25_a_sequence_begins_anywhere_or_is_absent() {
    for (value, sequence) in
        [("0", Some(0)), ("1", Some(1)), (r#""7""#, Some(7)), ("null", None), ("-1", None)]
    {
        let payload = format!(r#"{{"commandId":"c","content":"x","sequence":{value}}}"#);
        assert_eq!(output(&payload).sequence.map(|s| s.0), sequence, "{value}");
    }
    assert_eq!(output(r#"{"commandId":"c"}"#).content, OutputContent::Text(String::new()));
}

#[test]
fn row_26_capabilities_are_an_object_or_a_list_of_words() {
    for (value, words) in [
        (
            r#"{"maxTokens":4096,"supportsInterrupt":true,"supportsTrace":true}"#,
            vec!["interrupt", "trace"],
        ),
        (r#"{"maxTokens":"0"}"#, vec![]),
        (r#"["trace","gpu"]"#, vec!["trace", "gpu"]),
        ("null", vec![]),
        ("[]", vec![]),
    ] {
        let capabilities = hello(&format!(r#"{{"capabilities":{value}}}"#)).capabilities;
        assert_eq!(capabilities.to_words(), words, "{value}");
        let payload = format!(r#"{{"agentId":"a","agentType":"CLAUDE","capabilities":{value}}}"#);
        let ServerToDashboard::AgentConnected(came) = message("AGENT_CONNECTED", &payload) else {
            panic!()
        };
        assert_eq!(came.capabilities, words, "{value}");
    }
}

#[test]
fn row_27_errors_carry_extras_or_none() {
    for (payload, code) in [
        (r#"{"code":"X_NEW","message":"m"}"#, ErrorCode::Unknown("X_NEW".into())),
        (r#"{"code":"AUTH_FAILED"}"#, ErrorCode::Unauthorized),
        (
            r#"{"code":"INIT_FAILED","details":"text","recoverable":true}"#,
            ErrorCode::ConnectionFailed,
        ),
        (r#"{"code":"queue_full","details":{"commandId":"c"},"context":{}}"#, ErrorCode::QueueFull),
    ] {
        let ServerToDashboard::Error(error) = message("ERROR", payload) else { panic!() };
        assert_eq!(error.code, code, "{payload}");
    }
}

#[test]
fn row_36_arguments_environment_and_directory_pass_through() {
    let r = request(
        r#"{"commandId":"c","command":"x","args":["-l",5,true],"env":{"A":"1"},"workingDirectory":"/srv"}"#,
    );
    assert_eq!(r.args, ["-l", "5", "true"]);
    assert_eq!(r.env.get("A").map(String::as_str), Some("1"));
    assert_eq!(r.working_directory.as_deref(), Some("/srv"));
    for nothing in ["null", "{}", "7", "true"] {
        let r = request(&format!(r#"{{"command":"x","args":{nothing},"workingDirectory":""}}"#));
        assert_eq!((r.args.len(), r.working_directory), (0, None), "{nothing}");
    }
}

#[test]
fn row_37_the_reason_of_a_disconnect_is_whatever_it_is() {
    for (payload, reason) in
        [(r#"{"agentId":"a"}"#, ""), (r#"{"agentId":"a","reason":"link lost"}"#, "link lost")]
    {
        let ServerToDashboard::AgentDisconnect(went) = message("AGENT_DISCONNECT", payload) else {
            panic!()
        };
        assert_eq!(went.reason, reason);
    }
}

#[test]
fn a_payload_may_be_missing_or_null_where_nothing_is_required() {
    for text in [
        r#"{"type":"PING"}"#,
        r#"{"type":"PING","payload":null}"#,
        r#"{"type":"PING","payload":{}}"#,
        r#"{"type":"PING","id":null,"timestamp":null,"extra":[1,2]}"#,
    ] {
        let envelope = read::<AgentToServer>(text);
        assert_eq!(envelope.message, AgentToServer::Ping(Default::default()), "{text}");
        assert_eq!(envelope.id, None);
    }
}

#[test]
fn a_type_that_the_direction_does_not_have_is_kept_by_name() {
    for kind in ["AGENT_DISCONNECT", "DASHBOARD_INIT", "agent_connect", "", "ÜBER"] {
        for payload in ["{}", "null", "[1]", "\"x\"", "7"] {
            let read: AgentToServer = message(kind, payload);
            assert_eq!(read, AgentToServer::Unknown(kind.into()));
        }
    }
}
