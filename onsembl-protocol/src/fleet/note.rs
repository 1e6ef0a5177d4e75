//! The facts about a fleet's decisions that a server logs and counts, each with a text, a counter and a severity. The
//! edge does the logging and the counting.

use super::agent_view::AgentContest;
use crate::command::CommandView;
use crate::diagnosis::BeatStop;
use crate::id::{AgentId, ByteOffset, CommandId, Epoch, LinkId, PresenceVersion, StopId};
use crate::model::{Pausing, Severity};
use crate::output::{GapCause, Stream};
use crate::session::{DialFault, PresenceStatus};
use crate::wire::payload::{ControlAction, StopStage};
use alloc::string::String;
use core::fmt;

/// One fact. Its fields say what it is about.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
pub enum FleetNote {
    /// An agent sent a hello.
    Hello { link: LinkId, name: Option<String>, peer: String },
    /// A diagnosis connection was accepted.
    Probe { link: LinkId },
    /// A machine requested a session for a hello that is no longer known.
    AdmissionWithoutHello { link: LinkId },
    /// A session was opened for a link that had ended in the meantime.
    SessionWithoutLink { link: LinkId },
    /// The store did not open a session.
    SessionRefused { link: LinkId, why: String },
    /// The token of a hello does not authorize its agent.
    Denied { link: LinkId, why: String },
    /// The user already has as many agents as one user may have.
    TooManyAgents { link: LinkId },
    /// A link of a legacy agent is kept open beside that of its session.
    Parked { link: LinkId, agent: AgentId, parked: usize },
    /// A legacy agent already has as many links as one may have; the newest is refused.
    TooManyLinks { link: LinkId, agent: AgentId },
    /// A process asked for the session of an agent, which another process has. Repeated from time to time.
    Contested { agent: AgentId, host: String, peer: String, contest: AgentContest },
    /// The presence of an agent changed.
    Presence {
        agent: AgentId,
        name: String,
        status: PresenceStatus,
        because: String,
        epoch: Epoch,
        version: PresenceVersion,
    },
    /// Heartbeats of a session begin to miss a hop.
    HeartbeatsStop { agent: AgentId, stop: BeatStop },
    /// An agent reported whether it is paused.
    Paused { agent: AgentId, pausing: Pausing },
    /// The program of an agent does something else.
    Activity { agent: AgentId, what: String },
    /// An agent was deleted.
    AgentDeleted { agent: AgentId },
    /// An agent reported a fault.
    AgentFault { agent: AgentId, kind: String, recoverable: bool, text: String },
    /// What an agent found while it was away could not be stored; it tells it again.
    FindingsNotKept { agent: AgentId, why: String },
    /// An agent tells what it found without being asked for it, or faster than it is stored; it is dropped.
    FindingsDropped { agent: AgentId },
    /// What an agent found is stored: by that, dials of it failed for this so often while it was away.
    DialsFailed { agent: AgentId, fault: DialFault, times: u32 },
    /// An agent sent a trace or a report, which nothing consumes.
    TraceNotKept { agent: AgentId },
    /// A command was accepted and is being stored.
    CommandTaken { command: CommandId, agent: AgentId },
    /// A known command was requested again.
    CommandRepeated { command: CommandId },
    /// The status of a command changed.
    Command { command: CommandId, view: CommandView },
    /// A command was passed to its agent's link.
    CommandSent { command: CommandId, agent: AgentId },
    /// A message about a command waits for a session of its agent.
    NoSession { command: CommandId, agent: AgentId },
    /// A command could not be stored.
    CommandNotStored { command: CommandId, why: String },
    /// The end of a command could not be stored; the write is retried.
    EndNotStored { command: CommandId, why: String },
    /// An agent reported why a command ended.
    AgentSays { command: CommandId, text: String },
    /// An agent reported on a command of another agent; the report is ignored.
    ForeignCommand { agent: AgentId, command: CommandId },
    /// An agent was told that this server does not know a command.
    UnknownCommandReported { agent: AgentId, command: CommandId },
    /// A command that its agent has and the database did not was adopted.
    CommandAdopted { agent: AgentId, command: CommandId },
    /// A command that its agent has is unknown here, and cannot be adopted now.
    NotAdopted { agent: AgentId, command: CommandId, why: String },
    /// An agent declared a gap in its output.
    GapDeclared {
        agent: AgentId,
        command: CommandId,
        stream: Stream,
        offset: ByteOffset,
        length: Option<u64>,
        because: GapCause,
    },
    /// Output before this offset never arrived.
    HoleFound {
        agent: AgentId,
        command: CommandId,
        stream: Stream,
        offset: ByteOffset,
        length: u64,
    },
    /// A command ended, and its agent no longer has all of its output.
    OutputMissing { command: CommandId, stream: Stream, offset: ByteOffset, length: Option<u64> },
    /// Output that is relayed and not stored did not arrive here: it was on a link that was lost, or found no room.
    OutputNotKept { command: CommandId, stream: Stream, offset: ByteOffset, length: Option<u64> },
    /// Output that is not stored was watched by nobody.
    OutputUnwatched { command: CommandId, bytes: u64 },
    /// There is too much output without a command; this record is dropped.
    LooseOutputDropped { agent: AgentId, command: CommandId },
    /// The store refused a record of output.
    RecordRefused { command: CommandId, why: String },
    /// The store could not read where the output of a command continues.
    LogPositionNotRead { command: CommandId, why: String },
    /// The store could not read how far the output of an agent is stored.
    PositionsNotRead { agent: AgentId, why: String },
    /// An agent reports what it holds faster than it is answered; this page is dropped.
    StatesDropped { agent: AgentId },
    /// Reading from an agent's link is paused until its output is stored.
    Throttled { agent: AgentId },
    /// An agent opened a terminal.
    TerminalOpened { agent: AgentId, command: CommandId },
    /// An agent opened a terminal under an id that is not a terminal's.
    TerminalMisnamed { agent: AgentId, command: CommandId },
    /// An agent says more sizes of a terminal than are taken within some seconds; this one is dropped.
    SizesDropped { agent: AgentId, command: CommandId },
    /// A terminal beyond the limit was refused.
    TerminalRefused { agent: AgentId, command: CommandId },
    /// The oldest terminal of an agent was given up for a newer one.
    TerminalGivenUp { agent: AgentId, command: CommandId },
    /// A dashboard holds the keyboard of a terminal from now on.
    KeyboardTaken { agent: AgentId, command: CommandId },
    /// Nobody holds the keyboard of a terminal any more.
    KeyboardFree { agent: AgentId, command: CommandId, because: String },
    /// A user gave an agent an order.
    Order { agent: AgentId, action: ControlAction },
    /// A user ordered an emergency stop.
    Stop { stop: Option<StopId>, reason: String, agents: usize, commands: usize },
    /// An emergency stop that was in force before this server started.
    StopRecovered { stop: StopId, reason: String },
    /// An agent obeys a stop that the database does not have: the stop is adopted.
    StopAdopted { agent: AgentId, stop: StopId },
    /// An agent reported how far it is with a stop.
    StopReceipt { agent: AgentId, stop: StopId, stage: StopStage },
    /// A stop is sent to an agent again.
    StopRepeated { agent: AgentId, stop: StopId },
    /// An agent returned while a stop is in force.
    StopAwaitedAgent { agent: AgentId, stop: StopId },
    /// A stop was carried out, but is not stored.
    StopNotStored { stop: StopId, why: String },
    /// A stop was released.
    StopReleased { stop: StopId },
    /// An agent answered an audit after its deadline.
    AuditAnsweredLate { agent: AgentId },
    /// An agent did not answer an audit in time.
    AuditUnanswered { agent: AgentId },
}

