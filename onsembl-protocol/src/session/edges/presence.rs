//! The graph of the server's machine of one agent, in the names of the API.

use super::super::server_types::{Presence, PresenceCause, PresenceStatus};
use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// A class of causes of a presence.
    pub enum PresenceCauseKind {
        HelloReceived = "hello-received", "hello received; its session is being opened";
        SessionOpened = "session-opened", "the session was opened";
        TakenOver = "taken-over", "a newer link of the same process took over";
        ReplacedOther = "replaced-other", "another process of the same agent took over";
        NotAdmitted = "not-admitted", "the session could not be opened in time, or at all";
        Silence = "silence", "no frame for stale-after, or for timeout-after";
        HeardAgain = "heard-again", "the silent agent sent a frame again";
        LinkEnded = "link-ended", "the link ended";
        AgentStopped = "agent-stopped", "the agent was stopped on its machine";
        EndOrdered = "end-ordered", "a remote order ended the agent";
        ResumeWindowOver = "resume-window-over", "it was not back in time";
        ServerRestarted = "server-restarted", "the server process was restarted";
        Evicted = "evicted", "its owner ordered it to be removed";
        Faulted = "faulted", "it reported that it cannot continue";
        Impairment = "impairment", "a fault that does not change the status began, changed or ended";
    }
}

/// An edge of the server's machine of one agent.
pub type PresenceEdge = Edge<PresenceStatus, PresenceCauseKind>;

edges! {
    /// Every edge of the server's machine of one agent: any other transition is a defect.
    ///
    /// A machine starts as `offline`, before its first report, and ends there.
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
    /// The edge that a report of this presence took from the presence `before`.
    ///
    /// A report that repeats status, cause and session is about an impairment.
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
