//! The events of a worker, and its actions. Plain values; nothing is decided here.

use super::background_policy::BackgroundPolicy;
use super::end::WorkerEnd;
use super::fence::Fence;
use super::kin::SomeProcesses;
use super::note::WorkerNote;
use super::run_stop::RunSignal;
use super::stopped_program::ProgramState;
use crate::activity::{ActivityConfig, Fact};
use crate::command::{
    Awaited, Cleared, CommandJournal, DEFAULT_SLOTS, Exit, JournalEntry, ProcessIdentity,
};
use crate::id::{AgentId, CommandId, RunMark, StopId};
use crate::model::{Capabilities, Finding, PastFinding, Pausing};
use crate::output::{
    LeftRun, SpoolAction, SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest, Stream,
};
use crate::session::frames::AgentSession;
use crate::session::{AgentCause, AgentReport, AgentStatus};
use crate::terminal::{
    LineMode, NO_PROGRAM, Query, RemoteStroke, SubmitKey, TerminalSettings, TerminalSize, Typed,
    Typing,
};
use crate::wire::payload::{AgentErrorReport, CommandRequest, Secret};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::IpAddr;
use core::time::Duration;

/// The configuration of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// How many commands run at once, at least one; the others wait.
    pub slots: usize,
    /// How much output may be held until the server has stored it.
    pub spool: SpoolBounds,
    /// What happens to output at that bound. If not given, commands wait and a terminal drops its oldest.
    pub policy: Option<SpoolPolicy>,
    /// The journal of starts and ends.
    pub journal: Journalling,
    /// The terminal into which commands are typed; without one each command is run by itself.
    pub terminal: Option<TerminalConfig>,
    /// The parts of a request that are passed on; a request with more is refused.
    pub fence: Fence,
    /// The policy for processes that outlive their commands.
    pub background: BackgroundPolicy,
    /// Configuration for watching the activity of the program.
    pub activity: ActivityConfig,
    /// Tells this process of the agent from every other of all time, as an
    /// [`InstanceId`](crate::id::InstanceId) does; without `:`. The marks of runs and the ids of
    /// terminals are made of it, so draw a new one for each process.
    pub unique: String,
}

impl WorkerConfig {
    /// How many commands run at once, at least one. Without a number, one after the
    /// other is typed into a terminal, and else [`DEFAULT_SLOTS`] run.
    pub fn slots(wanted: Option<usize>, terminal: Option<&TerminalConfig>) -> usize {
        let usual = if terminal.is_some() { 1 } else { DEFAULT_SLOTS };
        wanted.unwrap_or(usual).max(1)
    }
}

/// The journal of starts and ends of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Journalling {
    /// In a journal: [`WorkerAction::Journal`] is answered by [`WorkerEvent::Journalled`].
    Kept,
    /// The journal is unusable, for this reason; so nothing is started.
    Failed(String),
    /// None: a command may run more than once over restarts of the agent.
    Off,
}

/// The terminal of a worker, and the program in it.
#[derive(Clone, Debug)]
pub struct TerminalConfig {
    /// What runs in it, for people.
    pub program: String,
    /// How large it is at first.
    pub size: TerminalSize,
    /// Whether it is shown at a terminal of the agent's machine.
    pub screen: Screen,
    /// How long an untouched, unfinished line at that terminal delays texts of others.
    pub line_idle: Duration,
    /// What submits a text to the program.
    pub submit: SubmitKey,
}

impl TerminalConfig {
    /// [`line_idle`](Self::line_idle) unless something else is wanted: a minute. Who is thinking about the next word
    /// presses a key within it; who pressed one key and left is not awaited forever.
    pub const LINE_IDLE: Duration = Duration::from_secs(60);
}

/// Where a terminal is shown besides the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// Nowhere. The program is started again whenever it ends.
    #[default]
    Detached,
    /// At the terminal from which the agent was started. The agent ends with the program.
    Attached,
}

/// The state left by an earlier process of the agent.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Recovered {
    /// Its journal, if it has one.
    pub journal: CommandJournal,
    /// What became of [what it left running](CommandJournal::left_behind).
    pub cleared: Vec<Cleared>,
    pub runs: Vec<LeftRun>,
    /// What it found and could not hand over any more, and how long ago it was when that was written down.
    pub findings: Vec<PastFinding>,
    pub findings_ago: Duration,
    /// What became of the run before, if that is something to tell of.
    pub run_before: Option<Finding>,
}