impl FleetNote {
    /// The counter that it increments, if it is counted.
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
            Self::FindingsNotKept { .. } => Some("findings_not_kept"),
            Self::FindingsDropped { .. } => Some("findings_dropped"),
            Self::CommandNotStored { .. } => Some("commands_not_stored"),
            Self::EndNotStored { .. } => Some("ends_not_stored"),
            Self::ForeignCommand { .. } => Some("reports_on_foreign_commands"),
            Self::UnknownCommandReported { .. } => Some("unknown_commands_told"),
            Self::CommandAdopted { .. } => Some("commands_adopted"),
            Self::NotAdopted { .. } => Some("commands_not_adopted"),
            Self::GapDeclared { .. } | Self::HoleFound { .. } | Self::OutputMissing { .. } => {
                Some("output_gaps")
            }
            Self::OutputNotKept { .. } => Some("output_not_kept"),
            Self::OutputUnwatched { .. } => Some("output_unwatched"),
            Self::LooseOutputDropped { .. } => Some("loose_output_dropped"),
            Self::RecordRefused { .. } => Some("output_refused"),
            Self::LogPositionNotRead { .. } => Some("places_not_read"),
            Self::PositionsNotRead { .. } => Some("positions_not_read"),
            Self::StatesDropped { .. } => Some("states_dropped"),
            Self::Throttled { .. } => Some("agents_held_back"),
            Self::TerminalMisnamed { .. } => Some("terminals_under_foreign_ids"),
            Self::TerminalRefused { .. } => Some("terminals_refused"),
            Self::SizesDropped { .. } => Some("terminal_sizes_dropped"),
            Self::TerminalGivenUp { .. } => Some("terminals_given_up"),
            Self::StopRepeated { .. } => Some("stops_repeated"),
            Self::StopAdopted { .. } => Some("stops_adopted"),
            Self::StopNotStored { .. } => Some("stops_not_stored"),
            Self::AuditUnanswered { .. } => Some("audits_unanswered"),
            Self::Hello { .. }
            | Self::Probe { .. }
            | Self::Parked { .. }
            | Self::Presence { .. }
            | Self::HeartbeatsStop { .. }
            | Self::Paused { .. }
            | Self::Activity { .. }
            | Self::AgentDeleted { .. }
            | Self::CommandTaken { .. }
            | Self::CommandRepeated { .. }
            | Self::Command { .. }
            | Self::CommandSent { .. }
            | Self::NoSession { .. }
            | Self::AgentSays { .. }
            | Self::DialsFailed { .. }
            | Self::TerminalOpened { .. }
            | Self::KeyboardTaken { .. }
            | Self::KeyboardFree { .. }
            | Self::Order { .. }
            | Self::Stop { .. }
            | Self::StopRecovered { .. }
            | Self::StopReceipt { .. }
            | Self::StopAwaitedAgent { .. }
            | Self::StopReleased { .. }
            | Self::AuditAnsweredLate { .. } => None,
        }
    }

    /// What a note that returns as long as its cause lasts is limited by in a log: its counter, and what tells two
    /// causes apart. An agent that is turned away comes back each half minute, until somebody changes something.
    /// `None` if each of them is a fact of its own.
    pub fn repeats(&self) -> Option<(&'static str, &str)> {
        let apart = match self {
            Self::SessionRefused { why, .. } | Self::Denied { why, .. } => why.as_str(),
            Self::TooManyLinks { agent, .. } => agent.as_str(),
            Self::TooManyAgents { .. } => "",
            Self::Hello { .. }
            | Self::Probe { .. }
            | Self::AdmissionWithoutHello { .. }
            | Self::SessionWithoutLink { .. }
            | Self::Parked { .. }
            | Self::Contested { .. }
            | Self::Presence { .. }
            | Self::HeartbeatsStop { .. }
            | Self::Paused { .. }
            | Self::Activity { .. }
            | Self::AgentDeleted { .. }
            | Self::AgentFault { .. }
            | Self::FindingsNotKept { .. }
            | Self::FindingsDropped { .. }
            | Self::DialsFailed { .. }
            | Self::TraceNotKept { .. }
            | Self::CommandTaken { .. }
            | Self::CommandRepeated { .. }
            | Self::Command { .. }
            | Self::CommandSent { .. }
            | Self::NoSession { .. }
            | Self::CommandNotStored { .. }
            | Self::EndNotStored { .. }
            | Self::AgentSays { .. }
            | Self::ForeignCommand { .. }
            | Self::UnknownCommandReported { .. }
            | Self::CommandAdopted { .. }
            | Self::NotAdopted { .. }
            | Self::GapDeclared { .. }
            | Self::HoleFound { .. }
            | Self::OutputMissing { .. }
            | Self::OutputNotKept { .. }
            | Self::OutputUnwatched { .. }
            | Self::LooseOutputDropped { .. }
            | Self::RecordRefused { .. }
            | Self::LogPositionNotRead { .. }
            | Self::PositionsNotRead { .. }
            | Self::StatesDropped { .. }
            | Self::Throttled { .. }
            | Self::TerminalOpened { .. }
            | Self::TerminalMisnamed { .. }
            | Self::TerminalRefused { .. }
            | Self::SizesDropped { .. }
            | Self::TerminalGivenUp { .. }
            | Self::KeyboardTaken { .. }
            | Self::KeyboardFree { .. }
            | Self::Order { .. }
            | Self::Stop { .. }
            | Self::StopRecovered { .. }
            | Self::StopAdopted { .. }
            | Self::StopReceipt { .. }
            | Self::StopRepeated { .. }
            | Self::StopAwaitedAgent { .. }
            | Self::StopNotStored { .. }
            | Self::StopReleased { .. }
            | Self::AuditAnsweredLate { .. }
            | Self::AuditUnanswered { .. } => return None,
        };
        Some((self.counter()?, apart))
    }

    /// Its severity.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Probe { .. }
            | Self::AdmissionWithoutHello { .. }
            | Self::SessionWithoutLink { .. }
            | Self::TraceNotKept { .. }
            | Self::Activity { .. }
            | Self::FindingsDropped { .. }
            | Self::DialsFailed { .. }
            | Self::CommandRepeated { .. }
            | Self::NoSession { .. }
            | Self::AgentSays { .. }
            | Self::UnknownCommandReported { .. }
            | Self::OutputNotKept { .. }
            | Self::OutputUnwatched { .. }
            | Self::Throttled { .. }
            | Self::StopRepeated { .. }
            | Self::AuditAnsweredLate { .. }
            | Self::AuditUnanswered { .. } => Severity::Debug,
            // Its link is given up, and nobody ordered that.
            Self::Presence { status: PresenceStatus::TimedOut, .. } => Severity::Warn,
            Self::Hello { .. }
            | Self::Parked { .. }
            | Self::Presence { .. }
            | Self::Paused { .. }
            | Self::AgentDeleted { .. }
            | Self::CommandTaken { .. }
            | Self::Command { .. }
            | Self::CommandSent { .. }
            | Self::TerminalOpened { .. }
            | Self::KeyboardTaken { .. }
            | Self::KeyboardFree { .. }
            | Self::Order { .. }
            | Self::StopReceipt { .. }
            | Self::StopAwaitedAgent { .. }
            | Self::StopReleased { .. } => Severity::Info,
            Self::SessionRefused { .. }
            | Self::Denied { .. }
            | Self::TooManyAgents { .. }
            | Self::TooManyLinks { .. }
            | Self::Contested { .. }
            | Self::HeartbeatsStop { .. }
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
            | Self::FindingsNotKept { .. }
            | Self::StatesDropped { .. }
            | Self::TerminalMisnamed { .. }
            | Self::TerminalRefused { .. }
            | Self::SizesDropped { .. }
            | Self::TerminalGivenUp { .. }
            | Self::Stop { .. }
            | Self::StopRecovered { .. }
            | Self::StopAdopted { .. } => Severity::Warn,
            Self::EndNotStored { .. } | Self::StopNotStored { .. } => Severity::Error,
        }
    }
}

