//! The graph of an accepted link.

use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// The status of an accepted link.
    pub enum AcceptedStatus {
        Greeting = "greeting", "no hello received yet";
        Claimed = "claimed", "hello received; the owner looks up the agent of the link";
        Joining = "joining", "the agent is known; its session is being opened";
        Live = "live", "in session";
        Probe = "probe", "a diagnosis connection: answered, and not a session of any agent";
        Parked = "parked", "a spare link of a legacy agent that is in session over another one: kept open and pinged";
        Closing = "closing", "a close frame was sent; the link ends when the peer has answered";
    }
}

labels! {
    /// What moves an accepted link from one status to another.
    pub enum AcceptedCause {
        Hello = "hello", "the hello came";
        Identified = "identified", "the owner has identified the agent of the link";
        Probing = "probing", "the owner classifies it as a diagnosis connection";
        Refused = "refused", "the owner refuses the hello, or refuses to park a silent link";
        Welcomed = "welcomed", "the session was opened";
        Parked = "parked", "its agent, a legacy one, has its session over another link";
        NoHello = "no-hello", "no hello in time, or too many other messages came first";
        TooManyUndecodable = "too-many-undecodable", "more undecodable messages than allowed";
        Binary = "binary", "a binary message arrived although binary output was not negotiated";
        Silence = "silence", "no frame for timeout-after";
    }
}

/// An edge of an accepted link.
pub type AcceptedEdge = Edge<AcceptedStatus, AcceptedCause>;

edges! {
    /// Every edge of an accepted link: any other transition is a defect. A link may end in any status.
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
