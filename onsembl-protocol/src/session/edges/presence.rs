//! The graph of the server's machine of one agent, by the API's names.

use super::super::server_types::{Presence, PresenceCause, PresenceStatus};
use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// A class of causes that bring a presence.
    pub enum PresenceCauseKind {
        HelloReceived = "hello-received", "a hello came, its session is being opened";
        SessionOpened = "session-opened", "the session was opened";
        TakenOver = "taken-over", "a newer link of the same process took over";
        ReplacedOther = "replaced-other", "another process of the same agent took over";
        NotAdmitted = "not-admitted", "the session could not be opened, or not in time";
        Silence = "silence", "nothing was heard for stale-after, or for timeout-after";
        HeardAgain = "heard-again", "the silent agent spoke";
        LinkEnded = "link-ended", "the link ended";
        AgentStopped = "agent-stopped", "the agent was stopped on its machine";
        EndOrdered = "end-ordered", "an order from afar ended the agent";
        ResumeWindowOver = "resume-window-over", "it was not back in time";
        ServerRestarted = "server-restarted", "the server process is a new one";
        Evicted = "evicted", "its owner ordered it to be removed";
        Faulted = "faulted", "it reported that it cannot go on";
        Impairment = "impairment", "a fault that does not change the status came, changed or passed";
    }
}

/// An edge of the server's machine of one agent.
pub type PresenceEdge = Edge<PresenceStatus, PresenceCauseKind>;

edges! {
    /// Every edge of the server's machine of one agent: a report along any other is a defect.
    ///
    /// A machine begins as `offline`, before its first report. It ends there too.
    pub const PRESENCE_EDGES: [PresenceEdge] = PresenceStatus by PresenceCauseKind {
        [Offline] ServerRestarted => Reconnecting;
        [Offline | TimedOut | Reconnecting] HelloReceived => Connecting;
        [Connecting] SessionOpened => Online;
        [Connecting] NotAdmitted => TimedOut;
        [Connecting] NotAdmitted => Reconnecting;
        [Connecting] NotAdmitted => Offline;
        [Connecting] LinkEnded => TimedOut;
        [Connecting] LinkEnded => Reconnecting;
        [Connecting] LinkEnded => Offline;
        [Online | Error] Silence => Stale;
        [Stale] Silence => TimedOut;
        [Stale] Silence => Connecting;
        [Stale] HeardAgain => Online;
        [Stale] HeardAgain => Error;
        [Online] Faulted => Error;
        [Stale] Faulted => Stale;
        [Online | Stale | Error] TakenOver => Online;
        [Online | Stale | Error] ReplacedOther => Online;
        [Online | Stale | Error] HelloReceived => Connecting;
        [Online | Stale | Error] LinkEnded => Reconnecting;
        [Online | Stale | Error] AgentStopped => Offline;
        [Online | Stale | Error] EndOrdered => Offline;
        [Online] Impairment => Online;
        [Stale] Impairment => Stale;
        [Error] Impairment => Error;
        [TimedOut | Reconnecting] ResumeWindowOver => Offline;
        [Connecting | Online | Stale | TimedOut | Reconnecting | Offline | Error] Evicted => Offline;
    }
}

impl PresenceCause {
    /// The class of this cause.
    pub const fn kind(&self) -> PresenceCauseKind {
        match self {
            Self::HelloReceived => PresenceCauseKind::HelloReceived,
            Self::SessionOpened => PresenceCauseKind::SessionOpened,
            Self::TakenOver => PresenceCauseKind::TakenOver,
            Self::ReplacedOther => PresenceCauseKind::ReplacedOther,
            Self::NotAdmitted(_) => PresenceCauseKind::NotAdmitted,
            Self::Silence(_) => PresenceCauseKind::Silence,
            Self::HeardAgain => PresenceCauseKind::HeardAgain,
            Self::LinkEnded(_) => PresenceCauseKind::LinkEnded,
            Self::AgentStopped => PresenceCauseKind::AgentStopped,
            Self::EndOrdered(_) => PresenceCauseKind::EndOrdered,
            Self::ResumeWindowOver(_) => PresenceCauseKind::ResumeWindowOver,
            Self::ServerRestarted => PresenceCauseKind::ServerRestarted,
            Self::Evicted(_) => PresenceCauseKind::Evicted,
            Self::Faulted => PresenceCauseKind::Faulted,
        }
    }
}

impl Presence {
    /// The edge along which a report of this presence took a machine that had published `before`.
    ///
    /// A report that repeats status, cause and session tells of a fault beside them.
    pub fn edge_from(&self, before: &Self) -> PresenceEdge {
        let repeats = (self.status, self.because.cause, self.epoch)
            == (before.status, before.because.cause, before.epoch);
        let beside = self.because != before.because;
        let cause = if repeats && beside {
            PresenceCauseKind::Impairment
        } else {
            self.because.cause.kind()
        };
        Edge { from: before.status, cause, to: self.status }
    }
}
