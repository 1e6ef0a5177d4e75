//! A 60-line wrapper with a planted bug, and the test kit that finds it: `cargo run --example
//! wrapper_under_test --features testing`. It prints the finding, then tests the mended wrapper.
#![allow(clippy::print_stdout, reason = "an example that talks")]

use onsembl_protocol::lab::kit::agent::{Observation, Rules, WrapperUnderTest};
use onsembl_protocol::lab::kit::{Invariant, Plan, Reaction, agent};
use onsembl_protocol::session::{AgentAction, AgentConfig, AgentConnection, AgentEvent};
use onsembl_protocol::time::{Deadline, Now};
use std::time::Duration;

/// A wrapper as people write it: it translates what its sockets say, performs what the machine asks,
/// shows a status line, and has one timer.
struct Wrapper {
    machine: AgentConnection,
    timer: Deadline,
    status_line: &'static str,
    mended: bool,
}

impl Wrapper {
    fn new(mended: bool) -> Self {
        Self {
            machine: AgentConnection::new(AgentConfig::DEFAULT, 7),
            timer: Deadline::Never,
            status_line: "idle",
            mended,
        }
    }

    /// Everything that happens ends up here. What it does to the world goes into `out`.
    fn on(&mut self, event: AgentEvent, now: Now, out: &mut Vec<Observation>) {
        let step = self.machine.handle(event, now);
        let mut beat = false;
        for action in step.actions {
            match action {
                AgentAction::Dial(link) => out.push(Observation::Dialled(link)),
                AgentAction::SendHello(link) => out.push(Observation::SentHello(link)),
                AgentAction::SendBeat { link, sequence, .. } => {
                    beat = true;
                    out.push(Observation::SentBeat(link, Some(sequence)));
                }
                AgentAction::Probe(link) => out.push(Observation::SentBeat(link, None)),
                AgentAction::SendPong { link, echo } => out.push(Observation::SentPong(link, echo)),
                AgentAction::Close(link, cause) => out.push(Observation::Closed(link, cause)),
                AgentAction::Report(report) => {
                    self.status_line = report.status.as_str();
                    out.push(Observation::Shown(report.status.kind()));
                }
                AgentAction::Impaired(_) | AgentAction::Overslept(_) => {}
            }
        }
        // The bug: "a beat went out, so the next thing to do is the next beat, in 30 s".
        self.timer = if beat && !self.mended {
            Deadline::At(now.monotonic.saturating_add(Duration::from_secs(30)))
        } else {
            step.deadline
        };
    }
}

/// The glue for the kit: the same entry point, with what it did and when its timer fires.
impl WrapperUnderTest for Wrapper {
    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<Observation> {
        let mut actions = Vec::new();
        self.on(event, now, &mut actions);
        Reaction { actions, deadline: self.timer }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan::default();
    let Err(found) = agent::check_wrapper_with(&plan, Rules::DEFAULT, || Wrapper::new(false))
    else {
        return Err("the planted bug was not found".into());
    };
    println!("the wrapper with the bug, after {} scripts:\n\n{found}\n", found.cases);
    if found.violation.invariant != Invariant::SilentPeerGoesStaleExactly {
        return Err("the bug was found under another name".into());
    }
    let passed = agent::check_wrapper_with(&plan, Rules::DEFAULT, || Wrapper::new(true))?;
    println!("the mended wrapper: {} scripts, every invariant held", passed.cases);
    Ok(())
}
