//! One message of every kind of a dashboard and to it, with every field that travels filled in.

use super::samples::{
    AT, ack, activity, agent, cancel, command, complete, control, error, gap, input, long_request,
    metrics, opaque, piece, ping, pong, refresh, request, sized, stop, subscriptions,
};
use onsembl_protocol::id::{
    AgentId, ByteOffset, ChunkSequence, CommandId, HoldId, Incarnation, InputSequence, MessageId,
    PresenceVersion, ServerInstanceId, StopId, UserId,
};
use onsembl_protocol::model::{Confidence, Evidence};
use onsembl_protocol::wire::payload::*;
use onsembl_protocol::wire::{DashboardToServer, ServerToDashboard};
use std::time::Duration;

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
