//! Slots that many holders share, for tasks: each slot is given back when it is dropped. Who may take one is decided in
//! the core ([`SharedSlots`]).

use onsembl_protocol::shared_slots::SharedSlots;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pool with a number of slots.
#[derive(Debug)]
pub(crate) struct Shares<K: Ord + Clone>(Arc<Mutex<SharedSlots<K>>>);

/// One slot of a pool, given back when it is dropped.
#[derive(Debug)]
#[must_use = "the slot is given back when this is dropped"]
pub(crate) struct Share<K: Ord + Clone> {
    pool: Shares<K>,
    holder: K,
}

impl<K: Ord + Clone> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// A pool of this many slots, of which one holder has less than `weight` times what is free.
    pub(crate) fn new(capacity: usize, weight: usize) -> Self {
        Self(Arc::new(Mutex::new(SharedSlots::new(capacity, weight))))
    }

    /// A slot for this holder, unless it has its share.
    pub(crate) fn take(&self, holder: &K) -> Option<Share<K>> {
        self.take_below(holder, usize::MAX)
    }

    /// A slot for this holder, if it has fewer than this many.
    pub(crate) fn take_below(&self, holder: &K, limit: usize) -> Option<Share<K>> {
        let holder = self.slots().take_below(holder, limit)?;
        Some(Share { pool: self.clone(), holder })
    }

    /// How many slots there are.
    pub(crate) fn capacity(&self) -> usize {
        self.slots().capacity()
    }

    fn slots(&self) -> MutexGuard<'_, SharedSlots<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Share<K> {
    /// Whose it is.
    pub(crate) fn holder(&self) -> &K {
        &self.holder
    }
}

impl<K: Ord + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        self.pool.slots().give_back(&self.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_given_back_when_it_is_dropped() {
        let pool = Shares::new(2, 1);
        let share = pool.take(&"a").unwrap();
        assert!(pool.take(&"a").is_none() && pool.take_below(&"b", 0).is_none());
        drop(share);
        assert!(pool.take(&"a").is_some());
    }
}
