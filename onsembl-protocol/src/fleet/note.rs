//! What people are to read of a fleet's decisions. Facts with a text, a counter and a severity; who logs and counts is
//! the edge.

use super::view::AgentContest;
use crate::command::CommandView;
use crate::id::{AgentId, ByteOffset, CommandId, Epoch, LinkId, PresenceVersion, StopId};
use crate::model::Severity;
use crate::output::{GapCause, Stream};
use crate::session::PresenceStatus;
use crate::wire::payload::{ControlAction, StopStage};
use alloc::string::String;
use core::fmt;

/// One fact. Its fields are what it is about.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
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

impl FleetNote {
    /// The counter that it adds one to, if it is counted.
    pub const fn counter(&self) -> Option<&'static str> {
        match self {
            Self::AdmissionWithoutHello { .. } => Some("admissions_without_hello"),
            Self::SessionWithoutLink { .. } => Some("sessions_nobody_waits_for"),
            Self::SessionRefused { .. } => Some("sessions_refused"),
            Self::Denied { .. } => Some("hellos_with_tokens_of_others"),
            Self::TooManyAgents { .. } => Some("agents_refused"),
            Self::TooManyLinks { .. } => Some("links_of_agents_refused"),
            Self::Contested { .. } => Some("agents_contested"),
            Self::AgentFault { .. } => Some("agent_faults"),
            Self::TraceNotKept { .. } => Some("traces_not_kept"),
            Self::CommandNotStored { .. } => Some("commands_not_stored"),
            Self::EndNotStored { .. } => Some("ends_not_stored"),
            Self::ForeignCommand { .. } => Some("reports_on_foreign_commands"),
            Self::UnknownCommandReported { .. } => Some("unknown_commands_told"),
            Self::CommandAdopted { .. } => Some("commands_adopted"),
            Self::NotAdopted { .. } => Some("commands_not_adopted"),
            Self::GapDeclared { .. } | Self::HoleFound { .. } | Self::OutputMissing { .. } => {
                Some("output_gaps")
            }
            Self::LooseOutputDropped { .. } => Some("loose_output_dropped"),
            Self::RecordRefused { .. } => Some("output_refused"),
            Self::LogPositionNotRead { .. } => Some("places_not_read"),
            Self::PositionsNotRead { .. } => Some("positions_not_read"),
            Self::StatesDropped { .. } => Some("states_dropped"),
            Self::Throttled { .. } => Some("agents_held_back"),
            Self::TerminalMisnamed { .. } => Some("terminals_under_foreign_ids"),
            Self::TerminalRefused { .. } => Some("terminals_refused"),
            Self::TerminalGivenUp { .. } => Some("terminals_given_up"),
            Self::StopRepeated { .. } => Some("stops_repeated"),
            Self::StopAdopted { .. } => Some("stops_adopted"),
            Self::StopNotStored { .. } => Some("stops_not_stored"),
            Self::AuditUnanswered { .. } => Some("audits_unanswered"),
            Self::Hello { .. }
            | Self::Probe { .. }
            | Self::Parked { .. }
            | Self::Presence { .. }
            | Self::Paused { .. }
            | Self::AgentDeleted { .. }
            | Self::CommandTaken { .. }
            | Self::CommandRepeated { .. }
            | Self::Command { .. }
            | Self::CommandSent { .. }
            | Self::NoSession { .. }
            | Self::AgentSays { .. }
            | Self::TerminalOpened { .. }
            | Self::Order { .. }
            | Self::Stop { .. }
            | Self::StopRecovered { .. }
            | Self::StopReceipt { .. }
            | Self::StopAwaitedAgent { .. }
            | Self::StopReleased { .. }
            | Self::AuditAnsweredLate { .. } => None,
        }
    }

    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Probe { .. }
            | Self::AdmissionWithoutHello { .. }
            | Self::SessionWithoutLink { .. }
            | Self::TraceNotKept { .. }
            | Self::CommandRepeated { .. }
            | Self::NoSession { .. }
            | Self::AgentSays { .. }
            | Self::UnknownCommandReported { .. }
            | Self::Throttled { .. }
            | Self::StopRepeated { .. }
            | Self::AuditAnsweredLate { .. }
            | Self::AuditUnanswered { .. } => Severity::Debug,
            Self::Hello { .. }
            | Self::Parked { .. }
            | Self::Presence { .. }
            | Self::Paused { .. }
            | Self::AgentDeleted { .. }
            | Self::CommandTaken { .. }
            | Self::Command { .. }
            | Self::CommandSent { .. }
            | Self::TerminalOpened { .. }
            | Self::Order { .. }
            | Self::StopReceipt { .. }
            | Self::StopAwaitedAgent { .. }
            | Self::StopReleased { .. } => Severity::Info,
            Self::SessionRefused { .. }
            | Self::Denied { .. }
            | Self::TooManyAgents { .. }
            | Self::TooManyLinks { .. }
            | Self::Contested { .. }
            | Self::AgentFault { .. }
            | Self::CommandNotStored { .. }
            | Self::ForeignCommand { .. }
            | Self::CommandAdopted { .. }
            | Self::NotAdopted { .. }
            | Self::GapDeclared { .. }
            | Self::HoleFound { .. }
            | Self::OutputMissing { .. }
            | Self::LooseOutputDropped { .. }
            | Self::RecordRefused { .. }
            | Self::LogPositionNotRead { .. }
            | Self::PositionsNotRead { .. }
            | Self::StatesDropped { .. }
            | Self::TerminalMisnamed { .. }
            | Self::TerminalRefused { .. }
            | Self::TerminalGivenUp { .. }
            | Self::Stop { .. }
            | Self::StopRecovered { .. }
            | Self::StopAdopted { .. } => Severity::Warn,
            Self::EndNotStored { .. } | Self::StopNotStored { .. } => Severity::Error,
        }
    }
}

