//! Frames as bytes, for worlds that write and read every message: what a machine gets is what was
//! read.

use crate::id::{
    AgentId, AgentKey, BeatSequence, Epoch, InstanceId, LinkId, MessageId, ServerInstanceId,
    SessionId,
};
use crate::lab::fact::{Down, Up};
use crate::limits::Limits;
use crate::liveness::Seen;
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, SERVER_FEATURES};
use crate::session::frames::{
    self, Admission, AgentFrames, AgentProfile, FromAgent, ServerRead, SessionRules,
};
use crate::session::{
    AgentAction, AgentInbound, BeatOut, Reading, ServerBeat, ServerConfig, ServerInbound,
    StoreTrouble,
};
use crate::time::WallTime;
use crate::wire::payload::{Ack, AgentConnect, HealthMetrics};
use crate::wire::{AgentToServer, ServerToAgent, decode, encode};
use core::time::Duration;

/// How old the beats are that are said to be seen.
const AGE: Duration = Duration::from_millis(12);

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
        hello: impl FnOnce() -> AgentConnect,
        wall: WallTime,
    ) -> Option<Up> {
        let message = match frame {
            Up::Hello => AgentToServer::Connect(hello()),
            Up::Beat { sequence, seen } => {
                let metrics = HealthMetrics {
                    cpu_usage: Some(12.5),
                    memory_usage: Some(48.0),
                    commands_executed: None,
                    uptime: Some(86_400.0),
                    commands_processed: Some(17),
                    ..HealthMetrics::default()
                };
                let (agent, sequence) = (Some(self.agent.clone()), BeatSequence(sequence));
                let beat = frames::agent_heartbeat(agent, sequence, seen_beat(seen), metrics);
                AgentToServer::Heartbeat(beat)
            }
            Up::Pong => AgentToServer::Pong(frames::agent_pong(None, wall)),
            Up::Other => return Some(frame),
        };
        let text = encode(&self.message, wall, &message);
        let ServerRead { reading, content } =
            frames::read(&text, &Limits::DEFAULT, SERVER_FEATURES);
        let FromAgent::Message(_, read) = content else { return None };
        if read.into_owned() != message {
            return None;
        }
        Some(match reading {
            Reading::Hello(_) => Up::Hello,
            Reading::Beat(ServerInbound::Heartbeat { sequence, seen }) => {
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
                let beat = BeatOut {
                    sequence: BeatSequence(sequence),
                    seen: seen_beat(seen),
                    recorded: (recorded > 0).then_some((BeatSequence(recorded), wall)),
                    lag: lagging.then_some((Duration::from_secs(16), StoreTrouble::Slow)),
                };
                ServerToAgent::Heartbeat(frames::heartbeat(&beat, self.rules.timing, wall))
            }
            Down::Ping => ServerToAgent::Ping(frames::probe(wall)),
            Down::Refused | Down::Other => return Some(frame),
        };
        let text = encode(&self.message, wall, &message);
        if decode::<ServerToAgent>(&text, &Limits::DEFAULT).ok()?.message != message {
            return None;
        }
        Some(match agent_read(frame, &text, wall) {
            AgentInbound::HelloAccepted(terms) => match terms.dialect {
                // A legacy server names no epoch.
                Dialect::Legacy => frame,
                Dialect::Extended => {
                    (terms.timing == self.rules.timing).then_some(Down::Welcome(terms.epoch.0))?
                }
            },
            AgentInbound::Heartbeat(ServerBeat { sequence, seen, recorded, lagging }) => {
                let (sequence, seen, recorded) = (number(sequence), number(seen), number(recorded));
                Down::Beat { sequence, seen, recorded, lagging }
            }
            AgentInbound::Ping { .. } => Down::Ping,
            AgentInbound::HelloRefused(_) => Down::Refused,
            AgentInbound::Other => Down::Other,
        })
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

/// What a text is to an agent: to one that waits for its welcome, if the text is to be that.
fn agent_read(frame: Down, text: &str, wall: WallTime) -> AgentInbound {
    let profile = AgentProfile {
        features: AGENT_FEATURES.to_vec(),
        ..AgentProfile::new("simulated", AgentKey::new("key"), InstanceId::new("run"))
    };
    let (link, mut agent) = (LinkId(1), AgentFrames::new(profile, Limits::DEFAULT));
    if let Down::Welcome(_) = frame {
        let hello = AgentAction::SendHello(link);
        let _its_text_goes_nowhere = agent.outgoing(&hello, wall, HealthMetrics::default);
    }
    agent.read(link, text, wall).inbound
}

fn seen_beat(sequence: u64) -> Option<Seen> {
    (sequence > 0).then_some(Seen { sequence: BeatSequence(sequence), age: AGE })
}

fn number(sequence: Option<BeatSequence>) -> u64 {
    sequence.unwrap_or_default().0
}
