//! Random parts of messages, in all that their canonical form can say.
//!
//! Left out is what the wire has no place for, by design: words of capabilities beside the flags,
//! a priority above high, a run time that nobody measured, numbers above 2^53, times before 1973.

use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation,
    InstanceId, JournalId, MessageId, ServerInstanceId, SessionId, StopId, UserId,
};
use onsembl_protocol::liveness::WireTiming;
use onsembl_protocol::model::{TerminalSize, TraceContext};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts with everything that JSON must escape and with characters of every length.
pub(super) fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        "[a-z0-9_-]{0,12}",
        "\\PC{0,12}",
        vec(
            prop_oneof![
                Just('"'),
                Just('\\'),
                Just('\u{1b}'),
                Just('\0'),
                Just('\u{10ffff}'),
                any::<char>()
            ],
            0..8
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
}

pub(super) fn id<T: From<String> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    text().prop_map(T::from)
}

pub(super) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..100, 0u64..(1 << 53)]
}

/// Eighths: exact in binary and in the digits that JSON writes.
pub(super) fn float() -> impl Strategy<Value = f64> {
    (-(1i64 << 40)..1 << 40).prop_map(|eighths| eighths as f64 / 8.0)
}

pub(super) fn time() -> impl Strategy<Value = WallTime> {
    (100_000_000_000i64..4_000_000_000_000).prop_map(WallTime::from_unix_millis)
}

pub(super) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|pairs| pairs.into_iter().collect::<Value>()),
        ]
    })
}

/// A payload that passes through unread is an object, or at least not `null`, which means `{}`.
pub(super) fn opaque() -> impl Strategy<Value = Opaque> {
    json_value().prop_map(|value| Opaque(if value.is_null() { json!({}) } else { value }))
}

pub(super) fn agent_type() -> impl Strategy<Value = AgentType> {
    prop_oneof![
        Just(AgentType::Claude),
        Just(AgentType::Gemini),
        Just(AgentType::Codex),
        Just(AgentType::Custom),
        text().prop_map(|t| AgentType::parse(&t)),
    ]
}

pub(super) fn feature() -> impl Strategy<Value = Feature> {
    prop_oneof![
        Just(Feature::Heartbeats),
        Just(Feature::OutputBytes),
        Just(Feature::OutputSpool),
        Just(Feature::OutputReplay),
        Just(Feature::CommandReports),
        text().prop_map(|t| Feature::parse(&t)),
    ]
}

pub(super) fn stream_type() -> impl Strategy<Value = StreamType> {
    prop_oneof![
        Just(StreamType::Stdout),
        Just(StreamType::Stderr),
        Just(StreamType::System),
        text().prop_map(|t| StreamType::parse(&t)),
    ]
}

pub(super) fn phase() -> impl Strategy<Value = CommandPhase> {
    prop_oneof![
        Just(CommandPhase::Pending),
        Just(CommandPhase::Queued),
        Just(CommandPhase::Delivered),
        Just(CommandPhase::Running),
        Just(CommandPhase::Cancelling),
        Just(CommandPhase::Lost),
        Just(CommandPhase::Completed),
        Just(CommandPhase::Failed),
        Just(CommandPhase::Cancelled),
        Just(CommandPhase::OutcomeUnknown),
        "[A-Z_]{1,8}".prop_map(|t| CommandPhase::parse(&t)),
    ]
}

pub(super) fn error_code() -> impl Strategy<Value = ErrorCode> {
    prop_oneof![
        prop::sample::select(vec![
            ErrorCode::Unauthorized,
            ErrorCode::AuthTimeout,
            ErrorCode::Forbidden,
            ErrorCode::InvalidMessage,
            ErrorCode::InvalidMessageType,
            ErrorCode::UnknownMessageType,
            ErrorCode::Internal,
            ErrorCode::AgentOffline,
            ErrorCode::AgentStopped,
            ErrorCode::AgentNotFound,
            ErrorCode::AgentAmbiguous,
            ErrorCode::CommandNotFound,
            ErrorCode::QueueFull,
            ErrorCode::NotSupported,
            ErrorCode::StorageUnavailable,
            ErrorCode::ConnectionFailed,
        ]),
        text().prop_map(|t| ErrorCode::parse(&t)),
    ]
}

