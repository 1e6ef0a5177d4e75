//! What agents send again and again, read in place: a heartbeat costs no allocation.

use super::bounds::{Bounded, TooLong, within};
use super::careful::decode_carefully;
use super::envelope::Envelope;
use super::error::DecodeError;
use super::message::{AgentToServer, MessageSet, ReadPayload};
use super::one_pass;
use super::payload::{AgentHeartbeat, Pong};
use crate::id::MessageId;
use crate::limits::Limits;
use crate::text::Text;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use serde::{Deserialize, Deserializer};

/// A message of an agent; the text of a heartbeat is borrowed from it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentFrame<'a> {
    Heartbeat(AgentHeartbeat<Text<'a>>),
    /// The answer to a probe; a legacy agent's heartbeat.
    Pong(Pong),
    /// Anything else. Boxed, or every heartbeat would be moved around in the size of a hello.
    Other(Box<AgentToServer>),
}

impl AgentFrame<'_> {
    /// The message on its own.
    pub fn into_owned(self) -> AgentToServer {
        match self {
            Self::Heartbeat(beat) => AgentToServer::Heartbeat(beat.into_owned()),
            Self::Pong(pong) => AgentToServer::Pong(pong),
            Self::Other(message) => *message,
        }
    }
}

impl From<AgentToServer> for AgentFrame<'_> {
    fn from(message: AgentToServer) -> Self {
        match message {
            AgentToServer::Heartbeat(AgentHeartbeat {
                agent_id,
                health_metrics,
                sequence,
                seen,
                paused,
            }) => {
                let agent_id = agent_id.map(|id| Text(Cow::Owned(id.into())));
                Self::Heartbeat(AgentHeartbeat { agent_id, health_metrics, sequence, seen, paused })
            }
            AgentToServer::Pong(pong) => Self::Pong(pong),
            message @ (AgentToServer::Connect(_)
            | AgentToServer::Fault(_)
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
            | AgentToServer::Report(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Unknown(_)) => Self::Other(Box::new(message)),
        }
    }
}

impl<'de> ReadPayload<'de> for AgentFrame<'de> {
    fn read<D: Deserializer<'de>>(
        kind: &str,
        payload: D,
        message: &mut Option<Self>,
    ) -> Result<(), D::Error> {
        *message = Some(match kind {
            "AGENT_HEARTBEAT" => Self::Heartbeat(AgentHeartbeat::deserialize(payload)?),
            "PONG" => Self::Pong(Pong::deserialize(payload)?),
            kind => Self::Other(Box::new(AgentToServer::read_payload(kind, payload)?)),
        });
        Ok(())
    }
}

impl Bounded for AgentFrame<'_> {
    fn check(&self, limits: &Limits) -> Result<(), TooLong> {
        match self {
            Self::Heartbeat(beat) => within("agentId", beat.agent_id.as_deref(), limits.name_bytes),
            Self::Pong(_) => Ok(()),
            Self::Other(message) => message.check(limits),
        }
    }
}

/// Reads one text message of an agent as [`decode`](super::decode) does, without a copy of the text
/// that a heartbeat and its envelope hold.
///
/// # Errors
/// [`DecodeError`]: the agent sent no message.
pub fn decode_in_place<'a>(
    text: &'a str,
    limits: &Limits,
) -> Result<Envelope<AgentFrame<'a>, Text<'a>>, DecodeError> {
    if let Some(envelope) = one_pass::read(text, limits) {
        return Ok(envelope);
    }
    let Envelope { id, timestamp, message } = decode_carefully::<AgentToServer>(text, limits)?;
    let id = id.map(|id: MessageId| Text(Cow::Owned(id.into())));
    Ok(Envelope { id, timestamp, message: message.into() })
}
