//! The envelope around every message: `type`, `id`, `timestamp`, `payload`.

use super::json;
use super::message::MessageSet;
use crate::id::MessageId;
use crate::time::WallTime;
use alloc::string::String;
use serde::{Serialize, Serializer};

/// A message with its envelope. `I` is how it holds its id.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Envelope<M, I = MessageId> {
    /// Opaque and not unique in the field. `None` if a peer sent none.
    pub id: Option<I>,
    /// The sender's wall clock; a label.
    pub timestamp: Option<WallTime>,
    pub message: M,
}

/// Writes one text message in the canonical form.
///
/// ```
/// use onsembl_protocol::id::MessageId;
/// use onsembl_protocol::time::WallTime;
/// use onsembl_protocol::wire::payload::Ping;
/// use onsembl_protocol::wire::{ServerToAgent, encode};
///
/// let ping = ServerToAgent::Ping(Ping { timestamp: Some(5.0), sequence: None });
/// let text = encode(&MessageId::new("m-1"), WallTime::from_unix_millis(7), &ping);
/// assert!(text.starts_with(r#"{"type":"PING","id":"m-1","timestamp":7,"#));
/// ```
pub fn encode<M: MessageSet>(id: &MessageId, timestamp: WallTime, message: &M) -> String {
    let mut text = String::new();
    encode_into(&mut text, id, timestamp, message);
    text
}

/// Writes one text message in the canonical form behind what `text` holds already.
///
/// A sender that keeps the `String` and clears it between messages allocates nothing once it has
/// grown, whatever it sends except free-form details of traces and errors.
pub fn encode_into<M: MessageSet>(
    text: &mut String,
    id: &MessageId,
    timestamp: WallTime,
    message: &M,
) {
    #[derive(Serialize)]
    struct Out<'a, M: MessageSet> {
        r#type: &'a str,
        id: &'a MessageId,
        timestamp: i64,
        #[serde(serialize_with = "write_payload")]
        payload: &'a M,
    }
    fn write_payload<M: MessageSet, S: Serializer>(m: &&M, s: S) -> Result<S::Ok, S::Error> {
        m.write_payload(s)
    }
    let out =
        Out { r#type: message.kind(), id, timestamp: timestamp.unix_millis(), payload: message };
    let before = text.len();
    // Our payloads are structs of texts, numbers and lists: neither of the two ways to fail (keys
    // that are no text, a `Serialize` that errs) exists for them.
    if json::write(text, &out).is_err() {
        text.truncate(before);
    }
}