fn only(ids: Vec<String>) -> Selection {
    Selection::Only(ids.into_iter().collect())
}

pub(super) fn selection() -> impl Strategy<Value = Selection> {
    let ids = vec("[a-z0-9-]{1,12}", 1..4);
    prop_oneof![Just(Selection::None), Just(Selection::All), ids.prop_map(only)]
}

pub(super) fn subscriptions() -> impl Strategy<Value = Subscriptions> {
    (selection(), selection(), any::<bool>(), any::<bool>()).prop_map(
        |(agents, commands, terminals, traces)| Subscriptions {
            agents,
            commands,
            terminals,
            traces,
        },
    )
}

pub(super) fn metrics() -> impl Strategy<Value = HealthMetrics> {
    (of(float()), of(float()), of(float()), of(number()), of(number()), of(float())).prop_map(
        |(cpu_usage, memory_usage, uptime, commands_processed, active_commands, answer)| {
            let mut it = HealthMetrics::default();
            it.cpu_usage = cpu_usage;
            it.memory_usage = memory_usage;
            it.commands_executed = None;
            it.uptime = uptime;
            it.commands_processed = commands_processed;
            it.active_commands = active_commands;
            it.average_response_time = answer;
            it
        },
    )
}

pub(super) fn seen() -> impl Strategy<Value = SeenBeat> {
    (number(), number()).prop_map(|(n, age_ms)| SeenBeat { sequence: BeatSequence(n), age_ms })
}

pub(super) fn hello() -> impl Strategy<Value = AgentConnect> {
    let capabilities = (number(), any::<bool>(), any::<bool>()).prop_map(|(n, i, t)| {
        Capabilities { max_tokens: n, supports_interrupt: i, supports_trace: t, words: vec![] }
    });
    let extensions = (
        vec(feature(), 0..4),
        id::<AgentKey>(),
        id::<InstanceId>(),
        any::<bool>(),
        vec(id::<CommandId>(), 0..4),
        (of(id::<JournalId>()), of(number()), of(id::<StopId>())),
    )
        .prop_map(|(features, agent_key, instance, probe, commands, rest)| AgentExtensions {
            features,
            agent_key,
            instance,
            probe,
            commands,
            journal: rest.0,
            max_parallel: rest.1,
            stop_id: rest.2,
        });
    (text(), of(text()), agent_type(), of(text()), of(text()), capabilities, of(extensions))
        .prop_map(|(agent_id, name, agent_type, version, host, capabilities, extensions)| {
            AgentConnect {
                agent_id,
                name,
                agent_type,
                version,
                host_machine: host,
                capabilities,
                extensions,
            }
        })
}

pub(super) fn content() -> impl Strategy<Value = OutputContent> {
    prop_oneof![
        text().prop_map(OutputContent::Text),
        vec(any::<u8>(), 0..24).prop_map(|b| OutputContent::Bytes(b.into())),
    ]
}

pub(super) fn output() -> impl Strategy<Value = TerminalOutput> {
    (id(), of(id::<AgentId>()), stream_type(), content(), of(number()), of(number()), of(number()))
        .prop_map(|(command_id, agent_id, stream, content, sequence, offset, incarnation)| {
            TerminalOutput {
                command_id,
                agent_id,
                stream,
                content,
                sequence: sequence.map(ChunkSequence),
                offset: offset.map(ByteOffset),
                incarnation: incarnation.map(Incarnation),
            }
        })
}

pub(super) fn stream() -> impl Strategy<Value = TerminalStream> {
    let content = prop_oneof![
        content().prop_map(StreamContent::Bytes),
        vec(text(), 0..4).prop_map(StreamContent::Lines),
    ];
    (
        id(),
        of(id::<AgentId>()),
        stream_type(),
        content,
        of(time()),
        of(number()),
        of(number()),
        of(number()),
    )
        .prop_map(
            |(command_id, agent_id, stream, content, timestamp, sequence, offset, incarnation)| {
                TerminalStream {
                    command_id,
                    agent_id,
                    stream,
                    content,
                    timestamp,
                    sequence: sequence.map(ChunkSequence),
                    offset: offset.map(ByteOffset),
                    incarnation: incarnation.map(Incarnation),
                }
            },
        )
}