/// The process that last used the state directory of this agent, as far as it can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// It has ended, and what it left running is this agent's to end.
    Ended,
    /// It runs and has a directory of its own, of which this one is a copy: what it runs is left alone.
    Runs(ProcessIdentity),
}

impl Predecessor {
    /// Whether it was the run of this agent before this one, whose end is something to tell of.
    pub const fn is_run_before(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Runs(_) => false,
        }
    }
}

/// A session, as the answer to the hello settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSession {
    /// The id by which the server knows this agent.
    pub agent: Option<AgentId>,
    /// What the server of the session understands.
    pub capabilities: Capabilities,
    /// How many bytes of output may be unacknowledged.
    pub output_window: u64,
    /// The stop that is in force for this agent.
    pub stopped: Option<StopId>,
}

impl From<AgentSession> for WorkerSession {
    fn from(session: AgentSession) -> Self {
        let AgentSession { capabilities, agent, output_window, stopped, .. } = session;
        Self { capabilities, agent, output_window, stopped }
    }
}

/// Something that happened.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WorkerEvent {
    Wake,
    Joined(WorkerSession),
    /// The session has ended.
    SessionEnded,
    /// Something was found that explains an absence, and had lasted so long by then.
    Found {
        finding: Finding,
        lasted: Duration,
    },
    /// This process itself was away this long past its deadline.
    Overslept(Duration),
    /// A link was opened, at this address of the agent's machine; none if it is not over a network.
    LinkOpened(Option<IpAddr>),
    /// The link is over.
    LinkEnded,
    /// The server refuses this agent permanently.
    Refused(AgentCause),
    /// A message of the server.
    Message(Box<ServerToAgent>),
    /// What [`next_message`](super::Worker::next_message) gave last was handed to the link.
    Sent,
    /// What was asked for by [`WorkerAction::Start`] runs.
    Started {
        command: CommandId,
        /// Its leader, if it is a process and the system tells.
        process: Option<ProcessIdentity>,
    },
    /// It cannot be started.
    NotStarted {
        command: CommandId,
        /// Why, and what to do.
        why: String,
    },
    /// It wrote output. There is none of a command before its [`Started`](Self::Started).
    Output {
        command: CommandId,
        stream: Stream,
        bytes: Bytes,
    },
    /// It ended, and all its output was delivered.
    Ended {
        command: CommandId,
        exit: Exit,
        /// What is left of it.
        rest: Rest,
        /// What of its output a process that outlives it still has open. Nothing of that comes any more.
        open: Vec<Stream>,
    },
    /// All processes of an ended command have ended.
    Cleared(CommandId),
    /// A journal entry that something waits for is durable, or cannot be written.
    Journalled {
        awaited: Awaited,
        /// Why it is not written, if it is not.
        outcome: Result<(), String>,
    },
    /// An answer of the spool.
    Spool(SpoolEvent),
    /// Of what is typed for this command the program has read a paste, and its Enter waits for
    /// [`WorkerAction::EndPaste`].
    PasteRead(CommandId),
    /// A command was typed, or was not.
    Typed {
        command: CommandId,
        outcome: TypingOutcome,
    },
    /// The outcome of a piece of input of the keyboard's holder.
    TypedRemotely {
        stroke: RemoteStroke,
        outcome: RemoteOutcome,
    },
    /// How the terminal is set, as [`WorkerAction::LookAtTerminal`] asks. `None` if there is no terminal to look at, or
    /// what keeps it does not say.
    Looked(Option<TerminalSettings>),
    /// A hook of the program of this run says something, which happened so long ago.
    Fact {
        command: CommandId,
        fact: Fact,
        age: Duration,
    },
    /// An event at the terminal of the agent's machine.
    Screen(ScreenEvent),
    /// The program of this terminal was stopped by a signal, or runs again. Reported on each change.
    Program {
        command: CommandId,
        state: ProgramState,
    },
    /// Stop the agent, by a local request.
    ShutDown,
}

