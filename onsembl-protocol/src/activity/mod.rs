//! What the program of an agent does, from facts: its hooks, its structured output, the marks in its terminal. Never
//! from the look of a screen, which its vendor changes when he likes.
//!
//! An [`ActivityMonitor`] is told of facts, whichever way they came ([`ActivityLane`](crate::model::ActivityLane)), and
//! says what they show: that a turn is in progress, that the program waits for a prompt, that it asks. Without a fact
//! it says only whether the program writes. A claim ends with the fact that contradicts it, and with whatever makes
//! it uncertain: an answer that was typed, an interruption, of which no hook tells.
//!
//! Another way of facts (a protocol between an agent and its client, for example) is one more lane and a reader that
//! gives [`Fact`]s; nothing else changes.
//!
//! Here are decisions only: nothing listens to a hook, and nothing reads a file.

mod claim;
mod config;
mod fact;
mod hook;
mod marks;
mod monitor;
mod stream;

pub use config::{ActivityConfig, Meaning};
pub(crate) use fact::Input;
pub use fact::{Call, Fact, ToolUser};
pub use hook::HookEvent;
pub(crate) use monitor::{ActivityMonitor, Seen, Taken};
pub use stream::StreamFormat;
