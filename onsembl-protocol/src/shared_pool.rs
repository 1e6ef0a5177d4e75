//! A pool with a bound that many owners share, in which no owner can push out another one's: with the pool full, the
//! oldest entry of whoever holds most makes room.
//!
//! An owner that floods pushes out its own oldest entries, and a newcomer gets its part from those who hold most, until
//! each has an equal share. Every operation takes a number of steps logarithmic in their number.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

/// Entries of many owners. See the [module](self).
#[derive(Clone, Debug)]
pub struct SharedPool<W, K, V> {
    most: usize,
    len: usize,
    of: BTreeMap<W, Share<K, V>>,
    /// How much each holds; of those who hold as much, the one that added last longest ago stands last.
    by_size: BTreeSet<(usize, Reverse<u64>, W)>,
    next: u64,
}

/// What one owner has.
#[derive(Clone, Debug)]
struct Share<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// The oldest first.
    order: BTreeMap<u64, K>,
    /// When it last added something.
    latest: u64,
}

/// Whose entry has to go for one more of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room<W> {
    /// Nobody's: there is room.
    Free,
    /// Its own oldest: nobody holds more than it would.
    Own,
    /// The oldest of this one, which holds most.
    Of(W),
}

impl<W: Ord + Clone, K: Ord + Clone, V> SharedPool<W, K, V> {
    /// A pool of at most this many entries, and at least one.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        let most = if most == 0 { 1 } else { most };
        Self { most, len: 0, of: BTreeMap::new(), by_size: BTreeSet::new(), next: 0 }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more there may be before one has to go.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.most.saturating_sub(self.len)
    }

    /// How many entries of this owner there are.
    #[must_use]
    pub(crate) fn count_of(&self, whose: &W) -> usize {
        self.of.get(whose).map_or(0, |share| share.entries.len())
    }

    /// Whose entry has to go for one more of this owner.
    #[must_use]
    pub fn room_for(&self, whose: &W) -> Room<W> {
        let Some((greatest, _, owner)) = self.by_size.last().filter(|_| self.free() == 0) else {
            return Room::Free;
        };
        let own = self.count_of(whose);
        // With a difference of one, both would take the same entry from each other in turn.
        if own > 0 && own.saturating_add(1) >= *greatest {
            return Room::Own;
        }
        Room::Of(owner.clone())
    }

    /// An entry.
    pub fn get_mut(&mut self, whose: &W, key: &K) -> Option<&mut V> {
        self.of.get_mut(whose)?.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Whether there is such an entry.
    #[must_use]
    pub fn contains(&self, whose: &W, key: &K) -> bool {
        self.of.get(whose).is_some_and(|share| share.entries.contains_key(key))
    }

    /// Puts an entry in, as the newest of its owner, in the place of an earlier one under this key. What had to go for
    /// it is returned.
    pub fn insert(&mut self, whose: W, key: K, value: V) -> Option<(W, K, V)> {
        let _ = self.remove(&whose, &key);
        let gone = match self.room_for(&whose) {
            Room::Free => None,
            Room::Own => self.remove_oldest(&whose),
            Room::Of(owner) => self.remove_oldest(&owner),
        };
        self.next = self.next.saturating_add(1);
        let at = self.next;
        self.change(whose, |share| {
            let _ = share.order.insert(at, key.clone());
            let _ = share.entries.insert(key, (at, value));
            share.latest = at;
        });
        gone
    }

    /// Takes an entry out.
    pub fn remove(&mut self, whose: &W, key: &K) -> Option<V> {
        if !self.contains(whose, key) {
            return None;
        }
        self.change(whose.clone(), |share| {
            let (at, value) = share.entries.remove(key)?;
            let _ = share.order.remove(&at);
            Some(value)
        })
    }

    /// Keeps the entries for which this holds. Takes a step for each that there is.
    pub fn retain(&mut self, mut keep: impl FnMut(&W, &K, &mut V) -> bool) {
        let mut gone = alloc::vec::Vec::new();
        for (whose, share) in &mut self.of {
            for (key, (_, value)) in &mut share.entries {
                if !keep(whose, key, value) {
                    gone.push((whose.clone(), key.clone()));
                }
            }
        }
        for (whose, key) in gone {
            let _ = self.remove(&whose, &key);
        }
    }

    fn remove_oldest(&mut self, whose: &W) -> Option<(W, K, V)> {
        let key = self.of.get(whose)?.order.first_key_value()?.1.clone();
        let value = self.remove(whose, &key)?;
        Some((whose.clone(), key, value))
    }

    /// Changes what one owner has, and keeps the sums right.
    fn change<T>(&mut self, whose: W, change: impl FnOnce(&mut Share<K, V>) -> T) -> T {
        let fresh = || Share { entries: BTreeMap::new(), order: BTreeMap::new(), latest: 0 };
        let share = self.of.entry(whose.clone()).or_insert_with(fresh);
        let before = share.entries.len();
        let _ = self.by_size.remove(&(before, Reverse(share.latest), whose.clone()));
        let changed = change(share);
        let after = share.entries.len();
        self.len = self.len.saturating_sub(before).saturating_add(after);
        if after == 0 {
            let _ = self.of.remove(&whose);
        } else {
            let _ = self.by_size.insert((after, Reverse(share.latest), whose));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MOST: usize = 8;

    fn keys(pool: &SharedPool<u8, u16, ()>, whose: u8) -> alloc::vec::Vec<u16> {
        pool.of
            .get(&whose)
            .map_or_else(Default::default, |share| share.order.values().copied().collect())
    }

    #[test]
    fn who_floods_pushes_out_its_own_oldest_and_never_another_ones() {
        let mut pool = SharedPool::new(MOST);
        for key in 0..2 {
            assert_eq!(pool.insert(1, key, ()), None);
        }
        for key in 0..6 {
            assert_eq!(pool.insert(9, key, ()), None);
        }
        for key in 6..1000 {
            assert_eq!(pool.insert(9, key, ()), Some((9, key - 6, ())));
        }
        assert_eq!(keys(&pool, 1), [0, 1]);
    }

    #[test]
    fn a_newcomer_gets_a_like_part_from_who_holds_most() {
        let mut pool = SharedPool::new(MOST);
        for key in 0..100 {
            let _ = pool.insert(9, key, ());
        }
        for key in 0..100 {
            let _ = pool.insert(1, key, ());
        }
        assert_eq!((pool.count_of(&1), pool.count_of(&9)), (4, 4));
        assert_eq!(keys(&pool, 9), [96, 97, 98, 99], "its oldest went");
        assert_eq!(keys(&pool, 1), [96, 97, 98, 99], "then its own");
    }

    #[test]
    fn of_owners_of_one_each_the_one_that_added_last_longest_ago_makes_room() {
        let mut pool = SharedPool::new(3);
        for whose in [2, 1, 3] {
            let _ = pool.insert(whose, 0_u16, ());
        }
        assert_eq!(pool.insert(4_u8, 0, ()), Some((2, 0, ())));
        assert_eq!(pool.insert(1, 1, ()), Some((1, 0, ())), "each keeps its one");
        assert_eq!(pool.insert(2, 0, ()), Some((3, 0, ())));
    }

    #[test]
    fn an_entry_that_is_put_in_again_is_the_newest_and_takes_no_room() {
        let mut pool = SharedPool::new(2);
        let _ = pool.insert(1_u8, 1_u16, 'a');
        let _ = pool.insert(1, 2, 'b');
        assert_eq!(pool.insert(1, 1, 'c'), None);
        assert_eq!(pool.insert(1, 3, 'd'), Some((1, 2, 'b')));
        assert_eq!(pool.get_mut(&1, &1), Some(&mut 'c'));
        assert_eq!(pool.remove(&1, &1), Some('c'));
        pool.retain(|_, _, value| *value != 'd');
        assert!(pool.is_empty() && pool.of.is_empty() && pool.by_size.is_empty());
    }

    proptest! {
        /// Whoever has no more than its part loses nothing to others, whatever they do.
        #[test]
        fn nobody_loses_its_part(moves in vec((0_u8..5, any::<u16>(), any::<bool>()), 0..400)) {
            let mut pool = SharedPool::new(MOST);
            for (whose, key, adds) in moves {
                if adds {
                    let before: alloc::vec::Vec<usize> = (0..5).map(|w| pool.count_of(&w)).collect();
                    let gone = pool.insert(whose, key, ());
                    if let Some((victim, ..)) = gone && victim != whose {
                        let most = before.iter().max().copied().unwrap_or(0);
                        prop_assert_eq!(before[usize::from(victim)], most);
                        prop_assert!(before[usize::from(whose)] + 1 < most || before[usize::from(whose)] == 0);
                    }
                } else {
                    let _ = pool.remove(&whose, &key);
                }
                let sum: usize = (0..5).map(|w| pool.count_of(&w)).sum();
                prop_assert_eq!(sum, pool.len());
                prop_assert!(pool.len() <= MOST);
            }
        }
    }
}
