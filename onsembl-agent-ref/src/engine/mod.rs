//! The agent itself: one loop that performs what the machines of the core decide.
//!
//! [`onsembl_protocol`]'s `AgentConnection` decides who is alive and when to dial; its
//! [`Worker`](onsembl_protocol::worker::Worker) decides what is run, kept, sent and awaited. Here are the effects:
//! the run loop (`run`),
//! what it opens first (`start`), the actions (`perform`), the model of the terminal's screen (`screen_model`), the
//! token
//! (`credentials`). What carries out commands is an [`Executor`].
//!
//! # Guarantees
//!
//! - Losing the link ends no process. What was not confirmed is said again in the next session.
//! - A report of an end never overtakes output of its command.
//! - An agent that ends leaves no process behind: each command's group is asked to end, and killed
//!   after [a grace of 5 s](run#shutdown).
//! - An explicit, permanent refusal ends the agent, with an error that says why and what to do.
//!   Nothing else that a server or a network does ends it.

mod credentials;
mod perform;
mod run;
mod screen_model;
mod start;

use crate::executor::Executor;
pub use crate::options::{
    AgentControl, AgentEnd, AgentError, AgentObservation, AgentOptions, ControlInbox,
    TokenSourceKind,
};
pub(crate) use credentials::doctors_dialer;

/// Runs an agent until `shutdown` completes, the server orders it to stop, or the server refuses it
/// permanently. Must be called within a Tokio runtime with its IO and time drivers on.
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
/// The agent cannot start with these options, or the server refuses it permanently.
pub async fn run(
    options: AgentOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<AgentEnd, AgentError> {
    let executor = options.runner.clone().executor();
    run_with(options, executor, shutdown).await
}

/// As [`run`], with commands carried out by `executor` instead of the options' runner.
///
/// # Errors
///
/// The agent cannot start with these options, or the server refuses it permanently.
pub async fn run_with(
    options: AgentOptions,
    executor: Box<dyn Executor>,
    shutdown: impl Future<Output = ()>,
) -> Result<AgentEnd, AgentError> {
    let agent = run::Agent::new(options, executor).await?;
    // On the heap: the loop holds the state of every wait at once.
    Box::pin(agent.run(shutdown)).await
}
