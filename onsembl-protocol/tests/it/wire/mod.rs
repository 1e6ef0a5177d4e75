//! Messages: literal frames of existing peers, the canonical form of ours, and hostile text.

mod agreement;
mod binary;
mod canonical;
mod divergences;
mod frames_of_agents;
mod frames_of_dashboards;
mod frames_to_agents;
mod frames_to_dashboards;
mod hostile;
mod limits;
mod random_sets;
mod roundtrip;
mod samples;
mod strategies;
mod stream_frames;
mod types;

use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{Bounded, DecodeError, Envelope, MessageSet, decode};

/// Reads a frame that must be readable.
fn read<M: MessageSet + Bounded>(text: &str) -> Envelope<M> {
    decode(text, &Limits::DEFAULT).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Reads the message of a frame of this type with this payload.
fn message<M: MessageSet + Bounded>(kind: &str, payload: &str) -> M {
    read(&frame(kind, payload)).message
}

/// Reads a frame that must not be readable.
fn refused<M: MessageSet + Bounded + std::fmt::Debug>(text: &str) -> DecodeError {
    decode::<M>(text, &Limits::DEFAULT).expect_err(text)
}

fn frame(kind: &str, payload: &str) -> String {
    format!(r#"{{"type":"{kind}","id":"msg_7_1","timestamp":1762041600000,"payload":{payload}}}"#)
}
