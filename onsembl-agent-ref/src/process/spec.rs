//! What a command is on this agent, and why it could not be started. Starts processes, and knows
//! nothing of them later.

use super::pipes::Outputs;
use super::pty::{self, Keyboard};
use super::survivors::{MARK, mark_to_bear};
use onsembl_protocol::id::RunMark;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::script_lines;
use onsembl_protocol::worker::{EnvironmentChange, Screen, Surroundings};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

const SHELL: &str = "/bin/sh";

/// Variables of no `ONSEMBL_` name that its commands do not inherit anyway: by those of a service manager a command
/// would speak for the agent, or read its credentials, and the headers of the agent's exporter may hold the key of a
/// collector.
const WITHHELD: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "CREDENTIALS_DIRECTORY",
    #[cfg(feature = "otel")]
    "OTEL_EXPORTER_OTLP_HEADERS",
    #[cfg(feature = "otel")]
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];

/// What runs a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runner {
    /// `/bin/sh -c TEXT`, with the command's arguments as `$1`, `$2` and so on.
    #[default]
    Shell,
    /// A fresh `PROGRAM ARGUMENTS…` for each command, with the command's own arguments behind those.
    Program {
        /// What to start; looked for in `PATH` if it names no folder.
        program: String,
        /// What it always gets.
        arguments: Vec<String>,
        /// How it gets the text.
        text_on: TextOn,
    },
    /// One long-lived `PROGRAM ARGUMENTS…` under a terminal, into which commands are typed.
    Terminal {
        /// What to start; looked for in `PATH` if it names no folder.
        program: String,
        /// What it gets.
        arguments: Vec<String>,
        /// How large the terminal is at first.
        size: TerminalSize,
    },
}

/// How a program gets the text of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextOn {
    /// As its last argument. A text that begins with `-` would be taken for an option and is refused,
    /// unless the last of the runner's arguments is `--`.
    #[default]
    Argument,
    /// As its standard input, which ends there.
    Stdin,
}

impl TextOn {
    /// Reads `argument` or `stdin`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "argument" => Some(Self::Argument),
            "stdin" => Some(Self::Stdin),
            _ => None,
        }
    }
}

