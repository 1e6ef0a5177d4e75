//! The graph of a dashboard's link.

use super::{Edge, edges, labels};
use core::fmt;

labels! {
    /// The status of a dashboard's link.
    pub enum DashboardStatus {
        Greeting = "greeting", "no hello received yet";
        Admitting = "admitting", "hello received; memory for it is being reserved";
        Open = "open", "in use: it gets updates and sends requests";
        Closing = "closing", "a close frame was sent; the link ends when the peer has answered";
    }
}

labels! {
    /// What moves a dashboard's link from one status to another.
    pub enum DashboardCause {
        Hello = "hello", "the hello came";
        Admitted = "admitted", "the memory is reserved";
        NoHello = "no-hello", "no hello in time, or too many other messages came first";
        NoRoom = "no-room", "no memory left for it, possibly after its fleet has grown";
        TooManyUndecodable = "too-many-undecodable", "more undecodable messages than allowed";
        Binary = "binary", "a binary message came";
        Silence = "silence", "no frame for timeout-after";
        TokenExpired = "token-expired", "its token has expired";
        Revoked = "revoked", "its token was revoked";
        NotRead = "not-read", "stored output cannot be read";
        ServerEnding = "server-ending", "the server is shutting down";
        Ended = "ended", "the link ended";
    }
}

/// An edge of a dashboard's link.
pub type DashboardEdge = Edge<DashboardStatus, DashboardCause>;

edges! {
    /// Every edge of a dashboard's link: any other transition is a defect.
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
