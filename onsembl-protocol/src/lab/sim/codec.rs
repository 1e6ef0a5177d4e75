//! Frames as bytes, for worlds that write and read every message: what a machine gets is what was
//! read.

use crate::id::{
    AgentId, AgentKey, BeatSequence, Epoch, InstanceId, MessageId, ServerInstanceId, SessionId,
};
use crate::lab::fact::{Down, Up};
use crate::limits::Limits;
use crate::model::{Feature, HeartbeatTiming};
use crate::session::ServerConfig;
use crate::time::WallTime;
use crate::wire::payload::{
    Ack, AgentConnect, AgentExtensions, AgentHeartbeat, AgentType, Capabilities, HealthMetrics,
    Ping, Pong, RecordedBeat, RecordingLag, SeenBeat, ServerHeartbeat, Welcome,
};
use crate::wire::{AgentToServer, NextBeat, ServerToAgent, decode, encode};
use alloc::string::ToString;
use alloc::vec::Vec;

/// What all messages of a world have in common.
#[derive(Debug)]
pub(super) struct Codec {
    message: MessageId,
    agent: AgentId,
    rules: ServerConfig,
}

impl Codec {
    pub(super) fn new(rules: ServerConfig) -> Self {
        let message = MessageId::new("msg-0d7bd1f5-1");
        Self { message, agent: AgentId::new("0197c1b2-8a3e-7c4f-9e8d-3b5a6f7c8d9e"), rules }
    }

    /// Writes and reads a frame of an agent; `None` if it cannot be read.
    pub(super) fn up(
        &self,
        frame: Up,
        legacy: bool,
        instance: &InstanceId,
        wall: WallTime,
    ) -> Option<Up> {
        let message = match frame {
            Up::Hello => AgentToServer::Connect(self.hello(legacy, instance)),
            Up::Beat { sequence, seen } => AgentToServer::Heartbeat(AgentHeartbeat {
                agent_id: Some(self.agent.clone()),
                health_metrics: Some(HealthMetrics {
                    cpu_usage: Some(12.5),
                    memory_usage: Some(48.0),
                    uptime: Some(86_400.0),
                    commands_processed: Some(17),
                    ..HealthMetrics::default()
                }),
                sequence: Some(BeatSequence(sequence)),
                seen: seen_beat(seen),
                paused: false,
            }),
            Up::Pong => AgentToServer::Pong(Pong {
                timestamp: Some(wall.unix_millis() as f64),
                ..Pong::default()
            }),
            Up::Other => return Some(frame),
        };
        let text = encode(&self.message, wall, &message);
        let read = decode::<AgentToServer>(&text, &Limits::DEFAULT).ok()?;
        if read.message != message {
            return None;
        }
        Some(match read.message {
            AgentToServer::Connect(_) => Up::Hello,
            AgentToServer::Heartbeat(beat) => Up::Beat {
                sequence: beat.sequence.unwrap_or_default().0,
                seen: beat.seen.map_or(0, |seen| seen.sequence.0),
            },
            AgentToServer::Pong(_) => Up::Pong,
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::OutputGap(_)
            | AgentToServer::OutputState(_)
            | AgentToServer::StopReceipt(_)
            | AgentToServer::TerminalOpened(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Unknown(_) => Up::Other,
        })
    }

    /// Writes and reads a frame of the server; `None` if it cannot be read.
    pub(super) fn down(&self, frame: Down, legacy: bool, wall: WallTime) -> Option<Down> {
        let message = match frame {
            Down::Welcome(epoch) => ServerToAgent::Ack(self.welcome(epoch, legacy)),
            Down::Beat { sequence, seen, recorded, lagging } => {
                ServerToAgent::Heartbeat(ServerHeartbeat {
                    server_time: Some(wall),
                    next_ping_expected: Some(NextBeat::At(wall)),
                    sequence: Some(BeatSequence(sequence)),
                    seen: seen_beat(seen),
                    recorded: (recorded > 0).then_some(RecordedBeat {
                        sequence: BeatSequence(recorded),
                        at: Some(wall),
                    }),
                    recording_lag: lagging
                        .then(|| RecordingLag { age_ms: 16_000, why: "database slow".to_string() }),
                })
            }
            Down::Ping => ServerToAgent::Ping(Ping {
                timestamp: Some(wall.unix_millis() as f64),
                sequence: None,
            }),
            Down::Refused | Down::Other => return Some(frame),
        };
        let text = encode(&self.message, wall, &message);
        let read = decode::<ServerToAgent>(&text, &Limits::DEFAULT).ok()?;
        if read.message != message {
            return None;
        }
        Some(match read.message {
            ServerToAgent::Ack(ack) => match (ack.extensions, frame) {
                (Some(welcome), _) => {
                    let timing = HeartbeatTiming::try_from(welcome.timing).ok()?;
                    let same = timing == self.rules.timing;
                    same.then_some(Down::Welcome(welcome.epoch.0))?
                }
                (None, _) => frame,
            },
            ServerToAgent::Heartbeat(beat) => Down::Beat {
                sequence: beat.sequence.unwrap_or_default().0,
                seen: beat.seen.map_or(0, |seen| seen.sequence.0),
                recorded: beat.recorded.map_or(0, |recorded| recorded.sequence.0),
                lagging: beat.recording_lag.is_some(),
            },
            ServerToAgent::Ping(_) => Down::Ping,
            ServerToAgent::Error(_)
            | ServerToAgent::Pong(_)
            | ServerToAgent::CommandRequest(_)
            | ServerToAgent::CommandCancel(_)
            | ServerToAgent::OutputAck(_)
            | ServerToAgent::OutputResume(_)
            | ServerToAgent::OutputQuery(_)
            | ServerToAgent::Control(_)
            | ServerToAgent::EmergencyStop(_)
            | ServerToAgent::StopRelease(_)
            | ServerToAgent::TokenRefresh(_)
            | ServerToAgent::Unknown(_) => Down::Other,
        })
    }

    fn hello(&self, legacy: bool, instance: &InstanceId) -> AgentConnect {
        AgentConnect {
            agent_id: self.agent.as_str().to_string(),
            name: Some("simulated".to_string()),
            agent_type: AgentType::Claude,
            version: Some("0.1.0".to_string()),
            host_machine: Some("simulated-host".to_string()),
            capabilities: Capabilities { supports_interrupt: true, ..Capabilities::default() },
            extensions: (!legacy).then(|| AgentExtensions {
                features: Vec::from([Feature::Heartbeats, Feature::OutputBytes]),
                agent_key: AgentKey::new("key"),
                instance: instance.clone(),
                probe: false,
                commands: Vec::new(),
                journal: None,
                max_parallel: None,
            }),
        }
    }

    fn welcome(&self, epoch: u64, legacy: bool) -> Ack {
        Ack {
            message_id: Some(self.message.clone()),
            success: true,
            agent_id: Some(self.agent.clone()),
            authenticated: Some(true),
            extensions: (!legacy).then(|| Welcome {
                features: Vec::from([Feature::Heartbeats]),
                session_id: SessionId::new("session"),
                epoch: Epoch(epoch),
                server_instance: ServerInstanceId::new("server"),
                timing: self.rules.timing.into(),
                resume_window_ms: self.rules.resume_window.as_millis() as u64,
                output_window_bytes: 1 << 20,
                stopped: None,
            }),
            ..Ack::default()
        }
    }
}

fn seen_beat(sequence: u64) -> Option<SeenBeat> {
    (sequence > 0).then_some(SeenBeat { sequence: BeatSequence(sequence), age_ms: 12 })
}
