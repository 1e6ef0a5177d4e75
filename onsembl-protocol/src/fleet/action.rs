//! The actions of a fleet. Plain values; one file of a server performs them.

use super::note::FleetNote;
use super::report::{AuditReport, ReleaseReport, StopReport};
use super::row::{
    CommandRecord, CommandUpdate, FindingsRecord, KeyboardRecord, NewSession, PresenceRecord,
};
use super::view::Change;
use crate::close::CloseCause;
use crate::id::{AgentId, CommandId, Epoch, JournalId, LinkId, PresenceVersion, SessionId};
use crate::model::SizeRecord;
use crate::output::LogRecord;
use crate::replay::Retired;
use crate::session::Claimant;
pub use crate::session::frames::Admission;
use crate::stop::StopOrder;
use crate::terminal::HoldView;
use crate::time::WallTime;
use crate::wire::ServerToAgent;
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// The number of a machine (a [`ServerConnection`](crate::session::ServerConnection)) of an agent, given
/// by the fleet. Unique among all fleets of a server whose ranges do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId(pub u64);

/// The number of a request, assigned by the requester: the destination of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One action. Perform all of them, in order.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FleetAction {
    /// Apply these to the user's [`View`](super::View).
    Show(Vec<Change>),
    /// Add a machine.
    Install {
        /// Its number from now on.
        seat: SeatId,
        /// Its initial state.
        origin: SeatOrigin,
    },
    /// The hello on this link comes from this machine's agent.
    Join {
        link: LinkId,
        seat: SeatId,
        /// How the new hello relates to the machine's current link.
        claimant: Claimant,
    },
    /// The hello of this link is refused.
    RefuseHello {
        link: LinkId,
        /// The text that is sent to the agent.
        error: ErrorReply,
        /// How the link is closed.
        cause: CloseCause,
    },
    /// Park this silent link beside the session of this machine.
    Park {
        link: LinkId,
        seat: SeatId,
    },
    /// Close this silent link.
    GiveUpSilent(LinkId),
    /// The hello of this link is of a diagnosis connection: welcome it, list it nowhere.
    WelcomeProbe {
        link: LinkId,
        /// What the welcome says; it is no session.
        admission: Admission,
    },
    /// The store opened a session for this link.
    Admit {
        seat: SeatId,
        link: LinkId,
        /// What the welcome says.
        admission: Admission,
    },
    /// No session can be opened for this link.
    Reject {
        seat: SeatId,
        link: LinkId,
        /// How the link is closed.
        cause: CloseCause,
        /// The text that is sent to the agent.
        why: String,
    },
    /// Send this in the agent's session.
    Send {
        seat: SeatId,
        message: Box<ServerToAgent>,
    },
    /// Read from the agent's link, or do not.
    Throttle {
        seat: SeatId,
        flow: Flow,
    },
    /// End the agent's session and remove its machine.
    Evict {
        seat: SeatId,
        cause: CloseCause,
    },
    /// The agent reported that it cannot continue.
    Faulted(SeatId),
    /// Query the store; its answer is an event.
    Ask(Question),
    /// Store this, after all earlier writes.
    Write(Write),
    Reply {
        token: Token,
        answer: Answer,
    },
    /// Log and count this.
    Note(FleetNote),
}

/// The initial state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatOrigin {
    /// The agent is connecting.
    New {
        /// The latest presence version of the agent.
        version: PresenceVersion,
        /// The epoch of the agent's latest session.
        epoch: Epoch,
        /// The recording of its last machine.
        history: Option<Retired>,
    },
    /// The agent had a session with an earlier run of this server.
    Recovered {
        /// The latest presence version of the agent.
        version: PresenceVersion,
        /// The epoch of the agent's latest session.
        epoch: Epoch,
    },
}

/// Whether an agent's link is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Flow {
    /// It is not read, because too much of its output is unstored.
    Paused,
    Resumed,
}

