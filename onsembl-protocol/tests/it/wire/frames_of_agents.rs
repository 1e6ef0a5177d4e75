//! What agents send, as literal frames: the existing wrapper's, and those of ours.

use super::{message, read};
use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, ByteOffset, ChunkSequence, CommandId, Incarnation, InstanceId,
    MessageId,
};
use onsembl_protocol::model::{ActivityState, GapCause, Stream};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::AgentToServer::{self, *};
use onsembl_protocol::wire::encode;
use onsembl_protocol::wire::payload as p;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentErrorType, AgentExtensions, AgentHeartbeat, AgentType, Capabilities,
    CommandAckStatus, CommandPhase, Feature, HealthMetrics, Opaque, OutputContent, OutputTotals,
    SeenBeat, StreamType, TerminalOutput, WaitsFor,
};
use serde_json::json;

/// Frames as the existing wrapper writes them, byte for byte.
pub(super) const WRAPPER: &[&str] = &[
    r#"{"type":"AGENT_CONNECT","id":"connect-1762041600000","timestamp":1762041600000,"payload":{"agentId":"mock-mhgx2k3v-9d8c7b","agentType":"CUSTOM","version":"1.0.0","hostMachine":"build-7","capabilities":{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":true}}}"#,
    r#"{"type":"PONG","id":"pong-1762041630001","timestamp":1762041630001,"payload":{"timestamp":1762041630000}}"#,
    r#"{"type":"TERMINAL_OUTPUT","id":"cmd-1762041-x7-1762041631000","timestamp":1762041631000,"payload":{"commandId":"cmd-1762041-x7","agentId":"9c5b94b1-35ad-49bb-b118-8e8fc24abf80","streamType":"STDOUT","content":"red","sequence":1,"ansiCodes":"\u001b[31mred\u001b[0m"}}"#,
    r#"{"type":"COMMAND_COMPLETE","id":"cmd-1762041-x7-complete","timestamp":1762041632000,"payload":{"commandId":"cmd-1762041-x7","agentId":"mock-mhgx2k3v-9d8c7b","status":"COMPLETED","exitCode":0,"duration":1234,"timestamp":1762041632000}}"#,
];

