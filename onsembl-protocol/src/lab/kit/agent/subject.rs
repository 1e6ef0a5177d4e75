//! What can be tested at the agent's end, and what a judge sees of it.

use super::super::reaction::{Reaction, Subject};
use crate::close::CloseCause;
use crate::id::{BeatSequence, LinkId};
use crate::session::{
    AgentAction, AgentConnection, AgentEvent, AgentStatus, AgentStatusKind, EchoBits,
};
use crate::time::Now;

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
/// It gives its links numbers when it dials them, and learns their outcomes by these numbers.
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
    /// It sent a text that no server can read, or whose type none knows.
    SentUnreadable(LinkId),
    /// It closed this link, or gave up its dial.
    Closed(LinkId, CloseCause),
    /// It shows this status from now on.
    Shown(AgentStatusKind),
    /// It told people something else.
    Noted,
}

impl Observation {
    /// The link that it began to open, if that is what was seen.
    pub(super) const fn dialled(&self) -> Option<LinkId> {
        match self {
            Self::Dialled(link) => Some(*link),
            Self::SentHello(_)
            | Self::SentBeat(..)
            | Self::SentPong(..)
            | Self::SentUnreadable(_)
            | Self::Closed(..)
            | Self::Shown(_)
            | Self::Noted => None,
        }
    }
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
            AgentAction::Report(report) => Self::Shown(report.status.kind()),
            AgentAction::Impaired(_) | AgentAction::Overslept(_) => Self::Noted,
        }
    }
}

/// A subject whose outputs a judge of agents understands.
pub(super) trait AgentSubject: Subject<Event = AgentEvent> {
    fn observe(output: &Self::Output) -> Observation;
    fn phase(&self) -> Option<AgentStatusKind>;

    /// The event as the subject can know of it.
    fn as_told(event: AgentEvent) -> AgentEvent {
        event
    }
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

    fn phase(&self) -> Option<AgentStatusKind> {
        Some(self.0.status().kind())
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

    fn phase(&self) -> Option<AgentStatusKind> {
        None
    }
}
