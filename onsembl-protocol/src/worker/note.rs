//! What goes into an agent's log and counters about its work. Facts with a text, a counter and a severity; who
//! logs and counts is the edge.

use super::end::WorkerEnd;
use crate::command::{Exit, Fate};
use crate::id::{CommandId, StopId};
use crate::model::Severity;
use crate::shown::Shown;
use crate::terminal::TerminalSize;
use crate::time::Human;
use crate::wire::payload::{CommandPhase, ControlAction, ErrorCode};
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// One thing to log and to count.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum WorkerNote {
    /// An emergency stop is in force from before the start of this process.
    StopFound,
    /// An earlier process left this run.
    RunLeft(CommandId, Fate, String),
    /// An earlier process left output of this run that may not be stored.
    OutputLeft(CommandId),
    /// A request is repeated.
    AskedAgain(CommandId),
    /// A command is refused.
    Refused(CommandId, String),
    /// A command is being cancelled.
    Cancelling(CommandId),
    /// A command was cancelled before it was started.
    CancelledInTime(CommandId),
    /// A command was cancelled after its end.
    CancelledTooLate(CommandId),
    /// A command ran over its limit of time.
    OverLimit(CommandId),
    Ended {
        command: CommandId,
        exit: Exit,
        phase: CommandPhase,
        /// How long it ran, in milliseconds.
        ms: Option<u64>,
    },
    /// A start or an end came for a command that does not run.
    Unexpected(CommandId),
    /// A command ended, and something that it started runs on, or may.
    LeftInBackground(CommandId),
    /// Nothing of that lives any more.
    BackgroundEnded(CommandId),
    /// The agent ends, and what the server does not take becomes a gap.
    OutputCut(CommandId),
    /// The server does not know this command; its output and its report are dropped.
    UnknownToServer(CommandId),
    /// The server does not have this command, which proves nothing; all of it is kept.
    NotTakenByServer(CommandId),
    /// A server that does not adopt commands cancels this one, perhaps because it does not know it.
    CancelDoubted(CommandId),
    /// A report was not confirmed, and is said again.
    ReportsRepeated,
    /// A latching emergency stop came: it is in force until it is released.
    StopOrdered(StopId),
    /// An emergency stop came that is over when everything is killed.
    MomentaryStop {
        /// Why, if it says so.
        reason: Option<String>,
        /// Who gave it, if it says so.
        by: Option<String>,
    },
    /// An emergency stop cannot be written down.
    StopNotDurable(StopId, String),
    /// An emergency stop is released.
    StopReleased(StopId),
    /// The journal took nothing.
    JournalFailed(String),
    /// The start of the terminal is not written down.
    TerminalNotWritten(CommandId, String),
    /// The end of a command is not written down.
    EndNotWritten(CommandId),
    /// The spool takes no output.
    SpoolFailed(String),
    /// The spool is tried again.
    SpoolRetried,
    /// A signal has stopped the program of the terminal.
    TerminalStopped { program: String, why: String },
    /// The program of the terminal was stopped, and runs again.
    TerminalContinues { program: String },
    /// The program of the terminal cannot be started.
    TerminalCannotStart { program: String, why: String },
    /// The program of the terminal ended.
    TerminalEnded { program: String, exit: Exit },
    /// Too many ends wait until their output is stored; the program of the terminal is not started.
    TerminalWaits,
    /// A command waits for its turn to be typed.
    ToBeTyped(CommandId),
    /// A command is typed.
    Typing(CommandId),
    /// A command was not typed to its end.
    NotTyped(CommandId, String),
    /// The program of the terminal read a command, and ended.
    ProgramEndedBy(CommandId, Exit),
    /// A key of the agent's own terminal that would suspend the program permanently is not passed on.
    SuspendWithheld,
    /// The agent's own terminal was hung up; what runs continues.
    HungUp,
    /// A hook says something of a run that is not watched, or has ended.
    FactOfNoRun(CommandId),
    /// A program says more of what it does than anybody could follow; what it does is unknown for a second.
    TooManyFacts(CommandId),
    /// Keys of the agent's own terminal are for no program.
    KeysDropped,
    /// Something that was typed remotely came again, or behind something that was refused: it is dropped.
    RemoteInputDropped,
    /// Something that was typed remotely is refused.
    RemoteInputRefused(String),
    /// The agent's own terminal does not show what the program writes.
    ScreenLeftBehind,
    /// The program of the terminal asks its terminal more than is answered within a second.
    AsksTooMuch,
    /// The terminal has another size.
    Resized(TerminalSize),
    /// A request came without an id.
    RequestWithoutId,
    /// The server orders something.
    Ordered(ControlAction, Option<String>),
    /// The server orders what this agent does not do.
    OrderNotSupported(ControlAction),
    /// The server reports an error.
    ErrorOfServer {
        /// What it is about.
        code: ErrorCode,
        /// What the server says of it.
        text: String,
        /// The command, if it is about one.
        command: Option<CommandId>,
    },
    /// Another process of this agent took over; the agent ends when this many commands have.
    Leaving(usize),
    /// The agent begins to end.
    Ending(WorkerEnd),
    /// The agent ends while something still runs.
    LeftRunning(usize),
}

