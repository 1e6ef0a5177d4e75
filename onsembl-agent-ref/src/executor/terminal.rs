//! Keeps one program under a terminal, into which commands are typed.

use super::shell::run;
use super::{ExecutionEvents, Executor, Job, Started, TerminalProgram};
use crate::process::Runner;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{Screen, Task};

/// One long-lived `PROGRAM ARGUMENTS…` under a terminal.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// What to start; looked for in `PATH` if it names no folder.
    pub program: String,
    /// What it gets.
    pub arguments: Vec<String>,
    /// How large the terminal is at first.
    pub size: TerminalSize,
    /// Where it is shown besides the server.
    pub screen: Screen,
}

impl Executor for Terminal {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        let size = match &job.task {
            Task::Terminal(size) => *size,
            Task::Command(_) => return Err("this agent types commands and runs none".to_owned()),
        };
        let Self { program, arguments, screen, .. } = self.clone();
        run(Runner::Terminal { program, arguments, size }, screen, job, events)
    }

    fn attach(&mut self) {
        self.screen = Screen::Attached;
    }

    fn terminal(&self) -> Option<TerminalProgram> {
        Some(TerminalProgram { program: self.program.clone(), size: self.size })
    }
}