/// For people. What it is about is not in it; see its fields.
impl fmt::Display for FleetNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "an agent says hello",
            Self::Probe { .. } => "a diagnosis connection",
            Self::AdmissionWithoutHello { .. } => "a session was asked for of a hello whose link is gone",
            Self::SessionWithoutLink { .. } => "the link of a session ended before the session was opened",
            Self::SessionRefused { .. } => "no session for an agent",
            Self::Denied { .. } => "the token of an agent may not speak for it; the hello is refused",
            Self::TooManyAgents { .. } => "this user has too many agents; one more is refused",
            Self::Parked { .. } => "a link of a legacy agent is kept beside the one of its session",
            Self::TooManyLinks { .. } => "a legacy agent has too many open links; the newest is refused",
            Self::Contested { .. } => "two processes of one agent ask for its session; is a state directory a copy of another's?",
            Self::Presence { .. } => "presence",
            Self::Paused { .. } => "the agent says whether it is paused",
            Self::AgentDeleted { .. } => "agent deleted",
            Self::AgentFault { .. } => "an agent reports a fault",
            Self::TraceNotKept { .. } => "a trace or report, which is not kept",
            Self::CommandTaken { .. } => "command accepted, being stored",
            Self::CommandRepeated { .. } => "a command that is known was asked for again",
            Self::Command { .. } => "command",
            Self::CommandSent { .. } => "command sent",
            Self::NoSession { .. } => "the agent has no session; the message is repeated in the next one",
            Self::CommandNotStored { .. } => "a command could not be stored",
            Self::EndNotStored { .. } => "the end of a command could not be stored; trying again in 10 s",
            Self::AgentSays { .. } => "the agent says why",
            Self::ForeignCommand { .. } => "an agent speaks of a command of another agent; it is not heard",
            Self::UnknownCommandReported { .. } => "an agent is told to drop a command that is not known here",
            Self::CommandAdopted { .. } => "a command that its agent has was not in the database, and is adopted",
            Self::NotAdopted { .. } => "a command that its agent has is not in the database, and cannot be adopted now",
            Self::GapDeclared { .. } => "an agent declares that output is missing",
            Self::HoleFound { .. } => "output before this never came",
            Self::OutputMissing { .. } => "a command is over, and its agent does not have all of its output",
            Self::LooseOutputDropped { .. } => "too much output that belongs to no command; it is dropped",
            Self::RecordRefused { .. } => "the database refuses a record of output",
            Self::LogPositionNotRead { .. } => "cannot say where the output of a command goes on; readers may miss some",
            Self::PositionsNotRead { .. } => "cannot say how far output is stored",
            Self::StatesDropped { .. } => "an agent says what it holds faster than the database answers; a page is dropped",
            Self::Throttled { .. } => "not reading from an agent until its output is stored",
            Self::TerminalOpened { .. } => "an agent has a terminal",
            Self::TerminalMisnamed { .. } => "an agent opened a terminal under an id that no terminal has; it is not taken",
            Self::TerminalRefused { .. } => "too many terminals are open; one of this agent is not taken",
            Self::TerminalGivenUp { .. } => "too many terminals of this agent are open; the oldest is given up",
            Self::Order { .. } => "an order for an agent",
            Self::Stop { .. } => "emergency stop",
            Self::StopRecovered { .. } => "an emergency stop is in force",
            Self::StopAdopted { .. } => {
                "an agent is stopped by an order that was not in the database, and is adopted"
            }
            Self::StopReceipt { .. } => "receipt of an emergency stop",
            Self::StopRepeated { .. } => "an agent is told again that it is stopped",
            Self::StopAwaitedAgent { .. } => "an agent comes back to an emergency stop",
            Self::StopNotStored { .. } => "an emergency stop was carried out, but is not stored",
            Self::StopReleased { .. } => "an emergency stop is released",
            Self::AuditAnsweredLate { .. } => "an agent answers an audit that is over",
            Self::AuditUnanswered { .. } => "an agent did not answer an audit in time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_note_has_its_words_its_counter_and_its_severity() {
        let (agent, command) = (AgentId::new("a"), CommandId::new("c"));
        let hole = FleetNote::HoleFound {
            agent: agent.clone(),
            command: command.clone(),
            stream: Stream::Stderr,
            offset: ByteOffset(7),
            length: 9,
        };
        let sent = FleetNote::CommandSent { command, agent: agent.clone() };
        let held = FleetNote::Throttled { agent };
        let lost = FleetNote::StopNotStored { stop: StopId::new("s"), why: "full".into() };
        for (note, words, counter, severity) in [
            (hole, "output before this never came", Some("output_gaps"), Severity::Warn),
            (sent, "command sent", None, Severity::Info),
            (
                held,
                "not reading from an agent until its output is stored",
                Some("agents_held_back"),
                Severity::Debug,
            ),
            (
                lost,
                "an emergency stop was carried out, but is not stored",
                Some("stops_not_stored"),
                Severity::Error,
            ),
        ] {
            assert_eq!(note.to_string(), words);
            assert_eq!((note.counter(), note.severity()), (counter, severity), "{words}");
        }
    }
}
