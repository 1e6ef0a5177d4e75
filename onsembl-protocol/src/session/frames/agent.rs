//! The agent's end: what is written for its machine, and what a text of the server is to it.
//!
//! Which text answers the hello is decided by the link it came over, not by what was known before:
//! the hello of each new link resets it, so an agent whose server was restarted takes the next
//! welcome for what it is.

use super::profile::AgentProfile;
use crate::close::CloseCause;
use crate::id::{AgentId, BeatSequence, Epoch, LinkId, MessageId, SessionId, StopId};
use crate::limits::{Limits, OUTPUT_WINDOW};
use crate::liveness::Seen;
use crate::model::{
    Capabilities, CommandComplete, CommandPhase, Dialect, Feature, HeartbeatTiming, Hop,
    InvalidTiming, Pausing,
};
use crate::session::{
    AgentAction, AgentInbound, AgentStatus, EchoBits, HelloRefusal, ServerBeat, SessionTerms,
};
use crate::time::WallTime;
use crate::wire::payload::{
    Ack, AgentErrorReport, AgentErrorType, AgentHeartbeat, ErrorCode, ErrorReply, HealthMetrics,
    Pong, SeenBeat, ServerHeartbeat,
};
use crate::wire::{AgentToServer, DecodeCause, DecodeError, Envelopes, ServerToAgent, decode};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use serde_json::json;

/// The frames of one agent. See the [module](super).
///
/// Hand every action of the machine to [`outgoing`](Self::outgoing), and every text of its current link
/// to [`read`](Self::read).
///
/// ```
/// use onsembl_protocol::id::{AgentKey, InstanceId, LinkId};
/// use onsembl_protocol::limits::Limits;
/// use onsembl_protocol::session::frames::{AgentFrames, AgentProfile};
/// use onsembl_protocol::session::{AgentAction, AgentInbound};
/// use onsembl_protocol::time::WallTime;
///
/// let profile = AgentProfile::new("laptop", AgentKey::new("key"), InstanceId::new("run-1"));
/// let mut frames = AgentFrames::new(profile, Limits::DEFAULT);
/// let wall = WallTime::from_unix_millis(1_762_041_600_000);
///
/// let hello = AgentAction::SendHello(LinkId(1));
/// let (_link, text) = frames.outgoing(&hello, wall, Default::default).unwrap();
/// assert!(text.contains("AGENT_CONNECT"));
///
/// let read = frames.read(LinkId(1), r#"{"type":"PING","payload":{}}"#, wall);
/// assert_eq!(read.inbound, AgentInbound::Ping { echo: None });
/// ```
#[derive(Debug)]
pub struct AgentFrames {
    profile: AgentProfile,
    limits: Limits,
    envelopes: Envelopes,
    agent_id: Option<AgentId>,
    pausing: Pausing,
    phase: Phase,
}

/// How far the current link is.
#[derive(Debug)]
enum Phase {
    /// No link, or no hello written on it yet.
    NoHello,
    /// The hello of this link is not answered.
    Hello { link: LinkId, id: MessageId },
    /// The hello was answered.
    InSession(Box<AgentSession>),
}

/// A session, as the answer to the hello settled it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AgentSession {
    /// What the server speaks.
    pub dialect: Dialect,
    /// The id the server knows this agent by.
    pub agent: Option<AgentId>,
    /// The session; none from a legacy server.
    pub session: Option<SessionId>,
    /// Its epoch; zero from a legacy server.
    pub epoch: Epoch,
    /// Features that the server named.
    pub features: Vec<Feature>,
    /// What this session may rely on.
    pub capabilities: Capabilities,
    /// How many bytes of output may be unacknowledged.
    pub output_window: u64,
    /// The stop that is in force for this agent.
    pub stopped: Option<StopId>,
}

/// What came of a text.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a text that the machine does not hear of is silence to it"]
pub struct AgentRead {
    /// The input for the machine, which comes first.
    pub inbound: AgentInbound,
    /// What else is in it, for the owner of the agent.
    pub content: FromServer,
}

