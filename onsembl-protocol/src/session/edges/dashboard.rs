//! The graph of a dashboard's link.

use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// Where a dashboard's link is.
    pub enum DashboardStatus {
        Greeting = "greeting", "it owes a hello";
        Admitting = "admitting", "its hello came; room is being found for what it takes";
        Open = "open", "it is told, and asks";
        Closing = "closing", "it was closed, and is over when the peer has answered";
    }
}

labels! {
    /// What takes a dashboard's link from one status to another.
    pub enum DashboardCause {
        Hello = "hello", "the hello came";
        Admitted = "admitted", "there is room";
        NoHello = "no-hello", "no hello came in time, or too much else came before it";
        NoRoom = "no-room", "there is no room, or none any more for what it has grown to";
        TooManyUndecodable = "too-many-undecodable", "more that cannot be decoded than is borne";
        Binary = "binary", "a binary message came";
        Silence = "silence", "nothing was heard for timeout-after";
        TokenExpired = "token-expired", "its token has run out";
        Revoked = "revoked", "its token is revoked";
        NotRead = "not-read", "stored output cannot be read";
        ServerEnding = "server-ending", "the server ends";
        Ended = "ended", "the link ended";
    }
}

/// An edge of a dashboard's link.
pub type DashboardEdge = Edge<DashboardStatus, DashboardCause>;

edges! {
    /// Every edge of a dashboard's link: a way along any other is a defect.
    pub const DASHBOARD_EDGES: [DashboardEdge] = DashboardStatus by DashboardCause {
        [Greeting] Hello => Admitting;
        [Admitting] Admitted => Open;
        [Greeting] NoHello => Closing;
        [Admitting | Open] NoRoom => Closing;
        [Greeting | Open] TooManyUndecodable => Closing;
        [Greeting | Admitting | Open] Binary => Closing;
        [Open] Silence => Closing;
        [Open] TokenExpired => Closing;
        [Open] Revoked => Closing;
        [Open] NotRead => Closing;
        [Greeting | Admitting | Open] ServerEnding => Closing;
        [Greeting | Admitting | Open] Ended => Closing;
    }
}
