//! A message read in one pass over its text, for every message whose `type` comes before its
//! `payload`, which is how all known peers write them.
//!
//! It is a short cut and nothing else: it uses the payload readers of the careful way, and on any
//! doubt it gives up silently, so that the careful way finds out and says what is wrong.

use super::bounds::{Bounded, within};
use super::envelope::Envelope;
use super::message::ReadPayload;
use super::scan;
use crate::limits::Limits;
use crate::model::lenient;
use crate::time::WallTime;
use core::fmt;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The message, if it is within its bounds and nothing about it is unusual.
#[inline]
pub(super) fn read<'de, I, M>(text: &'de str, limits: &Limits) -> Option<Envelope<M, I>>
where
    I: Deserialize<'de> + AsRef<str>,
    M: ReadPayload<'de> + Bounded,
{
    if text.len() > limits.message_bytes || scan::deeper_than(text, limits.depth) {
        return None;
    }
    let mut found: Found<'_, M, I> = Found { kind: None, id: None, timestamp: None, message: None };
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(EnvelopeVisitor(&mut found)).ok()?;
    json.end().ok()?;
    // Looked at where they lie, and moved once.
    found.message.as_ref()?.check(limits).ok()?;
    let id = found.id.as_ref().and_then(Option::as_ref);
    within("id", id.map(AsRef::as_ref), limits.name_bytes).ok()?;
    let Found { id, timestamp, message, .. } = found;
    Some(Envelope { id: id.flatten(), timestamp: timestamp.flatten(), message: message? })
}

/// What was found of an envelope. It is filled in place: handed up from reader to reader, a message
/// would be copied by each of them.
struct Found<'de, M, I> {
    kind: Option<&'de str>,
    id: Option<Option<I>>,
    timestamp: Option<Option<WallTime>>,
    message: Option<M>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Type,
    Id,
    Timestamp,
    Payload,
    #[serde(other)]
    Other,
}

struct EnvelopeVisitor<'f, 'de, M, I>(&'f mut Found<'de, M, I>);

impl<'de, I: Deserialize<'de>, M: ReadPayload<'de>> Visitor<'de>
    for EnvelopeVisitor<'_, 'de, M, I>
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(found) = self;
        while let Some(field) = map.next_key()? {
            match (field, found.kind) {
                (Field::Type, None) => found.kind = Some(map.next_value()?),
                (Field::Id, _) if found.id.is_none() => found.id = Some(map.next_value()?),
                (Field::Timestamp, _) if found.timestamp.is_none() => {
                    found.timestamp = Some(map.next_value::<Time>()?.0);
                }
                (Field::Payload, Some(kind)) if found.message.is_none() => {
                    map.next_value_seed(Payload { kind, message: &mut found.message })?;
                }
                (Field::Type | Field::Id | Field::Timestamp | Field::Payload, _) => {
                    return Err(A::Error::custom("twice, or a payload of what is not known yet"));
                }
                (Field::Other, _) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Time(#[serde(deserialize_with = "lenient::time")] Option<WallTime>);

/// Reads a payload of this type. `null` is left to the careful way: it means an empty payload.
struct Payload<'f, M> {
    kind: &'f str,
    message: &'f mut Option<M>,
}

impl<'de, M: ReadPayload<'de>> DeserializeSeed<'de> for Payload<'_, M> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_option(self)
    }
}

impl<'de, M: ReadPayload<'de>> Visitor<'de> for Payload<'_, M> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload")
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        M::read(self.kind, d, self.message)
    }
}