/// Frames as our agent writes them.
pub(super) const OURS: &[&str] = &[
    r#"{"type":"AGENT_CONNECT","id":"i-1","timestamp":1762041600000,"payload":{"agentId":"k-1","name":"dev","agentType":"CLAUDE","version":"0.1.0","hostMachine":"h","capabilities":{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false},"extensions":{"features":["heartbeats","output-bytes","command-reports","time-travel"],"agentKey":"k-1","instance":"i","probe":true,"commands":["c-1","c-2"]}}}"#,
    r#"{"type":"AGENT_HEARTBEAT","id":"i-2","timestamp":1762041600001,"payload":{"agentId":"a","healthMetrics":{"cpuUsage":12.5,"memoryUsage":48,"uptime":30,"commandsProcessed":3,"activeCommands":1},"sequence":2,"seen":{"sequence":1,"ageMs":29950}}}"#,
    r#"{"type":"COMMAND_ACK","id":"i-3","timestamp":1762041600002,"payload":{"commandId":"c","agentId":"a","status":"EXECUTING"}}"#,
    r#"{"type":"TERMINAL_OUTPUT","id":"i-4","timestamp":1762041600003,"payload":{"commandId":"c","streamType":"STDERR","content":"/wA=","encoding":"base64","sequence":7,"offset":65536,"incarnation":1762041600000}}"#,
    r#"{"type":"COMMAND_COMPLETE","id":"i-5","timestamp":1762041600004,"payload":{"commandId":"c","status":"CANCELLED","exitCode":null,"signal":15,"executionTime":9,"duration":9,"tokensUsed":0,"error":"cancelled","timestamp":1762041600004,"output":{"incarnation":1,"stdoutBytes":2,"stderrBytes":3}}}"#,
    r#"{"type":"AGENT_ERROR","id":"i-6","timestamp":1762041600005,"payload":{"agentId":"a","errorType":"RESOURCE","message":"disk full","recoverable":false,"details":{"free":0},"stack":"at x"}}"#,
    r#"{"type":"PING","id":"i-7","timestamp":1762041600006,"payload":{"timestamp":1762041600006.25}}"#,
    r#"{"type":"OUTPUT_GAP","id":"i-8","timestamp":1762041600007,"payload":{"commandId":"c","incarnation":5,"streamType":"STDOUT","sequence":9,"offset":300,"length":200,"because":"spool-full"}}"#,
    r#"{"type":"OUTPUT_STATE","id":"i-9","timestamp":1762041600008,"payload":{"streams":[{"commandId":"c","incarnation":5,"streamType":"TERMINAL","produced":900,"stored":300,"gaps":200}],"more":true}}"#,
    r#"{"type":"STOP_RECEIPT","id":"i-10","timestamp":1762041600009,"payload":{"stopId":"s-1","stage":"ACTED"}}"#,
    r#"{"type":"TERMINAL_OPENED","id":"i-11","timestamp":1762041600010,"payload":{"commandId":"terminal-0193","program":"claude","openedAt":1762041600000}}"#,
    r#"{"type":"AGENT_ACTIVITY","id":"i-15","timestamp":1762041600014,"payload":{"commandId":"terminal-1","state":"asking","since":"2026-11-30T12:00:00.000Z","fact":"permission","lane":"hook","factAt":"2026-11-30T12:00:00.000Z","question":{"kind":"permission","title":"Allow Bash(rm -rf build)?","choices":["yes","no"]},"at":"2026-11-30T12:00:40.000Z"}}"#,
    r#"{"type":"TERMINAL_INPUT_STATE","id":"i-13","timestamp":1762041600012,"payload":{"commandId":"terminal-0193","holder":"h-1","taken":3}}"#,
    r#"{"type":"TERMINAL_OPENED","id":"i-14","timestamp":1762041600013,"payload":{"commandId":"terminal-0194","program":"claude","openedAt":1762041600000,"size":{"columns":120,"rows":40}}}"#,
    r#"{"type":"TERMINAL_SIZE","id":"i-15","timestamp":1762041600014,"payload":{"commandId":"terminal-0194","incarnation":5,"offset":900,"size":{"columns":100,"rows":30}}}"#,
    r#"{"type":"AGENT_BLACK_BOX","id":"i-12","timestamp":1762041600011,"payload":{"number":1,"entries":[{"cause":"name-resolution","confidence":"high","evidence":{"stage":"resolve","errno":"EAI_AGAIN"},"agoMs":61000,"lastedMs":60000,"times":7}]}}"#,
    r#"{"type":"COMMAND_ACK","id":"i-13","timestamp":1762041600012,"payload":{"commandId":"c","agentId":"a","status":"RECEIVED","waitsFor":"begun-line"}}"#,
    r#"{"type":"COMMAND_ACK","id":"i-13b","timestamp":1762041600012,"payload":{"commandId":"c","agentId":"a","status":"RECEIVED","waitsFor":"remote-line","lineIdleMs":60000}}"#,
    r#"{"type":"AGENT_ERROR","id":"i-17","timestamp":1762041600015,"payload":{"errorType":"EXECUTION","message":"runs again","recoverable":true,"details":{"program":{"name":"claude","runs":true}}}}"#,
    r#"{"type":"AGENT_CONNECT","id":"i-16","timestamp":1762041600015,"payload":{"agentId":"k-2","name":"job-7","agentType":"CUSTOM","version":"0.2.0","hostMachine":"h","capabilities":{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false},"extensions":{"features":["heartbeats","ephemeral"],"agentKey":"k-2","instance":"i"}}}"#,
];

