//! Puts messages into frames.

use crate::link::Frame;
use onsembl_protocol::id::MessageId;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{self, MessageSet};

/// Makes the envelopes of one sender.
#[derive(Debug)]
pub struct Envelopes(wire::Envelopes);

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self(wire::Envelopes::new(prefix))
    }

    /// Puts a message into a frame; also gives the id under which it goes.
    pub fn frame<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, Frame) {
        // The buffer is kept, so the frame is one allocation of the right size.
        let (id, text) = self.0.write(message, wall);
        (id, Frame::Text(text.to_owned()))
    }
}
