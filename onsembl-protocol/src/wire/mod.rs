//! The messages of the wire: their types, how they are read and how they are written.
//!
//! Reading is lenient where existing peers differ, writing has one form. Nothing here decides
//! anything: no machine is imported, and no machine encodes.
//!
//! Tier 1 of the [crate](crate#what-is-public-in-tiers): the connection.

mod binary;
mod bounds;
mod careful;
mod decode;
mod draft;
mod envelope;
mod envelopes;
mod error;
mod in_place;
mod json;
mod message;
mod one_pass;
pub mod payload;
mod scan;
mod stream_frame;

pub use crate::model::Text;
pub use crate::model::lenient::NextBeat;
pub use binary::OutputFrame;
pub use bounds::{Bounded, TooLong};
#[doc(hidden)]
pub use careful::decode_carefully;
pub use decode::decode;
pub(crate) use draft::Draft;
pub use envelope::{Envelope, encode, encode_into};
pub use envelopes::Envelopes;
pub use error::{DecodeCause, DecodeError};
pub use in_place::{AgentFrame, decode_in_place};
pub use json::json_len;
pub use message::{AgentToServer, DashboardToServer, MessageSet, ServerToAgent, ServerToDashboard};
pub use stream_frame::StreamFrame;