/// Frames that no existing agent sends, but that the existing server lists.
pub(super) const LISTED: &[&str] = &[
    r#"{"type":"TRACE_EVENT","id":"t","timestamp":1762041600007,"payload":{"commandId":"c","agentId":"a","traceId":"t","parentId":null,"type":"TOOL_CALL","name":"grep","content":{"toolName":"grep"},"startedAt":1762041600000}}"#,
    r#"{"type":"INVESTIGATION_REPORT","id":"r","timestamp":1762041600008,"payload":{"commandId":"c","findings":[{"title":"x","severity":"LOW","evidence":[]}],"recommendations":[]}}"#,
];

#[test]
fn the_wrappers_hello_is_read_whole() {
    let envelope = read::<AgentToServer>(WRAPPER[0]);
    assert_eq!(envelope.id, Some(MessageId::new("connect-1762041600000")));
    assert_eq!(envelope.timestamp, Some(WallTime::from_unix_millis(1_762_041_600_000)));
    let capabilities = Capabilities {
        max_tokens: 0,
        supports_interrupt: true,
        supports_trace: true,
        words: vec![],
    };
    assert_eq!(
        envelope.message,
        Connect(AgentConnect {
            agent_id: "mock-mhgx2k3v-9d8c7b".into(),
            name: None,
            agent_type: AgentType::Custom,
            version: Some("1.0.0".into()),
            host_machine: Some("build-7".into()),
            capabilities,
            extensions: None,
        })
    );
}

#[test]
fn the_wrappers_pong_is_an_echo() {
    let Pong(pong) = read::<AgentToServer>(WRAPPER[1]).message else { panic!() };
    assert_eq!(pong.timestamp, Some(1_762_041_630_000.0));
    assert_eq!((pong.latency, pong.sequence), (None, None));
}

#[test]
fn the_wrappers_output_is_its_raw_chunk() {
    assert_eq!(
        read::<AgentToServer>(WRAPPER[2]).message,
        Output(TerminalOutput {
            command_id: CommandId::new("cmd-1762041-x7"),
            agent_id: Some(AgentId::new("9c5b94b1-35ad-49bb-b118-8e8fc24abf80")),
            stream: StreamType::Stdout,
            content: OutputContent::Text("\u{1b}[31mred\u{1b}[0m".into()),
            sequence: Some(ChunkSequence(1)),
            offset: None,
            incarnation: None,
        })
    );
}

#[test]
fn the_old_wrappers_completion_is_read_whole() {
    assert_eq!(
        read::<AgentToServer>(WRAPPER[3]).message,
        CommandComplete({
            let mut it =
                p::CommandComplete::new(CommandId::new("cmd-1762041-x7"), CommandPhase::Completed);
            it.agent_id = Some(AgentId::new("mock-mhgx2k3v-9d8c7b"));
            it.exit_code = Some(0);
            it.duration_ms = Some(1234);
            it.timestamp = Some(WallTime::from_unix_millis(1_762_041_632_000));
            it
        })
    );
}

#[test]
fn our_hello_names_key_instance_features_and_open_commands() {
    let Connect(hello) = read::<AgentToServer>(OURS[0]).message else { panic!() };
    assert_eq!(
        hello.extensions,
        Some(AgentExtensions {
            features: vec![
                Feature::Heartbeats,
                Feature::OutputBytes,
                Feature::CommandReports,
                Feature::Unknown("time-travel".into()),
            ],
            agent_key: AgentKey::new("k-1"),
            instance: InstanceId::new("i"),
            probe: true,
            commands: vec![CommandId::new("c-1"), CommandId::new("c-2")],
            journal: None,
            max_parallel: None,
            stop_id: None,
        })
    );
}

/// A server that does not know the word reads one more feature that it does not know, and keeps the agent (P-454).
#[test]
fn an_agent_that_does_not_come_back_says_so_in_its_hello() {
    let golden = OURS.last().expect("there are some");
    let envelope = read::<AgentToServer>(golden);
    let Connect(hello) = &envelope.message else { panic!() };
    let extensions = hello.extensions.as_ref().expect("they are there");
    assert_eq!(extensions.features, [Feature::Heartbeats, Feature::Ephemeral]);
    let (id, at) = (envelope.id.as_ref().expect("an id"), envelope.timestamp.expect("a time"));
    assert_eq!(encode(id, at, &envelope.message), *golden, "it is written so");
    let unknown = golden.replace("ephemeral", "some-day");
    let Connect(hello) = read::<AgentToServer>(&unknown).message else { panic!() };
    let features = hello.extensions.expect("they are there").features;
    assert_eq!(features, [Feature::Heartbeats, Feature::Unknown("some-day".into())]);
}

