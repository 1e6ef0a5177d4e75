//! A shared pool; no holder gets all of it.
//!
//! One holder may take more as long as it has less than `weight` times what is free. This is the dynamic
//! threshold by which switches share their buffers: alone, a holder gets all but `1 / (weight + 1)` of the pool;
//! when several users take as much as they can, each gets an equal share; and something is free for a newcomer at any
//! time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pool with a number of slots.
#[derive(Debug)]
pub(crate) struct Shares<K: Eq + Hash + Clone>(Arc<Pool<K>>);

#[derive(Debug)]
struct Pool<K> {
    capacity: usize,
    weight: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// One slot of a pool, given back when it is dropped.
#[derive(Debug)]
#[must_use = "the slot is given back when this is dropped"]
pub(crate) struct Share<K: Eq + Hash + Clone> {
    pool: Arc<Pool<K>>,
    holder: K,
}

impl<K: Eq + Hash + Clone> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// A pool of this many slots.
    pub(crate) fn new(capacity: usize, weight: usize) -> Self {
        let taken = Mutex::new(Taken { all: 0, by: HashMap::new() });
        Self(Arc::new(Pool { capacity, weight, taken }))
    }

    /// A slot for this holder, unless it has its share.
    pub(crate) fn take(&self, holder: &K) -> Option<Share<K>> {
        let mut taken = self.0.taken();
        let free = self.0.capacity.saturating_sub(taken.all);
        let known = taken.by.get_key_value(holder).map(|(known, has)| (known.clone(), *has));
        // As it is known already: each share holds it.
        let (holder, has) = known.unwrap_or_else(|| (holder.clone(), 0));
        if free == 0 || has >= self.0.weight.saturating_mul(free) {
            return None;
        }
        taken.all += 1;
        *taken.by.entry(holder.clone()).or_insert(0) += 1;
        Some(Share { pool: Arc::clone(&self.0), holder })
    }

    /// A slot for this holder, if it has fewer than this many.
    pub(crate) fn take_below(&self, holder: &K, limit: usize) -> Option<Share<K>> {
        let has = self.0.taken().by.get(holder).copied().unwrap_or(0);
        // Others may take one meanwhile: what counts is looked at once more.
        let share = if has < limit { self.take(holder) } else { None }?;
        let is_one_too_many = self.0.taken().by.get(holder).is_some_and(|has| *has > limit);
        if is_one_too_many { None } else { Some(share) }
    }

    /// How many slots there are.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity
    }
}

impl<K: Eq + Hash + Clone> Share<K> {
    /// Whose it is.
    pub(crate) fn holder(&self) -> &K {
        &self.holder
    }
}

impl<K> Pool<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.pool.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                let _ = taken.by.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all that it gets.
    fn greedy(pool: &Shares<&'static str>, holder: &'static str) -> Vec<Share<&'static str>> {
        std::iter::from_fn(|| pool.take(&holder)).collect()
    }

    #[test]
    fn no_holder_gets_all_and_a_newcomer_gets_something() {
        let pool = Shares::new(256, 1);
        let first = greedy(&pool, "a");
        assert_eq!(first.len(), 128);
        let second = greedy(&pool, "b");
        assert_eq!(second.len(), 64);
        assert!(pool.take(&"c").is_some());
        assert!(pool.take(&"a").is_none(), "it has more than is free");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let pool = Shares::new(4, 3);
        let mut all = greedy(&pool, "a");
        assert_eq!(all.len(), 3);
        drop(all.pop());
        assert_eq!(greedy(&pool, "a").len(), 1);
        drop(all);
        assert_eq!(greedy(&pool, "b").len(), 3);
    }
}
