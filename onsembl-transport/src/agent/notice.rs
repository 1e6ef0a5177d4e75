//! What the agent's driver tells its owner.

use crate::link::{DialError, LinkEnd};
use onsembl_protocol::diagnosis::BeatVerdict;
use onsembl_protocol::id::BeatSequence;
use onsembl_protocol::liveness::Impairment;
use onsembl_protocol::model::Finding;
use onsembl_protocol::session::AgentReport;
use onsembl_protocol::session::frames::AgentSession;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{ErrorReply, RecordedBeat, RecordingLag};
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// Something the owner of an agent's driver may want to act on.
#[derive(Clone, Debug)]
pub enum AgentNotice {
    /// A dial brought no link, for this reason. What it means for the connection is
    /// [reported](Self::Reported) next.
    DialFailed(DialError),
    /// A dial brought a link, from this address of this machine, if it goes over a network.
    LinkOpened(Option<IpAddr>),
    /// The link ended, in these particulars. What it means is [reported](Self::Reported) next.
    LinkEnded(LinkEnd),
    /// Something was found that explains an absence, and had lasted so long by then. The report of it is next.
    Found(Finding, Duration),
    /// The connection changed its status.
    Reported(AgentReport),
    /// The server refused the hello, for this reason. Comes behind the report.
    HelloRefused(ErrorReply),
    /// This process did not run for so long, and its machine was awake.
    Overslept(Duration),
    /// The session has an impairment, or has none any more.
    Impaired(Option<Impairment>),
    /// A session began. What was sent in an earlier one and not confirmed is to be sent again.
    Joined(AgentSession),
    /// The server said something that is the owner's to act on.
    Message(Box<ServerToAgent>),
    /// Output may be taken again; comes once for each
    /// [`want_room`](super::AgentDriver::want_room).
    Room,
    /// The hop tracker says something else than before; [`beats`](super::AgentDriver::beats) has all of it.
    Beats(BeatVerdict),
    /// A heartbeat was handed to the link.
    BeatSent(BeatSequence),
    /// The server's heartbeat came.
    BeatAnswered {
        /// The latest own beat it has seen.
        seen: Option<BeatSequence>,
        /// The latest own beat its database holds.
        recorded: Option<RecordedBeat>,
        /// Whether recording lags.
        lag: Option<RecordingLag>,
    },
}

/// A message could not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no session. What must not be lost is sent again after the next
    /// [`AgentNotice::Joined`].
    #[error("there is no session; send again after the next one began")]
    NoSession,
    /// The link's queue is full; see [`want_room`](super::AgentDriver::want_room).
    #[error("the link's queue is full; wait for room")]
    Full,
}