pub(super) fn complete() -> impl Strategy<Value = CommandComplete> {
    let output = (number(), number(), number()).prop_map(|(i, o, e)| OutputTotals {
        incarnation: Incarnation(i),
        stdout_bytes: ByteOffset(o),
        stderr_bytes: ByteOffset(e),
        terminal_bytes: ByteOffset(0),
        unstored: o % 2 == 1,
    });
    (
        (id(), of(id::<AgentId>()), phase(), of(any::<i32>()), of(any::<i32>())),
        (number(), number(), of(text()), of(time()), of(output)),
    )
        .prop_map(|((command_id, agent_id, status, exit_code, signal), rest)| {
            let (duration, tokens_used, error, timestamp, output) = rest;
            {
                let mut it = CommandComplete::new(command_id, status);
                it.agent_id = agent_id;
                it.exit_code = exit_code;
                it.signal = signal;
                it.duration_ms = Some(duration);
                it.tokens_used = tokens_used;
                it.error = error;
                it.timestamp = timestamp;
                it.output = output;
                it
            }
        })
}

pub(super) fn request() -> impl Strategy<Value = CommandRequest> {
    let constraints = (of(number()), of(number())).prop_map(|(time_limit_ms, max_retries)| {
        ExecutionConstraints { time_limit_ms, max_retries }
    });
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let some_text = text().prop_map(|t| if t.is_empty() { "x".to_string() } else { t });
    (
        (of(id::<CommandId>()), of(id::<AgentId>()), some_text.clone(), vec(text(), 0..4)),
        (btree_map(text(), text(), 0..4), of(some_text), priority, constraints, of(id::<UserId>())),
        (
            of(number()),
            of(prop::sample::select(vec![OfflinePolicy::Queue, OfflinePolicy::Refuse])),
            of(prop::sample::select(vec![
                CommandInput::Text,
                CommandInput::Keys,
                CommandInput::Secret,
            ])),
            of(prop::sample::select(vec![OpenLine::Wait, OpenLine::Take])),
            of(prop::sample::select(vec![SecretEcho::Refuse, SecretEcho::Allow])),
            of(Just(TypeIf::Waiting)),
            of(trace()),
            of(number()),
        ),
    )
        .prop_map(|((command_id, agent_id, text, args), rest, extensions)| {
            let (start_within_ms, offline, input, open_line, echo, condition, trace, long) =
                extensions;
            let (env, working_directory, priority, constraints, user_id) = rest;
            let (command, agent) = (CommandId::new(""), AgentId::new(""));
            let mut it = CommandRequest::new(command, agent, text);
            it.command_id = command_id;
            it.agent_id = agent_id;
            it.long_text = long.map(LongText::Declared);
            it.args = args;
            it.env = env;
            it.working_directory = working_directory;
            it.priority = priority;
            it.constraints = constraints;
            it.start_within_ms = start_within_ms;
            it.offline = offline;
            it.input = input;
            it.open_line = open_line;
            it.echo = echo;
            it.unstored = condition.is_some();
            it.condition = condition;
            it.user_id = user_id;
            it.trace = trace;
            it
        })
}

fn trace() -> impl Strategy<Value = TraceContext> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter_map("an id of zero", |(trace, span, flags)| {
            TraceContext::new(trace, span, flags)
        })
}

pub(super) fn cancel() -> impl Strategy<Value = CommandCancel> {
    (id(), of(id::<AgentId>()), of(text()), any::<bool>()).prop_map(
        |(command_id, agent_id, reason, force)| CommandCancel {
            command_id,
            agent_id,
            reason,
            force,
        },
    )
}

