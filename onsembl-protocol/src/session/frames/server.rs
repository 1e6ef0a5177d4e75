//! The server's end: what a message of an agent is to its link and to its machine, and what is said
//! for what they decide.

use super::agent::{STOPPED_AT, seen_beat};
use crate::close::CloseCause;
use crate::id::{AgentId, Epoch, MessageId, ServerInstanceId, SessionId, StopId};
use crate::limits::{Limits, OUTPUT_WINDOW};
use crate::liveness::Seen;
use crate::model::{Capabilities, Dialect, Feature, HeartbeatTiming, Hop};
use crate::session::{BeatOut, Reading, ServerConfig, ServerInbound};
use crate::time::WallTime;
use crate::wire::payload::{
    Ack, AgentConnect, AgentErrorReport, AgentHeartbeat, ErrorCode, ErrorReply, Ping, Pong,
    RecordedBeat, RecordingLag, SeenBeat, ServerHeartbeat, Welcome,
};
use crate::wire::{
    AgentFrame, AgentToServer, DecodeError, Envelope, NextBeat, OutputFrame, decode_in_place,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct SessionRules {
    pub server_instance: ServerInstanceId,
    /// Features this server offers.
    pub features: Vec<Feature>,
    /// How many bytes of output an agent may have unacknowledged.
    pub output_window: u64,
}

impl SessionRules {
    /// The rules of a server that offers these features, with the [default window](OUTPUT_WINDOW) of output.
    ///
    /// ```
    /// use onsembl_protocol::id::ServerInstanceId;
    /// use onsembl_protocol::model::Feature;
    /// use onsembl_protocol::session::frames::SessionRules;
    ///
    /// let rules = SessionRules::new(ServerInstanceId::new("run-7"), vec![Feature::Heartbeats]);
    /// assert_eq!(rules.output_window, onsembl_protocol::limits::OUTPUT_WINDOW);
    /// ```
    pub const fn new(server_instance: ServerInstanceId, features: Vec<Feature>) -> Self {
        Self { server_instance, features, output_window: OUTPUT_WINDOW }
    }

    /// The same with this window of output, in bytes.
    #[must_use]
    pub fn with_output_window(self, output_window: u64) -> Self {
        Self { output_window, ..self }
    }
}

/// The session that an agent is welcomed to: the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Admission {
    pub agent: AgentId,
    pub session: SessionId,
    pub epoch: Epoch,
    /// The stop that is in force for this agent; sent before anything else.
    pub stopped: Option<StopId>,
}

impl Admission {
    /// A session of an agent for which no stop is in force.
    pub const fn new(agent: AgentId, session: SessionId, epoch: Epoch) -> Self {
        Self { agent, session, epoch, stopped: None }
    }
}

/// What came of a text or of a binary message of an agent.
#[derive(Debug)]
#[must_use = "a frame that the link does not hear of is silence to it"]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct ServerRead<'t> {
    /// The input for the link, which comes first.
    pub reading: Reading,
    pub content: FromAgent<'t>,
}

/// What a frame of an agent holds.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FromAgent<'t> {
    /// A message, and its id. A heartbeat lies in the text that it was read from.
    Message(Option<MessageId>, AgentFrame<'t>),
    Undecodable(DecodeError),
}

/// Reads a text of an agent, for a server that offers these features.
pub fn read<'t>(text: &'t str, limits: &Limits, offered: &[Feature]) -> ServerRead<'t> {
    match decode_in_place(text, limits) {
        Ok(Envelope { id, message, .. }) => ServerRead {
            reading: reading(&message, offered),
            content: FromAgent::Message(id.map(MessageId::new), message),
        },
        Err(error) => unreadable(error),
    }
}

/// Reads a binary message of an agent on a link that takes them. The output in it is copied.
pub fn read_binary(message: Bytes, limits: &Limits) -> ServerRead<'static> {
    match OutputFrame::decode(message, limits) {
        Ok(mut output) => {
            // A message is a piece of the buffer that its link reads into, which the largest one so far
            // made as large as that (1 MiB at most). A log that kept such pieces would keep a buffer
            // alive with each, however few bytes of it are counted.
            output.bytes = Bytes::copy_from_slice(&output.bytes);
            let message = Box::new(AgentToServer::Output(output.into()));
            let content = FromAgent::Message(None, AgentFrame::Other(message));
            ServerRead { reading: Reading::Message, content }
        }
        Err(error) => unreadable(error),
    }
}

const fn unreadable(error: DecodeError) -> ServerRead<'static> {
    ServerRead { reading: Reading::Undecodable, content: FromAgent::Undecodable(error) }
}

impl From<SeenBeat> for Seen {
    fn from(seen: SeenBeat) -> Self {
        Self { sequence: seen.sequence, age: Duration::from_millis(seen.age_ms) }
    }
}

