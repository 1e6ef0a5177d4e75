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
