//! The events of a fleet: links, messages and times of its agents; requests of its user; answers of the store.

use super::action::{SeatId, Token};
use super::claims::Bearer;
use super::row::{CommandRecord, OpenedSession, StreamPosition};
use crate::close::CloseReason;
use crate::diagnosis::BeatVerdict;
use crate::id::{
    AgentId, ByteOffset, ChunkSequence, CommandId, DashboardId, Incarnation, LinkId, SessionId,
    StopId,
};
use crate::model::{Capabilities, Pausing};
use crate::output::{Cursor, Stream};
use crate::replay::Retired;
use crate::session::Presence;
use crate::stop::StopScope;
use crate::time::WallTime;
use crate::wire::AgentToServer;
use crate::wire::payload::{
    AgentConnect, AgentControl, CommandCancel, CommandRequest, EmergencyStop, HealthMetrics,
    KeyboardRelease, KeyboardTake, TerminalInput,
};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Something that happened.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FleetEvent {
    /// An agent of this user sent a hello.
    Hello {
        /// Its link.
        link: LinkId,
        hello: Box<AgentConnect>,
        /// Its address, for people.
        peer: String,
        /// Its token; `None` if the service vouches for it.
        bearer: Option<Bearer>,
    },
    /// No hello arrived in time over a link whose request named this agent.
    Silent {
        link: LinkId,
        named: AgentId,
        /// As of a hello.
        bearer: Option<Bearer>,
    },
    /// A link of an agent is kept beside the one of its session.
    Parked {
        seat: SeatId,
        link: LinkId,
        /// The session that ended with that.
        session: Option<SessionId>,
    },
    /// A connection machine requests a session for this link.
    Admit { seat: SeatId, link: LinkId },
    /// A session began; its welcome is sent.
    Welcomed {
        seat: SeatId,
        link: LinkId,
        /// The capabilities that both ends share.
        capabilities: Capabilities,
    },
    /// The presence of an agent changed.
    Presence {
        seat: SeatId,
        presence: Presence,
        /// What the hop tracker says of the session that is in progress, or ended with this.
        beats: Option<BeatVerdict>,
    },
    /// The verdict of a session's hop tracker changed.
    Beats { seat: SeatId, verdict: BeatVerdict },
    /// A frame of an agent in session was received.
    Heard { seat: SeatId, at: WallTime },
    /// A heartbeat of an agent brought metrics.
    Metrics { seat: SeatId, metrics: HealthMetrics },
    /// A heartbeat reports that the agent is paused by an order, or has resumed.
    Paused { seat: SeatId, pausing: Pausing },
    /// A message of an agent that is not about its connection.
    Message { seat: SeatId, message: Box<AgentToServer> },
    /// A link of an agent ended.
    LinkEnded {
        seat: SeatId,
        link: LinkId,
        /// The session that ended with it.
        session: Option<SessionId>,
        reason: CloseReason,
    },
    /// A machine has ended and was removed.
    Forgotten {
        seat: SeatId,
        /// Where its recording is.
        history: Option<Retired>,
    },
    /// A request of the user.
    Request {
        /// Where the answer goes.
        token: Token,
        request: Request,
    },
    /// The store answers a [`Question`](super::Question), or reports the outcome of a [`Write`](super::Write).
    Store(StoreAnswer),
    /// The outcome of records of output, in the order in which they were written.
    Receipts(Vec<Receipt>),
    /// The deadline has passed; harmless at any other time.
    Wake,
}

impl FleetEvent {
    /// Its name for people: a few words, the same for each event of its kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Silent { .. } => "silent link",
            Self::Parked { .. } => "parked link",
            Self::Admit { .. } => "admit",
            Self::Welcomed { .. } => "welcomed",
            Self::Presence { .. } => "presence",
            Self::Beats { .. } => "heartbeats",
            Self::Heard { .. } => "heard",
            Self::Metrics { .. } => "metrics",
            Self::Paused { .. } => "paused",
            Self::Message { .. } => "message of an agent",
            Self::LinkEnded { .. } => "link ended",
            Self::Forgotten { .. } => "forgotten",
            Self::Request { request, .. } => request.name(),
            Self::Store(answer) => answer.name(),
            Self::Receipts(_) => "receipts",
            Self::Wake => "wake",
        }
    }
}

/// A request of a user.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Request {
    /// Run a command. Answered once it is stored.
    Command(Box<CommandRequest>),
    /// End a command. Answered once the order is sent.
    Cancel(CommandCancel),
    /// An order for an agent. Answered once it is sent.
    Control(AgentControl),
    /// Kill what runs, once; new commands may start at once.
    StopOnce(EmergencyStop),
    /// Stop agents until that is released. Answered once it is stored.
    LatchStop(EmergencyStop),
    /// Stop agents until that is released. Answered once it is stored and the agents have said how far
    /// they are, or 3 s later.
    Stop { scope: StopScope, reason: String },
    /// Release stops. Answered once that is stored.
    Release(StopScope),
    /// Delete an agent. Answered once that is stored.
    DeleteAgent(AgentId),
    /// Where every byte of an agent's output is. Answered within 5 s plus one read of the store.
    Audit(AgentId),
    /// A request about the keyboard of a terminal, by this dashboard. Answered at once.
    Keyboard(DashboardId, KeyboardRequest),
}

