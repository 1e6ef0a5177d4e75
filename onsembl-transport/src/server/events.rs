//! What a shard tells its owner, and what the owner answers.

use onsembl_protocol::close::CloseReason;
use onsembl_protocol::diagnosis::BeatVerdict;
use onsembl_protocol::id::{AgentId, BeatSequence, Epoch, LinkId, SessionId};
use onsembl_protocol::model::{Capabilities, Dialect, Pausing};
use onsembl_protocol::replay::Retired;
use onsembl_protocol::session::Presence;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Now, WallTime};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{AgentConnect, HealthMetrics};
use std::time::Duration;

/// A hello that waits for its owner to say whose it is.
#[derive(Clone, Debug)]
pub struct HelloClaim<A> {
    /// Its link. Answer with [`Shard::join`](super::Shard::join) or
    /// [`Shard::refuse`](super::Shard::refuse).
    pub link: LinkId,
    /// What was established when the link was accepted.
    pub auth: A,
    /// What the agent says.
    pub hello: Box<AgentConnect>,
    /// Its address, for logs.
    pub peer: String,
}

/// Something a shard cannot do by itself, or that its owner wants to know. `key` is the machine of the agent that it is
/// about.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ShardEvent<A> {
    /// An agent said hello.
    Hello(HelloClaim<A>),
    /// No hello came over this link in time, whose request named this agent. Answer with
    /// [`Shard::park`](super::Shard::park) or [`Shard::give_up_silent`](super::Shard::give_up_silent);
    /// [`Shard::bearer`](super::Shard::bearer) says whose it is.
    Silent {
        link: LinkId,
        /// As its request named it.
        named: AgentId,
    },
    /// A newer link of a legacy agent took over from this one, which is kept beside it.
    Parked {
        key: Key,
        link: LinkId,
        /// The session that ended with that, if the link had one.
        session: Option<SessionId>,
    },
    /// A session is to be opened for this link. Answer with
    /// [`Shard::admitted`](super::Shard::admitted) or [`Shard::rejected`](super::Shard::rejected);
    /// the machine has a deadline of its own.
    Admit { key: Key, link: LinkId },
    /// A session began; its welcome was sent.
    Welcomed {
        key: Key,
        link: LinkId,
        /// The dialect of the agent.
        dialect: Dialect,
        /// What the session may rely on.
        capabilities: Capabilities,
    },
    /// A heartbeat is to be written. Answer with [`Shard::recorded`](super::Shard::recorded).
    Record {
        key: Key,
        epoch: Epoch,
        sequence: BeatSequence,
        /// When it was received.
        at: WallTime,
        /// What it said of the agent's machine.
        metrics: Option<HealthMetrics>,
    },
    /// A heartbeat says that the agent starts nothing, by order, or that it does again. A session
    /// begins with an agent that is not paused.
    Paused { key: Key, pausing: Pausing },
    /// A heartbeat of ours was sent.
    Answered { key: Key, sequence: BeatSequence },
    /// The agent's presence changed, or what is known of it.
    Presence {
        key: Key,
        presence: Presence,
        /// What the hop tracker says of the session that is in progress, or ended with this.
        beats: Option<BeatVerdict>,
    },
    /// The verdict of a session's hop tracker changed.
    Beats { key: Key, verdict: BeatVerdict },
    /// The agent said something that is not about its connection.
    Message {
        key: Key,
        message: Box<AgentToServer>,
        /// When it was received.
        now: Now,
    },
    /// A frame was received; anything counts as a sign of life.
    Heard { key: Key, at: WallTime },
    /// A link of the agent ended.
    LinkEnded {
        key: Key,
        link: LinkId,
        /// The session that ended with it, if it had one.
        session: Option<SessionId>,
        /// Who ended it and why.
        reason: CloseReason,
    },
    /// The machine was removed; its key names nothing any more.
    Forgotten {
        /// What was the agent's machine.
        key: Key,
        /// Where its history is in the recorder. Hand it to [`Shard::insert`](super::Shard::insert)
        /// when the agent comes back.
        history: Option<Retired>,
    },
    /// This process was away this long past a deadline.
    Overslept(Duration),
}
