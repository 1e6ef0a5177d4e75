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
}

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), next: 1 }
    }

    /// Puts a message into a frame; also gives the id under which it goes.
    pub fn frame<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, Frame) {
        let id = MessageId::new(format!("{}-{}", self.prefix, self.next));
        self.next = self.next.wrapping_add(1);
        let text = wire::encode(&id, wall, message);
        (id, Frame::Text(text))
    }
}
