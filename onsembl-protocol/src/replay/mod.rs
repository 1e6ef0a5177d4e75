//! Record and replay: the inputs of a machine, kept in a bounded ring, written as JSON lines, and fed
//! to the core again, to the byte.
//!
//! A machine is a pure function of its inputs, so its inputs are the whole truth about what it did.
//! [`Recorder`] keeps the inputs of all machines of a shard in one ring of bytes; [`Excerpt`] is what
//! the ring still holds of one agent, and writes it as a file; [`Replay`] reads such a file, line by
//! line, and says that the core does the same today, or which line is the first where it does not.
//! [`Script`] writes a file of one machine directly, for embedders and simulations.
//!
//! Frames have no text by the time they reach a machine: an event says that a heartbeat came and which
//! number it had, never what a command or its output said. So a recording has no content to redact,
//! and leaving it out changes nothing that is replayed. What a frame was (its type, its size) is noted
//! beside the event, for people.
//!
//! Nothing here opens a file or reads a clock.
//!
//! Tier 3 of the [crate](crate#what-is-public-in-tiers): evidence.

mod check;
mod compact;
mod entry;
mod error;
mod excerpt;
mod frame;
mod inputs;
mod line;
mod machine;
mod recorder;
mod replayer;
mod ring;
mod script;

pub use error::{Difference, ReplayError};
pub use excerpt::{Excerpt, Lines};
pub use frame::FrameNote;
pub use line::{Head, MAX_LINE};
pub use machine::{AgentOrigin, Recordable, ServerOrigin};
pub use recorder::{Handled, Recorder, Retired};
pub use replayer::{Replay, Replayed, replay};
pub use ring::Owner;
pub use script::Script;