impl Request {
    const fn name(&self) -> &'static str {
        match self {
            Self::Command(_) => "request: command",
            Self::Cancel(_) => "request: cancel",
            Self::Control(_) => "request: control",
            Self::StopOnce(_) | Self::LatchStop(_) | Self::Stop { .. } => "request: stop",
            Self::Release(_) => "request: release",
            Self::DeleteAgent(_) => "request: delete agent",
            Self::Audit(_) => "request: audit",
            Self::Keyboard(..) => "request: keyboard",
        }
    }
}

/// A request of a dashboard about a keyboard.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyboardRequest {
    /// Take the keyboard. Answered by [`Answer::Keyboard`](super::Answer::Keyboard).
    Take(KeyboardTake),
    /// Release the keyboard.
    Release(KeyboardRelease),
    /// Type this.
    Input(TerminalInput),
    /// Its link has ended: release all its keyboards.
    LinkLost,
}

/// Why the store did not fulfil a request. The text is the reason of the store, for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreFault {
    /// It violates a rule of the store; a repetition would too.
    #[error("{0}")]
    Refused(String),
    /// Its user is at a limit, or too many requests of the user wait. The text names the limit.
    #[error("{0}")]
    OverLimit(String),
    /// Temporarily impossible.
    #[error("{0}")]
    Unavailable(String),
}

/// Why no session was opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenFault {
    /// The user deleted this agent. The text is the reason that the agent is given.
    #[error("{0}")]
    Deleted(String),
    /// A token of another lineage took it meanwhile. The text is the reason that the agent is given.
    #[error("{0}")]
    Claimed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The outcome of inserting a command.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Inserted {
    New,
    /// The user already has a command with this id, which is unchanged.
    Existing(Box<CommandRecord>),
}

/// The end of the output of a command: after its last record, and in each stream.
pub type LogPosition = (Cursor, Vec<StreamPosition>);

/// An answer of the store.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StoreAnswer {
    Session {
        seat: SeatId,
        link: LinkId,
        /// The requested session.
        session: SessionId,
        opened: Result<OpenedSession, OpenFault>,
    },
    /// To [`Question::Insert`](super::Question::Insert) and [`Write::Terminal`](super::Write::Terminal).
    Inserted {
        command: CommandId,
        inserted: Result<Inserted, StoreFault>,
    },
    /// The end of a command was to be stored, by [`Write::Command`](super::Write::Command).
    EndStored {
        command: CommandId,
        stored: Result<(), StoreFault>,
    },
    Positions {
        ticket: u64,
        positions: Result<Vec<StreamPosition>, StoreFault>,
    },
    LogPosition {
        command: CommandId,
        /// Where it continues.
        position: Result<LogPosition, StoreFault>,
    },
    Balance {
        query: String,
        positions: Result<Vec<StreamPosition>, StoreFault>,
    },
    FindingsKept {
        agent: AgentId,
        number: u64,
        kept: Result<(), StoreFault>,
    },
    Deleted {
        token: Token,
        agent: AgentId,
        /// Whether there was such an agent.
        deleted: Result<bool, StoreFault>,
    },
    Stopped {
        stop: StopId,
        stored: Result<(), StoreFault>,
    },
    Released {
        token: Token,
        stored: Result<(), StoreFault>,
    },
}

impl StoreAnswer {
    const fn name(&self) -> &'static str {
        match self {
            Self::Session { .. } => "store: session",
            Self::Inserted { .. } => "store: inserted",
            Self::EndStored { .. } => "store: end stored",
            Self::Positions { .. } => "store: positions",
            Self::LogPosition { .. } => "store: log position",
            Self::Balance { .. } => "store: balance",
            Self::FindingsKept { .. } => "store: findings kept",
            Self::Deleted { .. } => "store: deleted",
            Self::Stopped { .. } => "store: stopped",
            Self::Released { .. } => "store: released",
        }
    }
}

/// The outcome of one record of output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Receipt {
    pub command: CommandId,
    /// The process that produced it.
    pub incarnation: Incarnation,
    pub sequence: ChunkSequence,
    pub stream: Stream,
    /// Where in the stream it begins.
    pub offset: ByteOffset,
    /// Where in the stream it ends.
    pub end: ByteOffset,
    /// Its outcome.
    pub outcome: RecordOutcome,
}

/// The outcome of one record of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is committed, and everything of its stream before its end.
    Stored,
    /// The store knows no such command; nothing of it will ever be stored.
    NoSuchCommand,
    /// The store will never take these bytes. The text is its reason.
    RefusedChunk(String),
    /// The store will never take this gap. The text is its reason.
    RefusedGap(String),
}