pub(super) fn control() -> impl Strategy<Value = AgentControl> {
    let action = prop_oneof![
        Just(ControlAction::Stop),
        Just(ControlAction::Restart),
        Just(ControlAction::Pause),
        Just(ControlAction::Resume),
        Just(ControlAction::Start),
        Just(ControlAction::Resize),
        text().prop_map(|t| ControlAction::parse(&t)),
    ];
    let size = (1_u64..=1000, 1_u64..=1000).prop_map(|(c, r)| TerminalSize::new(c, r).unwrap());
    (of(id::<AgentId>()), action, of(text()), of(any::<bool>()), of(number()), of(size)).prop_map(
        |(agent_id, action, reason, graceful_shutdown, timeout, size)| AgentControl {
            agent_id,
            action,
            reason,
            graceful_shutdown,
            timeout,
            size,
        },
    )
}

pub(super) fn stop() -> impl Strategy<Value = EmergencyStop> {
    (of(text()), of(text()), of(time()), of(number()), of(number()), vec(text(), 0..4)).prop_map(
        |(reason, triggered_by, timestamp, agents_stopped, commands_cancelled, agents)| {
            EmergencyStop {
                stop_id: None,
                reason,
                triggered_by,
                timestamp,
                agents_stopped,
                commands_cancelled,
                affected_agents: agents,
            }
        },
    )
}

pub(super) fn refresh() -> impl Strategy<Value = TokenRefresh> {
    (text(), of(0u64..=864_000), of(text())).prop_map(|(token, expires_in, next)| TokenRefresh {
        access_token: Secret::new(token),
        expires_in,
        refresh_token: next.map(Secret::new),
    })
}

pub(super) fn ack() -> impl Strategy<Value = Ack> {
    let timing = (number(), number(), number()).prop_map(|(i, s, t)| WireTiming {
        heartbeat_interval_ms: i,
        stale_after_ms: s,
        timeout_after_ms: t,
    });
    let welcome = (
        vec(feature(), 0..4),
        id::<SessionId>(),
        number(),
        id::<ServerInstanceId>(),
        timing,
        number(),
        (number(), of(id::<StopId>())),
    )
        .prop_map(|(features, session_id, epoch, server_instance, timing, resume, rest)| {
            let (window, stopped) = rest;
            Welcome {
                features,
                session_id,
                epoch: Epoch(epoch),
                server_instance,
                timing,
                resume_window_ms: resume,
                output_window_bytes: window,
                stopped,
            }
        });
    (
        (of(id::<MessageId>()), any::<bool>(), of(text()), of(id::<AgentId>()), of(any::<bool>())),
        (of(number()), of(any::<bool>()), of(id::<CommandId>()), of(subscriptions()), of(welcome)),
    )
        .prop_map(|((message_id, success, connection_id, agent_id, authenticated), rest)| {
            let (sequence, received, command_id, subscriptions, extensions) = rest;
            Ack {
                message_id,
                success,
                connection_id,
                agent_id,
                authenticated,
                sequence,
                received,
                command_id,
                subscriptions,
                extensions,
            }
        })
}

pub(super) fn error() -> impl Strategy<Value = ErrorReply> {
    // Absent and `null` details cannot be told apart.
    let details = of(json_value().prop_filter("null means none", |v| !v.is_null()));
    (
        error_code(),
        text(),
        (of(id::<CommandId>()), of(id::<AgentId>())),
        details,
        of(id::<MessageId>()),
        of(any::<bool>()),
    )
        .prop_map(|(code, message, (command_id, agent_id), details, about, recoverable)| {
            ErrorReply {
                code,
                message,
                context: ErrorContext { command_id, agent_id },
                details,
                original_message_id: about,
                recoverable,
            }
        })
}

pub(super) fn ping() -> impl Strategy<Value = Ping> {
    (of(float()), of(number())).prop_map(|(timestamp, sequence)| Ping { timestamp, sequence })
}

pub(super) fn pong() -> impl Strategy<Value = Pong> {
    (of(float()), of(float()), of(number())).prop_map(|(timestamp, latency, sequence)| Pong {
        timestamp,
        latency,
        sequence,
    })
}