/// For people. The fields are not part of the text.
impl fmt::Display for FleetNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "hello from an agent",
            Self::Probe { .. } => "a diagnosis connection",
            Self::AdmissionWithoutHello { .. } => "a session was requested for a hello whose link has ended",
            Self::SessionWithoutLink { .. } => "the link ended before its session was opened",
            Self::SessionRefused { .. } => "cannot open a session for an agent",
            Self::Denied { .. } => "the token does not authorize this agent; the hello is refused",
            Self::TooManyAgents { .. } => "this user has too many agents; one more is refused",
            Self::Parked { .. } => "a second link of a legacy agent is kept open beside that of its session",
            Self::TooManyLinks { .. } => "a legacy agent has too many open links; the newest is refused",
            Self::Contested { .. } => "two processes of one agent compete for its session; is one state directory a copy of another?",
            Self::Presence { .. } => "presence",
            Self::HeartbeatsStop { .. } => "heartbeats stop; `why` follows them",
            Self::Paused { .. } => "the agent reported whether it is paused",
            Self::Activity { .. } => "activity of the program of an agent",
            Self::AgentDeleted { .. } => "agent deleted",
            Self::AgentFault { .. } => "an agent reported a fault",
            Self::FindingsNotKept { .. } => "cannot store the findings of an agent; it will report them again",
            Self::FindingsDropped { .. } => "an agent reports findings faster than they are stored; dropping some",
            Self::DialsFailed { .. } => "dials of an agent failed while it was away",
            Self::TraceNotKept { .. } => "a trace or report was discarded; it has no consumer",
            Self::CommandTaken { .. } => "command accepted, being stored",
            Self::CommandRepeated { .. } => "a known command was requested again",
            Self::Command { .. } => "command",
            Self::CommandSent { .. } => "command sent",
            Self::NoSession { .. } => "the agent has no session; the message waits for the next one",
            Self::CommandNotStored { .. } => "a command could not be stored",
            Self::EndNotStored { .. } => "the end of a command could not be stored; retrying in 10 s",
            Self::AgentSays { .. } => "the agent reported the reason",
            Self::ForeignCommand { .. } => "an agent reported on a command of another agent; the report is ignored",
            Self::UnknownCommandReported { .. } => "an agent was ordered to drop a command unknown to this server",
            Self::CommandAdopted { .. } => "adopted a command that its agent has and the database did not",
            Self::NotAdopted { .. } => "an agent has a command that is not in the database and cannot be adopted now",
            Self::GapDeclared { .. } => "an agent declared a gap in its output",
            Self::HoleFound { .. } => "a gap in the output: what comes before this offset never arrived",
            Self::OutputMissing { .. } => "a command ended, and its agent no longer has all of its output",
            Self::OutputNotKept { .. } => "output that is not stored did not arrive; it is not kept, as asked",
            Self::OutputUnwatched { .. } => "output that is not stored was watched by nobody",
            Self::LooseOutputDropped { .. } => "too much output without a command; dropping this record",
            Self::RecordRefused { .. } => "the database refused a record of output",
            Self::LogPositionNotRead { .. } => "cannot read the output position of a command; readers may miss output",
            Self::PositionsNotRead { .. } => "cannot read how far output is stored",
            Self::StatesDropped { .. } => "an agent reports its output faster than the database answers; dropping a page",
            Self::Throttled { .. } => "paused reading from an agent until its output is stored",
            Self::TerminalOpened { .. } => "an agent opened a terminal",
            Self::TerminalMisnamed { .. } => "an agent opened a terminal under an id that is not a terminal's; it is refused",
            Self::SizesDropped { .. } => "an agent resizes its terminal too often; sizes are dropped",
            Self::TerminalRefused { .. } => "too many terminals are open; one of this agent is refused",
            Self::TerminalGivenUp { .. } => "too many open terminals of this agent; closing the oldest",
            Self::KeyboardTaken { .. } => "a dashboard took the keyboard of a terminal",
            Self::KeyboardFree { .. } => "the keyboard of a terminal was released",
            Self::Order { .. } => "order for an agent",
            Self::Stop { .. } => "emergency stop",
            Self::StopRecovered { .. } => "an emergency stop is in force",
            Self::StopAdopted { .. } => {
                "adopted an emergency stop that was in force on an agent and not in the database"
            }
            Self::StopReceipt { .. } => "receipt of an emergency stop",
            Self::StopRepeated { .. } => "the emergency stop is sent to an agent again",
            Self::StopAwaitedAgent { .. } => "an agent returned while an emergency stop is in force",
            Self::StopNotStored { .. } => "an emergency stop was carried out, but is not stored",
            Self::StopReleased { .. } => "emergency stop released",
            Self::AuditAnsweredLate { .. } => "an agent answered an audit after its deadline",
            Self::AuditUnanswered { .. } => "an agent did not answer an audit in time",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_note_has_a_text_a_counter_and_a_severity() {
        let (agent, command) = (AgentId::new("a"), CommandId::new("c"));
        let hole = FleetNote::HoleFound {
            agent: agent.clone(),
            command: command.clone(),
            stream: Stream::Stderr,
            offset: ByteOffset(7),
            length: 9,
        };
        let sent = FleetNote::CommandSent { command, agent: agent.clone() };
        let throttled = FleetNote::Throttled { agent };
        let lost = FleetNote::StopNotStored { stop: StopId::new("s"), why: "full".into() };
        for (note, words, counter, severity) in [
            (
                hole,
                "a gap in the output: what comes before this offset never arrived",
                Some("output_gaps"),
                Severity::Warn,
            ),
            (sent, "command sent", None, Severity::Info),
            (
                throttled,
                "paused reading from an agent until its output is stored",
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

    #[test]
    fn what_an_agent_is_turned_away_for_repeats_for_each_cause() {
        let link = LinkId(1);
        let why = "its token belongs to another agent";
        let denied = FleetNote::Denied { link, why: why.into() };
        assert_eq!(denied.repeats(), Some(("hellos_with_tokens_of_others", why)));
        let refused = FleetNote::SessionRefused { link, why: why.into() };
        assert_eq!(refused.repeats(), Some(("sessions_refused", why)), "another cause");
        let agent = AgentId::new("a");
        let crowded = FleetNote::TooManyLinks { link, agent: agent.clone() };
        assert_eq!(crowded.repeats(), Some(("links_of_agents_refused", "a")));
        assert_eq!(FleetNote::TooManyAgents { link }.repeats(), Some(("agents_refused", "")));
        assert_eq!(FleetNote::AgentDeleted { agent }.repeats(), None);
    }
}
