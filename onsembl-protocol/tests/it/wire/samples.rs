//! One message of every kind, with every field that travels filled in.

use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, ByteOffset, ChunkSequence, CommandId, Epoch, HoldId,
    Incarnation, InputSequence, InstanceId, JournalId, MessageId, PresenceVersion,
    ServerInstanceId, SessionId, StopId, UserId,
};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::model::{
    ActivityFact, ActivityLane, ActivityState, Cause, Confidence, Evidence, Finding, GapCause, Hop,
    PastFinding, QuestionKind, TerminalSize, TraceContext,
};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::*;
use onsembl_protocol::wire::{
    AgentToServer, DashboardToServer, NextBeat, ServerToAgent, ServerToDashboard,
};
use serde_json::json;
use std::time::Duration;

pub(super) const AT: WallTime = WallTime::from_unix_millis(1_762_041_600_123);

fn command() -> CommandId {
    CommandId::new("cmd-1")
}

fn agent() -> AgentId {
    AgentId::new("9c5b94b1")
}

fn metrics() -> HealthMetrics {
    let mut it = HealthMetrics::default();
    it.cpu_usage = Some(12.5);
    it.memory_usage = Some(48.0);
    it.commands_executed = None;
    it.uptime = Some(3600.0);
    it.commands_processed = Some(3);
    it.active_commands = Some(1);
    it.average_response_time = Some(0.5);
    it
}

fn request() -> CommandRequest {
    let mut it = CommandRequest::new(command(), agent(), "make test");
    it.args = vec!["-l".into()];
    it.env = [("A".to_string(), "1".to_string())].into();
    it.working_directory = Some("/srv".into());
    it.priority = Priority::High;
    it.constraints = ExecutionConstraints { time_limit_ms: Some(300_000), max_retries: Some(1) };
    it.start_within_ms = Some(60_000);
    it.input = Some(CommandInput::Keys);
    it.offline = Some(OfflinePolicy::Refuse);
    it.condition = Some(TypeIf::Waiting);
    it.user_id = Some(UserId::new("u-1"));
    it.trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    it
}

fn piece() -> CommandText {
    CommandText {
        command_id: command(),
        offset: ByteOffset(131_072),
        bytes: TypedBytes(b"the end".to_vec().into()),
    }
}

fn long_request() -> CommandRequest {
    let mut it = CommandRequest::new(command(), agent(), "fix this: … [131079 bytes]");
    it.long_text = Some(LongText::Declared(131_079));
    it
}

fn input() -> TerminalInput {
    TerminalInput {
        command_id: CommandId::of_terminal("0193"),
        holder: HoldId::new("h-1"),
        sequence: InputSequence(4),
        bytes: TypedBytes(b"ls\r".to_vec().into()),
    }
}

fn activity() -> AgentActivity {
    AgentActivity {
        command_id: Some(CommandId::of_terminal("0193")),
        state: ActivityState::Asking,
        since: Some(AT),
        fact: Some(ActivityFact::Permission),
        lane: Some(ActivityLane::Hook),
        fact_at: Some(AT),
        question: Some(Question {
            kind: QuestionKind::Permission,
            title: "Allow Bash(rm -rf build)?".into(),
            choices: vec!["yes".into(), "no".into()],
        }),
        at: Some(AT),
    }
}

fn cancel() -> CommandCancel {
    CommandCancel {
        command_id: command(),
        agent_id: Some(agent()),
        reason: Some("no longer needed".into()),
        force: true,
    }
}

fn sized(agent_id: Option<AgentId>) -> TerminalSized {
    TerminalSized {
        command_id: CommandId::of_terminal("0193"),
        agent_id,
        incarnation: Incarnation(5),
        offset: ByteOffset(900),
        size: TerminalSize::new(100, 30).unwrap_or(TerminalSize::DEFAULT),
    }
}

fn gap() -> OutputGap {
    OutputGap {
        command_id: command(),
        agent_id: Some(agent()),
        incarnation: Incarnation(5),
        stream_type: StreamType::Stdout,
        sequence: ChunkSequence(8),
        offset: ByteOffset(300),
        length: Some(200),
        because: GapCause::SpoolFull,
        timestamp: Some(AT),
    }
}

fn control() -> AgentControl {
    AgentControl {
        agent_id: Some(agent()),
        action: ControlAction::Restart,
        reason: Some("update".into()),
        graceful_shutdown: Some(true),
        timeout: Some(30_000),
        size: TerminalSize::new(120, 40),
    }
}

