//! What a statement rests on: a few named values, carried along and shown, and read by nobody who decides except
//! by the names that `docs/EVIDENCE.md` lists.
//!
//! Bounded in number and in bytes, also when a peer sends it. Text may be a peer's; it is escaped where it is
//! shown, by [`Shown`].

use super::lenient::Scalar;
use crate::shown::Shown;
use crate::text::Text;
use crate::time::WallTime;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// One value, with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A word or a sentence, as it came; at most [`Evidence::LONGEST_TEXT`] bytes.
    Text(Box<str>),
    /// A number of things, or a code.
    Count(u64),
    /// A length of time; milliseconds are kept.
    Time(Duration),
    /// A number of bytes.
    Bytes(u64),
    /// A point in time by somebody's clock.
    At(WallTime),
}

macro_rules! from {
    ($($from:ty => $to:ident($map:expr);)*) => {$(
        impl From<$from> for Fact {
            fn from(value: $from) -> Self {
                let map: fn($from) -> _ = $map;
                Self::$to(map(value))
            }
        }
    )*};
}

from! {
    &str => Text(|text| cut(text).into());
    String => Text(|text| cut(&text).into());
    u64 => Count(|n| n);
    u32 => Count(u64::from);
    u16 => Count(u64::from);
    Duration => Time(|time| Duration::from_millis(millis(time)));
    WallTime => At(|at| at);
}

/// For people: escaped, with its unit. Times are in seconds, because they are compared with settings.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Display::fmt(&Shown::new(text), f),
            Self::Count(n) => fmt::Display::fmt(n, f),
            Self::Time(time) => match (time.as_secs(), time.subsec_millis()) {
                (0, millis) => write!(f, "{millis}ms"),
                (secs, 0) => write!(f, "{secs}s"),
                (secs, millis) => write!(f, "{secs}.{}s", millis / 100),
            },
            Self::Bytes(n) => write!(f, "{n} bytes"),
            Self::At(at) => fmt::Display::fmt(at, f),
        }
    }
}

/// Named values, in the order in which they were added, each name once.
///
/// In JSON it is an object whose names end with the unit: `{"silence_ms": 60000, "code": 1006}`.
///
/// ```
/// use onsembl_protocol::model::Evidence;
/// use std::time::Duration;
///
/// let evidence = Evidence::NONE.with("silence", Duration::from_secs(60)).with("code", 1006u16);
/// assert_eq!(evidence.to_string(), "silence 60s, code 1006");
/// assert_eq!(serde_json::to_string(&evidence)?, r#"{"silence_ms":60000,"code":1006}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    facts: Vec<(Box<str>, Fact)>,
}

impl Evidence {
    /// Most values; more are not taken.
    pub const MOST: usize = 12;
    /// Most bytes of a name.
    pub const LONGEST_NAME: usize = 32;
    /// Most bytes of a text; the rest is cut off.
    pub const LONGEST_TEXT: usize = 256;
    /// No evidence.
    pub const NONE: Self = Self { facts: Vec::new() };

    /// Adds a value, or replaces that of the same name. A name is lower-case words joined by `_`, without the
    /// unit; one that is not is left out, as is one too many.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Fact>) -> Self {
        self.put(name, value.into());
        self
    }

    /// Adds what another has, except names that this one has already.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (name, value) in &other.facts {
            if self.get(name).is_none() {
                self.put(name, value.clone());
            }
        }
        self
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.facts.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// The text of this name, if it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Fact::Text(text) => Some(text),
            Fact::Count(_) | Fact::Time(_) | Fact::Bytes(_) | Fact::At(_) => None,
        }
    }

    /// The length of time of this name, if it is one.
    pub fn time(&self, name: &str) -> Option<Duration> {
        match self.get(name)? {
            Fact::Time(time) => Some(*time),
            Fact::Text(_) | Fact::Count(_) | Fact::Bytes(_) | Fact::At(_) => None,
        }
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.facts.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    fn put(&mut self, name: &str, value: Fact) {
        if !is_name(name) {
            return;
        }
        if let Some((_, old)) = self.facts.iter_mut().find(|(known, _)| **known == *name) {
            *old = value;
        } else if self.facts.len() < Self::MOST {
            self.facts.push((name.into(), value));
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let has_no_unit = UNITS.iter().all(|unit| !name.ends_with(unit));
    (1..=Evidence::LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain) && has_no_unit
}

/// How names end in JSON, by what their value is.
const UNITS: [&str; 3] = [MILLIS, BYTES, AT];
const MILLIS: &str = "_ms";
const BYTES: &str = "_bytes";
const AT: &str = "_at";

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of a text, whole characters only.
fn cut(text: &str) -> &str {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > Evidence::LONGEST_TEXT) {
        Some((at, _)) => text.get(..at).unwrap_or_default(),
        None => text,
    }
}

/// For people: `silence 60s, code 1006`.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, value)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{} {value}", Words(name))?;
        }
        Ok(())
    }
}

