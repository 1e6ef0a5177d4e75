//! Slots that many owners share, and of which none gets all.
//!
//! One owner may take more as long as it has less than `weight` times what is free. This is the dynamic
//! threshold by which switches share their buffers: alone, an owner gets all but `1 / (weight + 1)` of the slots;
//! when several take as much as they can, each gets an equal share; and something is free for a newcomer at any
//! time.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use alloc::collections::BTreeMap;

/// How many slots there are, and who has them. See the [module](self).
#[derive(Clone, Debug)]
pub struct SharedSlots<W> {
    capacity: usize,
    weight: usize,
    taken: usize,
    of: BTreeMap<W, usize>,
}

impl<W: Ord + Clone> SharedSlots<W> {
    /// This many slots, all of them free.
    #[must_use]
    pub const fn new(capacity: usize, weight: usize) -> Self {
        Self { capacity, weight, taken: 0, of: BTreeMap::new() }
    }

    /// How many there are.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a slot for this owner, unless it has its share. The owner comes back as it was first named, so that those
    /// who keep it share its text.
    pub fn take(&mut self, whose: &W) -> Option<W> {
        self.take_below(whose, usize::MAX)
    }

    /// The same, for one that is to have no more than this many.
    pub fn take_below(&mut self, whose: &W, limit: usize) -> Option<W> {
        let free = self.capacity.saturating_sub(self.taken);
        let known = self.of.get_key_value(whose).map(|(known, has)| (known.clone(), *has));
        let (whose, has) = known.unwrap_or_else(|| (whose.clone(), 0));
        if free == 0 || has >= self.weight.saturating_mul(free).min(limit) {
            return None;
        }
        self.taken = self.taken.saturating_add(1);
        let _ = self.of.insert(whose.clone(), has.saturating_add(1));
        Some(whose)
    }

    /// This owner gives back a slot that it took.
    pub fn give_back(&mut self, whose: &W) {
        let Some(has) = self.of.get_mut(whose) else { return };
        *has = has.saturating_sub(1);
        if *has == 0 {
            let _ = self.of.remove(whose);
        }
        self.taken = self.taken.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all that it gets.
    fn greedy(slots: &mut SharedSlots<&'static str>, whose: &'static str) -> usize {
        core::iter::from_fn(|| slots.take(&whose)).count()
    }

    #[test]
    fn no_owner_gets_all_and_a_newcomer_gets_something() {
        let mut slots = SharedSlots::new(256, 1);
        assert_eq!((greedy(&mut slots, "a"), greedy(&mut slots, "b")), (128, 64));
        assert_eq!(slots.take(&"c"), Some("c"));
        assert_eq!(slots.take(&"a"), None, "it has more than is free");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut slots = SharedSlots::new(4, 3);
        assert_eq!(greedy(&mut slots, "a"), 3);
        slots.give_back(&"a");
        assert_eq!(greedy(&mut slots, "a"), 1);
        (0..3).for_each(|_| slots.give_back(&"a"));
        slots.give_back(&"a");
        assert_eq!((slots.capacity(), greedy(&mut slots, "b")), (4, 3));
    }

    #[test]
    fn an_owner_with_a_limit_gets_no_more_than_that() {
        let mut slots = SharedSlots::new(usize::MAX, usize::MAX);
        let taken: [bool; 3] = core::array::from_fn(|_| slots.take_below(&"a", 2).is_some());
        assert_eq!(taken, [true, true, false]);
        assert_eq!(slots.take_below(&"b", 2), Some("b"));
    }
}