impl WorkerNote {
    /// The counter that it increments, if it is counted.
    pub const fn counter(&self) -> Option<&'static str> {
        match self {
            Self::RunLeft(..) => Some("runs_left_behind"),
            Self::OutputLeft(_) => Some("spooled_runs_left_behind"),
            Self::Refused(..) => Some("commands_refused"),
            Self::OverLimit(_) => Some("commands_over_limit"),
            Self::Unexpected(_) => Some("ends_without_command"),
            Self::LeftInBackground(_) => Some("commands_with_background"),
            Self::OutputCut(_) => Some("output_cut"),
            Self::UnknownToServer(_) => Some("commands_unknown_to_server"),
            Self::NotTakenByServer(_) => Some("commands_not_taken_by_server"),
            Self::CancelDoubted(_) => Some("cancels_doubted"),
            Self::Leaving(_) => Some("replaced_at_work"),
            Self::ReportsRepeated => Some("reports_repeated"),
            Self::StopOrdered(_) | Self::MomentaryStop { .. } => Some("emergency_stops"),
            Self::JournalFailed(_) => Some("journal_failures"),
            Self::SpoolFailed(_) => Some("spool_failures"),
            Self::TerminalCannotStart { .. } => Some("terminal_start_failures"),
            Self::TerminalStopped { .. } => Some("terminal_programs_stopped"),
            Self::TerminalWaits => Some("terminal_starts_put_off"),
            Self::NotTyped(..) => Some("commands_not_typed"),
            Self::SuspendWithheld => Some("local_suspends_withheld"),
            Self::HungUp => Some("local_terminals_hung_up"),
            Self::TooManyFacts(_) => Some("activity_facts_dropped"),
            Self::KeysDropped => Some("local_keys_dropped"),
            Self::RemoteInputDropped => Some("remote_input_dropped"),
            Self::RemoteInputRefused(_) => Some("remote_input_refused"),
            Self::ScreenLeftBehind => Some("local_screen_left_behind"),
            Self::AsksTooMuch => Some("terminal_queries_over_bound"),
            Self::RequestWithoutId => Some("requests_without_id"),
            Self::OrderNotSupported(_) => Some("orders_not_supported"),
            Self::ErrorOfServer { .. } => Some("errors_from_server"),
            Self::Ending(WorkerEnd::Refused(_)) => Some("refused_for_good"),
            Self::LeftRunning(_) => Some("processes_left_behind"),
            Self::StopFound
            | Self::AskedAgain(_)
            | Self::Cancelling(_)
            | Self::CancelledInTime(_)
            | Self::CancelledTooLate(_)
            | Self::Ended { .. }
            | Self::StopNotDurable(..)
            | Self::StopReleased(_)
            | Self::TerminalNotWritten(..)
            | Self::EndNotWritten(_)
            | Self::SpoolRetried
            | Self::TerminalEnded { .. }
            | Self::TerminalContinues { .. }
            | Self::ToBeTyped(_)
            | Self::Typing(_)
            | Self::ProgramEndedBy(..)
            | Self::Resized(_)
            | Self::FactOfNoRun(_)
            | Self::BackgroundEnded(_)
            | Self::Ordered(..)
            | Self::Ending(_) => None,
        }
    }

    /// Its severity.
    pub const fn severity(&self) -> Severity {
        match self {
            // The writer of the journal knows which file it is, and says so.
            Self::JournalFailed(_)
            | Self::AskedAgain(_)
            | Self::CancelledTooLate(_)
            | Self::ToBeTyped(_)
            | Self::RemoteInputDropped
            | Self::FactOfNoRun(_)
            | Self::TooManyFacts(_)
            | Self::Resized(_) => Severity::Debug,
            Self::Cancelling(_)
            | Self::CancelledInTime(_)
            | Self::Ended { .. }
            | Self::StopReleased(_)
            | Self::SpoolRetried
            | Self::TerminalEnded { .. }
            | Self::TerminalContinues { .. }
            | Self::Typing(_)
            | Self::LeftInBackground(_)
            | Self::BackgroundEnded(_)
            | Self::ProgramEndedBy(..)
            | Self::SuspendWithheld
            | Self::HungUp
            | Self::Ordered(..) => Severity::Info,
            Self::StopFound
            | Self::RunLeft(..)
            | Self::OutputLeft(_)
            | Self::Refused(..)
            | Self::OverLimit(_)
            | Self::OutputCut(_)
            | Self::UnknownToServer(_)
            | Self::NotTakenByServer(_)
            | Self::CancelDoubted(_)
            | Self::Leaving(_)
            | Self::ReportsRepeated
            | Self::StopOrdered(_)
            | Self::MomentaryStop { .. }
            | Self::TerminalNotWritten(..)
            | Self::EndNotWritten(_)
            | Self::TerminalWaits
            | Self::TerminalStopped { .. }
            | Self::NotTyped(..)
            | Self::KeysDropped
            | Self::RemoteInputRefused(_)
            | Self::ScreenLeftBehind
            | Self::AsksTooMuch
            | Self::RequestWithoutId
            | Self::OrderNotSupported(_)
            | Self::ErrorOfServer { .. } => Severity::Warn,
            Self::Unexpected(_)
            | Self::StopNotDurable(..)
            | Self::SpoolFailed(_)
            | Self::TerminalCannotStart { .. }
            | Self::LeftRunning(_) => Severity::Error,
            Self::Ending(end) => match end {
                WorkerEnd::Refused(_) => Severity::Error,
                WorkerEnd::Shutdown
                | WorkerEnd::Ordered(_)
                | WorkerEnd::ProgramEnded(_)
                | WorkerEnd::ProgramCannotStart(_) => Severity::Info,
            },
        }
    }

    /// The command that it is about, if it is about one.
    pub const fn command(&self) -> Option<&CommandId> {
        match self {
            Self::RunLeft(id, ..)
            | Self::OutputLeft(id)
            | Self::AskedAgain(id)
            | Self::Refused(id, _)
            | Self::Cancelling(id)
            | Self::CancelledInTime(id)
            | Self::CancelledTooLate(id)
            | Self::OverLimit(id)
            | Self::Ended { command: id, .. }
            | Self::Unexpected(id)
            | Self::LeftInBackground(id)
            | Self::BackgroundEnded(id)
            | Self::OutputCut(id)
            | Self::UnknownToServer(id)
            | Self::NotTakenByServer(id)
            | Self::CancelDoubted(id)
            | Self::TerminalNotWritten(id, _)
            | Self::EndNotWritten(id)
            | Self::ToBeTyped(id)
            | Self::Typing(id)
            | Self::ProgramEndedBy(id, _)
            | Self::FactOfNoRun(id)
            | Self::TooManyFacts(id)
            | Self::NotTyped(id, _) => Some(id),
            Self::ErrorOfServer { command, .. } => command.as_ref(),
            Self::StopFound
            | Self::ReportsRepeated
            | Self::StopOrdered(_)
            | Self::MomentaryStop { .. }
            | Self::StopNotDurable(..)
            | Self::StopReleased(_)
            | Self::JournalFailed(_)
            | Self::SpoolFailed(_)
            | Self::SpoolRetried
            | Self::TerminalCannotStart { .. }
            | Self::TerminalStopped { .. }
            | Self::TerminalContinues { .. }
            | Self::TerminalEnded { .. }
            | Self::TerminalWaits
            | Self::SuspendWithheld
            | Self::HungUp
            | Self::KeysDropped
            | Self::RemoteInputDropped
            | Self::RemoteInputRefused(_)
            | Self::ScreenLeftBehind
            | Self::AsksTooMuch
            | Self::Resized(_)
            | Self::RequestWithoutId
            | Self::Ordered(..)
            | Self::OrderNotSupported(_)
            | Self::Leaving(_)
            | Self::Ending(_)
            | Self::LeftRunning(_) => None,
        }
    }
}

