//! One link of a shard: its pump, its machine, and what is known of who is at its other end.

use crate::beats::LinkBeats;
use crate::link::{BudgetShare, Link};
use crate::messages::Envelopes;
use crate::pump::LinkHandle;
use onsembl_protocol::diagnosis::{BeatVerdict, HopTracker};
use onsembl_protocol::id::{AgentId, MessageId, SessionId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Pausing;
use onsembl_protocol::session::{AcceptedLink, AcceptedStatus, Opening};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Now, Timestamp};
use onsembl_protocol::wire::payload::HealthMetrics;
use std::sync::Arc;

/// Links of one lane wait in one queue, and each lane gets a like turn: usually those of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(String);

impl Lane {
    /// The lane of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

/// A link that was accepted for a shard, with what was established about it.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct LinkTicket<A> {
    pub link: Link,
    /// Whatever the acceptor established: the user behind the token, usually.
    pub auth: A,
    /// With whom it shares its turns.
    pub lane: Lane,
    /// The agent that the request of the link named, if it named one. Nothing is established by that.
    pub named: Option<AgentId>,
    /// What the link takes of a budget until it has said hello, is kept beside a session, or ends.
    pub share: BudgetShare,
}

impl<A> LinkTicket<A> {
    /// A link whose request named no agent, and that counts against no budget.
    pub fn new(link: Link, auth: A, lane: Lane) -> Self {
        Self { link, auth, lane, named: None, share: BudgetShare::default() }
    }

    /// The same with the agent that its request named.
    #[must_use]
    pub fn with_named(self, named: Option<AgentId>) -> Self {
        Self { named, ..self }
    }

    /// The same with what it takes of a budget.
    #[must_use]
    pub fn with_share(self, share: BudgetShare) -> Self {
        Self { share, ..self }
    }
}

#[derive(Debug)]
pub(super) struct LinkEntry<A> {
    pub(super) handle: LinkHandle,
    /// Numbers what is sent here, so that no peer can count what others are sent.
    pub(super) envelopes: Envelopes,
    pub(super) machine: AcceptedLink,
    /// When the machine is to be woken, as it stands in the shard's order.
    pub(super) due: Option<Timestamp>,
    /// Goes to the owner with the hello, and leaves no room behind.
    pub(super) auth: Option<Box<A>>,
    /// The agent that the request named.
    pub(super) named: Option<AgentId>,
    /// Given back once it owes no hello.
    pub(super) share: BudgetShare,
    /// The agent's machine, once the owner has identified the agent of the link.
    pub(super) key: Option<Key>,
    /// The session over this link, once it began.
    pub(super) session: Option<SessionId>,
    pub(super) hello: Option<MessageId>,
    pub(super) agent: Option<AgentId>,
    /// Texts that were on their way when reading was paused.
    pub(super) deferred: Vec<String>,
    /// Of a heartbeat that is not recorded yet.
    pub(super) metrics: Option<Box<HealthMetrics>>,
    /// What its latest heartbeat said.
    pub(super) pausing: Pausing,
    /// The heartbeats of its session; none of a legacy agent, whose probes have no numbers.
    pub(super) beats: Option<LinkBeats>,
}

impl<A> LinkEntry<A> {
    /// A link that was accepted now, and is handed to its pump. What is sent by it has ids that begin with `sender`.
    pub(super) fn accepted(
        ticket: LinkTicket<A>,
        pump: impl FnOnce(Link) -> LinkHandle,
        sender: &Arc<str>,
        limits: Limits,
        now: Now,
    ) -> Self {
        let opening = match &ticket.named {
            Some(_) => Opening::NamesAgent,
            None => Opening::Anonymous,
        };
        Self {
            handle: pump(ticket.link),
            envelopes: Envelopes::new(Arc::clone(sender)),
            machine: AcceptedLink::new(opening, limits, now),
            due: None,
            auth: Some(Box::new(ticket.auth)),
            named: ticket.named,
            share: ticket.share,
            key: None,
            session: None,
            hello: None,
            agent: None,
            deferred: Vec::new(),
            metrics: None,
            pausing: Pausing::Running,
            beats: None,
        }
    }

    /// Notes something of the heartbeats of its session, if there is one. Gives what their hop tracker says, if that is
    /// something else than before.
    pub(super) fn note_beats(
        &mut self,
        now: Now,
        what: impl FnOnce(&mut HopTracker, Timestamp),
    ) -> Option<BeatVerdict> {
        self.beats.as_mut()?.note(&self.handle, now, what)
    }

    pub(super) fn owes_hello(&self) -> bool {
        self.machine.status() == AcceptedStatus::Greeting
    }
}
