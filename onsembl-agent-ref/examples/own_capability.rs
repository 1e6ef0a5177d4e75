//! An agent with a capability of its own instead of a shell: it counts. No process runs for a command, and
//! yet it is journalled, spooled, started at most once, paused, stopped and audited as every other.
//!
//! `ONSEMBL_TOKEN=… cargo run --example own_capability -- http://127.0.0.1:8080`, then
//! `onsembl exec counter -- 10`.

use anyhow::Context as _;
use onsembl_agent_ref::engine::{self, AgentEnd, AgentOptions, TokenSourceKind};
use onsembl_agent_ref::executor::{Execution, ExecutionEvents, Executor, Job, Started};
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::worker::Task;
use onsembl_transport::secret::Secret;
use std::time::Duration;
use tokio::sync::oneshot;

const PAUSE: Duration = Duration::from_millis(100);

/// Counts up to the text of a command, aloud.
struct Counter;

impl Executor for Counter {
    fn start(&mut self, job: Job, events: ExecutionEvents) -> Result<Started, String> {
        let Task::Command(request) = job.task else { return Err("it has no terminal".to_owned()) };
        let most: u64 = request.text.trim().parse().map_err(|error| {
            format!("cannot count to {:?} ({error}); send a whole number", request.text)
        })?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(count(most, events, stopped));
        Ok(Started::new(Counting(Some(stop))))
    }
}

async fn count(most: u64, events: ExecutionEvents, mut stopped: oneshot::Receiver<()>) {
    for n in 1..=most {
        // The agent may take nothing for a while, and an order to end does not wait for that.
        let step = async {
            events.output(Stream::Stdout, format!("{n}\n")).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            _ = &mut stopped => return events.ended(Exit::Signal(15)).await,
            () = step => {}
        }
    }
    events.ended(Exit::Code(0)).await;
}

/// A count on its way, which ends when this is empty.
struct Counting(Option<oneshot::Sender<()>>);

impl Execution for Counting {
    fn cancel(&mut self, _grace: Duration) {
        self.kill();
    }

    fn kill(&mut self) {
        drop(self.0.take());
    }
}

/// Runs the agent until `shutdown` completes.
pub async fn run(
    options: AgentOptions,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<AgentEnd> {
    Ok(engine::run_with(options, Box::new(Counter), shutdown).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let server = std::env::args().nth(1).context("which server? give its URL")?;
    let token = std::env::var("ONSEMBL_TOKEN").context("set ONSEMBL_TOKEN to an agent's token")?;
    let options =
        AgentOptions::new(server, TokenSourceKind::Literal(Secret::new(token)), "counter");
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    run(options, interrupted).await.map(drop)
}
