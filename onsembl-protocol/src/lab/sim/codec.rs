//! Frames as bytes, for worlds that write and read every message: what a machine gets is what was
//! read.

use crate::id::{
    AgentId, AgentKey, BeatSequence, Epoch, InstanceId, MessageId, ServerInstanceId, SessionId,
};
use crate::lab::fact::{Down, Up};
use crate::limits::Limits;
use crate::liveness::Seen;
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, HeartbeatTiming, SERVER_FEATURES};
use crate::session::frames::{self, Admission, AgentProfile, SessionRules};
use crate::session::{BeatOut, Reading, ServerBeat, ServerConfig, ServerInbound, StoreTrouble};
use crate::time::WallTime;
use crate::wire::payload::{
    Ack, AgentConnect, AgentHeartbeat, AgentType, HealthMetrics, Pong, SeenBeat,
};
use crate::wire::{AgentToServer, ServerToAgent, decode, decode_in_place, encode};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

/// How old the beats are that are said to be seen.
const AGE_MS: u64 = 12;

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
                seen: (seen > 0)
                    .then_some(SeenBeat { sequence: BeatSequence(seen), age_ms: AGE_MS }),
                paused: false,
            }),
            Up::Pong => AgentToServer::Pong(Pong {
                timestamp: Some(wall.unix_millis() as f64),
                ..Pong::default()
            }),
            Up::Other => return Some(frame),
        };
        let text = encode(&self.message, wall, &message);
        let read = decode_in_place(&text, &Limits::DEFAULT).ok()?.message;
        let reading = frames::reading(&read, SERVER_FEATURES);
        if read.into_owned() != message {
            return None;
        }
        Some(match reading {
            Reading::Hello(_) => Up::Hello,
            Reading::Beat(ServerInbound::Heartbeat { sequence, seen }) => {
                let number = |sequence: Option<BeatSequence>| sequence.unwrap_or_default().0;
                Up::Beat { sequence: number(sequence), seen: number(seen) }
            }
            Reading::Beat(ServerInbound::Pong) => Up::Pong,
            Reading::Beat(ServerInbound::Other)
            | Reading::Ping
            | Reading::Message
            | Reading::Unknown
            | Reading::Undecodable => Up::Other,
        })
    }

    /// Writes and reads a frame of the server; `None` if it cannot be read.
    pub(super) fn down(&self, frame: Down, legacy: bool, wall: WallTime) -> Option<Down> {
        let message = match frame {
            Down::Welcome(epoch) => ServerToAgent::Ack(self.welcome(epoch, legacy)),
            Down::Beat { sequence, seen, recorded, lagging } => {
                let age = Duration::from_millis(AGE_MS);
                let beat = BeatOut {
                    sequence: BeatSequence(sequence),
                    seen: (seen > 0).then_some(Seen { sequence: BeatSequence(seen), age }),
                    recorded: (recorded > 0).then_some((BeatSequence(recorded), wall)),
                    lag: lagging.then_some((Duration::from_secs(16), StoreTrouble::Slow)),
                };
                ServerToAgent::Heartbeat(frames::heartbeat(&beat, self.rules.timing, wall))
            }
            Down::Ping => ServerToAgent::Ping(frames::probe(wall)),
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
            ServerToAgent::Heartbeat(beat) => {
                let ServerBeat { sequence, seen, recorded, lagging } = ServerBeat::of(&beat);
                let number = |sequence: Option<BeatSequence>| sequence.unwrap_or_default().0;
                let (sequence, seen, recorded) = (number(sequence), number(seen), number(recorded));
                Down::Beat { sequence, seen, recorded, lagging }
            }
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
        let profile = AgentProfile {
            name: "simulated".to_string(),
            agent_type: AgentType::Claude,
            version: "0.1.0".to_string(),
            host: "simulated-host".to_string(),
            key: AgentKey::new("key"),
            instance: instance.clone(),
            features: AGENT_FEATURES.to_vec(),
            probe: false,
            open_commands: Vec::new(),
            journal: None,
            max_parallel: None,
        };
        let hello = profile.hello(Some(&self.agent));
        AgentConnect { extensions: hello.extensions.filter(|_| !legacy), ..hello }
    }

    fn welcome(&self, epoch: u64, legacy: bool) -> Ack {
        let dialect = if legacy { Dialect::Legacy } else { Dialect::Extended };
        let admission = Admission {
            agent: self.agent.clone(),
            session: SessionId::new("session"),
            epoch: Epoch(epoch),
            stopped: None,
        };
        let rules = SessionRules {
            server_instance: ServerInstanceId::new("server"),
            features: SERVER_FEATURES.to_vec(),
            output_window: 1 << 20,
        };
        let agreed = Capabilities::negotiate(SERVER_FEATURES, AGENT_FEATURES, dialect);
        frames::welcome(Some(self.message.clone()), agreed, &admission, &rules, &self.rules)
    }
}