/// What a message of an agent is to the link it came over, for a server that offers these features.
fn reading(frame: &AgentFrame<'_>, offered: &[Feature]) -> Reading {
    match frame {
        AgentFrame::Heartbeat(beat) => Reading::Beat(ServerInbound::of(beat)),
        AgentFrame::Pong(_) => Reading::Beat(ServerInbound::Pong),
        AgentFrame::Other(message) => match &**message {
            AgentToServer::Connect(hello) => Reading::Hello(capabilities(hello, offered)),
            AgentToServer::Heartbeat(beat) => Reading::Beat(ServerInbound::of(beat)),
            AgentToServer::Pong(_) => Reading::Beat(ServerInbound::Pong),
            AgentToServer::Ping(_) => Reading::Ping,
            AgentToServer::Unknown(_) => Reading::Unknown,
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::OutputGap(_)
            | AgentToServer::OutputState(_)
            | AgentToServer::StopReceipt(_)
            | AgentToServer::TerminalOpened(_)
            | AgentToServer::TerminalInputState(_)
            | AgentToServer::TerminalSize(_)
            | AgentToServer::Activity(_)
            | AgentToServer::BlackBox(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_) => Reading::Message,
        },
    }
}

impl ServerInbound {
    /// What a heartbeat of an agent says to the machine of its server.
    pub fn of<Id>(beat: &AgentHeartbeat<Id>) -> Self {
        Self::Heartbeat { sequence: beat.sequence, seen: beat.seen.map(|seen| seen.sequence) }
    }
}

/// What a session with the sender of this hello may rely on.
fn capabilities(hello: &AgentConnect, offered: &[Feature]) -> Capabilities {
    match &hello.extensions {
        Some(theirs) => Capabilities::negotiate(offered, &theirs.features, Dialect::Extended),
        None => Capabilities::LEGACY,
    }
}

/// The answer to a hello that was accepted. `hello` is its message id.
pub fn welcome(
    hello: Option<MessageId>,
    capabilities: Capabilities,
    admission: &Admission,
    rules: &SessionRules,
    config: &ServerConfig,
) -> Ack {
    let extensions = capabilities.is_extended().then(|| Welcome {
        features: capabilities.features(),
        session_id: admission.session.clone(),
        epoch: admission.epoch,
        server_instance: rules.server_instance.clone(),
        timing: config.timing.into(),
        resume_window_ms: config.resume_window.as_millis() as u64,
        output_window_bytes: rules.output_window,
        stopped: admission.stopped.clone(),
    });
    Ack {
        connection_id: Some(format!("agent-{}", admission.session.as_str())),
        extensions,
        ..welcome_again(hello, Some(admission.agent.clone()))
    }
}

/// The answer to a hello on a link that had one: a legacy wrapper may say it twice, and gets its id
/// again.
pub fn welcome_again(hello: Option<MessageId>, agent: Option<AgentId>) -> Ack {
    Ack {
        message_id: hello,
        success: true,
        agent_id: agent,
        authenticated: Some(true),
        ..Ack::default()
    }
}

/// The heartbeat that a machine wants said at this wall time.
pub fn heartbeat(beat: &BeatOut, timing: HeartbeatTiming, wall: WallTime) -> ServerHeartbeat {
    let next = wall.unix_millis().saturating_add(timing.interval().as_millis() as i64);
    ServerHeartbeat {
        server_time: Some(wall),
        next_ping_expected: Some(NextBeat::At(WallTime::from_unix_millis(next))),
        sequence: Some(beat.sequence),
        seen: beat.seen.map(seen_beat),
        recorded: beat.recorded.map(|(sequence, at)| RecordedBeat { sequence, at: Some(at) }),
        recording_lag: beat.lag.map(|(age, why)| RecordingLag {
            age_ms: age.as_millis() as u64,
            why: why.to_string(),
        }),
        stopped_at: None,
    }
}

/// The hop at which an agent says that its own heartbeats stop, before they are written (P-300).
pub fn told_hop(report: &AgentErrorReport) -> Option<Hop> {
    let hop = Hop::parse(report.details.as_ref()?.get(STOPPED_AT)?.as_str()?)?;
    (hop <= Hop::Written).then_some(hop)
}

/// The probe that a legacy agent has to answer.
pub const fn probe(wall: WallTime) -> Ping {
    Ping { timestamp: Some(wall.unix_millis() as f64), sequence: None }
}

/// The answer to a probe.
pub const fn answer_to(ping: &Ping) -> Pong {
    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence }
}

/// The error for a session that is not opened, for this cause.
pub fn not_admitted(cause: CloseCause, why: impl Into<String>) -> ErrorReply {
    // Only permanent refusals are `FORBIDDEN`: an agent that gets it never comes back by itself.
    let code = if matches!(cause, CloseCause::Deleted | CloseCause::Revoked) {
        ErrorCode::Forbidden
    } else if matches!(cause, CloseCause::TokenExpired) {
        ErrorCode::Unauthorized
    } else {
        ErrorCode::StorageUnavailable
    };
    ErrorReply::new(code, why)
}

/// The error for a link without a hello.
pub fn hello_missing() -> ErrorReply {
    ErrorReply::new(ErrorCode::AuthTimeout, "no AGENT_CONNECT arrived in time; send it first")
}

/// The error for what cannot be decoded, naming what could be read of it.
pub fn undecodable(error: &DecodeError) -> ErrorReply {
    ErrorReply::new(ErrorCode::InvalidMessage, error.to_string())
        .about(error.message_id.clone())
        .for_command(error.command_id.clone())
}

/// The error for a binary message of this many bytes on a link that takes none.
pub fn binary_refused(bytes: usize) -> ErrorReply {
    let why = format!("binary frames ({bytes} bytes) are not accepted");
    ErrorReply::new(ErrorCode::InvalidMessage, why)
}
