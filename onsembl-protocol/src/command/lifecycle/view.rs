//! What people see of a command: its stage, why it is there, and since when.

use crate::model::CommandPhase;
use crate::model::Exit;
use crate::time::{Human, WallTime};
use core::fmt;
use core::time::Duration;

/// Where a command is, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct CommandView {
    /// Where it is in its lifecycle.
    pub status: CommandStage,
    pub because: CommandCause,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// When it was first known to run.
    pub started_at: Option<WallTime>,
    pub ended_at: Option<WallTime>,
}

/// The stages of a command, in order. Every one but the first may be skipped; a final one never
/// changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum CommandStage {
    /// Taken, not yet in the database: it was not acknowledged as accepted.
    Pending,
    /// In the database; waits for its agent or for a free slot on it.
    Queued,
    /// The agent has it.
    Delivered,
    Running,
    /// Its cancellation was requested and is not confirmed.
    Cancelling,
    /// Exit code 0.
    Completed,
    /// Any other end that is known, and every refusal.
    Failed,
    /// Cancelled, and confirmed to have ended.
    Cancelled,
    /// It had started, its end was not seen, and its processes are confirmed to have ended.
    Lost,
    /// Whether it ran or runs is unknown.
    Unknown,
}

impl CommandStage {
    /// Its spelling on the wire, in the database and in listings.
    pub fn phase(self) -> CommandPhase {
        match self {
            Self::Pending => CommandPhase::Pending,
            Self::Queued => CommandPhase::Queued,
            Self::Delivered => CommandPhase::Delivered,
            Self::Running => CommandPhase::Running,
            Self::Cancelling => CommandPhase::Cancelling,
            Self::Completed => CommandPhase::Completed,
            Self::Failed => CommandPhase::Failed,
            Self::Cancelled => CommandPhase::Cancelled,
            Self::Lost => CommandPhase::Lost,
            Self::Unknown => CommandPhase::OutcomeUnknown,
        }
    }

    /// Reads a spelling; [`Unknown`](Self::Unknown) for one of a later version.
    pub const fn of(phase: &CommandPhase) -> Self {
        match phase {
            CommandPhase::Pending => Self::Pending,
            CommandPhase::Queued => Self::Queued,
            CommandPhase::Delivered => Self::Delivered,
            CommandPhase::Running => Self::Running,
            CommandPhase::Cancelling => Self::Cancelling,
            CommandPhase::Completed => Self::Completed,
            CommandPhase::Failed => Self::Failed,
            CommandPhase::Cancelled => Self::Cancelled,
            CommandPhase::Lost => Self::Lost,
            CommandPhase::OutcomeUnknown | CommandPhase::Unknown(_) => Self::Unknown,
        }
    }

    /// Whether it is over.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Delivered | Self::Running | Self::Cancelling => {
                false
            }
            Self::Completed | Self::Failed | Self::Cancelled | Self::Lost | Self::Unknown => true,
        }
    }

    /// Whether it occupies one of the slots of its agent.
    pub(crate) const fn occupies_slot(self) -> bool {
        match self {
            Self::Delivered | Self::Running | Self::Cancelling => true,
            Self::Pending
            | Self::Queued
            | Self::Completed
            | Self::Failed
            | Self::Cancelled
            | Self::Lost
            | Self::Unknown => false,
        }
    }
}

/// Why a command is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum CommandCause {
    /// The server took it.
    Accepted,
    /// It is stored, and waits for a free slot on its agent.
    Waits,
    /// It is stored, and waits for its agent, which was away then.
    WaitsForAgent,
    /// The agent acknowledged it.
    AgentHasIt,
    Started,
    /// The agent opened it by itself: a terminal.
    OpenedByAgent,
    /// The agent has it, and the database did not.
    Adopted,
    /// A legacy agent got it; whether it runs is not reported.
    SentToLegacy,
    /// Its user cancelled it; the agent has not confirmed yet.
    CancelSent,
    /// It is cancelled, and its agent, which is in session, has not seen all of its processes end.
    CancelUnconfirmed,
    /// Its user cancelled it before it went to the agent.
    CancelledBeforeSent,
    /// Its user cancelled it, and the agent proves that it never started.
    CancelledBeforeStart,
    /// Its user cancelled it, but this kind of agent cannot confirm.
    CancelNotConfirmable,
    /// It ran longer than it may.
    TimeLimit(Duration),
    /// The time that it may take is over. Its agent, a legacy one, reports no end and obeys no cancel.
    LegacyTimeLimit(Duration),
    /// It was typed into the agent's terminal, which has what came of it.
    Typed,
    /// The agent reported the end.
    AgentReported(Option<Exit>),
    /// The link is lost; the process may continue.
    LinkLost,
    LinkBack,
    /// The link to a legacy agent is back, which does not say what it still has.
    LegacyBack,
    /// The database could not take it.
    NotStored,
    /// The agent lives, but never acknowledged it.
    NeverAcknowledged,
    /// It waited on the agent for a day and was never started.
    NeverStarted,
    /// It waited for this long, as its sender allowed, and was never sent.
    NotStartedInTime(Duration),
    /// An agent without a queue went away before it was sent.
    NeverSent,
    /// The agent was deleted before it was sent.
    AgentDeleted,
    /// The agent's process died while it ran; what it left is confirmed to have ended.
    AgentDied,
    /// The agent says that its end was not seen.
    EndNotSeen,
    /// The agent is away; its journal will say how it ended.
    AgentAway,
    /// The agent did not come back for this long.
    NeverCameBack(Duration),
    /// The agent process that had it has ended.
    AgentRestarted,
    /// The agent is lost: stopped, evicted, or not back in time.
    AgentLost,
    /// The agent is back and does not know it.
    Forgotten,
    /// A legacy agent reports no end; it got its next command.
    LegacyMovedOn,
    /// A legacy agent reports no end; it was silent for this long.
    LegacyIdle,
    /// The server restarted before it was done.
    ServerRestarted,
}