/// A command and its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSpec {
    /// What runs it.
    pub runner: Runner,
    /// What to run, or what to tell the program.
    pub text: String,
    /// Where it runs; the agent's own directory if not given.
    pub working_directory: Option<PathBuf>,
    /// Variables on top of the agent's environment, of which what [`Surroundings`] leaves out is not passed
    /// on: a command that prints its environment would publish the token to every dashboard.
    pub environment: Vec<(String, String)>,
    /// Its arguments: positional parameters of a shell, further arguments of a program.
    pub arguments: Vec<String>,
    /// What it and everything that it starts bears in `ONSEMBL_RUN`, by which a successor of an agent
    /// that died finds it.
    pub mark: Option<RunMark>,
    /// Where its terminal is shown, if it has one.
    pub screen: Screen,
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) outputs: Outputs,
    /// Of a process under a terminal.
    pub(super) keyboard: Option<Keyboard>,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The working directory cannot be entered. The asker's fault.
    #[error("the working directory {} cannot be used: {source}", path.display())]
    WorkingDirectory {
        /// The directory as asked for.
        path: PathBuf,
        /// What the system says of it.
        source: io::Error,
    },
    /// A part of the command holds a NUL byte, which no process can be given. The asker's fault.
    #[error("{0} contains a NUL byte, which cannot be passed to a process; remove it")]
    NulByte(&'static str),
    /// A variable has a name that no environment can hold. The asker's fault.
    #[error("{name:?} cannot name an environment variable; a name is not empty and has no '='")]
    EnvironmentName {
        /// The name as asked for.
        name: String,
    },
    /// A text that the program would take for an option. The asker's fault.
    #[error(
        "the text begins with `-`, and this agent's program would parse it as an option; begin it with something else (or run the agent with --text-on stdin, or end its arguments with --)"
    )]
    LooksLikeOption,
    /// The system refused to start it (out of processes or memory, too long, no such program).
    #[error("{program} could not be started on this machine: {source}")]
    Start {
        /// What was to be started.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// This process cannot learn of the end of its children, so it starts none.
    #[error("the agent cannot watch its child processes: {0}")]
    Watch(#[source] io::Error),
}

impl ProcessSpec {
    /// A spec that runs `text` with nothing special.
    pub fn shell(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn start(&self) -> Result<Started, SpawnError> {
        self.check()?;
        match &self.runner {
            Runner::Shell | Runner::Program { .. } => self.start_with_pipes(),
            Runner::Terminal { program, arguments, size } => {
                self.start_in_terminal(program, arguments, *size)
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
    fn start_in_terminal(
        &self,
        program: &str,
        arguments: &[String],
        size: TerminalSize,
    ) -> Result<Started, SpawnError> {
        let failed = |source| SpawnError::Start { program: program.to_owned(), source };
        let (screen, keyboard, pts) = pty::open(size).map_err(failed)?;
        let mut command = pty_process::Command::new(program).args(arguments);
        for change in self.environment_changes() {
            command = match change {
                EnvironmentChange::Remove(name) => command.env_remove(name),
                EnvironmentChange::Set(name, value) => command.env(name, value),
            };
        }
        command = command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(mark) = &self.mark {
            command = command.env(MARK, mark_to_bear(mark));
        }
        if let Some(directory) = &self.working_directory {
            command = command.current_dir(directory);
        }
        let child = command.kill_on_drop(false).spawn(pts).map_err(|error| match error {
            pty_process::Error::Io(error) => self.explain(error),
            other => failed(io::Error::other(other)),
        })?;
        Ok(Started { child, outputs: Outputs::of_terminal(screen), keyboard: Some(keyboard) })
    }

    fn start_with_pipes(&self) -> Result<Started, SpawnError> {
        let mut command = self.command();
        for change in self.environment_changes() {
            match change {
                EnvironmentChange::Remove(name) => command.env_remove(name),
                EnvironmentChange::Set(name, value) => command.env(name, value),
            };
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(mark) = &self.mark {
            command.env(MARK, mark_to_bear(mark));
        }
        if let Some(directory) = &self.working_directory {
            command.current_dir(directory);
        }
        command
            .stdin(if self.feeds().is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(false);
        let mut child = command.spawn().map_err(|error| self.explain(error))?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.feeds()) {
            let text = text.to_owned();
            // It ends when all is taken, or when the reader is closed.
            tokio::spawn(async move {
                if let Err(error) = stdin.write_all(text.as_bytes()).await {
                    tracing::debug!(%error, "a program did not read its text to the end");
                }
            });
        }
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            let source = io::Error::other("it has no pipes");
            return Err(SpawnError::Start { program: self.program().to_owned(), source });
        };
        Ok(Started { child, outputs: Outputs::of_pipes(stdout, stderr), keyboard: None })
    }

    /// How its environment differs from that of this process. A name that is no UTF-8 is none of ours.
    fn environment_changes(&self) -> Vec<EnvironmentChange> {
        let surroundings = match (&self.runner, self.screen) {
            (Runner::Shell | Runner::Program { .. }, _) => Surroundings::Pipes,
            (Runner::Terminal { .. }, Screen::Detached) => Surroundings::Detached,
            (Runner::Terminal { .. }, Screen::Attached) => Surroundings::Attached,
        };
        let known = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        let inherited: Vec<(String, String)> = std::env::vars_os().filter_map(known).collect();
        let inherited = inherited.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut changes = surroundings.changes(inherited);
        changes.extend(WITHHELD.iter().map(|name| EnvironmentChange::Remove((*name).to_owned())));
        changes
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        match &self.runner {
            Runner::Shell => {
                // `--` so that a text that begins with a dash is not read as options of the shell.
                let script = script_lines(&self.text);
                command.args(["-c", "--", &*script, "sh"]).args(&self.arguments);
            }
            Runner::Program { arguments, text_on, .. } => {
                command.args(arguments).args(&self.arguments);
                if *text_on == TextOn::Argument {
                    command.arg(&self.text);
                }
            }
            Runner::Terminal { arguments, .. } => {
                command.args(arguments);
            }
        }
        command
    }

    fn program(&self) -> &str {
        match &self.runner {
            Runner::Shell => SHELL,
            Runner::Program { program, .. } | Runner::Terminal { program, .. } => program,
        }
    }

    /// What goes to its standard input.
    fn feeds(&self) -> Option<&str> {
        match &self.runner {
            Runner::Program { text_on: TextOn::Stdin, .. } => Some(&self.text),
            Runner::Program { text_on: TextOn::Argument, .. }
            | Runner::Shell
            | Runner::Terminal { .. } => None,
        }
    }

    fn check(&self) -> Result<(), SpawnError> {
        let nul = |text: &str| text.contains('\0');
        if let Runner::Program { arguments, text_on: TextOn::Argument, .. } = &self.runner {
            let last = self.arguments.last().or(arguments.last());
            if self.text.starts_with('-') && last.is_none_or(|last| last != "--") {
                return Err(SpawnError::LooksLikeOption);
            }
        }
        if nul(&self.text) && self.feeds().is_none() {
            return Err(SpawnError::NulByte("the command text"));
        }
        if self.arguments.iter().any(|argument| nul(argument)) {
            return Err(SpawnError::NulByte("an argument"));
        }
        for (name, value) in &self.environment {
            if nul(name) || nul(value) {
                return Err(SpawnError::NulByte("an environment variable"));
            }
            if name.is_empty() || name.contains('=') {
                return Err(SpawnError::EnvironmentName { name: name.clone() });
            }
        }
        let directory = self.working_directory.as_deref().map(Path::to_string_lossy);
        if directory.is_some_and(|path| nul(&path)) {
            return Err(SpawnError::NulByte("the working directory"));
        }
        Ok(())
    }

    /// The system reports a bad directory and a bad shell with the same error; this tells which.
    fn explain(&self, error: io::Error) -> SpawnError {
        let program = self.program().to_owned();
        let Some(path) = self.working_directory.clone() else {
            return SpawnError::Start { program, source: error };
        };
        let fault = match std::fs::metadata(&path) {
            Err(fault) => Some(fault),
            Ok(found) if !found.is_dir() => Some(io::ErrorKind::NotADirectory.into()),
            Ok(_) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(io::ErrorKind::PermissionDenied.into())
            }
            Ok(_) => None,
        };
        match fault {
            Some(source) => SpawnError::WorkingDirectory { path, source },
            None => SpawnError::Start { program, source: error },
        }
    }
}
