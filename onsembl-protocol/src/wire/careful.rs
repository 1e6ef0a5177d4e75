//! The careful way to read a message: the envelope first, then its payload, in any order of fields.
//!
//! It is the reference for what is read, and alone says what cannot be.

use super::bounds::{Bounded, TooLong, within};
use super::envelope::Envelope;
use super::error::{DecodeCause, DecodeError, unquoted};
use super::message::MessageSet;
use super::scan::deeper_than;
use crate::id::{CommandId, MessageId};
use crate::limits::Limits;
use crate::model::lenient::{self, Scalar};
use crate::time::WallTime;
use alloc::borrow::Cow;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads one text message without the short cut that [`decode`](super::decode) takes; the result is
/// the same.
///
/// # Errors
/// [`DecodeError`]: the peer sent no message.
pub fn decode_carefully<M: MessageSet + Bounded>(
    text: &str,
    limits: &Limits,
) -> Result<Envelope<M>, DecodeError> {
    if text.len() > limits.message_bytes {
        let cause = DecodeCause::TooLarge { bytes: text.len(), limit: limits.message_bytes };
        return Err(DecodeError { cause, message_id: None, command_id: None });
    }
    if deeper_than(text, limits.depth) {
        return Err(no_envelope(DecodeCause::TooDeep { limit: limits.depth }, text, limits));
    }
    let raw: RawEnvelope<'_> = serde_json::from_str(text)
        .map_err(|e| no_envelope(DecodeCause::NotAnEnvelope(unquoted(&e)), text, limits))?;
    let kind = raw.kind.as_ref();
    let failed = |cause| named(cause, raw.id.clone(), raw.payload, limits);
    let unreadable = |e: serde_json::Error| {
        failed(DecodeCause::BadPayload { kind: kind.into(), why: unquoted(&e) })
    };
    let payload = match raw.payload {
        Some(payload) if payload.get() != "null" => payload,
        Some(_) | None => serde_json::from_str("{}").map_err(unreadable)?,
    };
    let message = M::read_payload(kind, payload).map_err(unreadable)?;
    message
        .check(limits)
        .and_then(|()| within("id", raw.id.as_ref().map(MessageId::as_str), limits.name_bytes))
        .map_err(|TooLong { field, limit }| {
            let kind =
                if kind.len() > limits.name_bytes { "(a type too long to repeat)" } else { kind };
            failed(DecodeCause::TooLong { kind: kind.into(), field, limit })
        })?;
    Ok(Envelope { id: raw.id, timestamp: raw.timestamp, message })
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<MessageId>,
    #[serde(default, deserialize_with = "lenient::time")]
    timestamp: Option<WallTime>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// An error about a message, with the parts of it that could be read.
fn named(
    cause: DecodeCause,
    id: Option<MessageId>,
    payload: Option<&RawValue>,
    limits: &Limits,
) -> DecodeError {
    DecodeError {
        cause,
        message_id: id.filter(|id| id.as_str().len() <= limits.name_bytes),
        command_id: payload
            .and_then(command_of)
            .filter(|id| id.as_str().len() <= limits.name_bytes),
    }
}

/// An error about a text without a readable envelope, with what can be found of its names.
fn no_envelope(cause: DecodeCause, text: &str, limits: &Limits) -> DecodeError {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Names<'a> {
        #[serde(borrow)]
        id: Option<Scalar<'a>>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    let names: Names<'_> = serde_json::from_str(text).unwrap_or_default();
    let id = match names.id {
        Some(Scalar::Text(id)) => Some(MessageId::new(id)),
        Some(Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Compound) | None => None,
    };
    named(cause, id, names.payload, limits)
}

fn command_of(payload: &RawValue) -> Option<CommandId> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "commandId")]
        command_id: Option<CommandId>,
    }
    serde_json::from_str::<Part>(payload.get()).ok()?.command_id
}