#[test]
fn our_heartbeat_says_what_it_saw() {
    assert_eq!(
        read::<AgentToServer>(OURS[1]).message,
        Heartbeat(AgentHeartbeat {
            agent_id: Some(AgentId::new("a")),
            health_metrics: Some({
                let mut it = HealthMetrics::default();
                it.cpu_usage = Some(12.5);
                it.memory_usage = Some(48.0);
                it.commands_executed = None;
                it.uptime = Some(30.0);
                it.commands_processed = Some(3);
                it.active_commands = Some(1);
                it.average_response_time = None;
                it
            }),
            sequence: Some(BeatSequence(2)),
            seen: Some(SeenBeat { sequence: BeatSequence(1), age_ms: 29_950 }),
            paused: false,
        })
    );
}

#[test]
fn a_heartbeat_says_that_its_agent_is_paused_and_silence_says_that_it_is_not() {
    for (payload, paused) in [
        (r#"{"agentId":"a","paused":true}"#, true),
        (r#"{"agentId":"a","paused":false}"#, false),
        (r#"{"agentId":"a","paused":null}"#, false),
        (r#"{"agentId":"a"}"#, false),
    ] {
        let Heartbeat(beat) = message("AGENT_HEARTBEAT", payload) else { panic!() };
        assert_eq!(beat.paused, paused, "{payload}");
    }
}

#[test]
fn the_heartbeats_of_old_peers_are_read_under_either_name() {
    for metrics in [
        r#"{"cpuUsage":"3.5","memoryUsage":10,"uptime":1,"commandsProcessed":"4","activeCommands":2,"averageResponseTime":7}"#,
        r#"{"cpu_usage":3.5,"memory_usage":"10","uptime":"1","commands_processed":4,"active_commands":2,"average_response_time":7}"#,
    ] {
        let payload = format!(r#"{{"agentId":"a","healthMetrics":{metrics}}}"#);
        let Heartbeat(beat) = message("AGENT_HEARTBEAT", &payload) else { panic!() };
        let m = beat.health_metrics.unwrap();
        assert_eq!((m.cpu_usage, m.memory_usage, m.uptime), (Some(3.5), Some(10.0), Some(1.0)));
        assert_eq!((m.commands_processed, m.active_commands), (Some(4), Some(2)));
        assert_eq!(m.average_response_time, Some(7.0));
        assert_eq!((beat.sequence, beat.seen), (None, None));
    }
}

#[test]
fn a_gap_says_where_how_much_and_why_also_in_words_of_a_later_version() {
    let OutputGap(gap) = read::<AgentToServer>(OURS[7]).message else { panic!() };
    assert_eq!((gap.offset, gap.length), (ByteOffset(300), Some(200)));
    assert_eq!(gap.because, GapCause::SpoolFull);
    let later = r#"{"commandId":"c","incarnation":5,"streamType":"STDOUT","sequence":9,"offset":3,"because":"moths"}"#;
    let OutputGap(gap) = message("OUTPUT_GAP", later) else { panic!() };
    assert_eq!((gap.length, gap.because), (None, GapCause::NeverCame));
}

#[test]
fn what_is_held_is_read_page_by_page() {
    let OutputState(state) = read::<AgentToServer>(OURS[8]).message else { panic!() };
    assert!(state.more && state.query.is_none());
    let reported = &state.streams[0];
    assert_eq!(reported.stream_type.stream(), Stream::Terminal);
    assert_eq!(
        (reported.produced, reported.stored, reported.gaps),
        (ByteOffset(900), ByteOffset(300), 200)
    );
}

#[test]
fn our_output_is_bytes_with_their_position_in_the_stream() {
    let Output(output) = read::<AgentToServer>(OURS[3]).message else { panic!() };
    assert_eq!(output.content.as_bytes(), [0xff, 0]);
    assert_eq!(output.stream.stream(), Stream::Stderr);
    assert_eq!(output.sequence, Some(ChunkSequence(7)));
    assert_eq!(output.offset, Some(ByteOffset(65_536)));
    assert_eq!(output.incarnation, Some(Incarnation(1_762_041_600_000)));
}

#[test]
fn our_completion_names_signal_and_totals() {
    let CommandComplete(end) = read::<AgentToServer>(OURS[4]).message else { panic!() };
    assert_eq!(end.status, CommandPhase::Cancelled);
    assert_eq!((end.exit_code, end.signal, end.duration_ms), (None, Some(15), Some(9)));
    let totals = OutputTotals {
        incarnation: Incarnation(1),
        stdout_bytes: ByteOffset(2),
        stderr_bytes: ByteOffset(3),
        terminal_bytes: ByteOffset(0),
        unstored: false,
    };
    assert_eq!(end.output, Some(totals));
}

#[test]
fn acknowledgements_and_faults_are_read() {
    let CommandAck(ack) = read::<AgentToServer>(OURS[2]).message else { panic!() };
    assert_eq!((ack.status, ack.queue_position), (CommandAckStatus::Executing, None));
    let Fault(fault) = read::<AgentToServer>(OURS[5]).message else { panic!() };
    assert_eq!(fault.error_type, AgentErrorType::Resource);
    assert!(!fault.recoverable);
    assert_eq!(fault.details, Some(json!({"free": 0})));
    let Fault(bare) = message("AGENT_ERROR", "{}") else { panic!() };
    assert!(bare.recoverable, "an agent that does not say so is not taken for lost");
}

#[test]
fn traces_and_reports_pass_through_unread() {
    let Trace(Opaque(trace)) = read::<AgentToServer>(LISTED[0]).message else { panic!() };
    assert_eq!(trace["content"]["toolName"], "grep");
    let Report(Opaque(report)) = read::<AgentToServer>(LISTED[1]).message else { panic!() };
    assert_eq!(report["findings"][0]["severity"], "LOW");
}

#[test]
fn what_a_command_waits_for_is_said_beside_its_status_and_only_then() {
    let of = |frame: &str| match read::<AgentToServer>(frame).message {
        CommandAck(ack) => ack.waits_for,
        other => panic!("{other:?}"),
    };
    let frame = OURS.iter().find(|frame| frame.contains("remote-line")).unwrap();
    assert_eq!(of(frame), Some(WaitsFor::RemoteLine));
    let frame = OURS.iter().find(|frame| frame.contains("begun-line")).unwrap();
    assert_eq!(of(frame), Some(WaitsFor::BegunLine));
    assert_eq!(of(&frame.replace(r#","waitsFor":"begun-line""#, "")), None);
    assert_eq!(of(&frame.replace("begun-line", "moon")), Some(WaitsFor::parse("moon")));
}

#[test]
fn what_a_program_does_is_read_and_of_a_later_version_as_far_as_it_goes() {
    let frame = OURS.iter().find(|frame| frame.contains("AGENT_ACTIVITY")).unwrap();
    let Activity(activity) = read::<AgentToServer>(frame).message else { panic!() };
    assert_eq!(activity.state, ActivityState::Asking);
    assert_eq!(activity.question.unwrap().to_string(), "Allow Bash(rm -rf build)? [yes, no]");
    let later = r#"{"state":"dreaming","fact":"sheep","mood":1,"question":{"kind":"riddle"}}"#;
    let Activity(activity) = message("AGENT_ACTIVITY", later) else { panic!() };
    assert_eq!(activity.state.as_str(), "dreaming");
    assert_eq!((activity.since, activity.lane), (None, None));
}