/// A name as words.
struct Words<'a>(&'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.0.split('_').enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{word}")?;
        }
        Ok(())
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.facts.len()))?;
        for (name, value) in self.iter() {
            let with = |unit| Pair(name, unit);
            match value {
                Fact::Text(text) => map.serialize_entry(name, text)?,
                Fact::Count(n) => map.serialize_entry(name, n)?,
                Fact::Time(time) => map.serialize_entry(&with(MILLIS), &millis(*time))?,
                Fact::Bytes(n) => map.serialize_entry(&with(BYTES), n)?,
                Fact::At(at) => map.serialize_entry(&with(AT), &at.unix_millis())?,
            }
        }
        map.end()
    }
}

/// A name with its unit.
struct Pair<'a>(&'a str, &'static str);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{}", self.0, self.1))
    }
}

/// Reads what an end wrote, within the bounds. What is neither text nor a number that fits is left out.
impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Evidence;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of named values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evidence, A::Error> {
                let mut evidence = Evidence::NONE;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    if let Some((name, fact)) = read(&name, map.next_value()?) {
                        evidence.put(name, fact);
                    }
                }
                Ok(evidence)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a value of JSON is by the unit in its name; `None` if it is neither a text nor a whole number that fits.
fn read<'n>(name: &'n str, value: Scalar<'_>) -> Option<(&'n str, Fact)> {
    let number = match value {
        Scalar::Text(text) => return Some((name, Fact::from(&*text))),
        Scalar::Number(n) => n,
        Scalar::Null | Scalar::Bool(_) | Scalar::Compound => return None,
    };
    let whole = number as i64;
    if whole as f64 != number {
        return None;
    }
    if let Some(name) = name.strip_suffix(AT) {
        return Some((name, Fact::At(WallTime::from_unix_millis(whole))));
    }
    let count = u64::try_from(whole).ok()?;
    Some(match (name.strip_suffix(MILLIS), name.strip_suffix(BYTES)) {
        (Some(name), _) => (name, Fact::Time(Duration::from_millis(count))),
        (None, Some(name)) => (name, Fact::Bytes(count)),
        (None, None) => (name, Fact::Count(count)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn what_is_written_is_read_back() {
        let evidence = Evidence::NONE
            .with("error", "connection reset")
            .with("code", 1006u16)
            .with("silence", Duration::from_millis(60_001))
            .with("seen", WallTime::from_unix_millis(-5))
            .with("waiting", Fact::Bytes(1 << 40));
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(
            text,
            r#"{"error":"connection reset","code":1006,"silence_ms":60001,"seen_at":-5,"waiting_bytes":1099511627776}"#,
        );
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    }

    #[test]
    fn it_is_bounded_whoever_sends_it() {
        let mut sent = serde_json::Map::new();
        for n in 0..100 {
            let _ = sent.insert(format!("name_{n:02}"), "x".repeat(10_000).into());
        }
        let _ = sent.insert("A name".into(), 1.into());
        let _ = sent.insert("a".repeat(33), 1.into());
        let read: Evidence = serde_json::from_value(sent.into()).unwrap();
        assert_eq!(read.iter().count(), Evidence::MOST);
        assert!(read.iter().all(|(name, _)| name.starts_with("name_")));
        assert_eq!(read.text("name_00").unwrap().len(), Evidence::LONGEST_TEXT);
        assert_eq!(Evidence::NONE.with("text", "ü".repeat(200)).text("text").unwrap().len(), 256);
    }

    #[test]
    fn what_is_no_evidence_is_left_out_and_spoils_nothing() {
        let text = r#"{"a":null,"b":[1,{"c":2}],"d":{"e":[]},"f":1.5,"g":true,"h_ms":-1,"i":7}"#;
        let read: Evidence = serde_json::from_str(text).unwrap();
        assert_eq!(read, Evidence::NONE.with("i", 7u64));
    }

    #[test]
    fn what_a_peer_chose_is_escaped_where_it_is_shown_and_kept_as_it_came() {
        let evidence =
            Evidence::NONE.with("error", "\u{1b}[2Jgone").with("idle_for", Duration::from_secs(60));
        assert_eq!(evidence.to_string(), "error \\u{1b}[2Jgone, idle for 60s");
        assert_eq!(evidence.text("error"), Some("\u{1b}[2Jgone"));
    }

    #[test]
    fn a_name_stands_for_one_value() {
        let first = Evidence::NONE.with("code", 1u64).with("code", 2u64);
        assert_eq!(first.iter().count(), 1);
        let both = first.and(&Evidence::NONE.with("code", 3u64).with("peer", "x"));
        assert_eq!(both, Evidence::NONE.with("code", 2u64).with("peer", "x"));
    }
}
