//! What people are to read of a fleet's decisions: facts for log lines and counters. The edge words them.

use super::view::AgentContest;
use crate::command::CommandView;
use crate::id::{AgentId, ByteOffset, CommandId, Epoch, LinkId, PresenceVersion, StopId};
use crate::output::{GapCause, Stream};
use crate::session::PresenceStatus;
use crate::wire::payload::{ControlAction, StopStage};
use alloc::string::String;

/// One fact. Its fields are what it is about.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FleetNote {
    /// An agent said hello.
    Hello { link: LinkId, name: Option<String>, peer: String },
    /// A diagnosis connection came.
    Probe { link: LinkId },
    /// A machine asked for the session of a hello that is not known any more.
    AdmissionWithoutHello { link: LinkId },
    /// A session was opened for a link that has ended meanwhile.
    SessionWithoutLink { link: LinkId },
    /// The store opened no session.
    SessionRefused { link: LinkId, why: String },
    /// The token of a hello may not speak for its agent.
    Denied { link: LinkId, why: String },
    /// The user has as many agents as one user may have.
    TooManyAgents { link: LinkId },
    /// A link of a legacy agent is kept beside the one of its session.
    Parked { link: LinkId, agent: AgentId, parked: usize },
    /// A legacy agent has as many links as one may have; the newest is refused.
    TooManyLinks { link: LinkId, agent: AgentId },
    /// A process came for the session of an agent, which another process has; said now and again.
    Contested { agent: AgentId, host: String, peer: String, contest: AgentContest },
    /// The presence of an agent.
    Presence {
        agent: AgentId,
        status: PresenceStatus,
        because: String,
        epoch: Epoch,
        version: PresenceVersion,
    },
    /// An agent says whether it is paused.
    Paused { agent: AgentId, paused: bool },
    /// An agent was deleted.
    AgentDeleted { agent: AgentId },
    /// An agent reports a fault.
    AgentFault { agent: AgentId, kind: String, recoverable: bool, text: String },
    /// An agent sent a trace or a report, which nothing consumes.
    TraceNotKept { agent: AgentId },
    /// A command was taken and is being stored.
    CommandTaken { command: CommandId, agent: AgentId },
    /// A command was asked for again.
    CommandRepeated { command: CommandId },
    /// Where a command is.
    Command { command: CommandId, view: CommandView },
    /// A command was handed to its agent's link.
    CommandSent { command: CommandId, agent: AgentId },
    /// What is to be said of a command waits for a session of its agent.
    NoSession { command: CommandId, agent: AgentId },
    /// A command could not be stored.
    CommandNotStored { command: CommandId, why: String },
    /// The end of a command could not be stored; it is tried again.
    EndNotStored { command: CommandId, why: String },
    /// An agent says why a command ended.
    AgentSays { command: CommandId, text: String },
    /// An agent spoke of a command of another agent; it is not heard.
    ForeignCommand { agent: AgentId, command: CommandId },
    /// An agent was told that this server does not know a command.
    UnknownCommandReported { agent: AgentId, command: CommandId },
    /// A command that its agent has, and the database did not, was taken up.
    CommandAdopted { agent: AgentId, command: CommandId },
    /// A command that its agent has is not known here, and cannot be taken up now.
    NotAdopted { agent: AgentId, command: CommandId, why: String },
    /// An agent declares that output is missing.
    GapDeclared {
        agent: AgentId,
        command: CommandId,
        stream: Stream,
        offset: ByteOffset,
        length: Option<u64>,
        because: GapCause,
    },
    /// Output in front of what came never came.
    HoleFound {
        agent: AgentId,
        command: CommandId,
        stream: Stream,
        offset: ByteOffset,
        length: u64,
    },
    /// A command is over, and its agent does not have all of its output.
    OutputMissing { command: CommandId, stream: Stream, offset: ByteOffset, length: Option<u64> },
    /// There is too much output that belongs to no command; this is dropped.
    LooseOutputDropped { agent: AgentId, command: CommandId },
    /// The store refuses a record of output.
    RecordRefused { command: CommandId, why: String },
    /// It cannot be said where the output of a command goes on.
    LogPositionNotRead { command: CommandId, why: String },
    /// It cannot be said how far the output of an agent is stored.
    PositionsNotRead { agent: AgentId, why: String },
    /// An agent says what it holds more often than it is answered; this page is dropped.
    StatesDropped { agent: AgentId },
    /// An agent's link is not read until its output is stored.
    Throttled { agent: AgentId },
    /// An agent has a terminal.
    TerminalOpened { agent: AgentId, command: CommandId },
    /// An agent opened a terminal under an id that no terminal has.
    TerminalMisnamed { agent: AgentId, command: CommandId },
    /// One terminal too many is not taken.
    TerminalRefused { agent: AgentId, command: CommandId },
    /// The oldest terminal of an agent is given up for a newer one.
    TerminalGivenUp { agent: AgentId, command: CommandId },
    /// An order for an agent.
    Order { agent: AgentId, action: ControlAction },
    /// An emergency stop.
    Stop { stop: Option<StopId>, reason: String, agents: usize, commands: usize },
    /// An emergency stop that was in force before this server started.
    StopRecovered { stop: StopId, reason: String },
    /// An agent is stopped, and the database does not have the order: it is adopted.
    StopAdopted { agent: AgentId, stop: StopId },
    /// An agent says how far it is with a stop.
    StopReceipt { agent: AgentId, stop: StopId, stage: StopStage },
    /// Agents are told again that they are stopped.
    StopRepeated { agent: AgentId, stop: StopId },
    /// An agent comes back to a stop.
    StopAwaitedAgent { agent: AgentId, stop: StopId },
    /// A stop was carried out, but is not stored.
    StopNotStored { stop: StopId, why: String },
    /// A stop is released.
    StopReleased { stop: StopId },
    /// An agent answers an audit that is over.
    AuditAnsweredLate { agent: AgentId },
    /// An agent did not answer an audit in time.
    AuditUnanswered { agent: AgentId },
}
