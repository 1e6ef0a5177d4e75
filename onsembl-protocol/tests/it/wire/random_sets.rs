//! Random messages: every variant of the four sets.

use super::strategies::{
    ack, agent_type, cancel, complete, control, error, feature, hello, id, json_value, metrics,
    number, opaque, output, phase, ping, pong, refresh, request, seen, stop, stream, stream_type,
    subscriptions, text, time,
};
use onsembl_protocol::id::{
    AgentId, BeatSequence, ByteOffset, ChunkSequence, Incarnation, InputSequence, PresenceVersion,
    ServerInstanceId, UserId,
};
use onsembl_protocol::model::{
    ActivityFact, ActivityLane, ActivityState, GapCause, Hop, QuestionKind, TerminalSize,
};
use onsembl_protocol::wire::payload::*;
use onsembl_protocol::wire::{
    AgentToServer, DashboardToServer, NextBeat, ServerToAgent, ServerToDashboard,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub(super) fn unknown_kind() -> impl Strategy<Value = Box<str>> {
    "x-[a-zA-Z_]{0,12}".prop_map(Into::into)
}

fn gap() -> impl Strategy<Value = OutputGap> {
    let position = (number(), stream_type(), number(), number(), of(number()));
    let because = proptest::sample::select(GapCause::ALL.to_vec());
    (id(), of(id::<AgentId>()), position, because, of(time())).prop_map(
        |(command_id, agent_id, position, because, timestamp)| {
            let (incarnation, stream_type, sequence, offset, length) = position;
            OutputGap {
                command_id,
                agent_id,
                incarnation: Incarnation(incarnation),
                stream_type,
                sequence: ChunkSequence(sequence),
                offset: ByteOffset(offset),
                length,
                because,
                timestamp,
            }
        },
    )
}

fn size() -> impl Strategy<Value = TerminalSize> {
    (1_u64..=1000, 1_u64..=1000)
        .prop_map(|(columns, rows)| TerminalSize::new(columns, rows).unwrap())
}

fn sized() -> impl Strategy<Value = TerminalSized> {
    (id(), of(id::<AgentId>()), number(), number(), size()).prop_map(
        |(command_id, agent_id, incarnation, offset, size)| TerminalSized {
            command_id,
            agent_id,
            incarnation: Incarnation(incarnation),
            offset: ByteOffset(offset),
            size,
        },
    )
}

fn activity() -> impl Strategy<Value = AgentActivity> {
    let question = (text(), vec(text(), 0..4)).prop_map(|(title, choices)| Question {
        kind: QuestionKind::Permission,
        title,
        choices,
    });
    let state = proptest::sample::select(vec![
        ActivityState::Working,
        ActivityState::Waiting,
        ActivityState::Asking,
        ActivityState::Gone,
    ]);
    let fact = of(proptest::sample::select(vec![ActivityFact::Stop, ActivityFact::Bell]));
    let lane = of(proptest::sample::select(vec![ActivityLane::Hook, ActivityLane::Terminal]));
    (of(id()), state, fact, lane, of(question), (of(time()), of(time()), of(time()))).prop_map(
        |(command_id, state, fact, lane, question, (since, fact_at, at))| AgentActivity {
            command_id,
            state,
            since,
            fact,
            lane,
            fact_at,
            question,
            at,
        },
    )
}

fn output_state() -> impl Strategy<Value = OutputState> {
    let reported = (id(), number(), stream_type(), number(), number(), number()).prop_map(
        |(command_id, incarnation, stream_type, produced, stored, gaps)| ReportedStream {
            command_id,
            incarnation: Incarnation(incarnation),
            stream_type,
            produced: ByteOffset(produced),
            stored: ByteOffset(stored),
            gaps,
            unstored: produced % 2 == 1,
        },
    );
    (vec(reported, 0..3), any::<bool>(), of(text()))
        .prop_map(|(streams, more, query)| OutputState { streams, more, query })
}

pub(super) fn from_agent() -> impl Strategy<Value = AgentToServer> {
    let beat = (of(id::<AgentId>()), of(metrics()), of(number()), of(seen()), any::<bool>())
        .prop_map(|(agent_id, health_metrics, sequence, seen, paused)| AgentHeartbeat {
            agent_id,
            health_metrics,
            sequence: sequence.map(BeatSequence),
            seen,
            paused,
        });
    let error_type = prop_oneof![
        Just(AgentErrorType::Connection),
        Just(AgentErrorType::Execution),
        Just(AgentErrorType::Resource),
        Just(AgentErrorType::Unspecified),
        text().prop_map(|t| AgentErrorType::parse(&t)),
    ];
    let details = of(json_value().prop_filter("null means none", |v| !v.is_null()));
    let fault = (error_type, text(), any::<bool>(), details).prop_map(
        |(error_type, message, recoverable, details)| AgentErrorReport {
            error_type,
            message,
            recoverable,
            details,
        },
    );
    let status = prop_oneof![
        Just(CommandAckStatus::Received),
        Just(CommandAckStatus::Queued),
        Just(CommandAckStatus::Executing),
        text().prop_map(|t| CommandAckStatus::parse(&t)),
    ];
    let waits_for =
        of(prop::sample::select(vec![WaitsFor::Reader, WaitsFor::BegunLine, WaitsFor::RemoteLine]));
    let command_ack = (id(), of(id::<AgentId>()), status, of(number()), waits_for, of(number()))
        .prop_map(|(command_id, agent_id, status, queue_position, waits_for, line_idle_ms)| {
            let unstored = queue_position == Some(7);
            CommandAck {
                command_id,
                agent_id,
                status,
                queue_position,
                waits_for,
                line_idle_ms,
                unstored,
            }
        });
    prop_oneof![
        hello().prop_map(AgentToServer::Connect),
        beat.prop_map(AgentToServer::Heartbeat),
        fault.prop_map(AgentToServer::Fault),
        command_ack.prop_map(AgentToServer::CommandAck),
        complete().prop_map(AgentToServer::CommandComplete),
        output().prop_map(AgentToServer::Output),
        gap().prop_map(AgentToServer::OutputGap),
        output_state().prop_map(AgentToServer::OutputState),
        sized().prop_map(AgentToServer::TerminalSize),
        (id(), text(), of(time()), any::<bool>(), of(size())).prop_map(
            |(command_id, program, opened_at, attached, size)| {
                AgentToServer::TerminalOpened(TerminalOpened {
                    command_id,
                    program,
                    opened_at,
                    attached,
                    size,
                })
            }
        ),
        (id(), id(), 0..9_u64, of(text()), of(text())).prop_map(
            |(command_id, holder, taken, refused, notice)| {
                AgentToServer::TerminalInputState(TerminalInputState {
                    command_id,
                    holder,
                    taken: InputSequence(taken),
                    refused,
                    notice,
                })
            }
        ),
        activity().prop_map(AgentToServer::Activity),
        (id(), stop_stage()).prop_map(|(stop_id, stage)| AgentToServer::StopReceipt(StopReceipt {
            stop_id,
            stage
        })),
        opaque().prop_map(AgentToServer::Trace),
        opaque().prop_map(AgentToServer::Report),
        ping().prop_map(AgentToServer::Ping),
        pong().prop_map(AgentToServer::Pong),
        unknown_kind().prop_map(AgentToServer::Unknown),
    ]
}

fn piece() -> impl Strategy<Value = CommandText> {
    (id(), number(), vec(any::<u8>(), 0..20)).prop_map(|(command_id, offset, bytes)| {
        let (offset, bytes) = (ByteOffset(offset), TypedBytes(bytes.into()));
        CommandText { command_id, offset, bytes }
    })
}

fn input() -> impl Strategy<Value = TerminalInput> {
    let bytes = vec(any::<u8>(), 0..20);
    (id(), id(), 0..9_u64, bytes).prop_map(|(command_id, holder, sequence, bytes)| TerminalInput {
        command_id,
        holder,
        sequence: InputSequence(sequence),
        bytes: TypedBytes(bytes.into()),
    })
}

fn stop_stage() -> impl Strategy<Value = StopStage> {
    prop::sample::select(vec![StopStage::Received, StopStage::Acted, StopStage::Verified])
}

fn hop() -> impl Strategy<Value = Hop> {
    prop::sample::select(Hop::ALL.to_vec())
}

pub(super) fn to_agent() -> impl Strategy<Value = ServerToAgent> {
    let next =
        prop_oneof![(0u64..100_000_000_000).prop_map(NextBeat::In), time().prop_map(NextBeat::At),];
    let recorded =
        (number(), of(time())).prop_map(|(n, at)| RecordedBeat { sequence: BeatSequence(n), at });
    let lag = (number(), text()).prop_map(|(age_ms, why)| RecordingLag { age_ms, why });
    let beat = (of(time()), of(next), of(number()), of(seen()), of(recorded), of(lag), of(hop()))
        .prop_map(
            |(
                server_time,
                next_ping_expected,
                sequence,
                seen,
                recorded,
                recording_lag,
                stopped_at,
            )| {
                ServerHeartbeat {
                    server_time,
                    next_ping_expected,
                    sequence: sequence.map(BeatSequence),
                    seen,
                    recorded,
                    recording_lag,
                    stopped_at,
                }
            },
        );
    let output_ack = (id(), number(), stream_type(), number(), any::<bool>()).prop_map(
        |(command_id, incarnation, stream_type, offset, open_gap)| OutputAck {
            open_gap,
            command_id,
            incarnation: Incarnation(incarnation),
            stream_type,
            offset: ByteOffset(offset),
        },
    );
    let credit = (id(), number(), stream_type(), number()).prop_map(
        |(command_id, incarnation, stream_type, offset)| OutputCredit {
            command_id,
            incarnation: Incarnation(incarnation),
            stream_type,
            offset: ByteOffset(offset),
        },
    );
    let position = (id(), number(), stream_type(), number()).prop_map(
        |(command_id, incarnation, stream_type, offset)| ResumePosition {
            command_id,
            incarnation: Incarnation(incarnation),
            stream_type,
            offset: ByteOffset(offset),
        },
    );
    prop_oneof![
        ack().prop_map(ServerToAgent::Ack),
        error().prop_map(ServerToAgent::Error),
        beat.prop_map(ServerToAgent::Heartbeat),
        ping().prop_map(ServerToAgent::Ping),
        pong().prop_map(ServerToAgent::Pong),
        request().prop_map(ServerToAgent::CommandRequest),
        cancel().prop_map(ServerToAgent::CommandCancel),
        output_ack.prop_map(ServerToAgent::OutputAck),
        credit.prop_map(ServerToAgent::OutputCredit),
        (vec(position, 0..3), any::<bool>()).prop_map(|(streams, more)| {
            ServerToAgent::OutputResume(OutputResume { streams, more })
        }),
        text().prop_map(|query| ServerToAgent::OutputQuery(OutputQuery { query })),
        control().prop_map(ServerToAgent::Control),
        stop().prop_map(ServerToAgent::EmergencyStop),
        id().prop_map(|stop_id| ServerToAgent::StopRelease(StopRelease { stop_id })),
        input().prop_map(ServerToAgent::TerminalInput),
        piece().prop_map(ServerToAgent::CommandText),
        refresh().prop_map(ServerToAgent::TokenRefresh),
        unknown_kind().prop_map(ServerToAgent::Unknown),
    ]
}

fn dashboard_extensions() -> impl Strategy<Value = DashboardExtensions> {
    (vec(feature(), 0..4), of(id::<ServerInstanceId>()))
        .prop_map(|(features, server_instance)| DashboardExtensions { features, server_instance })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let kind = prop_oneof![
        Just(SubscriptionKind::Agent),
        Just(SubscriptionKind::Command),
        Just(SubscriptionKind::Trace),
        Just(SubscriptionKind::Terminal),
        text().prop_map(|t| SubscriptionKind::parse(&t)),
    ];
    let replay = (of(number()), of(stream_type()), number()).prop_map(
        |(incarnation, stream_type, offset)| Replay {
            incarnation: incarnation.map(Incarnation),
            stream_type,
            offset: ByteOffset(offset),
        },
    );
    let view = of(text().prop_map(|word| ViewMode::parse(&word)));
    (kind, of(text()), any::<bool>(), of(replay), view)
        .prop_map(|(kind, id, all, replay, view)| Subscription { kind, id, all, replay, view })
}

pub(super) fn from_dashboard() -> impl Strategy<Value = DashboardToServer> {
    let init = (of(id::<UserId>()), subscriptions(), of(dashboard_extensions())).prop_map(
        |(user_id, subscriptions, extensions)| DashboardInit { user_id, subscriptions, extensions },
    );
    prop_oneof![
        init.prop_map(DashboardToServer::Init),
        subscription().prop_map(DashboardToServer::Subscribe),
        subscription().prop_map(DashboardToServer::Unsubscribe),
        request().prop_map(DashboardToServer::CommandRequest),
        cancel().prop_map(DashboardToServer::CommandCancel),
        control().prop_map(DashboardToServer::Control),
        stop().prop_map(DashboardToServer::EmergencyStop),
        (of(id()), any::<bool>()).prop_map(|(agent_id, all)| {
            DashboardToServer::StopRelease(ReleaseRequest { agent_id, all })
        }),
        input().prop_map(DashboardToServer::TerminalInput),
        piece().prop_map(DashboardToServer::CommandText),
        (id(), number(), number()).prop_map(|(command_id, incarnation, offset)| {
            let (incarnation, offset) = (Incarnation(incarnation), ByteOffset(offset));
            DashboardToServer::OutputTaken(OutputTaken { command_id, incarnation, offset })
        }),
        (id(), id()).prop_map(|(command_id, holder)| {
            DashboardToServer::KeyboardRelease(KeyboardRelease { command_id, holder })
        }),
        ping().prop_map(DashboardToServer::Ping),
        pong().prop_map(DashboardToServer::Pong),
        refresh().prop_map(DashboardToServer::TokenRefresh),
        unknown_kind().prop_map(DashboardToServer::Unknown),
    ]
}

fn stopped() -> impl Strategy<Value = AgentStopped> {
    let state = text().prop_map(|word| StopProgress::parse(&word));
    let known = prop::sample::select(vec![
        StopProgress::Away,
        StopProgress::NotConfirmed,
        StopProgress::Verified,
    ]);
    let state = prop_oneof![state, known];
    (id(), any::<bool>(), text(), of(time()), text(), state).prop_map(
        |(stop_id, all, by, at, reason, state)| AgentStopped {
            stop_id,
            all,
            by,
            at,
            reason,
            state,
        },
    )
}

pub(super) fn to_dashboard() -> impl Strategy<Value = ServerToDashboard> {
    let summary = (
        (id(), text(), agent_type(), text()),
        (text(), vec(text(), 0..4), of(time()), of(metrics())),
    )
        .prop_map(|((agent_id, name, agent_type, status), rest)| {
            let (version, capabilities, last_heartbeat, metrics) = rest;
            AgentSummary {
                agent_id,
                name,
                agent_type,
                status,
                version,
                capabilities,
                last_heartbeat,
                metrics,
            }
        });
    let connected = (vec(summary, 0..3), of(time()), of(dashboard_extensions())).prop_map(
        |(agents, timestamp, extensions)| DashboardConnected { agents, timestamp, extensions },
    );
    let came = (id(), of(text()), agent_type(), text(), text(), vec(text(), 0..4), of(time()))
        .prop_map(|(agent_id, agent_name, agent_type, version, host, capabilities, timestamp)| {
            AgentConnected {
                agent_id,
                agent_name,
                agent_type,
                version,
                host_machine: host,
                capabilities,
                timestamp,
            }
        });
    let status = (
        (id(), text(), text(), number(), of(time())),
        (of(time()), of(text()), of(number()), of(metrics()), of(stopped()), any::<bool>()),
    )
        .prop_map(|((agent_id, status, activity_state, queued_commands, last_ping), rest)| {
            let (since, because, version, health_metrics, stopped, paused) = rest;
            AgentStatus {
                agent_id,
                status,
                activity_state,
                queued_commands,
                last_ping,
                since,
                because,
                presence_version: version.map(PresenceVersion),
                health_metrics,
                stopped,
                paused,
                explanation: None,
                activity: None,
            }
        });
    let went = (id(), text(), of(time()))
        .prop_map(|(agent_id, reason, timestamp)| AgentDisconnect { agent_id, reason, timestamp });
    let command_status = (
        (id(), of(id::<AgentId>()), phase(), of(text()), of(text())),
        (of(any::<i32>()), of(any::<i32>()), of(time()), of(time())),
    )
        .prop_map(|((command_id, agent_id, status, because, error), rest)| {
            let (exit_code, signal, started_at, completed_at) = rest;
            CommandStatus {
                command_id,
                agent_id,
                status,
                because,
                error,
                exit_code,
                signal,
                unstored: exit_code.is_some_and(|code| code % 2 == 1),
                started_at,
                completed_at,
            }
        });
    prop_oneof![
        connected.prop_map(ServerToDashboard::Connected),
        came.prop_map(ServerToDashboard::AgentConnected),
        status.prop_map(ServerToDashboard::AgentStatus),
        went.prop_map(ServerToDashboard::AgentDisconnect),
        command_status.prop_map(ServerToDashboard::CommandStatus),
        complete().prop_map(ServerToDashboard::CommandComplete),
        stream().prop_map(ServerToDashboard::TerminalStream),
        gap().prop_map(ServerToDashboard::OutputGap),
        sized().prop_map(ServerToDashboard::TerminalSize),
        sized().prop_map(|TerminalSized { command_id, agent_id, incarnation, offset, .. }| {
            ServerToDashboard::OutputBehind(OutputBehind {
                command_id,
                agent_id,
                incarnation,
                offset,
            })
        }),
        opaque().prop_map(ServerToDashboard::Trace),
        opaque().prop_map(ServerToDashboard::QueueUpdate),
        stop().prop_map(ServerToDashboard::EmergencyStop),
        ack().prop_map(ServerToDashboard::Ack),
        error().prop_map(ServerToDashboard::Error),
        ping().prop_map(ServerToDashboard::Ping),
        pong().prop_map(ServerToDashboard::Pong),
        refresh().prop_map(ServerToDashboard::TokenRefresh),
        unknown_kind().prop_map(ServerToDashboard::Unknown),
    ]
}