/// A query of a fleet to its store.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Question {
    /// Find out which agent this is, and open its next session. Answered by
    /// [`StoreAnswer::Session`](super::StoreAnswer::Session).
    Session {
        /// The machine that waits.
        seat: SeatId,
        /// The link that waits.
        link: LinkId,
        /// The liveness of the peer.
        new: Box<NewSession>,
    },
    /// Store a command unless the user has one of this id. Answered by
    /// [`StoreAnswer::Inserted`](super::StoreAnswer::Inserted).
    Insert(Box<CommandRecord>),
    /// How far the streams of these commands are stored. Answered by
    /// [`StoreAnswer::Positions`](super::StoreAnswer::Positions).
    Positions {
        /// Echoed in the answer.
        ticket: u64,
        commands: Vec<CommandId>,
    },
    /// Where the output of this command continues. Answered by
    /// [`StoreAnswer::LogPosition`](super::StoreAnswer::LogPosition).
    LogPosition(CommandId),
    /// How far the streams of an agent are stored, and those of these commands. Answered by
    /// [`StoreAnswer::Balance`](super::StoreAnswer::Balance).
    Balance {
        /// Echoed in the answer.
        query: String,
        agent: AgentId,
        /// Commands of which the agent reports unacknowledged output.
        reported: Vec<CommandId>,
        /// Streams to read of the agent at most, the newest first.
        limit: usize,
    },
    /// Store the findings of an agent about its absence. Answered by
    /// [`StoreAnswer::FindingsKept`](super::StoreAnswer::FindingsKept).
    KeepFindings(FindingsRecord),
    /// Delete an agent. Answered by [`StoreAnswer::Deleted`](super::StoreAnswer::Deleted).
    DeleteAgent {
        /// Echoed in the answer.
        token: Token,
        agent: AgentId,
    },
    /// Store a stop. Answered by [`StoreAnswer::Stopped`](super::StoreAnswer::Stopped).
    Stop(StopOrder),
    /// Store that these stops are released. Answered by
    /// [`StoreAnswer::Released`](super::StoreAnswer::Released).
    Release {
        /// Echoed in the answer.
        token: Token,
        orders: Vec<StopOrder>,
    },
}

/// A durable fact whose commit nothing waits for. The order of writes is kept.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Write {
    Presence(PresenceRecord),
    /// A terminal that an agent opened, or a command that is adopted, in front of its output. Answered by
    /// [`StoreAnswer::Inserted`](super::StoreAnswer::Inserted).
    Terminal(Box<CommandRecord>),
    /// The status of a command. An end is answered by
    /// [`StoreAnswer::EndStored`](super::StoreAnswer::EndStored).
    Command {
        command: CommandId,
        update: CommandUpdate,
    },
    /// A record of output. Answered by a [`Receipt`](super::Receipt).
    Output {
        command: CommandId,
        record: LogRecord,
    },
    /// The size of a terminal from an offset of its output on. For the same offset the last one applies.
    TerminalSize {
        command: CommandId,
        record: SizeRecord,
    },
    /// A session has ended.
    SessionEnd {
        session: SessionId,
        at: WallTime,
        because: String,
    },
    /// An id by which a legacy agent is known from now on.
    Alias {
        agent: AgentId,
        alias: AgentId,
    },
    /// The journal that an agent keeps.
    Journal {
        agent: AgentId,
        journal: Option<JournalId>,
    },
    /// A hold of a keyboard: when it is taken, and again when it has ended.
    Keyboard(KeyboardRecord),
}

impl Write {
    /// Whether what waits of this kind is bounded where it comes from, so that whoever keeps writes need not drop
    /// any. The senders of output are throttled, and what is dropped of it is asked for by nobody; the fleet bounds
    /// terminals, without which their output would belong to nothing.
    pub(super) const fn is_bounded_at_source(&self) -> bool {
        match self {
            Self::Output { .. } | Self::Terminal(_) => true,
            Self::Presence(_)
            | Self::Command { .. }
            | Self::TerminalSize { .. }
            | Self::SessionEnd { .. }
            | Self::Alias { .. }
            | Self::Journal { .. }
            | Self::Keyboard(_) => false,
        }
    }

