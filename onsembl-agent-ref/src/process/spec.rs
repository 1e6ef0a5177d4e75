//! What to run, and why it could not be started. Starts processes, and knows nothing of them later.

use super::survivors::{MARK, mark_to_bear};
use onsembl_protocol::id::RunMark;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

const SHELL: &str = "/bin/sh";

/// Variables of the agent that its commands do not inherit: a command that prints its environment
/// would publish the token to every dashboard.
const WITHHELD: [&str; 1] = ["ONSEMBL_TOKEN"];

/// A shell command and its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSpec {
    /// The text that `/bin/sh -c` runs.
    pub text: String,
    /// Where it runs; the agent's own directory if not given.
    pub working_directory: Option<PathBuf>,
    /// Variables on top of the agent's environment (of which `ONSEMBL_TOKEN` is not passed on).
    pub environment: Vec<(String, String)>,
    /// The positional parameters `$1`, `$2` and so on.
    pub arguments: Vec<String>,
    /// What it and everything that it starts bears in `ONSEMBL_RUN`, by which a successor of an agent
    /// that died finds it.
    pub mark: Option<RunMark>,
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
    /// The system refused to start the shell (out of processes or memory, too long, no shell).
    #[error("{SHELL} could not be started on this machine: {0}")]
    Start(#[source] io::Error),
    /// This process cannot learn of the end of its children, so it starts none.
    #[error("the agent cannot watch its child processes: {0}")]
    Watch(#[source] io::Error),
}

impl ProcessSpec {
    /// A spec that runs `text` with nothing special.
    pub fn shell(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn start(&self) -> Result<Child, SpawnError> {
        self.check()?;
        let mut command = Command::new(SHELL);
        // `--` so that a text that begins with a dash is not read as options of the shell.
        command.args(["-c", "--", &self.text, "sh"]).args(&self.arguments);
        for name in WITHHELD {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(mark) = &self.mark {
            command.env(MARK, mark_to_bear(mark));
        }
        if let Some(directory) = &self.working_directory {
            command.current_dir(directory);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(false);
        command.spawn().map_err(|error| self.explain(error))
    }

    fn check(&self) -> Result<(), SpawnError> {
        let nul = |text: &str| text.contains('\0');
        if nul(&self.text) {
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
        let Some(path) = self.working_directory.clone() else { return SpawnError::Start(error) };
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
            None => SpawnError::Start(error),
        }
    }
}
