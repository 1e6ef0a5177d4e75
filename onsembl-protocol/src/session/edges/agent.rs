//! The graph of the agent's machine.

use super::super::agent_types::{AgentCause, AgentReport, AgentStatus, HelloRefusal};
use super::super::dial::DialFailure;
use super::{Edge, edges, labels};
use crate::close::{CloseReason, ComeBack, Initiator};
use core::fmt;

labels! {
    /// A status of the agent's machine, without its data.
    pub enum AgentStatusKind {
        Idle = "idle", "not started";
        Connecting = "connecting", "a dial is in progress";
        Joining = "joining", "the link is open, the hello is not answered yet";
        Connected = "connected", "in session";
        Stale = "stale", "in session, but the server is silent";
        TimedOut = "timed-out", "the silent link was closed; the next dial is scheduled";
        Reconnecting = "reconnecting", "the link ended in another way, or a dial failed; the next dial is scheduled";
        Closed = "closed", "over for good";
    }
}

labels! {
    /// A class of causes of a status of the agent's machine.
    pub enum AgentCauseKind {
        Started = "started", "it was started";
        RetryDue = "retry-due", "it is time for the next attempt";
        LinkOpened = "link-opened", "the link is open";
        HelloAccepted = "hello-accepted", "the server accepted the hello";
        HelloRefused = "hello-refused", "the server refused the hello, not permanently";
        HelloForbidden = "hello-forbidden", "the server refused the hello permanently";
        HelloUnanswered = "hello-unanswered", "no answer to the hello in time";
        DialFailed = "dial-failed", "the dial failed";
        DialForbidden = "dial-forbidden", "the server refused the dial permanently (HTTP 403)";
        DialUnanswered = "dial-unanswered", "no outcome of the dial in time";
        Silence = "silence", "no frame for stale-after, or for timeout-after";
        HeardAgain = "heard-again", "the silent server sent a frame again";
        LinkEnded = "link-ended", "the link ended";
        SentAway = "sent-away", "the server closed the link permanently (4200, 4201, 4202)";
        Slept = "slept", "this machine was asleep for timeout-after or longer";
        TokenRenewed = "token-renewed", "a newer token is available, and the session continues with it";
        Stopped = "stopped", "it was stopped";
        EndOrdered = "end-ordered", "a remote order ended it";
    }
}

/// An edge of the agent's machine.
pub type AgentEdge = Edge<AgentStatusKind, AgentCauseKind>;

edges! {
    /// Every edge of the agent's machine: any other transition is a defect.
    pub const AGENT_EDGES: [AgentEdge] = AgentStatusKind by AgentCauseKind {
        [Idle] Started => Connecting;
        [TimedOut | Reconnecting] RetryDue => Connecting;
        [Connecting] LinkOpened => Joining;
        [Connecting] DialFailed => Reconnecting;
        [Connecting] DialUnanswered => Reconnecting;
        [Connecting] DialForbidden => Closed;
        [Joining] HelloAccepted => Connected;
        [Joining] HelloRefused => Reconnecting;
        [Joining] HelloUnanswered => Reconnecting;
        [Joining] HelloForbidden => Closed;
        [Connected] Silence => Stale;
        [Stale] Silence => TimedOut;
        [Stale] HeardAgain => Connected;
        [Connected | Stale] Slept => Reconnecting;
        [Connected | Stale] TokenRenewed => Reconnecting;
        [Connecting | Joining | Connected | Stale] LinkEnded => Reconnecting;
        [Connecting | Joining | Connected | Stale] SentAway => Closed;
        [Idle | Connecting | Joining | Connected | Stale | TimedOut | Reconnecting] Stopped => Closed;
        [Idle | Connecting | Joining | Connected | Stale | TimedOut | Reconnecting] EndOrdered => Closed;
    }
}

impl AgentStatus {
    /// Which status it is, without its data.
    pub const fn kind(&self) -> AgentStatusKind {
        match self {
            Self::Idle => AgentStatusKind::Idle,
            Self::Connecting { .. } => AgentStatusKind::Connecting,
            Self::Joining => AgentStatusKind::Joining,
            Self::Connected { .. } => AgentStatusKind::Connected,
            Self::Stale { .. } => AgentStatusKind::Stale,
            Self::TimedOut { .. } => AgentStatusKind::TimedOut,
            Self::Reconnecting { .. } => AgentStatusKind::Reconnecting,
            Self::Closed => AgentStatusKind::Closed,
        }
    }
}

impl AgentCause {
    /// The class of this cause.
    pub const fn kind(&self) -> AgentCauseKind {
        match self {
            Self::Started => AgentCauseKind::Started,
            Self::RetryDue => AgentCauseKind::RetryDue,
            Self::LinkOpened => AgentCauseKind::LinkOpened,
            Self::HelloAccepted => AgentCauseKind::HelloAccepted,
            Self::HelloRefused(HelloRefusal::Forbidden) => AgentCauseKind::HelloForbidden,
            Self::HelloRefused(HelloRefusal::Unauthorized | HelloRefusal::Other) => {
                AgentCauseKind::HelloRefused
            }
            Self::HelloUnanswered => AgentCauseKind::HelloUnanswered,
            Self::DialUnanswered => AgentCauseKind::DialUnanswered,
            Self::DialFailed(DialFailure::Forbidden) => AgentCauseKind::DialForbidden,
            Self::DialFailed(
                DialFailure::Unreachable
                | DialFailure::TimedOut
                | DialFailure::NoToken
                | DialFailure::Tls
                | DialFailure::NotAServer(_)
                | DialFailure::Unauthorized
                | DialFailure::Busy { .. },
            ) => AgentCauseKind::DialFailed,
            Self::Silence(_) => AgentCauseKind::Silence,
            Self::HeardAgain => AgentCauseKind::HeardAgain,
            Self::LinkEnded(CloseReason { initiator: Initiator::Peer, cause })
                if matches!(cause.come_back(), ComeBack::Never) =>
            {
                AgentCauseKind::SentAway
            }
            Self::LinkEnded(_) => AgentCauseKind::LinkEnded,
            Self::Slept(_) => AgentCauseKind::Slept,
            Self::TokenRenewed => AgentCauseKind::TokenRenewed,
            Self::Stopped => AgentCauseKind::Stopped,
            Self::EndOrdered(_) => AgentCauseKind::EndOrdered,
        }
    }
}

impl AgentReport {
    /// The edge that this report took from the status `before`.
    pub const fn edge_from(&self, before: &AgentStatus) -> AgentEdge {
        Edge { from: before.kind(), cause: self.cause.kind(), to: self.status.kind() }
    }
}
