//! What happens to a fleet: links, messages and times of its agents; requests of its user; what the store
//! says.

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
    /// An agent of this user said hello.
    Hello {
        /// The link it came over.
        link: LinkId,
        hello: Box<AgentConnect>,
        /// Its address, for people.
        peer: String,
        /// Its token; `None` if the service vouches for it.
        bearer: Option<Bearer>,
    },
    /// No hello came in time over a link whose request named this agent.
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
        /// What both ends may rely on.
        capabilities: Capabilities,
    },
    /// The presence of an agent changed.
    Presence {
        seat: SeatId,
        presence: Presence,
        /// What the ledger of heartbeats says of the session that is under way, or ended with this.
        beats: Option<BeatVerdict>,
    },
    /// The ledger of heartbeats of a session says something else than before.
    Beats { seat: SeatId, verdict: BeatVerdict },
    /// A frame of an agent in session came.
    Heard { seat: SeatId, at: WallTime },
    /// A heartbeat of an agent brought metrics.
    Metrics { seat: SeatId, metrics: HealthMetrics },
    /// A heartbeat reports that the agent is paused by an order, or has resumed.
    Paused { seat: SeatId, pausing: Pausing },
    /// An agent said something that is not about its connection.
    Message { seat: SeatId, message: Box<AgentToServer> },
    /// A link of an agent ended.
    LinkEnded {
        seat: SeatId,
        link: LinkId,
        /// The session that ended with it.
        session: Option<SessionId>,
        reason: CloseReason,
    },
    /// A machine is done and was taken out.
    Forgotten {
        seat: SeatId,
        /// Where its recording is.
        history: Option<Retired>,
    },
    /// The user wants something.
    Request {
        /// Where the answer goes.
        token: Token,
        request: Request,
    },
    /// The store answers a [`Question`](super::Question), or says what became of a
    /// [`Write`](super::Write).
    Store(StoreAnswer),
    /// What became of records of output, in the order in which they were written.
    Receipts(Vec<Receipt>),
    /// The deadline came; harmless at any other time.
    Wake,
}

/// What a user wants.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Request {
    /// Run a command. Answered once it is stored.
    Command(Box<CommandRequest>),
    /// End a command. Answered once the order is on its way.
    Cancel(CommandCancel),
    /// An order for an agent. Answered once it is on its way.
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
    /// Something of the keyboard of a terminal, by this dashboard. Answered at once.
    Keyboard(DashboardId, KeyboardRequest),
}

/// What a dashboard wants of a keyboard.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyboardRequest {
    /// To type from now on. Answered by [`Answer::Keyboard`](super::Answer::Keyboard).
    Take(KeyboardTake),
    /// Not to type any more.
    Release(KeyboardRelease),
    /// To type this.
    Input(TerminalInput),
    /// Its link has ended: it types no more, into any terminal.
    LinkLost,
}

/// Why the store did not do what it was asked. The text is the store's own reason, for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreFault {
    /// It breaks a rule of the store, and would again.
    #[error("{0}")]
    Refused(String),
    /// Its user has all that one may have, or too much of its user waits. The text names the limit.
    #[error("{0}")]
    OverLimit(String),
    /// It cannot be done now.
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
    Held(String),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What came of inserting a command.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Inserted {
    New,
    /// The user has one of this id, which is unchanged.
    Existing(Box<CommandRecord>),
}

/// Where the output of a command continues: behind its last record, and in each stream.
pub type LogPosition = (Cursor, Vec<StreamPosition>);

/// What the store says.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StoreAnswer {
    Session {
        seat: SeatId,
        link: LinkId,
        /// The session that was asked for.
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

/// What became of one record of output.
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
    /// What became of it.
    pub outcome: RecordOutcome,
}

/// What became of one record of output.
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
