//! What is on its way in a world: frames between agents and nodes, requests to the database and their answers, messages of
//! the bus.

use super::Millis;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::cluster::{Lease, NodeProcess, Outcome, Owner};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, NodeRun, PresenceVersion};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::Timestamp;

/// From an agent to a node.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello,
    Beat {
        sequence: BeatSequence,
        seen: Option<BeatSequence>,
    },
    /// Bytes of its output.
    Output {
        from: u64,
        to: u64,
    },
    Outcome {
        command: u64,
    },
    Stopped,
    Other,
}

/// From a node to an agent.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Welcome { epoch: Epoch },
    Refused,
    Beat { sequence: BeatSequence, seen: Option<BeatSequence>, recorded: Option<BeatSequence> },
    Stored { to: u64 },
    Command { command: u64 },
    OutcomeStored { command: u64 },
    Stop,
    Other,
}

/// How a link ends, at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum LinkEnd {
    Closed(CloseCause),
    Broken,
}

/// What the database has of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) epoch: Epoch,
    pub(super) owner: Option<Owner>,
    pub(super) version: PresenceVersion,
    pub(super) status: PresenceStatus,
    pub(super) is_stopped: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Register {
        asked_at: Timestamp,
        name: usize,
    },
    Renew {
        run: NodeRun,
        asked_at: Timestamp,
    },
    ReadNodes {
        name: usize,
    },
    Sweep {
        by: NodeRun,
        run: NodeRun,
        renewals: u64,
    },
    Leave {
        run: NodeRun,
    },
    Claim {
        run: NodeRun,
        agent: usize,
        link: LinkId,
    },
    Present {
        run: NodeRun,
        agent: usize,
        epoch: Epoch,
        version: PresenceVersion,
        status: PresenceStatus,
    },
    Output {
        agent: usize,
        epoch: Epoch,
        from: u64,
        to: u64,
        link: LinkId,
    },
    Outcome {
        agent: usize,
        epoch: Epoch,
        command: u64,
        link: LinkId,
    },
    Look,
    ReadOwner {
        agent: usize,
    },
    Insert {
        agent: usize,
        command: u64,
    },
    Stop {
        agent: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Registered {
        run: NodeRun,
        asked_at: Timestamp,
    },
    Renewed {
        run: NodeRun,
        asked_at: Timestamp,
    },
    Over(NodeRun),
    Nodes(Vec<(NodeRun, u64, Lease, NodeProcess)>),
    /// These agents passed to the node.
    Swept(Vec<(usize, Epoch, Owner, Option<Owner>, PresenceStatus)>),
    Claimed {
        agent: usize,
        link: LinkId,
        epoch: Epoch,
        owner: Owner,
        before: Option<Owner>,
        is_stopped: bool,
    },
    Presented {
        agent: usize,
        epoch: Epoch,
        version: PresenceVersion,
        status: PresenceStatus,
    },
    Bounced {
        agent: usize,
        epoch: Epoch,
    },
    Output {
        to: u64,
        link: LinkId,
    },
    Outcome {
        command: u64,
        link: LinkId,
    },
    Looked {
        rows: Vec<Row>,
        open: Vec<(usize, u64)>,
    },
    Owner {
        agent: usize,
        row: Row,
    },
    Inserted {
        agent: usize,
        command: u64,
        row: Row,
    },
    Stopped {
        agent: usize,
    },
    Done,
}

/// A message of the bus.
#[derive(Clone, Debug)]
pub(super) enum Message {
    SelfCheck(u64),
    Presence {
        agent: usize,
        epoch: Epoch,
        owner: Owner,
        version: PresenceVersion,
        status: PresenceStatus,
    },
    /// The agent is another node's under this epoch.
    Tell {
        agent: usize,
        epoch: Epoch,
        owner: Owner,
    },
    Stop {
        agent: usize,
    },
    /// A request for the agent of that node; `route` names it where it was made.
    Ask {
        from: usize,
        life: u32,
        route: u64,
        agent: usize,
        command: u64,
    },
    Answer {
        route: u64,
        by: NodeRun,
        outcome: Outcome,
    },
}

/// What a node is given.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Dialled(LinkId),
    Frame(LinkId, Up),
    LinkEnded(LinkId, LinkEnd),
    Database(Answer),
    Bus(Message),
    /// A heartbeat is on disk.
    Recorded {
        agent: usize,
        epoch: Epoch,
        sequence: BeatSequence,
    },
    /// A user of this node wants this.
    Command {
        agent: usize,
        command: u64,
    },
    StopAgent {
        agent: usize,
    },
    Drain,
    Timer(Millis),
}