/// The remaining processes of an ended command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// None: all its processes are confirmed to have ended.
    Ended,
    /// Some are alive, or may be. [`WorkerEvent::Cleared`] reports when none is left.
    Watched,
    /// These are alive, and belong to this command or to another one; otherwise as [`Watched`](Self::Watched).
    Unclear(SomeProcesses),
    /// Some may be alive, and their end will not be reported.
    Unwatched,
}

/// The outcome of typing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TypingOutcome {
    /// All of it was typed, and the program has read it, as far as that shows.
    Typed,
    /// Not all of it.
    Broken {
        much: Typed,
        /// Why, and what to do.
        why: String,
    },
    /// It was not begun, for this reason.
    Refused(String),
    /// It was not begun, because the terminal is not in the mode that it needs.
    OtherMode,
}

impl TypingOutcome {
    /// Its program has ended, so that nothing is typed.
    pub fn program_ended() -> Self {
        Self::Refused(NO_PROGRAM.to_owned())
    }
}

/// The outcome of input of the keyboard's holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteOutcome {
    /// It is in the terminal.
    Typed,
    /// It would suspend the program itself, and was not typed.
    Withheld,
    /// It is not in the terminal, or not all of it. The text says why.
    Lost(String),
}

/// Events of the terminal from which an agent was started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ScreenEvent {
    Keys(Bytes),
    /// What [`WorkerAction::TypeSuspending`] asks for was not typed.
    SuspendWithheld,
    /// It has another size.
    Resized(TerminalSize),
    /// It is far behind the output of the program.
    Behind,
    /// It displays output again.
    CaughtUp,
    /// It was hung up. The program continues.
    HungUp,
}

/// One action. Perform the actions in order, and report the outcome of each as an event.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WorkerAction {
    /// Start it, then say [`Started`](WorkerEvent::Started) or [`NotStarted`](WorkerEvent::NotStarted).
    Start {
        command: CommandId,
        /// What its processes are to bear, so that a successor of this agent finds them.
        mark: RunMark,
        task: Task,
    },
    /// Ask it to end, and kill what is left of it after the grace.
    Cancel {
        command: CommandId,
        /// How long it may take.
        grace: Duration,
    },
    /// End it at once. It may have ended, as with [`Cancel`](Self::Cancel): then this is about what it left.
    Kill(CommandId),
    /// Send this to every process that one of several runs started, whichever it was: all of them are to end.
    Sweep(RunSignal),
    /// Stop reading its output.
    PauseReading(CommandId),
    ResumeReading(CommandId),
    /// Write this down. If [something waits for it](JournalEntry::awaited), say
    /// [`Journalled`](WorkerEvent::Journalled) once it is durable.
    Journal(JournalEntry),
    /// Ask this of the spool.
    Spool(SpoolRequest),
    /// Type this into the terminal, then say [`Typed`](WorkerEvent::Typed).
    Type {
        command: CommandId,
        typing: Typing,
        /// The mode in which the terminal must be, if that matters; else say
        /// [`TypingOutcome::OtherMode`].
        required_mode: Option<LineMode>,
    },
    /// Type the Enter behind the paste that was [read](WorkerEvent::PasteRead).
    EndPaste(CommandId),
    /// Say by [`Looked`](WorkerEvent::Looked) how the terminal is set now.
    LookAtTerminal,
    /// Draw this on the model of the terminal's screen: its program wrote it. Only while nobody sits before the
    /// terminal.
    Draw(Bytes),
    /// Its program asks this, behind all that was to be [drawn](Self::Draw): type the answer into the terminal.
    Answer(Query),
    /// Type what was pressed at the terminal of the agent's machine.
    TypeKeys(Bytes),
    /// Type this, which suspends what is in the foreground, if that is a
    /// [job](super::Foreground::Job); else say [`SuspendWithheld`](ScreenEvent::SuspendWithheld).
    TypeSuspending(Bytes),
    /// Type this, in the order of these actions, then say [`TypedRemotely`](WorkerEvent::TypedRemotely).
    TypeRemotely(RemoteStroke),
    /// The terminal has this size from now on.
    Resize(TerminalSize),
    /// Stop reading from the program of the terminal, or read on, for the one who looks on at the
    /// agent's machine.
    WaitForScreen(Waiting),
    /// Do this at the terminal of the agent's machine.
    Screen(ScreenAction),
    /// Tell the server, before everything else, that it asked for what cannot be done.
    Complain(AgentErrorReport),
    /// The server offers a newer token.
    RenewToken(Secret),
    /// Say in heartbeats whether this agent is paused.
    SayPaused(Pausing),
    /// The agent may end: close the link and exit. Emitted once, as the last action.
    End(WorkerEnd),
    /// Log and count this.
    Note(WorkerNote),
}