    /// The command whose end this stores. Its fleet waits for
    /// [`StoreAnswer::EndStored`](super::StoreAnswer::EndStored).
    pub fn ended_command(&self) -> Option<&CommandId> {
        match self {
            Self::Command { command, update } => update.stage.is_final().then_some(command),
            Self::Presence(_)
            | Self::Terminal(_)
            | Self::Output { .. }
            | Self::TerminalSize { .. }
            | Self::SessionEnd { .. }
            | Self::Alias { .. }
            | Self::Journal { .. }
            | Self::Keyboard(_) => None,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done, or durably queued.
    Done,
    /// It is not done.
    Refused(ErrorReply),
    /// The outcome of a stop.
    Stopped(StopReport),
    /// The outcome of a release.
    Released(ReleaseReport),
    /// The balance of an agent's output.
    Audited(AuditReport),
    /// The keyboard is held, as it says, by who asked.
    Keyboard {
        /// Whose terminal it is.
        agent: AgentId,
        /// The hold.
        view: HoldView,
    },
}

impl Answer {
    /// The result of a request that has no report.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn done(self) -> Result<(), ErrorReply> {
        match self {
            Self::Done
            | Self::Stopped(_)
            | Self::Released(_)
            | Self::Audited(_)
            | Self::Keyboard { .. } => Ok(()),
            Self::Refused(error) => Err(error),
        }
    }

    /// Of [`Request::Stop`](super::Request::Stop).
    ///
    /// # Errors
    /// Why it was refused.
    pub fn stopped(self) -> Result<StopReport, ErrorReply> {
        match self {
            Self::Stopped(report) => Ok(report),
            Self::Refused(error) => Err(error),
            Self::Done | Self::Released(_) | Self::Audited(_) | Self::Keyboard { .. } => {
                Err(of_another_request())
            }
        }
    }

    /// Of [`Request::Release`](super::Request::Release).
    ///
    /// # Errors
    /// Why it was refused.
    pub fn released(self) -> Result<ReleaseReport, ErrorReply> {
        match self {
            Self::Released(report) => Ok(report),
            Self::Refused(error) => Err(error),
            Self::Done | Self::Stopped(_) | Self::Audited(_) | Self::Keyboard { .. } => {
                Err(of_another_request())
            }
        }
    }

    /// Of [`Request::Audit`](super::Request::Audit).
    ///
    /// # Errors
    /// Why it was refused.
    pub fn audited(self) -> Result<AuditReport, ErrorReply> {
        match self {
            Self::Audited(report) => Ok(report),
            Self::Refused(error) => Err(error),
            Self::Done | Self::Stopped(_) | Self::Released(_) | Self::Keyboard { .. } => {
                Err(of_another_request())
            }
        }
    }
}

fn of_another_request() -> ErrorReply {
    let why = "the server confused the answers of two requests; report this fault";
    ErrorReply::new(ErrorCode::Internal, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandStage;
    use crate::id::{ByteOffset, ChunkSequence, Incarnation};
    use crate::output::{StoredBody, Stream};

    #[test]
    fn only_an_end_is_waited_for_and_only_output_and_terminals_are_bounded_before() {
        let (command, at) = (CommandId::new("c"), WallTime::from_unix_millis(7));
        let update = |stage| Write::Command {
            command: command.clone(),
            update: CommandUpdate { stage, cause: String::new(), exit: None, at },
        };
        let record = LogRecord {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(1),
            stream: Stream::Stdout,
            offset: ByteOffset(0),
            body: StoredBody::Chunk(bytes::Bytes::from_static(b"x")),
            at,
        };
        let output = Write::Output { command: command.clone(), record };
        let alias = Write::Alias { agent: AgentId::new("a"), alias: AgentId::new("b") };
        for (write, ended, is_bounded) in [
            (update(CommandStage::Completed), Some(&command), false),
            (update(CommandStage::Running), None, false),
            (output, None, true),
            (alias, None, false),
        ] {
            assert_eq!(write.ended_command(), ended, "{write:?}");
            assert_eq!(write.is_bounded_at_source(), is_bounded, "{write:?}");
        }
    }
}