impl fmt::Display for CommandCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Waits => f.write_str("waiting for a free slot on its agent"),
            Self::WaitsForAgent => f.write_str("waiting for its agent, which is offline"),
            Self::AgentHasIt => f.write_str("acknowledged by the agent"),
            Self::Started => f.write_str("its process runs"),
            Self::OpenedByAgent => f.write_str("opened by its agent; its program runs"),
            Self::Adopted => f.write_str(
                "adopted: its agent has it and the database does not; who requested it, and what, is unknown",
            ),
            Self::Typed => f.write_str("typed into the agent's terminal"),
            Self::SentToLegacy => {
                f.write_str("sent to a legacy agent, which reports neither start nor end")
            }
            Self::CancelSent => f.write_str("cancel sent, not confirmed yet"),
            Self::CancelUnconfirmed => {
                f.write_str("cancel not confirmed: some of its processes may still be running")
            }
            Self::CancelledBeforeSent => f.write_str("cancelled before it went to the agent"),
            Self::CancelledBeforeStart => {
                f.write_str("cancelled; the agent's journal proves that it never started")
            }
            Self::CancelNotConfirmable => {
                f.write_str("cancel not confirmed: this agent cannot confirm")
            }
            Self::TimeLimit(d) => write!(f, "it ran longer than its limit of {}", Human(*d)),
            Self::LegacyTimeLimit(d) => write!(
                f,
                "its limit of {} has passed, and whether it still runs is unknown; cancel not confirmed: this agent cannot confirm",
                Human(*d)
            ),
            Self::AgentReported(Some(exit)) => fmt::Display::fmt(exit, f),
            Self::AgentReported(None) => f.write_str("the agent could not run it"),
            Self::LinkLost => f.write_str("the link to the agent is lost; its process may still be running"),
            Self::LinkBack => f.write_str("the agent is back and still has it"),
            Self::LegacyBack => f.write_str(
                "the link to the agent is back; this agent does not report what it still runs",
            ),
            Self::NotStored => f.write_str("the database could not store it; try again"),
            Self::NeverAcknowledged => {
                f.write_str("the agent is alive but never acknowledged it; whether it ran is unknown")
            }
            Self::NeverStarted => {
                f.write_str("it waited on the agent for a day and was never started")
            }
            Self::NotStartedInTime(d) => {
                write!(f, "it waited for {} and was never started", Human(*d))
            }
            Self::NeverSent => {
                f.write_str("the agent disconnected before it was sent; it was never started")
            }
            Self::AgentDeleted => f.write_str("its agent was deleted; it was never started"),
            Self::AgentDied => f.write_str(
                "the agent's process died while it ran; its processes are confirmed gone",
            ),
            Self::EndNotSeen => f.write_str("how it ended was not observed"),
            Self::AgentAway => {
                f.write_str("the agent is away; it reports how this ended when it is back")
            }
            Self::NeverCameBack(d) => {
                write!(f, "the agent was away for {}; how it ended is unknown", Human(*d))
            }
            Self::AgentRestarted => {
                f.write_str("the agent process that had it is gone; how it ended is unknown")
            }
            Self::AgentLost => f.write_str("the agent is gone; how it ended is unknown"),
            Self::Forgotten => f.write_str("the agent is back and no longer knows it"),
            Self::LegacyMovedOn => {
                f.write_str("a legacy agent got its next command; how this one ended is unknown")
            }
            Self::LegacyIdle => {
                f.write_str("a legacy agent wrote nothing for 10m; how it ended is unknown")
            }
            Self::ServerRestarted => f.write_str("server restarted; waiting for the agent's report"),
        }
    }
}
