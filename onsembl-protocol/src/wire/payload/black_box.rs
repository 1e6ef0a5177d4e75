//! `AGENT_BLACK_BOX` and its confirmation: what an agent found while it was away.

use crate::model::PastFinding;
use alloc::vec::Vec;
use core::fmt;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// `AGENT_BLACK_BOX`: what an agent found since it was last in session, the oldest first. Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentBlackBox {
    /// Its number among those of this process of the agent. One that was not confirmed is sent again under the
    /// same number, with what was found since.
    pub number: u64,
    /// At most [`MOST`](Self::MOST); more are not read.
    #[serde(deserialize_with = "read_entries")]
    pub entries: Vec<PastFinding>,
}

impl AgentBlackBox {
    /// Most entries: those of a day and of a night.
    pub const MOST: usize = 32;
}

/// `BLACK_BOX_ACK`: what the agent told is stored, or never will be. Extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackBoxAck {
    /// The number that is confirmed.
    pub number: u64,
}

/// Reads no more entries than there may be.
fn read_entries<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PastFinding>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<PastFinding>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of findings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while entries.len() < AgentBlackBox::MOST {
                match list.next_element()? {
                    Some(entry) => entries.push(entry),
                    None => return Ok(entries),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(entries)
        }
    }

    d.deserialize_seq(Entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn entries_beyond_the_bound_are_not_read() {
        let entry = r#"{"cause":"no-route","confidence":"high","agoMs":5}"#;
        let of = |n: usize| {
            let entries: Vec<&str> = core::iter::repeat_n(entry, n).collect();
            let text = format!(r#"{{"number":3,"entries":[{}]}}"#, entries.join(","));
            serde_json::from_str::<AgentBlackBox>(&text)
                .map(|read| (read.number, read.entries.len()))
        };
        assert_eq!(of(0).unwrap(), (3, 0));
        assert_eq!(of(31).unwrap(), (3, 31));
        assert_eq!(of(1000).unwrap(), (3, 32));
        let broken = String::from(r#"{"number":3,"entries":[{"cause":7}]}"#);
        assert!(serde_json::from_str::<AgentBlackBox>(&broken).is_err());
    }
}