fn stop() -> EmergencyStop {
    EmergencyStop {
        stop_id: None,
        reason: Some("smoke".into()),
        triggered_by: Some("u-1".into()),
        timestamp: Some(AT),
        agents_stopped: Some(2),
        commands_cancelled: Some(3),
        affected_agents: vec!["9c5b94b1".into()],
    }
}

fn refresh() -> TokenRefresh {
    TokenRefresh {
        access_token: Secret::new("token"),
        expires_in: Some(3600),
        refresh_token: Some(Secret::new("next")),
    }
}

fn complete() -> CommandComplete {
    let mut it = CommandComplete::new(command(), CommandPhase::Failed);
    it.agent_id = Some(agent());
    it.signal = Some(9);
    it.duration_ms = Some(1234);
    it.error = Some("ended by signal 9".into());
    it.timestamp = Some(AT);
    it.output = Some(OutputTotals {
        incarnation: Incarnation(5),
        stdout_bytes: ByteOffset(10),
        stderr_bytes: ByteOffset(0),
        terminal_bytes: ByteOffset(0),
    });
    it
}

fn ack() -> Ack {
    Ack {
        message_id: Some(MessageId::new("i-1")),
        success: true,
        connection_id: Some("agent-1".into()),
        agent_id: Some(agent()),
        authenticated: Some(true),
        sequence: Some(4),
        received: Some(true),
        command_id: Some(command()),
        subscriptions: Some(subscriptions()),
        extensions: Some(Welcome {
            features: vec![Feature::Heartbeats, Feature::OutputBytes, Feature::CommandReports],
            session_id: SessionId::new("s-1"),
            epoch: Epoch(3),
            server_instance: ServerInstanceId::new("srv"),
            timing: HeartbeatTiming::DEFAULT.into(),
            resume_window_ms: 300_000,
            output_window_bytes: 262_144,
            stopped: Some(StopId::new("s-1")),
        }),
    }
}

fn subscriptions() -> Subscriptions {
    Subscriptions {
        agents: Selection::All,
        commands: Selection::Only(["cmd-1".into()].into()),
        terminals: true,
        traces: false,
    }
}

fn error() -> ErrorReply {
    ErrorReply {
        details: Some(json!({"free": 0})),
        recoverable: Some(true),
        ..ErrorReply::new(
            ErrorCode::AgentOffline,
            "the agent is offline; try again when it is back",
        )
    }
    .about(Some(MessageId::new("i-9")))
    .for_command(Some(command()))
    .for_agent(Some(agent()))
}

fn ping() -> Ping {
    Ping { timestamp: Some(1_762_041_600_123.0), sequence: Some(1) }
}

fn pong() -> Pong {
    Pong { timestamp: Some(1_762_041_600_123.5), latency: Some(12.0), sequence: Some(1) }
}

fn opaque() -> Opaque {
    Opaque(json!({"commandId": "cmd-1", "any": ["thing", 1, null]}))
}

