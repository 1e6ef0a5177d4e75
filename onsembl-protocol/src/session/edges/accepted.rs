//! The graph of an accepted link.

use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// Where an accepted link is.
    pub enum AcceptedStatus {
        Greeting = "greeting", "it owes a hello";
        Claimed = "claimed", "its hello came; the owner finds out whose link it is";
        Joining = "joining", "the agent is known; its session is being opened";
        Live = "live", "in session";
        Probe = "probe", "a diagnosis connection: answered, and the session of no agent";
        Parked = "parked", "of a legacy agent that is in session over another link: kept, and pinged";
        Closing = "closing", "it was closed, and is over when the peer has answered";
    }
}

labels! {
    /// What takes an accepted link from one status to another.
    pub enum AcceptedCause {
        Hello = "hello", "the hello came";
        Identified = "identified", "the owner knows whose link it is";
        Probing = "probing", "the owner takes it for a diagnosis connection";
        Refused = "refused", "the owner refuses the hello, or to park a silent link";
        Welcomed = "welcomed", "the session was opened";
        Parked = "parked", "its agent, a legacy one, is in session over another link";
        NoHello = "no-hello", "no hello came in time, or too much else came before it";
        TooManyUndecodable = "too-many-undecodable", "more undecodable messages than allowed";
        Binary = "binary", "a binary message came, and none was agreed on";
        Silence = "silence", "nothing was heard for timeout-after";
    }
}

/// An edge of an accepted link.
pub type AcceptedEdge = Edge<AcceptedStatus, AcceptedCause>;

edges! {
    /// Every edge of an accepted link: a way along any other is a defect. A link may end in every
    /// status.
    pub const ACCEPTED_EDGES: [AcceptedEdge] = AcceptedStatus by AcceptedCause {
        [Greeting] Hello => Claimed;
        [Claimed] Identified => Joining;
        [Claimed] Probing => Probe;
        [Joining] Welcomed => Live;
        [Greeting | Joining | Live] Parked => Parked;
        [Parked] Hello => Claimed;
        [Greeting] NoHello => Closing;
        [Greeting | Claimed] Refused => Closing;
        [Greeting | Live | Probe | Parked] TooManyUndecodable => Closing;
        [Greeting | Claimed | Joining | Live | Probe | Parked] Binary => Closing;
        [Probe | Parked] Silence => Closing;
    }
}
