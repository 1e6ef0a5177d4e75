//! Runs each command in a shell of its own.

use super::{ExecutionEvents, Executor, Job, Started};
use crate::process::{self, ProcessSpec, Runner};
use onsembl_protocol::worker::{Screen, Task};

/// `/bin/sh -c TEXT` for each command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shell;

impl Executor for Shell {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        run(Runner::Shell, Screen::Detached, job, events)
    }
}

/// Starts a process of a runner for a job.
pub(super) fn run(
    runner: Runner,
    screen: Screen,
    job: Job,
    events: ExecutionEvents,
) -> Result<Started, String> {
    let Job { mark, task, environment, .. } = job;
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