/// What a text of the server holds beyond its sign of life.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FromServer {
    /// Nothing for the owner.
    Nothing,
    /// A session began. The times of the server are wrong if there is an error; then the defaults hold.
    Joined(Box<AgentSession>, Option<InvalidTiming>),
    /// The hello was refused.
    Refused(ErrorReply),
    Heartbeat(Box<ServerHeartbeat>),
    /// An order, or an answer to something.
    Message(Box<ServerToAgent>),
    /// The same, before the session began: it has no effect.
    BeforeSession,
    /// A type that this version does not know.
    Unknown(Box<str>),
    /// No message. With it comes the one reply that the protocol has for it: a command that cannot be
    /// read failed.
    Undecodable(DecodeError, Option<Box<AgentToServer>>),
}

impl AgentFrames {
    /// The frames of an agent that has no link yet. Its message ids begin with its instance.
    pub fn new(profile: AgentProfile, limits: Limits) -> Self {
        let envelopes = Envelopes::new(profile.instance.as_str());
        Self {
            profile,
            limits,
            envelopes,
            agent_id: None,
            pausing: Pausing::Running,
            phase: Phase::NoHello,
        }
    }

    /// What the next hello says.
    pub const fn profile_mut(&mut self) -> &mut AgentProfile {
        &mut self.profile
    }

    /// Sets whether this agent starts nothing, by order, which each heartbeat says; whether that is
    /// news. Then feed [`AgentEvent::News`](crate::session::AgentEvent::News).
    pub fn set_pausing(&mut self, pausing: Pausing) -> bool {
        core::mem::replace(&mut self.pausing, pausing) != pausing
    }

    /// The id that a server taught this agent.
    pub const fn agent_id(&self) -> Option<&AgentId> {
        self.agent_id.as_ref()
    }

    /// The session, from the welcome until the machine reports that it is over.
    pub fn session(&self) -> Option<&AgentSession> {
        match &self.phase {
            Phase::InSession(session) => Some(session),
            Phase::NoHello | Phase::Hello { .. } => None,
        }
    }

    /// The link to send over and the text, if this action asks for one. `metrics` is asked when a
    /// heartbeat is written. Pass every action: also those without a text say how far the link is.
    pub fn outgoing(
        &mut self,
        action: &AgentAction,
        wall: WallTime,
        metrics: impl FnOnce() -> HealthMetrics,
    ) -> Option<(LinkId, &str)> {
        let (link, message) = match *action {
            AgentAction::SendHello(link) => {
                let hello = self.profile.hello(self.agent_id.as_ref());
                (link, AgentToServer::Connect(hello))
            }
            AgentAction::SendBeat { link, sequence, seen } => {
                let agent = self.agent_id.clone();
                let beat = agent_heartbeat(agent, sequence, seen, metrics());
                (
                    link,
                    AgentToServer::Heartbeat(AgentHeartbeat {
                        paused: self.pausing.is_paused(),
                        ..beat
                    }),
                )
            }
            AgentAction::SendPong { link, echo } => {
                (link, AgentToServer::Pong(agent_pong(echo, wall)))
            }
            AgentAction::Report(report) => {
                match report.status {
                    AgentStatus::Joining
                    | AgentStatus::Connected { .. }
                    | AgentStatus::Stale { .. } => {}
                    AgentStatus::Idle
                    | AgentStatus::Connecting { .. }
                    | AgentStatus::TimedOut { .. }
                    | AgentStatus::Reconnecting { .. }
                    | AgentStatus::Closed => self.phase = Phase::NoHello,
                }
                return None;
            }
            AgentAction::Dial(_)
            | AgentAction::Probe(_)
            | AgentAction::Close(..)
            | AgentAction::Impaired(_)
            | AgentAction::Overslept(_) => return None,
        };
        let (id, text) = self.envelopes.write(&message, wall);
        if let AgentAction::SendHello(link) = *action {
            self.phase = Phase::Hello { link, id };
        }
        Some((link, text))
    }

    /// Writes a message of the owner, to be sent in a session.
    pub fn write(&mut self, message: &AgentToServer, wall: WallTime) -> &str {
        self.envelopes.write(message, wall).1
    }

    /// What comes of a binary message of the server, as none is agreed on in this direction: the link is closed for
    /// this cause, and the machine is told that it ended by it.
    pub const fn read_binary(&self) -> CloseCause {
        CloseCause::UnsupportedData
    }

