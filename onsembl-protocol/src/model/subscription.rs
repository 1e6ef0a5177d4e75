//! What a dashboard wants to see.

use super::lenient;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// What of a kind is subscribed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Selection {
    #[default]
    None,
    /// Everything the user may see.
    All,
    Only(BTreeSet<String>),
}

impl Selection {
    /// Whether `id` is in it.
    pub fn contains(&self, id: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }

    /// How many ids it names.
    pub(crate) fn named(&self) -> usize {
        match self {
            Self::None | Self::All => 0,
            Self::Only(ids) => ids.len(),
        }
    }

    fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::All => false,
            Self::Only(ids) => ids.is_empty(),
        }
    }

    /// Adds one id. All stays all.
    pub(crate) fn add(&mut self, id: &str) {
        match self {
            Self::All => {}
            Self::None => *self = Self::Only(BTreeSet::from([id.to_string()])),
            Self::Only(ids) => {
                let _ = ids.insert(id.to_string());
            }
        }
    }

    /// Takes one id away. As with existing servers, one cannot be taken from all.
    pub fn remove(&mut self, id: &str) {
        match self {
            Self::All | Self::None => {}
            Self::Only(ids) => {
                let _ = ids.remove(id);
            }
        }
    }
}

impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => s.collect_seq::<[&str; 0]>([]),
            Self::All => s.collect_seq(["*"]),
            Self::Only(ids) => s.collect_seq(ids),
        }
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Object {
            all: bool,
            #[serde(deserialize_with = "lenient::texts")]
            ids: Vec<String>,
        }
        struct V;
        impl V {
            fn list(ids: Vec<String>) -> Selection {
                // An empty list has always meant everything to the existing server.
                if ids.is_empty() || ids.iter().any(|id| id == "*") {
                    Selection::All
                } else {
                    Selection::Only(ids.into_iter().collect())
                }
            }
        }
        impl<'de> Visitor<'de> for V {
            type Value = Selection;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids, true or false, \"*\", or {all, ids}")
            }
            fn visit_unit<E>(self) -> Result<Selection, E> {
                Ok(Selection::None)
            }
            fn visit_bool<E>(self, all: bool) -> Result<Selection, E> {
                Ok(if all { Selection::All } else { Selection::None })
            }
            fn visit_str<E>(self, id: &str) -> Result<Selection, E> {
                Ok(Self::list(alloc::vec![id.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, a: A) -> Result<Selection, A::Error> {
                lenient::texts(serde::de::value::SeqAccessDeserializer::new(a)).map(Self::list)
            }
            fn visit_map<A: MapAccess<'de>>(self, a: A) -> Result<Selection, A::Error> {
                let o = Object::deserialize(serde::de::value::MapAccessDeserializer::new(a))?;
                Ok(match (o.all, o.ids.is_empty()) {
                    (true, _) => Selection::All,
                    (false, true) => Selection::None,
                    (false, false) => Selection::Only(o.ids.into_iter().collect()),
                })
            }
        }
        d.deserialize_any(V)
    }
}

/// Everything one dashboard subscribed. Nothing of a kind is written as no key at all, because an
/// empty list has always meant everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Subscriptions {
    /// Agents and their status.
    #[serde(alias = "agent", skip_serializing_if = "Selection::is_none")]
    pub agents: Selection,
    /// Commands and their status.
    #[serde(alias = "command", skip_serializing_if = "Selection::is_none")]
    pub commands: Selection,
    #[serde(alias = "terminal", deserialize_with = "flag")]
    pub terminals: bool,
    #[serde(alias = "trace", deserialize_with = "flag")]
    pub traces: bool,
}

/// A flag, also when it came as a list or an object: anything but false, null or nothing is yes.
fn flag<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a flag")
        }
        fn visit_unit<E>(self) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_bool<E>(self, v: bool) -> Result<bool, E> {
            Ok(v)
        }
        fn visit_str<E>(self, _: &str) -> Result<bool, E> {
            Ok(true)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<bool, A::Error> {
            while a.next_element::<IgnoredAny>()?.is_some() {}
            Ok(true)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<bool, A::Error> {
            while a.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(true)
        }
    }
    d.deserialize_any(V)
}