pub(super) fn from_agents() -> Vec<AgentToServer> {
    let hello = AgentConnect {
        agent_id: "k-1".into(),
        name: Some("dev".into()),
        agent_type: AgentType::Claude,
        version: Some("0.1.0".into()),
        host_machine: Some("build-7".into()),
        capabilities: Capabilities {
            max_tokens: 0,
            supports_interrupt: true,
            supports_trace: false,
            words: vec![],
        },
        extensions: Some(AgentExtensions {
            features: vec![Feature::Heartbeats],
            agent_key: AgentKey::new("k-1"),
            instance: InstanceId::new("i"),
            probe: true,
            commands: vec![command()],
            journal: Some(JournalId::new("j-1")),
            max_parallel: Some(4),
            stop_id: None,
        }),
    };
    let output = TerminalOutput {
        command_id: command(),
        agent_id: Some(agent()),
        stream: StreamType::Stdout,
        content: OutputContent::Text("héllo\n".into()),
        sequence: Some(ChunkSequence(1)),
        offset: Some(ByteOffset(0)),
        incarnation: Some(Incarnation(5)),
    };
    vec![
        AgentToServer::Connect(AgentConnect { extensions: None, ..hello.clone() }),
        AgentToServer::Connect(hello),
        AgentToServer::Heartbeat(AgentHeartbeat {
            agent_id: Some(agent()),
            health_metrics: Some(metrics()),
            sequence: Some(BeatSequence(2)),
            seen: Some(SeenBeat { sequence: BeatSequence(1), age_ms: 29_950 }),
            paused: true,
        }),
        AgentToServer::Heartbeat(AgentHeartbeat::default()),
        AgentToServer::Fault(AgentErrorReport {
            error_type: AgentErrorType::Resource,
            message: "disk full".into(),
            recoverable: false,
            details: Some(json!({"free": 0})),
        }),
        AgentToServer::Fault(AgentErrorReport {
            error_type: AgentErrorType::Execution,
            message: "the program of the terminal, claude, runs again".into(),
            recoverable: true,
            details: Some(json!({"program": {"name": "claude", "runs": true}})),
        }),
        AgentToServer::CommandAck(CommandAck {
            command_id: command(),
            agent_id: Some(agent()),
            status: CommandAckStatus::Executing,
            queue_position: Some(1),
            waits_for: None,
            line_idle_ms: None,
        }),
        AgentToServer::CommandComplete(complete()),
        AgentToServer::Output(output.clone()),
        AgentToServer::Output(TerminalOutput {
            stream: StreamType::Stderr,
            content: OutputContent::Bytes(vec![0xff, 0x00].into()),
            ..output.clone()
        }),
        // To a legacy server: no extensions, and bytes that are no text must still say so.
        AgentToServer::Output(TerminalOutput { offset: None, incarnation: None, ..output.clone() }),
        AgentToServer::Output(TerminalOutput {
            content: OutputContent::Bytes(vec![0xff, 0x00].into()),
            offset: None,
            incarnation: None,
            ..output
        }),
        AgentToServer::OutputGap(OutputGap { timestamp: None, ..gap() }),
        AgentToServer::BlackBox(AgentBlackBox {
            number: 1,
            entries: vec![PastFinding {
                finding: Finding::new(Cause::NameResolution, Confidence::High)
                    .on(Evidence::NONE.with("stage", "resolve").with("errno", "EAI_AGAIN")),
                ago: Duration::from_secs(61),
                lasted: Duration::from_secs(60),
                times: 7,
            }],
        }),
        AgentToServer::OutputState(OutputState {
            streams: vec![ReportedStream {
                command_id: command(),
                incarnation: Incarnation(5),
                stream_type: StreamType::Terminal,
                produced: ByteOffset(900),
                stored: ByteOffset(300),
                gaps: 200,
            }],
            more: true,
            query: Some("q-1".into()),
        }),
        AgentToServer::TerminalOpened(TerminalOpened {
            command_id: CommandId::of_terminal("0193"),
            program: "claude --verbose".to_owned(),
            opened_at: Some(WallTime::from_unix_millis(1_762_041_600_000)),
            attached: true,
            size: TerminalSize::new(120, 40),
        }),
        AgentToServer::TerminalInputState(TerminalInputState {
            command_id: CommandId::of_terminal("0193"),
            holder: HoldId::new("h-1"),
            taken: InputSequence(3),
            refused: Some("the program in the terminal has ended".to_owned()),
            notice: Some("Ctrl-Z is withheld".to_owned()),
        }),
        AgentToServer::TerminalSize(sized(None)),
        AgentToServer::Activity(activity()),
        AgentToServer::StopReceipt(StopReceipt {
            stop_id: StopId::new("s-1"),
            stage: StopStage::Verified,
        }),
        AgentToServer::Trace(opaque()),
        AgentToServer::Report(opaque()),
        AgentToServer::Ping(ping()),
        AgentToServer::Pong(pong()),
    ]
}