    /// Reads a text that came over `link`.
    pub fn read(&mut self, link: LinkId, text: &str, wall: WallTime) -> AgentRead {
        let message = match decode::<ServerToAgent>(text, &self.limits) {
            Ok(envelope) => envelope.message,
            Err(error) => {
                let reply = self.failed_command(&error, wall);
                return other(FromServer::Undecodable(error, reply));
            }
        };
        let answers_hello = match &self.phase {
            Phase::Hello { link: of, .. } => *of == link,
            Phase::NoHello | Phase::InSession(_) => false,
        };
        match message {
            ServerToAgent::Ack(ack) if answers_hello => self.on_ack(ack),
            ServerToAgent::Error(error) if answers_hello => {
                let inbound = AgentInbound::HelloRefused(hello_refusal(&error.code));
                AgentRead { inbound, content: FromServer::Refused(error) }
            }
            ServerToAgent::Heartbeat(beat) => {
                let inbound = AgentInbound::Heartbeat(ServerBeat::of(&beat));
                AgentRead { inbound, content: FromServer::Heartbeat(Box::new(beat)) }
            }
            ServerToAgent::Ping(ping) => {
                let inbound = AgentInbound::Ping { echo: ping.timestamp.map(Into::into) };
                AgentRead { inbound, content: FromServer::Nothing }
            }
            ServerToAgent::Pong(_) => other(FromServer::Nothing),
            ServerToAgent::Unknown(kind) => other(FromServer::Unknown(kind)),
            message @ (ServerToAgent::Ack(_)
            | ServerToAgent::Error(_)
            | ServerToAgent::CommandRequest(_)
            | ServerToAgent::CommandText(_)
            | ServerToAgent::CommandCancel(_)
            | ServerToAgent::OutputAck(_)
            | ServerToAgent::OutputResume(_)
            | ServerToAgent::OutputQuery(_)
            | ServerToAgent::BlackBoxAck(_)
            | ServerToAgent::Control(_)
            | ServerToAgent::EmergencyStop(_)
            | ServerToAgent::StopRelease(_)
            | ServerToAgent::TerminalInput(_)
            | ServerToAgent::TokenRefresh(_)) => other(match &self.phase {
                Phase::InSession(_) => FromServer::Message(Box::new(message)),
                Phase::NoHello | Phase::Hello { .. } => FromServer::BeforeSession,
            }),
        }
    }

    fn on_ack(&mut self, ack: Ack) -> AgentRead {
        let Phase::Hello { id, .. } = &self.phase else { return other(FromServer::Nothing) };
        // A legacy server names the agent, but not always the message that it answers.
        let answers = ack.agent_id.is_some() || ack.message_id.as_ref() == Some(id);
        if !answers || !ack.success {
            return other(FromServer::Nothing);
        }
        self.agent_id = ack.agent_id.or(self.agent_id.take());
        let (mut timing, mut wrong) = (HeartbeatTiming::DEFAULT, None);
        let session = match ack.extensions {
            Some(welcome) => {
                match HeartbeatTiming::try_from(welcome.timing) {
                    Ok(named) => timing = named,
                    Err(error) => wrong = Some(error),
                }
                AgentSession {
                    dialect: Dialect::Extended,
                    agent: self.agent_id.clone(),
                    session: Some(welcome.session_id),
                    epoch: welcome.epoch,
                    capabilities: Capabilities::negotiate(
                        &self.profile.features,
                        &welcome.features,
                        Dialect::Extended,
                    ),
                    features: welcome.features,
                    output_window: welcome.output_window_bytes,
                    stopped: welcome.stopped,
                }
            }
            None => AgentSession {
                dialect: Dialect::Legacy,
                agent: self.agent_id.clone(),
                session: None,
                epoch: Epoch::default(),
                features: Vec::new(),
                capabilities: Capabilities::LEGACY,
                output_window: OUTPUT_WINDOW,
                stopped: None,
            },
        };
        let terms = SessionTerms {
            dialect: session.dialect,
            epoch: session.epoch,
            timing,
            end_orders: session.capabilities.end_orders(),
        };
        self.phase = Phase::InSession(Box::new(session.clone()));
        AgentRead {
            inbound: AgentInbound::HelloAccepted(terms),
            content: FromServer::Joined(Box::new(session), wrong),
        }
    }

