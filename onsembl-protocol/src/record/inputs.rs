//! Reads what went in from a line, and stops there: what came out is compared as text.

use super::line::{End, Failed, Start};
use super::machine::Recordable;
use crate::time::Now;
use core::fmt;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What a line says up to its actions.
pub(super) struct Inputs<'a, M: Recordable> {
    pub(super) n: Option<u64>,
    pub(super) at: Option<Now>,
    pub(super) start: Option<Start<M::Origin, M::Snapshot>>,
    pub(super) event: Option<M::Event>,
    pub(super) end: Option<End>,
    pub(super) failed: Option<Failed<'a>>,
    whole: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
    N,
    At,
    Start,
    Event,
    End,
    Failed,
    Actions,
    #[serde(other)]
    Other,
}

/// Reads a line.
pub(super) fn read<M: Recordable>(line: &[u8]) -> Result<Inputs<'_, M>, serde_json::Error> {
    let mut inputs = Inputs {
        n: None,
        at: None,
        start: None,
        event: None,
        end: None,
        failed: None,
        whole: false,
    };
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = Fill { inputs: &mut inputs }.deserialize(&mut json);
    // Whoever stops in the middle of an object is told so; it was on purpose.
    if !inputs.whole {
        read?;
    }
    Ok(inputs)
}

struct Fill<'i, 'a, M: Recordable> {
    inputs: &'i mut Inputs<'a, M>,
}

impl<'a, M: Recordable> DeserializeSeed<'a> for Fill<'_, 'a, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, M: Recordable> Visitor<'a> for Fill<'_, 'a, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of a recording")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let inputs = self.inputs;
        while let Some(field) = map.next_key()? {
            match field {
                Field::N => inputs.n = Some(map.next_value()?),
                Field::At => inputs.at = Some(map.next_value()?),
                Field::Start => inputs.start = Some(map.next_value()?),
                Field::Event => inputs.event = Some(map.next_value()?),
                Field::End => inputs.end = Some(map.next_value()?),
                Field::Failed => inputs.failed = Some(map.next_value()?),
                Field::Actions => {
                    inputs.whole = true;
                    return Ok(());
                }
                Field::Other => {
                    let IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(())
    }
}
