//! The messages of the wire: their types, how they are read and how they are written.
//!
//! Reading is lenient where existing peers differ, writing has one form. Nothing here decides
//! anything: no machine is imported, and no machine encodes.

mod bounds;
mod code;
mod envelope;
mod error;
mod lenient;
mod message;
pub mod payload;
mod scan;

pub use bounds::{Bounded, TooLong};
pub use envelope::{Envelope, decode, encode};
pub use error::{DecodeCause, DecodeError};
pub use lenient::NextBeat;
pub use message::{AgentToServer, DashboardToServer, MessageSet, ServerToAgent, ServerToDashboard};
