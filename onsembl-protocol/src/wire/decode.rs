//! Reading one message: the short cut first, then the careful way.

use super::bounds::Bounded;
use super::careful::decode_carefully;
use super::envelope::Envelope;
use super::error::DecodeError;
use super::message::MessageSet;
use super::one_pass;
use crate::limits::Limits;

/// Reads one text message of a direction.
///
/// Types the direction does not have, unknown fields and unknown enumeration values
/// survive; only what cannot be understood is an error, and the error names what could still be
/// read of it.
///
/// ```
/// use onsembl_protocol::limits::Limits;
/// use onsembl_protocol::wire::{AgentToServer, decode};
///
/// let text = r#"{"type":"PONG","id":"m-1","payload":{"timestamp":1762041630000}}"#;
/// let envelope = decode::<AgentToServer>(text, &Limits::DEFAULT).unwrap();
/// assert!(matches!(envelope.message, AgentToServer::Pong(_)));
///
/// // What this version does not know is told as that, and is no error.
/// let later = r#"{"type":"TIME_TRAVEL","payload":{}}"#;
/// let envelope = decode::<AgentToServer>(later, &Limits::DEFAULT).unwrap();
/// assert!(matches!(envelope.message, AgentToServer::Unknown(_)));
/// ```
///
/// # Errors
/// [`DecodeError`]: the peer sent no message.
pub fn decode<M: MessageSet + Bounded>(
    text: &str,
    limits: &Limits,
) -> Result<Envelope<M>, DecodeError> {
    if let Some(envelope) = one_pass::read(text, limits) {
        return Ok(envelope);
    }
    decode_carefully(text, limits)
}
