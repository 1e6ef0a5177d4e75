//! A map by command that is found by a number: what one event costs hardly grows with what is in the map. The
//! order of its entries is of no meaning; where ids are wanted in order, a set of them is kept beside it.

use super::collections::Map;
use crate::id::CommandId;

/// The number of an id, and the id: peers choose their ids, so two may have one number.
type Key = (u64, CommandId);

/// Values by command.
#[derive(Clone, Debug)]
pub(super) struct ById<V>(Map<Key, V>);

impl<V> ById<V> {
    pub(super) const fn new() -> Self {
        Self(Map::new())
    }

    /// Another value for each command, without a search for each.
    pub(super) fn map<U>(&self, make: impl Fn(&V) -> U) -> ById<U> {
        ById(self.0.iter().map(|(key, value)| (key.clone(), make(value))).collect())
    }

    pub(super) fn get(&self, id: &CommandId) -> Option<&V> {
        self.0.get(&key(id))
    }

    pub(super) fn get_mut(&mut self, id: &CommandId) -> Option<&mut V> {
        self.0.get_mut(&key(id))
    }

    /// The value of a command, which is made if there is none.
    pub(super) fn entry(&mut self, id: &CommandId, new: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key(id)).or_insert_with(new)
    }

    pub(super) fn insert(&mut self, id: CommandId, value: V) -> Option<V> {
        self.0.insert((number(id.as_str().as_bytes()), id), value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut()
    }

    pub(super) fn remove(&mut self, id: &CommandId) -> Option<V> {
        self.0.remove(&key(id))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&CommandId) -> bool) {
        self.0.retain(|(_, id), _| keep(id));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&CommandId, &V)> {
        self.0.iter().map(|((_, id), value)| (id, value))
    }
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self::new()
    }
}

fn key(id: &CommandId) -> Key {
    (number(id.as_str().as_bytes()), id.clone())
}

/// Eight bytes at a time, each multiplied with an odd number that has its bits everywhere (2^64 divided by the
/// golden ratio). It need not be hard to find two texts of one number: then the texts are compared.
fn number(text: &[u8]) -> u64 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (eights, rest) = text.as_chunks::<8>();
    let last = rest.iter().fold(text.len() as u64, |last, byte| last << 8 | u64::from(*byte));
    let words = eights.iter().map(|eight| u64::from_le_bytes(*eight));
    words
        .chain([last])
        .fold(0, |number: u64, word| (number.rotate_left(26) ^ word).wrapping_mul(SPREAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use std::collections::BTreeSet;

    #[test]
    fn ids_of_one_number_are_kept_apart() {
        let (a, b) = (CommandId::new("a"), CommandId::new("b"));
        let mut map = ById(Map::from([((1, a.clone()), 1), ((1, b.clone()), 2)]));
        map.retain(|id| *id == b);
        assert_eq!(map.iter().collect::<alloc::vec::Vec<_>>(), [(&b, &2)]);
    }

    #[test]
    fn ids_as_peers_mint_them_have_numbers_of_their_own() {
        let shapes: [fn(u32) -> alloc::string::String; 3] = [
            |n| format!("cmd-{}-x7q{n}", 1_762_080_000_123_u64 + u64::from(n)),
            |n| format!("01a225d2-b866-7582-9ec7-{n:012x}"),
            |n| format!("{n}"),
        ];
        for shape in shapes {
            let ids: BTreeSet<_> = (0..10_000).map(|n| number(shape(n).as_bytes())).collect();
            assert_eq!(ids.len(), 10_000);
        }
    }
}