pub(super) fn to_agents() -> Vec<ServerToAgent> {
    vec![
        ServerToAgent::Ack(Ack { subscriptions: None, ..ack() }),
        ServerToAgent::Ack(Ack { success: true, ..Ack::default() }),
        ServerToAgent::Error(error()),
        ServerToAgent::Error(ErrorReply::new(ErrorCode::Internal, "see the log")),
        ServerToAgent::Heartbeat(ServerHeartbeat {
            server_time: Some(AT),
            next_ping_expected: Some(NextBeat::At(WallTime::from_unix_millis(1_762_041_630_123))),
            sequence: Some(BeatSequence(4)),
            seen: Some(SeenBeat { sequence: BeatSequence(3), age_ms: 12 }),
            recorded: Some(RecordedBeat { sequence: BeatSequence(2), at: Some(AT) }),
            recording_lag: Some(RecordingLag { age_ms: 700, why: "database busy".into() }),
            stopped_at: Some(Hop::Handled),
        }),
        ServerToAgent::Ping(ping()),
        ServerToAgent::Pong(pong()),
        ServerToAgent::CommandRequest(request()),
        ServerToAgent::CommandText(piece()),
        ServerToAgent::CommandRequest(long_request()),
        ServerToAgent::CommandCancel(cancel()),
        ServerToAgent::OutputAck(OutputAck {
            command_id: command(),
            incarnation: Incarnation(5),
            stream_type: StreamType::Stderr,
            offset: ByteOffset(98_304),
            open_gap: true,
        }),
        ServerToAgent::OutputResume(OutputResume {
            streams: vec![ResumePosition {
                command_id: command(),
                incarnation: Incarnation(5),
                stream_type: StreamType::Stdout,
                offset: ByteOffset(300),
            }],
            more: true,
        }),
        ServerToAgent::BlackBoxAck(BlackBoxAck { number: 1 }),
        ServerToAgent::OutputQuery(OutputQuery { query: "q-1".into() }),
        ServerToAgent::Control(control()),
        ServerToAgent::EmergencyStop(EmergencyStop { stop_id: Some(StopId::new("s-1")), ..stop() }),
        ServerToAgent::StopRelease(StopRelease { stop_id: StopId::new("s-1") }),
        ServerToAgent::TerminalInput(input()),
        ServerToAgent::TokenRefresh(refresh()),
    ]
}

pub(super) fn from_dashboards() -> Vec<DashboardToServer> {
    let extensions =
        DashboardExtensions { features: vec![Feature::OutputBytes], server_instance: None };
    vec![
        DashboardToServer::Init(DashboardInit {
            user_id: Some(UserId::new("u-1")),
            subscriptions: subscriptions(),
            extensions: Some(extensions),
        }),
        DashboardToServer::Init(DashboardInit::default()),
        DashboardToServer::Subscribe(Subscription {
            kind: SubscriptionKind::Agent,
            id: Some("9c5b94b1".into()),
            all: false,
            replay: None,
            view: None,
        }),
        DashboardToServer::Subscribe(Subscription {
            kind: SubscriptionKind::Command,
            id: Some("terminal-0193".into()),
            all: false,
            replay: None,
            view: Some(ViewMode::Live),
        }),
        DashboardToServer::Unsubscribe(Subscription {
            kind: SubscriptionKind::Terminal,
            id: None,
            all: true,
            replay: None,
            view: None,
        }),
        DashboardToServer::CommandRequest(request()),
        DashboardToServer::CommandRequest(CommandRequest::new(command(), agent(), "ls")),
        DashboardToServer::CommandText(piece()),
        DashboardToServer::CommandRequest(long_request()),
        DashboardToServer::CommandCancel(cancel()),
        DashboardToServer::Control(control()),
        DashboardToServer::EmergencyStop(stop()),
        DashboardToServer::StopRelease(ReleaseRequest { agent_id: Some(agent()), all: false }),
        DashboardToServer::StopRelease(ReleaseRequest { agent_id: None, all: true }),
        DashboardToServer::KeyboardTake(KeyboardTake {
            command_id: CommandId::of_terminal("0193"),
            name: "ann at desk".to_owned(),
            mode: Some(TakeMode::Over),
        }),
        DashboardToServer::KeyboardRelease(KeyboardRelease {
            command_id: CommandId::of_terminal("0193"),
            holder: HoldId::new("h-1"),
        }),
        DashboardToServer::TerminalInput(input()),
        DashboardToServer::OutputTaken(OutputTaken {
            command_id: CommandId::of_terminal("0193"),
            incarnation: Incarnation(5),
            offset: ByteOffset(900),
        }),
        DashboardToServer::Ping(ping()),
        DashboardToServer::Pong(pong()),
        DashboardToServer::TokenRefresh(refresh()),
    ]
}