/// For people. The command is not in it; see [`WorkerNote::command`].
impl fmt::Display for WorkerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopFound => f.write_str("an emergency stop is in force; nothing starts until a server releases it"),
            Self::RunLeft(_, _, why) => write!(f, "an earlier process of this agent left this command: {why}"),
            Self::OutputLeft(_) => f.write_str("an earlier process of this agent left output of this command that the server may not have"),
            Self::AskedAgain(_) => f.write_str("repeated request for a known command"),
            Self::Refused(_, why) => write!(f, "command refused: {why}"),
            Self::Cancelling(_) => f.write_str("cancelling a command"),
            Self::CancelledInTime(_) => f.write_str("cancelled before it was started"),
            Self::CancelledTooLate(_) => f.write_str("cancelled too late; its report waits for its output"),
            Self::OverLimit(_) => f.write_str("a command ran over its time limit; ending it"),
            Self::Ended { exit, phase, ms, .. } => {
                write!(f, "command ended: {exit}, {phase}")?;
                match ms {
                    Some(ms) => write!(f, ", after {}", Human(Duration::from_millis(*ms))),
                    None => Ok(()),
                }
            }
            Self::Unexpected(_) => f.write_str("a start or an end was reported for a command that is not running"),
            Self::LeftInBackground(_) => f.write_str("a command ended, and a process that it started is, or may be, running in the background"),
            Self::BackgroundEnded(_) => f.write_str("all background processes of a command have ended"),
            Self::OutputCut(_) => f.write_str("stopping, and the server does not accept output; excess output becomes a gap"),
            Self::UnknownToServer(_) => f.write_str("the server does not know this command; dropping its output and its report"),
            Self::NotTakenByServer(_) => f.write_str("the server does not have this command and does not adopt it now; it continues here, and its output is offered again in the next session"),
            Self::Leaving(running) => write!(f, "another process of this agent took over; this one starts nothing more, and ends when its {running} running commands have ended; their output is kept in the state directory"),
            Self::CancelDoubted(_) => f.write_str("the server cancels a command from before this session, perhaps only because its database was lost; it continues unless the order is repeated"),
            Self::ReportsRepeated => f.write_str("the server has not confirmed a report; repeating it"),
            Self::StopOrdered(stop) => write!(f, "emergency stop {stop}: killing all commands; nothing starts until it is released"),
            Self::MomentaryStop { reason, by } => write!(
                f,
                "emergency stop of {} ({}): killing all commands",
                by.as_deref().unwrap_or("an unknown user").escape_debug(),
                reason.as_deref().unwrap_or("no reason given").escape_debug(),
            ),
            Self::StopNotDurable(stop, error) => write!(f, "the emergency stop {stop} is in force, but would not survive the end of this process ({error}); it is not confirmed to the server"),
            Self::StopReleased(stop) => write!(f, "the emergency stop {stop} is released"),
            Self::JournalFailed(error) => write!(f, "the journal cannot be written: {error}"),
            Self::TerminalNotWritten(_, error) => write!(f, "the start of the terminal is not recorded ({error}); if this agent is killed, its processes will not be found"),
            Self::EndNotWritten(_) => f.write_str("the end of a command is not recorded; after a restart the agent would report it as lost"),
            Self::SpoolFailed(error) => write!(f, "the spool cannot store output ({error}); it stays in memory, and the disk is tried again every second"),
            Self::SpoolRetried => f.write_str("retrying the spool"),
            Self::TerminalCannotStart { program, why } => write!(f, "the program of this agent's terminal, {program}, cannot be started ({why}); trying again soon"),
            Self::TerminalStopped { program, why } => write!(f, "the program of the terminal, {}, does nothing: {why}", Shown::new(program)),
            Self::TerminalContinues { program } => write!(f, "the program of the terminal, {}, runs again", Shown::new(program)),
            Self::TerminalEnded { program, exit } => write!(f, "the program of this agent's terminal, {program}, ended: {exit}"),
            Self::TerminalWaits => f.write_str("too many ended commands wait for the server to store their output; the program of the terminal starts after that"),
            Self::ToBeTyped(_) => f.write_str("a command is to be typed"),
            Self::Typing(_) => f.write_str("typing a command into the terminal"),
            Self::NotTyped(_, error) => write!(f, "a command was not typed completely: {error}"),
            Self::ProgramEndedBy(_, exit) => write!(f, "the program of the terminal read this command and ended: {exit}"),
            Self::HungUp => f.write_str("the terminal of this agent's machine was hung up; the program keeps running without it"),
            Self::SuspendWithheld => f.write_str("dropped a key that would suspend the program of the terminal for good"),
            Self::FactOfNoRun(_) => f.write_str("a hook reported on a run that has ended or is not watched"),
            Self::TooManyFacts(_) => f.write_str("a program reports its activity too fast; its activity is unknown for now"),
            Self::KeysDropped => f.write_str("no program is running to read this input; keys typed here are dropped"),
            Self::RemoteInputDropped => f.write_str("remote input arrived twice, or after refused input; dropped"),
            Self::RemoteInputRefused(why) => write!(f, "remote input did not reach the terminal: {}", Shown::new(why)),
            Self::AsksTooMuch => f.write_str("the program sends its terminal more than 256 queries a second; the excess is not answered"),
            Self::ScreenLeftBehind => f.write_str("the agent's own terminal does not accept output; continuing without it"),
            Self::Resized(size) => write!(f, "the terminal size is now {size}"),
            Self::RequestWithoutId => f.write_str("a COMMAND_REQUEST without a commandId is not run: it could not be distinguished from its repetition"),
            Self::Ordered(action, reason) => match reason {
                Some(reason) => write!(f, "order from the server: {action} ({})", reason.escape_debug()),
                None => write!(f, "order from the server: {action}"),
            },
            Self::OrderNotSupported(action) => write!(f, "the server ordered {action}, which this agent does not support"),
            Self::ErrorOfServer { code, text, .. } => write!(f, "the server reports an error: {code}, {}", text.escape_debug()),
            Self::Ending(end) => match end {
                WorkerEnd::Shutdown => f.write_str("stopping"),
                WorkerEnd::Ordered(_) => f.write_str("stopping by order of the server"),
                WorkerEnd::ProgramEnded(exit) => write!(f, "the terminal that this agent was attached to has ended ({exit}); stopping"),
                WorkerEnd::ProgramCannotStart(why) => write!(f, "the program to attach to cannot be started ({why}); stopping"),
                WorkerEnd::Refused(cause) => write!(f, "the server refuses this agent permanently ({cause}); stopping"),
            },
            Self::LeftRunning(commands) => write!(f, "processes of {commands} commands were sent SIGKILL and have not been seen to end (held by the kernel, or of another user); leaving them"),
        }
    }
}
