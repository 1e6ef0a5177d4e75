//! The envelope around every message: `type`, `id`, `timestamp`, `payload`.

use super::bounds::{Bounded, TooLong, within};
use super::error::{DecodeCause, DecodeError, unquoted};
use super::lenient::{self, Scalar};
use super::message::MessageSet;
use super::scan::deeper_than;
use crate::id::{CommandId, MessageId};
use crate::limits::Limits;
use crate::time::WallTime;
use alloc::borrow::Cow;
use alloc::string::String;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// A message with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<M> {
    /// Opaque and not unique in the field. `None` if a peer sent none.
    pub id: Option<MessageId>,
    /// The sender's wall clock; a label.
    pub timestamp: Option<WallTime>,
    /// What it says.
    pub message: M,
}

/// Reads one text message of a direction.
///
/// Types the direction does not have, fields nobody knows and enumeration values nobody knows
/// survive; only what cannot be understood is an error, and the error names what could still be
/// read of it.
///
/// # Errors
/// [`DecodeError`]: the peer sent no message.
pub fn decode<M: MessageSet + Bounded>(
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

/// Writes one text message in the canonical form.
pub fn encode<M: MessageSet>(id: &MessageId, timestamp: WallTime, message: &M) -> String {
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
    // Our payloads are structs of texts, numbers and lists: none of serde_json's three ways to fail
    // (I/O, keys that are no text, a `Serialize` that errs) exists for them.
    serde_json::to_string(&out).unwrap_or_default()
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

/// An error about a message of which these parts could be read.
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
        id: Option<Scalar>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    let names: Names<'_> = serde_json::from_str(text).unwrap_or_default();
    let id = match names.id {
        Some(Scalar::Text(id)) => Some(MessageId::from(id)),
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
