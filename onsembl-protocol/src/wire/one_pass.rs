//! A message read in one pass over its text, for every message whose `type` comes before its
//! `payload`, which is how all known peers write them.
//!
//! It is a short cut and nothing else: it uses the payload readers of the careful way, and on any
//! doubt it gives up without a word, so that the careful way finds out and says what is wrong.

use super::bounds::{Bounded, within};
use super::envelope::Envelope;
use super::message::ReadPayload;
use super::text::Text;
use super::{lenient, scan};
use crate::limits::Limits;
use crate::time::WallTime;
use core::fmt;
use core::marker::PhantomData;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The message, if it is within its bounds and nothing about it is unusual.
pub(super) fn read<'de, I, M>(text: &'de str, limits: &Limits) -> Option<Envelope<M, I>>
where
    I: Deserialize<'de> + AsRef<str>,
    M: ReadPayload<'de> + Bounded,
{
    if text.len() > limits.message_bytes || scan::deeper_than(text, limits.depth) {
        return None;
    }
    let OnePass::<M, I>(envelope) = serde_json::from_str(text).ok()?;
    envelope.message.check(limits).ok()?;
    within("id", envelope.id.as_ref().map(AsRef::as_ref), limits.name_bytes).ok()?;
    Some(envelope)
}

struct OnePass<M, I>(Envelope<M, I>);

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

impl<'de, I: Deserialize<'de>, M: ReadPayload<'de>> Deserialize<'de> for OnePass<M, I> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(EnvelopeVisitor(PhantomData)).map(Self)
    }
}

struct EnvelopeVisitor<M, I>(PhantomData<(M, I)>);

impl<'de, I: Deserialize<'de>, M: ReadPayload<'de>> Visitor<'de> for EnvelopeVisitor<M, I> {
    type Value = Envelope<M, I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<M, I>, A::Error> {
        let (mut kind, mut id, mut timestamp, mut message) = (None, None, None, None);
        while let Some(field) = map.next_key()? {
            match (field, &kind) {
                (Field::Type, None) => kind = Some(map.next_value::<Text<'de>>()?),
                (Field::Id, _) if id.is_none() => id = Some(map.next_value()?),
                (Field::Timestamp, _) if timestamp.is_none() => {
                    timestamp = Some(map.next_value::<Time>()?);
                }
                (Field::Payload, Some(kind)) if message.is_none() => {
                    message = Some(map.next_value_seed(Payload(kind, PhantomData))?);
                }
                (Field::Type | Field::Id | Field::Timestamp | Field::Payload, _) => {
                    return Err(A::Error::custom("twice, or a payload of what is not known yet"));
                }
                (Field::Other, _) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Envelope {
            id: id.flatten(),
            timestamp: timestamp.and_then(|time| time.0),
            message: message.ok_or_else(|| A::Error::missing_field("payload"))?,
        })
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Time(#[serde(deserialize_with = "lenient::time")] Option<WallTime>);

/// Reads a payload of this type. `null` is left to the careful way: it means an empty payload.
struct Payload<'k, M>(&'k str, PhantomData<M>);

impl<'de, M: ReadPayload<'de>> DeserializeSeed<'de> for Payload<'_, M> {
    type Value = M;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<M, D::Error> {
        d.deserialize_option(self)
    }
}

impl<'de, M: ReadPayload<'de>> Visitor<'de> for Payload<'_, M> {
    type Value = M;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload")
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<M, D::Error> {
        M::read(self.0, d)
    }
}
