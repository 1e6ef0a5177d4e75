//! Numbers the messages of one sender and writes them into a buffer that is kept.

use super::envelope::encode_into;
use super::message::MessageSet;
use crate::id::MessageId;
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

/// Makes the envelopes of one sender.
///
/// ```
/// use onsembl_protocol::time::WallTime;
/// use onsembl_protocol::wire::payload::Ping;
/// use onsembl_protocol::wire::{Envelopes, ServerToAgent};
///
/// let mut envelopes = Envelopes::new("server-1");
/// let ping = ServerToAgent::Ping(Ping::default());
/// let (first, _text) = envelopes.write(&ping, WallTime::from_unix_millis(7));
/// let (second, _text) = envelopes.write(&ping, WallTime::from_unix_millis(8));
/// assert_ne!(first, second);
/// ```
#[derive(Clone, Debug)]
pub struct Envelopes {
    /// Senders may share it.
    prefix: Arc<str>,
    next: u64,
    /// Where a message is written; it keeps its size from one to the next.
    text: String,
}

impl Envelopes {
    /// Message ids begin with `prefix`, which should name the sender.
    pub fn new(prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), next: 1, text: String::new() }
    }

    /// Writes a message: the id under which it goes, and its text.
    pub fn write<M: MessageSet>(&mut self, message: &M, wall: WallTime) -> (MessageId, &str) {
        let id = self.next_id();
        self.text.clear();
        encode_into(&mut self.text, &id, wall, message);
        (id, &self.text)
    }

    /// The same in the place of what is in `text`, which many senders may share: they then keep no text of their own.
    pub fn write_in<M: MessageSet>(
        &mut self,
        text: &mut String,
        message: &M,
        wall: WallTime,
    ) -> MessageId {
        let id = self.next_id();
        text.clear();
        encode_into(text, &id, wall, message);
        id
    }

    fn next_id(&mut self) -> MessageId {
        let id = MessageId::new(format!("{}-{}", self.prefix, self.next));
        self.next = self.next.wrapping_add(1);
        id
    }
}
