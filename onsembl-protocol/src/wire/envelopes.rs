//! Numbers the messages of one sender and writes them into a buffer that is kept.

use super::envelope::encode_into;
use super::message::MessageSet;
use crate::id::MessageId;
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;

/// Makes the envelopes of one sender.
#[derive(Clone, Debug)]
pub struct Envelopes {
    prefix: String,
    next: u64,
    /// Where a message is written; it keeps its size from one to the next.
    text: String,
}

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), next: 1, text: String::new() }
    }

    /// Writes a message: the id under which it goes, and its text.
    pub fn write<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, &str) {
        let id = MessageId::new(format!("{}-{}", self.prefix, self.next));
        self.next = self.next.wrapping_add(1);
        self.text.clear();
        encode_into(&mut self.text, &id, wall, message);
        (id, &self.text)
    }
}
