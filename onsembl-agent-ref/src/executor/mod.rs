//! What carries out commands: the seam at which a capability of your own plugs into an agent.
//!
//! An [`Executor`] starts commands and says what they write and how they end. Everything around that is the
//! agent's, whatever the executor: a command starts at most once, its start and its end are written
//! down first, its output is spooled, numbered and sent until it is stored, its report is said until it is
//! confirmed, time limits, cancellation, pause and emergency stops work, and audits are answered. Hand one to
//! [`engine::run_with`](crate::engine::run_with).
//!
//! [`Shell`], [`Program`] and [`Terminal`] are the ones of this crate; they run processes.

mod events;
mod program;
mod shell;
mod terminal;

pub use events::{ExecutionEvents, PasteReply, RemoteReply, TypingReply};
pub use program::Program;
pub use shell::Shell;
pub use terminal::Terminal;

use crate::process::{ProcessHandle, Runner};
use bytes::Bytes;
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{
    Fence, LineMode, ProcessIdentity, RemoteOutcome, Task, TerminalSettings, Typing, Waiting,
};
use std::io;
use std::time::Duration;

/// Starts commands.
pub trait Executor: Send {
    /// Starts a command; it reports to `events`. Called within the agent's runtime, and must not
    /// block. Called at most once for a command, in all processes of the agent.
    ///
    /// # Errors
    /// Why it cannot be started, and what its user can do. Nothing runs then.
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String>;

    /// The terminal that this executor keeps, if commands are typed into one and not run by themselves.
    /// Asked once, before everything else.
    fn terminal(&self) -> Option<TerminalProgram> {
        None
    }

    /// The terminal of the agent's process is joined to the one that this executor keeps. Said once, before
    /// everything else.
    fn attach(&mut self) {}

    /// The program of the terminal continues with these arguments where it was, at every second start. Said once,
    /// before
    /// everything else.
    fn resume_with(&mut self, arguments: Vec<String>) {
        let _ = arguments;
    }

    /// That terminal was hung up: what is started from now on is shown nowhere.
    fn detach(&mut self) {}

    /// What of a request gets to [`start`](Self::start); a request that holds more is refused. Asked once,
    /// before everything else, unless [the options](crate::engine::AgentOptions::fence) say it. By default
    /// a request may hold anything: an executor that is to be a fence says so, or looks itself.
    fn fence(&self) -> Fence {
        Fence::open()
    }
}

/// What is to be started.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Job {
    /// Under which id.
    pub command: CommandId,
    /// Mark to set on its processes, so that a later agent process finds those that survive.
    pub mark: RunMark,
    pub task: Task,
    /// Variables to set on its processes, over those that a request asks for.
    pub environment: Vec<(String, String)>,
}

/// The program of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TerminalProgram {
    /// The name that is shown.
    pub program: String,
    /// How large the terminal is at first.
    pub size: TerminalSize,
}

/// A command that runs.
pub struct Started {
    /// What gives it orders.
    pub execution: Box<dyn Execution>,
    /// Its process, if it is one that a successor of this agent can find.
    pub process: Option<ProcessIdentity>,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Started {
    /// A command without a process of its own.
    pub fn new(execution: impl Execution + 'static) -> Self {
        Self { execution: Box::new(execution), process: None }
    }
}

/// Orders to a command that runs. None may block. The end is reported through its
/// [`ExecutionEvents`] once it has come. Dropping it changes nothing.
pub trait Execution: Send {
    /// End, and be ended after `grace`.
    fn cancel(&mut self, grace: Duration);

    /// End at once.
    fn kill(&mut self);

    /// It has ended, and something that it started may live: from now on it is only asked to end. A keyboard, whose
    /// program is gone, is to be given up.
    fn leader_ended(&mut self) {}

    /// Write nothing for now, or write again. One that continues is held by its
    /// [`ExecutionEvents`], which takes no more than a few pieces.
    fn set_reading(&mut self, waiting: Waiting) {
        let _ = waiting;
    }

    /// As [`set_reading`](Self::set_reading), for a screen at the agent's machine that is behind.
    fn set_screen(&mut self, waiting: Waiting) {
        let _ = waiting;
    }

    /// How its terminal is set now; `None` if there is none, or that cannot be seen. Then a program is taken for one
    /// that reads when it has written and is silent.
    fn terminal_settings(&self) -> Option<TerminalSettings> {
        None
    }

