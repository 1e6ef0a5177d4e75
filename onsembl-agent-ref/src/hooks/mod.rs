//! Hooks: how a program says what it does. The program runs `onsembl-agent hook EVENT` for each event of its own
//! ([`helper`]); that hands the event to the agent by a socket in the agent's state directory ([`socket`]), whose path
//! and the run are in its environment.
//!
//! Nothing is decided here: what an event shows is the core's to say.

pub(crate) mod helper;
mod socket;

pub(crate) use socket::HookSocket;

use onsembl_protocol::id::CommandId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Where the socket is, in the environment of a run.
pub(crate) const SOCKET: &str = "ONSEMBL_HOOK";
/// Which run it is.
pub(crate) const RUN: &str = "ONSEMBL_HOOK_RUN";

/// Longest message. What programs hand to their hooks is shortened to far less.
const MOST_BYTES: usize = 64 * 1024;

/// How long one hook may take, at both ends. Programs wait for their hooks.
const WITHIN: Duration = Duration::from_secs(1);

/// What a hook hands to its agent, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    run: CommandId,
    /// One of [`HookEvent`](onsembl_protocol::worker::HookEvent).
    event: String,
    /// How long ago it was when this was sent.
    #[serde(default)]
    ago_ms: u64,
    /// What the program said of it.
    #[serde(default)]
    input: Value,
}
