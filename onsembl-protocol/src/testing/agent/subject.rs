//! What can be tested at the agent's end, and what a judge sees of it.

use super::super::reaction::{Reaction, Subject};
use crate::close::CloseCause;
use crate::id::{BeatSequence, LinkId};
use crate::session::{AgentAction, AgentConnection, AgentEvent, AgentStatus, EchoBits};
use crate::time::Now;
use core::fmt;

/// A machine with the events and actions of [`AgentConnection`].
pub trait AgentUnderTest {
    /// Takes one event at one moment.
    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<AgentAction>;

    /// Where the connection is.
    fn status(&self) -> AgentStatus;
}

impl AgentUnderTest for AgentConnection {
    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<AgentAction> {
        Self::handle(self, event, now).into()
    }

    fn status(&self) -> AgentStatus {
        Self::status(self)
    }
}

/// A wrapper with a loop of its own, with our machine inside or without.
///
/// It gives its links numbers when it dials them, and is told what becomes of them by these numbers.
/// Its deadline is the moment at which its own timer fires next; then it is called with
/// [`AgentEvent::Wake`].
pub trait WrapperUnderTest {
    /// Takes one event at one moment, and tells what it did and when its timer fires.
    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<Observation>;
}

/// What a judge sees of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It began to open this link.
    Dialled(LinkId),
    /// It sent the hello.
    SentHello(LinkId),
    /// It sent a heartbeat; to a legacy server a native ping, which has no number.
    SentBeat(LinkId, Option<BeatSequence>),
    /// It answered a ping.
    SentPong(LinkId, Option<EchoBits>),
    /// It closed this link, or gave up its dial.
    Closed(LinkId, CloseCause),
    /// It shows this status from now on.
    Shown(Phase),
    /// It told people something else.
    Noted,
}

impl From<AgentAction> for Observation {
    fn from(action: AgentAction) -> Self {
        match action {
            AgentAction::Dial(link) => Self::Dialled(link),
            AgentAction::SendHello(link) => Self::SentHello(link),
            AgentAction::SendBeat { link, sequence, .. } => Self::SentBeat(link, Some(sequence)),
            AgentAction::Probe(link) => Self::SentBeat(link, None),
            AgentAction::SendPong { link, echo } => Self::SentPong(link, echo),
            AgentAction::Close(link, cause) => Self::Closed(link, cause),
            AgentAction::Report(report) => Self::Shown(report.status.into()),
            AgentAction::Impaired(_) | AgentAction::Overslept(_) => Self::Noted,
        }
    }
}

/// The status of an agent without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not started.
    Idle,
    /// A dial is under way.
    Connecting,
    /// The hello is not answered.
    Joining,
    /// In session.
    Connected,
    /// In session, but the server is silent.
    Stale,
    /// The silent link was given up; a dial is due.
    TimedOut,
    /// The link ended otherwise, or a dial failed; a dial is due.
    Reconnecting,
    /// Over for good.
    Closed,
}

impl Phase {
    /// Whether the published graph has the edge from this status to `to`.
    pub const fn leads_to(self, to: Self) -> bool {
        match self {
            Self::Idle => matches!(to, Self::Connecting | Self::Closed),
            Self::Connecting => matches!(to, Self::Joining | Self::Reconnecting | Self::Closed),
            Self::Joining => matches!(to, Self::Connected | Self::Reconnecting | Self::Closed),
            Self::Connected => matches!(to, Self::Stale | Self::Reconnecting | Self::Closed),
            Self::Stale => {
                matches!(to, Self::Connected | Self::TimedOut | Self::Reconnecting | Self::Closed)
            }
            Self::TimedOut | Self::Reconnecting => matches!(to, Self::Connecting | Self::Closed),
            Self::Closed => false,
        }
    }
}

impl From<AgentStatus> for Phase {
    fn from(status: AgentStatus) -> Self {
        match status {
            AgentStatus::Idle => Self::Idle,
            AgentStatus::Connecting { .. } => Self::Connecting,
            AgentStatus::Joining => Self::Joining,
            AgentStatus::Connected { .. } => Self::Connected,
            AgentStatus::Stale { .. } => Self::Stale,
            AgentStatus::TimedOut { .. } => Self::TimedOut,
            AgentStatus::Reconnecting { .. } => Self::Reconnecting,
            AgentStatus::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Joining => "joining",
            Self::Connected => "connected",
            Self::Stale => "stale",
            Self::TimedOut => "timed-out",
            Self::Reconnecting => "reconnecting",
            Self::Closed => "closed",
        })
    }
}

/// A subject whose outputs a judge of agents understands.
pub(super) trait AgentSubject: Subject<Event = AgentEvent> {
    fn observe(output: &Self::Output) -> Observation;
    fn phase(&self) -> Option<Phase>;
}

pub(super) struct Machine<A>(pub(super) A);

impl<A: AgentUnderTest> Subject for Machine<A> {
    type Event = AgentEvent;
    type Output = AgentAction;

    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<AgentAction> {
        self.0.handle(event, now)
    }
}

impl<A: AgentUnderTest> AgentSubject for Machine<A> {
    fn observe(output: &AgentAction) -> Observation {
        (*output).into()
    }

    fn phase(&self) -> Option<Phase> {
        Some(self.0.status().into())
    }
}

pub(super) struct Wrapper<W>(pub(super) W);

impl<W: WrapperUnderTest> Subject for Wrapper<W> {
    type Event = AgentEvent;
    type Output = Observation;

    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<Observation> {
        self.0.handle(event, now)
    }
}

impl<W: WrapperUnderTest> AgentSubject for Wrapper<W> {
    fn observe(output: &Observation) -> Observation {
        *output
    }

    fn phase(&self) -> Option<Phase> {
        None
    }
}
