//! One link of a shard: its pump, and how far it has come.

use crate::messages::Envelopes;
use crate::pump::LinkHandle;
use onsembl_protocol::id::{AgentId, MessageId, SessionId};
use onsembl_protocol::liveness::HeartbeatMonitor;
use onsembl_protocol::model::Capabilities;
use onsembl_protocol::session::{Greeting, UndecodableQuota};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::wire::payload::HealthMetrics;

/// A link that somebody accepted for a shard, with what was established about it.
#[derive(Debug)]
pub struct LinkTicket<A> {
    /// The link.
    pub link: crate::Link,
    /// Whatever the acceptor established: the user behind the token, usually.
    pub auth: A,
}

/// How far a link has come.
#[derive(Debug)]
pub(super) enum Stage<A> {
    /// Waits for its hello.
    Greeting { greeting: Greeting, auth: A },
    /// The owner finds out who it is. What it sends meanwhile waits in its socket.
    Claimed,
    /// Its agent is known, its session is being opened.
    Joining(Key),
    /// In session.
    Live { key: Key, session: SessionId },
    /// A diagnosis connection: answered, never listed, and over when it is silent for too long.
    Probe(HeartbeatMonitor),
}

#[derive(Debug)]
pub(super) struct LinkEntry<A> {
    pub(super) handle: LinkHandle,
    /// Numbers what is sent here, so that no peer can count what others are sent.
    pub(super) envelopes: Envelopes,
    pub(super) peer: String,
    pub(super) stage: Stage<A>,
    /// What this link may rely on, once its hello came.
    pub(super) capabilities: Capabilities,
    pub(super) hello: Option<MessageId>,
    pub(super) agent: Option<AgentId>,
    pub(super) quota: UndecodableQuota,
    /// Frames that were on their way when reading was paused.
    pub(super) held: Vec<String>,
    pub(super) metrics: Option<HealthMetrics>,
    /// What its latest heartbeat said.
    pub(super) paused: bool,
}

impl<A> LinkEntry<A> {
    pub(super) fn key(&self) -> Option<Key> {
        match &self.stage {
            Stage::Joining(key) | Stage::Live { key, .. } => Some(*key),
            Stage::Greeting { .. } | Stage::Claimed | Stage::Probe(_) => None,
        }
    }
}
