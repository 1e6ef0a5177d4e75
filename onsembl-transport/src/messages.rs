//! Puts messages into frames.

use crate::link::Frame;
use onsembl_protocol::id::MessageId;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{self, MessageSet};
use std::sync::Arc;

/// A shared buffer that has grown above this is not kept.
const KEPT: usize = 64 * 1024;

/// Makes the envelopes of one sender.
#[derive(Debug)]
pub struct Envelopes(wire::Envelopes);

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<Arc<str>>) -> Self {
        Self(wire::Envelopes::new(prefix))
    }

    /// Puts a message into a frame; also gives the id under which it goes.
    pub fn frame<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, Frame) {
        // The buffer is kept, so the frame is one allocation of the right size.
        let (id, text) = self.0.write(message, wall);
        (id, Frame::Text(text.to_owned()))
    }

    /// The same by a buffer that senders share, of whom each is idle for most of the time.
    pub(crate) fn frame_by<M: MessageSet>(
        &mut self,
        text: &mut String,
        message: &M,
        wall: WallTime,
    ) -> (MessageId, Frame) {
        let id = self.0.write_in(text, message, wall);
        let frame = Frame::Text(text.as_str().to_owned());
        if text.capacity() > KEPT {
            *text = String::new();
        }
        (id, frame)
    }
}