impl From<SpoolAction> for WorkerAction {
    fn from(action: SpoolAction) -> Self {
        match action {
            SpoolAction::Append { run, record } => Self::Spool(SpoolRequest::Append(run, record)),
            SpoolAction::Read { run, from, through } => {
                Self::Spool(SpoolRequest::Read(run, from, through))
            }
            SpoolAction::Forget { run, from, before } => {
                Self::Spool(SpoolRequest::Forget(run, from, before))
            }
            SpoolAction::End { run } => Self::Spool(SpoolRequest::End(run)),
            SpoolAction::Close { run } => Self::Spool(SpoolRequest::Close(run)),
            SpoolAction::PauseReading(id) => Self::PauseReading(id),
            SpoolAction::ResumeReading(id) => Self::ResumeReading(id),
        }
    }
}

impl WorkerEvent {
    /// What a change of the connection's status means for the work; `None`: nothing.
    pub fn of_report(report: &AgentReport) -> Option<Self> {
        match report.status {
            AgentStatus::Connected { .. } | AgentStatus::Stale { .. } => None,
            AgentStatus::Idle
            | AgentStatus::Connecting { .. }
            | AgentStatus::Joining
            | AgentStatus::TimedOut { .. }
            | AgentStatus::Reconnecting { .. } => Some(Self::SessionEnded),
            // Closed on this machine or by an order; all else is the server's refusal.
            AgentStatus::Closed => {
                let is_own =
                    matches!(report.cause, AgentCause::Stopped | AgentCause::EndOrdered(_));
                Some(if is_own { Self::SessionEnded } else { Self::Refused(report.cause) })
            }
        }
    }
}

/// What is started.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// A command of a user.
    Command(Box<CommandRequest>),
    /// The program of the terminal, which has this size.
    Terminal(TerminalSize),
}

/// Whether output of the terminal's program is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Not until the screen has caught up.
    Waits,
    /// The program is read from.
    GoesOn,
}

/// Actions at the terminal of the agent's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScreenAction {
    /// Show this, and say [`Behind`](ScreenEvent::Behind) if too much waits to be shown.
    Show(Bytes),
    /// Say this to the one who sits before it.
    Notice(&'static str),
    /// Show nothing more until it has caught up.
    LeaveBehind,
    /// It has caught up: say how much was not shown.
    CaughtUp,
    /// Leave it as it was found, and show nothing there any more.
    Close,
}

/// A message to the server, in the form that the server of the session understands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum WorkerMessage {
    Text(Box<AgentToServer>),
    /// Output as a binary message.
    Binary(Bytes),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::TerminalSize;

    #[test]
    fn a_copied_state_directory_tells_of_no_run_before() {
        let (boot, namespace) = ("b".into(), "n".into());
        let owner = ProcessIdentity { pid: 1, started: 2, boot, namespace, tag: None };
        assert!(Predecessor::Ended.is_run_before());
        assert!(!Predecessor::Runs(owner).is_run_before());
    }

    #[test]
    fn commands_are_typed_one_after_the_other_unless_somebody_wants_more() {
        let program = "sh".into();
        let size = TerminalSize::DEFAULT;
        let line_idle = TerminalConfig::LINE_IDLE;
        let (screen, submit) = (Screen::Detached, SubmitKey::Enter);
        let terminal = TerminalConfig { program, size, screen, line_idle, submit };
        assert_eq!(WorkerConfig::slots(None, None), DEFAULT_SLOTS);
        assert_eq!(WorkerConfig::slots(None, Some(&terminal)), 1);
        assert_eq!(WorkerConfig::slots(Some(3), Some(&terminal)), 3);
        assert_eq!(WorkerConfig::slots(Some(0), None), 1);
    }
}
