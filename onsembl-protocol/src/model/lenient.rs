//! Readers for values that arrive in more than one shape (P-24 to P-36).

use crate::text::Text;
use crate::time::WallTime;
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serializer};

/// Numbers below this are seconds (or a delta), above it milliseconds since the epoch: 1e11 ms is
/// March 1973, 1e11 s the year 5138.
const SECONDS_BELOW: f64 = 1e11;

/// Any JSON scalar, or the fact that it was something else.
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Text<'a>),
    Compound,
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Null)
            }
            fn visit_bool<E>(self, v: bool) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Bool(v))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(v as f64))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(v as f64))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Number(v))
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Text(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<Scalar<'de>, E> {
                Ok(Scalar::Text(Text(Cow::Owned(v.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Scalar<'de>, A::Error> {
                while a.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Compound)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Scalar<'de>, A::Error> {
                while a.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Compound)
            }
        }
        d.deserialize_any(V)
    }
}

/// What `number` makes of any number and `text` of any text. Every other value counts as absent.
fn scalar<'de, D: Deserializer<'de>, T>(
    d: D,
    number: impl Fn(f64) -> Option<T>,
    text: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    struct V<N, S>(N, S);
    impl<'de, T, N: Fn(f64) -> Option<T>, S: Fn(&str) -> Option<T>> Visitor<'de> for V<N, S> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Option<T>, E> {
            Ok(None)
        }
        fn visit_u64<E>(self, v: u64) -> Result<Option<T>, E> {
            Ok(self.0(v as f64))
        }
        fn visit_i64<E>(self, v: i64) -> Result<Option<T>, E> {
            Ok(self.0(v as f64))
        }
        fn visit_f64<E>(self, v: f64) -> Result<Option<T>, E> {
            Ok(self.0(v))
        }
        fn visit_str<E>(self, v: &str) -> Result<Option<T>, E> {
            Ok(self.1(v))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Option<T>, A::Error> {
            while a.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Option<T>, A::Error> {
            while a.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }
    d.deserialize_any(V(number, text))
}

/// What `read` makes of a text; every other value counts as absent.
pub(crate) fn text<'de, D: Deserializer<'de>, T>(
    d: D,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    scalar(d, |_| None, read)
}

/// A time: milliseconds, seconds, or RFC 3339. Anything else counts as absent, and so does a time
/// before March 1973, which no clock shows and which could not be distinguished from seconds.
pub(crate) fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<WallTime>, D::Error> {
    let shown = |t: &WallTime| t.unix_millis() as f64 >= SECONDS_BELOW;
    let number = |n: f64| {
        let millis = if n.abs() < SECONDS_BELOW { n * 1000.0 } else { n };
        Some(from_millis(millis)).filter(shown)
    };
    scalar(d, number, |text| WallTime::parse_rfc3339(text).filter(shown))
}

/// A time or a distance from now, as `nextPingExpected` has it: milliseconds either way.
pub(crate) fn time_or_delta<'de, D: Deserializer<'de>>(d: D) -> Result<Option<NextBeat>, D::Error> {
    let number = |n: f64| {
        Some(if n.abs() < SECONDS_BELOW {
            NextBeat::In(whole(n))
        } else {
            NextBeat::At(from_millis(n))
        })
    };
    scalar(d, number, |text| WallTime::parse_rfc3339(text).map(NextBeat::At))
}

/// When a peer expects the next beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextBeat {
    /// This many milliseconds from the message.
    In(u64),
    /// At this time by the sender's clock.
    At(WallTime),
}

/// A whole, non-negative number, also when it came as text or with a fraction.
pub(crate) fn count<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    scalar(d, |n| (n >= 0.0).then(|| whole(n)), |text| text.trim().parse().ok())
}

/// Any finite number, also when it came as text.
pub(crate) fn number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    let finite = |n: f64| n.is_finite().then_some(n);
    scalar(d, finite, |text| text.trim().parse().ok().and_then(finite))
}

/// A lifetime: seconds by the rule, but one existing peer sends milliseconds. Nothing of ours lives
/// ten days' worth of seconds, so what is above that is read as milliseconds.
pub(crate) fn lifetime_seconds<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    Ok(count(d)?.map(|n| if n > 86_400 * 10 { n / 1000 } else { n }))
}

/// A list, also when it is null, missing or not a list at all.
pub(crate) fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }
        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_bool<E>(self, _: bool) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_u64<E>(self, _: u64) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Vec<String>, A::Error> {
            while a.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Vec::new())
        }
        fn visit_str<E>(self, v: &str) -> Result<Vec<String>, E> {
            Ok(alloc::vec![v.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Vec<String>, A::Error> {
            let mut out = Vec::new();
            while let Some(item) = a.next_element::<Scalar>()? {
                match item {
                    Scalar::Text(text) => out.push(text.into_owned()),
                    Scalar::Number(n) => out.push(alloc::format!("{n}")),
                    Scalar::Bool(b) => out.push(alloc::format!("{b}")),
                    Scalar::Null | Scalar::Compound => {}
                }
            }
            Ok(out)
        }
    }
    d.deserialize_any(V)
}

/// A value that may also be null, which means the same as being absent.
pub(crate) fn or_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(d).map(Option::unwrap_or_default)
}

fn from_millis(n: f64) -> WallTime {
    // `as` saturates, which is what a time beyond all calendars deserves.
    WallTime::from_unix_millis(n as i64)
}

fn whole(n: f64) -> u64 {
    n.max(0.0) as u64
}

/// Writes a time as milliseconds since the epoch.
pub(crate) fn write_millis<S: Serializer>(t: &Option<WallTime>, s: S) -> Result<S::Ok, S::Error> {
    match t {
        Some(t) => s.serialize_i64(t.unix_millis()),
        None => s.serialize_none(),
    }
}

/// Writes a time as RFC 3339, and an absent one as `null`.
pub(crate) fn write_rfc3339<S: Serializer>(t: &Option<WallTime>, s: S) -> Result<S::Ok, S::Error> {
    match t {
        Some(t) => s.collect_str(t),
        None => s.serialize_none(),
    }
}

/// Writes a number, a whole one without a fraction: echoes must look as they came.
pub(crate) fn write_number<S: Serializer>(n: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
    match n {
        Some(n) if *n as i64 as f64 == *n => s.serialize_i64(*n as i64),
        Some(n) => s.serialize_f64(*n),
        None => s.serialize_none(),
    }
}
