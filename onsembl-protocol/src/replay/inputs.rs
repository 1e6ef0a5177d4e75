//! Reads what went in from a line, and stops there: what came out is compared as text.

use super::line::{End, Failed, Start};
use super::machine::Recordable;
use crate::time::{Now, Timestamp, WallTime};
use core::fmt;
use core::time::Duration;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The length of the label of a time.
const LABEL: usize = 24;

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

impl<M: Recordable> Inputs<'_, M> {
    const NONE: Self =
        Self { n: None, at: None, start: None, event: None, end: None, failed: None, whole: false };
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
    if let Some(inputs) = read_event(line) {
        return Ok(inputs);
    }
    read_any(line)
}

/// Reads a line with an event, if it is written as we write it: nearly all lines are.
fn read_event<M: Recordable>(line: &[u8]) -> Option<Inputs<'_, M>> {
    let rest = line.strip_prefix(b"{\"n\":")?;
    let (n, rest) = number(rest)?;
    let (_, rest) = rest.strip_prefix(b",\"time\":\"")?.split_at_checked(LABEL)?;
    let rest = rest.strip_prefix(b"\",\"at\":{\"monotonic\":")?;
    let (monotonic, rest) = number(rest)?;
    let (boot, rest) = number(rest.strip_prefix(b",\"boot\":")?)?;
    let (wall, rest) = number(rest.strip_prefix(b",\"wall\":")?)?;
    let rest = rest.strip_prefix(b"},\"event\":")?;
    let event = M::Event::deserialize(&mut serde_json::Deserializer::from_slice(rest)).ok()?;
    let stamp = |nanos| Timestamp::from_origin(Duration::from_nanos(nanos));
    let wall = WallTime::from_unix_millis(i64::try_from(wall).ok()?);
    let at = Now { monotonic: stamp(monotonic), boot: stamp(boot), wall };
    Some(Inputs { n: Some(n), at: Some(at), event: Some(event), whole: true, ..Inputs::NONE })
}

/// Reads digits.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0u64;
    let mut rest = text;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        n = n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = after;
    }
    (rest.len() < text.len()).then_some((n, rest))
}

fn read_any<M: Recordable>(line: &[u8]) -> Result<Inputs<'_, M>, serde_json::Error> {
    let mut inputs = Inputs::NONE;
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = Fill { inputs: &mut inputs }.deserialize(&mut json);
    // Stopping in the middle of an object is reported; it was on purpose.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{AgentConnection, ServerConnection};

    #[test]
    fn both_ways_to_read_a_line_read_the_same() {
        let agent = include_str!("../../tests/recordings/agent.jsonl");
        let server = include_str!("../../tests/recordings/frozen.jsonl");
        assert!(same::<AgentConnection>(agent) >= 14);
        assert!(same::<ServerConnection>(server) >= 60);
    }

    /// How many lines were read both ways.
    fn same<M: Recordable>(text: &str) -> usize
    where
        M::Event: PartialEq,
    {
        let read = |line: &str| -> bool {
            let Some(direct) = read_event::<M>(line.as_bytes()) else { return false };
            let Ok(other) = read_any::<M>(line.as_bytes()) else { return false };
            assert_eq!((direct.n, direct.at, direct.event), (other.n, other.at, other.event));
            true
        };
        text.lines().filter(|line| read(line)).count()
    }

    #[test]
    fn only_numbers_are_numbers() {
        assert_eq!(number(b"18446744073709551615,"), Some((u64::MAX, b",".as_slice())));
        for no in [b"18446744073709551616".as_slice(), b"", b"-1", b" 1", b"x"] {
            assert_eq!(number(no), None);
        }
    }
}
