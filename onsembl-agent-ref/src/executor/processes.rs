//! Runs processes: a shell or a program for each command, or one program under a terminal, into which commands are typed.

use super::{ExecutionEvents, Executor, Job, Started, TerminalProgram};
use crate::process::{self, ProcessSpec, Runner};
use onsembl_protocol::worker::{Fence, Screen, Task};

/// Runs what a [`Runner`] says.
#[derive(Clone, Debug)]
pub struct Processes {
    runner: Runner,
    /// Where a terminal is shown besides the server.
    screen: Screen,
    /// What the program of a terminal gets at the next start in place of its arguments, if they take turns.
    ///
    /// Which of the two is right is known to the program alone: it refuses to begin a session that there is, and to
    /// continue with one to which nothing was said. So after each end the other one is tried.
    next: Option<Vec<String>>,
}

impl From<Runner> for Processes {
    /// A terminal of it is shown nowhere besides the server.
    fn from(runner: Runner) -> Self {
        Self { runner, screen: Screen::Detached, next: None }
    }
}

impl Processes {
    /// What runs this task.
    fn take_runner(&mut self, task: &Task) -> Result<Runner, String> {
        let mut runner = self.runner.clone();
        if let Runner::Terminal { size, .. } = &mut runner {
            *size = match task {
                Task::Terminal(size) => *size,
                Task::Command(_) => {
                    let why = "this agent types commands into a terminal and does not run them";
                    return Err(why.to_owned());
                }
            };
        }
        if let (Runner::Terminal { arguments, .. }, Some(next)) = (&mut self.runner, &mut self.next)
        {
            std::mem::swap(next, arguments);
        }
        Ok(runner)
    }
}

impl Executor for Processes {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        let Job { mark, task, environment, .. } = job;
        let (runner, screen) = (self.take_runner(&task)?, self.screen);
        let mut spec = ProcessSpec { runner, screen, mark: Some(mark), ..ProcessSpec::default() };
        match task {
            Task::Command(request) => {
                spec.text = request.text;
                spec.working_directory = request.working_directory.map(Into::into);
                spec.environment = request.env.into_iter().collect();
                spec.arguments = request.args;
            }
            // The runner says all of it.
            Task::Terminal(_) => {}
        }
        spec.environment.extend(environment);
        let (command, Some(entry)) = events.into_parts() else {
            return Err("the request is no longer wanted by the agent".to_owned());
        };
        let handle = process::spawn(&spec, command, entry).map_err(|error| error.to_string())?;
        let process = handle.identity();
        Ok(Started { execution: Box::new(handle), process })
    }

    fn terminal(&self) -> Option<TerminalProgram> {
        match &self.runner {
            Runner::Shell | Runner::Program { .. } => None,
            Runner::Terminal { program, size, .. } => {
                Some(TerminalProgram { program: program.clone(), size: *size })
            }
        }
    }

    fn attach(&mut self) {
        self.screen = Screen::Attached;
    }

    fn detach(&mut self) {
        self.screen = Screen::Detached;
    }

    fn resume_with(&mut self, arguments: Vec<String>) {
        self.next = Some(arguments);
    }

    fn fence(&self) -> Fence {
        match &self.runner {
            Runner::Shell | Runner::Terminal { .. } => Fence::open(),
            // Who may send it texts is to be able to use this program, and nothing else.
            Runner::Program { .. } => Fence::text_only(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::model::TerminalSize;

    #[test]
    fn a_session_is_begun_and_gone_on_with_in_turns() {
        let words = |text: &str| vec![text.to_owned()];
        let size = TerminalSize::DEFAULT;
        let runner = Runner::Terminal { program: "p".into(), arguments: words("start"), size };
        let mut processes = Processes::from(runner);
        let take = |processes: &mut Processes| {
            let runner = processes.take_runner(&Task::Terminal(size)).unwrap();
            let Runner::Terminal { arguments, .. } = runner else { panic!("{runner:?}") };
            arguments.concat()
        };
        assert_eq!([take(&mut processes), take(&mut processes)], ["start"; 2]);
        processes.resume_with(words("resume"));
        let starts: Vec<_> = (0..4).map(|_| take(&mut processes)).collect();
        assert_eq!(starts, ["start", "resume", "start", "resume"]);
    }
}