pub(super) fn to_dashboards() -> Vec<ServerToDashboard> {
    let stream = TerminalStream {
        command_id: command(),
        agent_id: Some(agent()),
        stream: StreamType::Stdout,
        content: StreamContent::Lines(vec!["hello".into(), "world".into()]),
        timestamp: Some(AT),
        sequence: None,
        offset: None,
        incarnation: None,
    };
    vec![
        ServerToDashboard::Connected(DashboardConnected {
            agents: vec![AgentSummary {
                agent_id: agent(),
                name: "dev".into(),
                agent_type: AgentType::Custom,
                status: "ONLINE".into(),
                version: "0.1.0".into(),
                capabilities: vec!["interrupt".into()],
                last_heartbeat: Some(AT),
                metrics: Some(metrics()),
            }],
            timestamp: Some(AT),
            extensions: Some(DashboardExtensions {
                features: vec![Feature::OutputBytes],
                server_instance: Some(ServerInstanceId::new("srv")),
            }),
        }),
        ServerToDashboard::AgentConnected(AgentConnected {
            agent_id: agent(),
            agent_name: Some("dev".into()),
            agent_type: AgentType::Custom,
            version: "0.1.0".into(),
            host_machine: "build-7".into(),
            capabilities: vec!["interrupt".into()],
            timestamp: Some(AT),
        }),
        ServerToDashboard::AgentStatus(AgentStatus {
            agent_id: agent(),
            status: "timed-out".into(),
            activity_state: "IDLE".into(),
            queued_commands: 0,
            last_ping: None,
            since: Some(AT),
            because: Some("no frame from the agent for 90s".into()),
            presence_version: Some(PresenceVersion(12)),
            health_metrics: Some(metrics()),
            stopped: Some(AgentStopped {
                stop_id: StopId::new("s-1"),
                all: true,
                by: "ann".into(),
                at: Some(AT),
                reason: "the model went wild".into(),
                state: StopProgress::NotConfirmed,
            }),
            paused: true,
            explanation: Some(PresenceWhy {
                confidence: Confidence::Low,
                evidence: Evidence::NONE.with("silence", Duration::from_secs(90)),
                next_state: Some("offline".into()),
                next_change_at: Some(AT),
                slept: Some(SleptSpan { from: Some(AT), until: Some(AT) }),
            }),
            activity: Some(AgentActivity { at: None, ..activity() }),
        }),
        ServerToDashboard::AgentDisconnect(AgentDisconnect {
            agent_id: agent(),
            reason: "link lost: the connection was reset".into(),
            timestamp: Some(AT),
        }),
        ServerToDashboard::CommandStatus(CommandStatus {
            command_id: command(),
            agent_id: Some(agent()),
            status: CommandPhase::Running,
            because: Some("its process runs".into()),
            error: None,
            exit_code: None,
            signal: None,
            started_at: Some(AT),
            completed_at: None,
        }),
        ServerToDashboard::CommandStatus(CommandStatus {
            command_id: command(),
            agent_id: None,
            status: CommandPhase::OutcomeUnknown,
            because: Some("the agent process that had it is gone".into()),
            error: Some("the agent process that had it is gone".into()),
            exit_code: Some(1),
            signal: Some(9),
            started_at: Some(AT),
            completed_at: Some(AT),
        }),
        ServerToDashboard::KeyboardState(KeyboardState {
            command_id: CommandId::of_terminal("0193"),
            agent_id: Some(agent()),
            message_id: Some(MessageId::new("m-7")),
            holder: Some(HoldId::new("h-1")),
            name: "ann at desk".to_owned(),
            since: Some(AT),
            taken: InputSequence(3),
            because: "taken over by ann at desk".to_owned(),
        }),
        ServerToDashboard::CommandComplete(complete()),
        ServerToDashboard::TerminalStream(stream.clone()),
        ServerToDashboard::OutputGap(gap()),
        ServerToDashboard::TerminalSize(sized(Some(AgentId::new("a")))),
        ServerToDashboard::OutputBehind(OutputBehind {
            command_id: CommandId::of_terminal("0193"),
            agent_id: Some(AgentId::new("a")),
            incarnation: Incarnation(5),
            offset: ByteOffset(900),
        }),
        ServerToDashboard::OutputGap(OutputGap { length: None, ..gap() }),
        ServerToDashboard::TerminalStream(TerminalStream {
            content: StreamContent::Bytes(OutputContent::Bytes(vec![0xff].into())),
            sequence: Some(ChunkSequence(1)),
            offset: Some(ByteOffset(0)),
            incarnation: Some(Incarnation(5)),
            ..stream
        }),
        ServerToDashboard::Trace(opaque()),
        ServerToDashboard::QueueUpdate(opaque()),
        ServerToDashboard::EmergencyStop(stop()),
        ServerToDashboard::Ack(Ack { extensions: None, ..ack() }),
        ServerToDashboard::Error(error()),
        ServerToDashboard::Ping(ping()),
        ServerToDashboard::Pong(pong()),
        ServerToDashboard::TokenRefresh(refresh()),
    ]
}