    /// The report of a command that cannot be read, if that is what cannot be read.
    fn failed_command(&self, error: &DecodeError, wall: WallTime) -> Option<Box<AgentToServer>> {
        let about_a_request = match &error.cause {
            DecodeCause::BadPayload { kind, .. } | DecodeCause::TooLong { kind, .. } => {
                kind.as_ref() == "COMMAND_REQUEST"
            }
            DecodeCause::TooLarge { .. }
            | DecodeCause::TooDeep { .. }
            | DecodeCause::NotAnEnvelope(_)
            | DecodeCause::NotOutput(_) => false,
        };
        let command_id = error.command_id.clone().filter(|_| about_a_request)?;
        Some(Box::new(AgentToServer::CommandComplete(CommandComplete {
            command_id,
            agent_id: self.agent_id.clone(),
            status: CommandPhase::Failed,
            exit_code: None,
            signal: None,
            duration_ms: None,
            tokens_used: 0,
            error: Some(error.to_string()),
            timestamp: Some(wall),
            output: None,
        })))
    }
}

const fn other(content: FromServer) -> AgentRead {
    AgentRead { inbound: AgentInbound::Other, content }
}

impl ServerBeat {
    /// What a heartbeat of a server says to the machine of an agent.
    pub fn of(beat: &ServerHeartbeat) -> Self {
        Self {
            sequence: beat.sequence,
            seen: beat.seen.map(|seen| seen.sequence),
            recorded: beat.recorded.map(|recorded| recorded.sequence),
            lagging: beat.recording_lag.is_some(),
        }
    }
}

/// The heartbeat that the machine of an agent wants said, by one that is not paused.
pub(crate) fn agent_heartbeat(
    agent: Option<AgentId>,
    sequence: BeatSequence,
    seen: Option<Seen>,
    metrics: HealthMetrics,
) -> AgentHeartbeat {
    AgentHeartbeat {
        agent_id: agent,
        health_metrics: Some(metrics),
        sequence: Some(sequence),
        seen: seen.map(seen_beat),
        paused: false,
    }
}

/// The answer of an agent to a probe that named this time, or none.
pub(crate) fn agent_pong(echo: Option<EchoBits>, wall: WallTime) -> Pong {
    let timestamp = echo.map(f64::from).or(Some(wall.unix_millis() as f64));
    Pong { timestamp, latency: None, sequence: None }
}

/// Under which name an `AGENT_ERROR` says at which hop the agent's own heartbeats stop (P-300).
pub(super) const STOPPED_AT: &str = "stoppedAt";

/// Tells a server that the heartbeats of its agent stop at this hop, before they are written: nobody else can see it.
pub fn told_of_hop(hop: Hop) -> AgentErrorReport {
    AgentErrorReport {
        error_type: AgentErrorType::Connection,
        message: format!("heartbeats of this agent do not reach the hop `{hop}`"),
        recoverable: true,
        details: Some(json!({ STOPPED_AT: hop })),
    }
}

/// What a heartbeat says of the other direction, as it travels.
pub(super) fn seen_beat(seen: Seen) -> SeenBeat {
    SeenBeat { sequence: seen.sequence, age_ms: seen.age.as_millis() as u64 }
}

/// What an error in answer to a hello means to an agent.
pub const fn hello_refusal(code: &ErrorCode) -> HelloRefusal {
    match code {
        ErrorCode::Unauthorized | ErrorCode::AuthTimeout => HelloRefusal::Unauthorized,
        ErrorCode::Forbidden => HelloRefusal::Forbidden,
        ErrorCode::InvalidMessage
        | ErrorCode::InvalidMessageType
        | ErrorCode::UnknownMessageType
        | ErrorCode::Internal
        | ErrorCode::AgentOffline
        | ErrorCode::AgentStopped
        | ErrorCode::AgentNotFound
        | ErrorCode::AgentAmbiguous
        | ErrorCode::CommandNotFound
        | ErrorCode::QueueFull
        | ErrorCode::SessionContested
        | ErrorCode::KeyboardHeld
        | ErrorCode::NotSupported
        | ErrorCode::StorageUnavailable
        | ErrorCode::ConnectionFailed
        | ErrorCode::Unknown(_) => HelloRefusal::Other,
    }
}
