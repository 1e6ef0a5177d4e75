//! Runs a fresh process of one program for each command.

use super::shell::run;
use super::{ExecutionEvents, Executor, Job, Started};
use crate::process::{Runner, TextOn};
use onsembl_protocol::worker::{Fence, Screen};

/// `PROGRAM ARGUMENTS…` for each command, which gets its text.
#[derive(Clone, Debug)]
pub struct Program {
    /// What to start; looked for in `PATH` if it names no folder.
    pub program: String,
    /// What it always gets.
    pub arguments: Vec<String>,
    /// How it gets the text.
    pub text_on: TextOn,
}

impl Executor for Program {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        let Self { program, arguments, text_on } = self.clone();
        run(Runner::Program { program, arguments, text_on }, Screen::Detached, job, events)
    }

    /// Who may send it texts is to be able to use this program, and nothing else.
    fn fence(&self) -> Fence {
        Fence::text_only()
    }
}