    /// Types this, if the terminal is in the mode `required_mode` or that does not matter.
    fn type_in(&mut self, typing: Typing, required_mode: Option<LineMode>, reply: TypingReply) {
        let _ = (typing, required_mode);
        reply.refuse("no terminal to type into");
    }

    /// Types what stands behind a paste that was [said to be read](TypingReply::of_paste).
    fn end_paste(&mut self) {}

    /// Types what was pressed at the agent's machine. Whether there was room.
    fn type_keys(&mut self, keys: Bytes) -> bool {
        let _ = keys;
        false
    }

    /// Types a piece that the holder of the keyboard typed, in the order of these calls, if it
    /// [may be](onsembl_protocol::worker::RemotePiece::may_be_typed); else it is withheld.
    fn type_remotely(&mut self, reply: RemoteReply) {
        reply.say(RemoteOutcome::Lost("no terminal to type into".to_owned()));
    }

    /// Types what a terminal answers to its program. Whether there was room.
    fn answer(&mut self, answer: Bytes) -> bool {
        let _ = answer;
        false
    }

    /// Makes the terminal so large.
    ///
    /// # Errors
    /// The system refuses.
    fn resize(&mut self, size: TerminalSize) -> io::Result<()> {
        let _ = size;
        Ok(())
    }
}

impl Runner {
    /// What runs commands in this way.
    pub fn executor(self) -> Box<dyn Executor> {
        match self {
            Self::Shell => Box::new(Shell),
            Self::Program { program, arguments, text_on } => {
                Box::new(Program { program, arguments, text_on })
            }
            Self::Terminal { program, arguments, size } => {
                Box::new(Terminal::new(program, arguments, size))
            }
        }
    }
}

/// A process, with a keyboard if it is under a terminal.
impl Execution for ProcessHandle {
    fn cancel(&mut self, grace: Duration) {
        Self::cancel(self, grace);
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn leader_ended(&mut self) {
        self.drop_keyboard();
    }

    fn set_reading(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Waits => self.pause_reading(),
            Waiting::GoesOn => self.resume_reading(),
        }
    }

    fn set_screen(&mut self, waiting: Waiting) {
        self.wait_for_watcher(waiting == Waiting::Waits);
    }

    fn terminal_settings(&self) -> Option<TerminalSettings> {
        Self::terminal_settings(self)
    }

    fn type_in(&mut self, typing: Typing, required_mode: Option<LineMode>, reply: TypingReply) {
        let settings = Self::terminal_settings(self);
        let Some(keyboard) = self.keyboard() else {
            return reply.refuse("this process has no terminal to type into");
        };
        if !TerminalSettings::is_in(settings, required_mode) {
            return reply.other_mode();
        }
        match keyboard.reserve() {
            Ok(permit) => {
                let paste = reply.of_paste();
                permit.type_command(
                    typing,
                    move || paste.clone().read(),
                    |typed| reply.typed(typed),
                );
            }
            Err(error) => reply.refuse(&error.to_string()),
        }
    }

    fn end_paste(&mut self) {
        if let Some(keyboard) = self.keyboard() {
            keyboard.end_paste();
        }
    }

    fn type_keys(&mut self, keys: Bytes) -> bool {
        self.keyboard().is_some_and(|keyboard| keyboard.type_local(keys))
    }

    fn type_remotely(&mut self, reply: RemoteReply) {
        let settings = Self::terminal_settings(self);
        if !reply.stroke().piece.may_be_typed(settings) {
            return reply.say(RemoteOutcome::Withheld);
        }
        let keys = reply.stroke().keys.0.clone();
        // Without a keyboard, or room, the reply is dropped, which says that it is lost.
        if let Some(keyboard) = self.keyboard()
            && let Err(error) = keyboard.type_remotely(keys, |typed| reply.typed(typed))
        {
            tracing::warn!(%error, "remote input was not typed");
        }
    }

    fn answer(&mut self, answer: Bytes) -> bool {
        self.keyboard().is_some_and(|keyboard| keyboard.answer(answer))
    }

    fn resize(&mut self, size: TerminalSize) -> io::Result<()> {
        self.keyboard().map_or(Ok(()), |keyboard| keyboard.resize(size))
    }
}
