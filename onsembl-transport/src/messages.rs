//! Numbers the messages of this process and puts them into frames.

use crate::link::Frame;
use onsembl_protocol::id::MessageId;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{self, MessageSet};

/// Makes the envelopes of one sender.
#[derive(Debug)]
pub struct Envelopes {
    prefix: String,
    next: u64,
    /// Where a message is written, so that its frame is one allocation of the right size.
    text: String,
}

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), next: 1, text: String::new() }
    }

    /// Puts a message into a frame; also gives the id under which it goes.
    pub fn frame<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, Frame) {
        let id = MessageId::new(format!("{}-{}", self.prefix, self.next));
        self.next = self.next.wrapping_add(1);
        self.text.clear();
        wire::encode_into(&mut self.text, &id, wall, message);
        (id, Frame::Text(self.text.clone()))
    }
}
