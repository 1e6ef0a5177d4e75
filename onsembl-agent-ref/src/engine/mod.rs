//! The agent itself: one loop that performs what the machines of the core decide.
//!
//! Who is alive, when to dial, whether a command runs and how much output may be on its way is
//! decided in [`onsembl_protocol`] (`AgentConnection`, `CommandBook`, `Outbox`). Here are the
//! effects: processes, the link's driver, the status file.
//!
//! # What is promised
//!
//! - Losing the link ends no process. What was not confirmed is said again in the next session.
//! - A report of an end never overtakes output of its command.
//! - An agent that ends leaves no process behind: each command's group is asked to end, and killed
//!   after [a grace of 5 s](run#shutdown).
//! - An explicit, permanent refusal ends the agent, with an error that says why and what to do.
//!   Nothing else that a server or a network does ends it.

mod agent;
mod commands;
mod dial;
mod due;
mod error;
mod notes;
mod options;
mod speak;
mod status;
mod stopping;
mod vitals;

pub use error::AgentError;
pub use options::{AgentEnd, AgentObservation, AgentOptions, TokenSourceKind};

/// Runs an agent until `shutdown` completes, the server orders it to stop, or the server refuses it
/// for good. Must be called within a Tokio runtime with its IO and time drivers on.
///
/// # Shutdown
///
/// Each command's process group gets `SIGTERM`, and `SIGKILL` 5 s later; that is awaited for at
/// most 8 s, while output and reports still go out. Then the link is closed, within 3 s.
///
/// Dropping the future instead kills the process groups at once and tells the server nothing.
///
/// # Errors
///
/// The agent cannot start with these options, or the server refuses it for good.
pub async fn run(
    options: AgentOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<AgentEnd, AgentError> {
    let agent = agent::Agent::new(options).await?;
    // On the heap: the loop holds the state of every wait at once.
    Box::pin(agent.run(shutdown)).await
}
