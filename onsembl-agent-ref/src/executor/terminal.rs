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
    /// What it gets at the next start in place of `arguments`, if they take turns.
    ///
    /// Which of the two is right is known to the program alone: it refuses to begin a session that there is, and to
    /// continue
    /// with one to which nothing was said. So after each end the other one is tried.
    next: Option<Vec<String>>,
}

impl Terminal {
    /// One that is shown nowhere besides the server.
    pub fn new(program: String, arguments: Vec<String>, size: TerminalSize) -> Self {
        Self { program, arguments, size, screen: Screen::Detached, next: None }
    }

    /// What it gets at this start.
    fn take_arguments(&mut self) -> Vec<String> {
        let arguments = self.arguments.clone();
        if let Some(next) = &mut self.next {
            std::mem::swap(next, &mut self.arguments);
        }
        arguments
    }
}

impl Executor for Terminal {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        let size = match &job.task {
            Task::Terminal(size) => *size,
            Task::Command(_) => {
                return Err(
                    "this agent types commands into a terminal and does not run them".to_owned()
                );
            }
        };
        let arguments = self.take_arguments();
        let (program, screen) = (self.program.clone(), self.screen);
        run(Runner::Terminal { program, arguments, size }, screen, job, events)
    }

    fn attach(&mut self) {
        self.screen = Screen::Attached;
    }

    fn resume_with(&mut self, arguments: Vec<String>) {
        self.next = Some(arguments);
    }

    fn detach(&mut self) {
        self.screen = Screen::Detached;
    }

    fn terminal(&self) -> Option<TerminalProgram> {
        Some(TerminalProgram { program: self.program.clone(), size: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_begun_and_gone_on_with_in_turns() {
        let words = |text: &str| vec![text.to_owned()];
        let mut terminal = Terminal::new("p".into(), words("start"), TerminalSize::DEFAULT);
        assert_eq!([terminal.take_arguments(), terminal.take_arguments()].concat(), ["start"; 2]);
        terminal.resume_with(words("resume"));
        let starts: Vec<_> = (0..4).flat_map(|_| terminal.take_arguments()).collect();
        assert_eq!(starts, ["start", "resume", "start", "resume"]);
    }
}
