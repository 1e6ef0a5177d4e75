//! What others ask of the hub.

use super::audit::AuditReply;
use super::stops::{ReleaseReply, StopReply};
use crate::auth::Identity;
use onsembl_protocol::id::{AgentId, BeatSequence, UserId};
use onsembl_protocol::record::Excerpt;
use onsembl_protocol::stop::StopScope;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{
    AgentControl, CommandCancel, CommandRequest, EmergencyStop, ErrorReply,
};
use onsembl_transport::server::LinkTicket;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// The answer to a request of a dashboard: done, or why not.
pub type Reply = oneshot::Sender<Result<(), ErrorReply>>;

/// What can be asked of the hub.
#[derive(Debug)]
pub enum Request {
    /// An agent's link was accepted.
    AgentLink(LinkTicket<Identity>),
    /// A user wants a command run.
    Command {
        /// Who.
        user: UserId,
        /// What.
        request: Box<CommandRequest>,
        /// Answered once it is durably stored.
        reply: Reply,
    },
    /// A user wants a command gone.
    Cancel {
        /// Who.
        user: UserId,
        /// What.
        cancel: CommandCancel,
        /// Answered once it is on its way.
        reply: Reply,
    },
    /// A user has an order for an agent.
    Control {
        /// Who.
        user: UserId,
        /// What.
        control: AgentControl,
        /// Answered once it is on its way.
        reply: Reply,
    },
    /// A user wants everything stopped.
    EmergencyStop {
        /// Who.
        user: UserId,
        /// What.
        stop: EmergencyStop,
        /// Whether it holds until it is released, or is of the moment.
        holds: bool,
        /// Answered once it is on its way, and durable if it holds.
        reply: Reply,
    },
    /// A user stops agents until the stop is released.
    Stop {
        /// Who.
        user: UserId,
        /// Which.
        scope: StopScope,
        /// Why.
        reason: String,
        /// Answered once it is durable.
        reply: StopReply,
    },
    /// A user releases stops.
    Release {
        /// Who.
        user: UserId,
        /// For whom.
        scope: StopScope,
        /// Answered once it is durable.
        reply: ReleaseReply,
    },
    /// A user deletes an agent.
    DeleteAgent {
        /// Who.
        user: UserId,
        /// Which.
        agent: AgentId,
        /// Answered once it is durable.
        reply: Reply,
    },
    /// A user wants what is recorded of an agent.
    Recording {
        /// Who.
        user: UserId,
        /// Which.
        agent: AgentId,
        /// A copy of it, or why there is none.
        reply: oneshot::Sender<Result<Excerpt, NoRecording>>,
    },
    /// A user wants to know where every byte of an agent's commands is.
    Audit {
        /// Who.
        user: UserId,
        /// Which.
        agent: AgentId,
        /// The balance, or why there is none.
        reply: AuditReply,
    },
    /// Somebody wants figures.
    Stats(oneshot::Sender<HubStats>),
    /// The server ends: say so to every agent, and stop.
    Shutdown(oneshot::Sender<()>),
}

/// Why there is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoRecording {
    /// The user has no such agent.
    #[error("no agent of yours has this id")]
    NoAgent,
    /// Nothing of it can be replayed.
    #[error(
        "nothing is recorded of this agent: it had no connection lately, or there are too many \
         others for the ring"
    )]
    Nothing,
}

/// One hop of a heartbeat, for whoever wants to watch.
#[derive(Clone, Debug)]
pub struct BeatSeen {
    /// The agent.
    pub agent: AgentId,
    /// The beat's number; of our own beat for [`BeatHop::Answered`].
    pub sequence: BeatSequence,
    /// Which hop.
    pub hop: BeatHop,
    /// When.
    pub at: WallTime,
}

/// The hops of a heartbeat on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatHop {
    /// It was received.
    Received,
    /// It is committed to the database.
    Recorded,
    /// It was answered.
    Answered,
}

/// Figures of the hub.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct HubStats {
    /// Links of agents.
    pub links: usize,
    /// Links that owe a hello.
    pub greeting: usize,
    /// Agents with a machine: in session, joining or awaited.
    pub sessions: usize,
    /// Commands that are not over.
    pub open_commands: usize,
    /// Writes on their way to the database.
    pub unwritten: usize,
}

/// The way to the hub.
#[derive(Clone, Debug)]
pub struct HubHandle(pub(super) mpsc::Sender<Request>);

impl HubHandle {
    /// Asks; waits for room. `false` if the hub has ended.
    pub async fn ask(&self, request: Request) -> bool {
        self.0.send(request).await.is_ok()
    }
}
