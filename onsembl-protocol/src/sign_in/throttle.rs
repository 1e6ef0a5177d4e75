//! How often an address may try to sign in (GCRA): a burst, then one attempt in a while.

use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use core::time::Duration;

/// The attempts of each address. One that succeeds is given back, so that many people behind one address are not
/// hindered by each other.
#[derive(Clone, Debug)]
pub struct Throttle<K: Ord> {
    /// When all that an address has used is back.
    full_at: BTreeMap<K, Timestamp>,
}

impl<K: Ord> Default for Throttle<K> {
    fn default() -> Self {
        Self { full_at: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Throttle<K> {
    /// Attempts that may fail at once: 10, more than somebody mistypes.
    pub const BURST: u32 = 10;
    /// After which another one may: 6 s, so that 600 an hour are tried of 2^128 codes.
    pub const EVERY: Duration = Duration::from_secs(6);
    /// Addresses that are remembered: 4,096. Of one more, that is forgotten which may try again soonest.
    pub const MOST: usize = 4096;

    /// This address tries.
    ///
    /// # Errors
    /// It may not yet; after this time it may.
    pub fn attempt(&mut self, address: &K, now: Timestamp) -> Result<(), Duration> {
        let full_at = self.full_at.get(address).copied().unwrap_or(now).max(now);
        let used = full_at.saturating_since(now);
        let most = Self::EVERY.saturating_mul(Self::BURST.saturating_sub(1));
        if used > most {
            return Err(used.saturating_sub(most));
        }
        self.make_room(address, now);
        let _ = self.full_at.insert(address.clone(), full_at.saturating_add(Self::EVERY));
        Ok(())
    }

    /// Its attempt succeeded.
    pub fn succeeded(&mut self, address: &K) {
        if let Some(full_at) = self.full_at.get_mut(address) {
            *full_at = full_at.saturating_sub(Self::EVERY);
        }
    }

    fn make_room(&mut self, newcomer: &K, now: Timestamp) {
        if self.full_at.len() < Self::MOST || self.full_at.contains_key(newcomer) {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= Self::MOST
            && let Some((soonest, _)) = self.full_at.iter().min_by_key(|(_, full_at)| **full_at)
        {
            let soonest = soonest.clone();
            let _ = self.full_at.remove(&soonest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    /// How many of a hundred attempts in this millisecond are let through.
    fn let_through(throttle: &mut Throttle<u32>, address: u32, ms: u64) -> usize {
        (0..100).filter(|_| throttle.attempt(&address, at(ms)).is_ok()).count()
    }

    #[test]
    fn after_a_burst_an_address_waits_and_the_others_do_not() {
        let mut throttle = Throttle::default();
        assert_eq!(let_through(&mut throttle, 1, 1000), 10);
        assert_eq!(throttle.attempt(&1, at(1000)), Err(Duration::from_secs(6)));
        assert_eq!(throttle.attempt(&1, at(6999)), Err(Duration::from_millis(1)));
        assert_eq!(let_through(&mut throttle, 1, 7000), 1);
        assert_eq!(let_through(&mut throttle, 2, 7000), 10);
        assert_eq!(let_through(&mut throttle, 1, 3_600_000), 10, "all is back, and no more");
    }

    #[test]
    fn an_attempt_that_succeeds_counts_for_nothing() {
        let mut throttle = Throttle::default();
        for _ in 0..1000 {
            assert_eq!(throttle.attempt(&1, at(0)), Ok(()));
            throttle.succeeded(&1);
        }
        assert_eq!(let_through(&mut throttle, 1, 0), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_has_tried_most_is_not_forgotten() {
        let mut throttle = Throttle::default();
        assert_eq!(let_through(&mut throttle, 0, 0), 10);
        for address in 1..20_000 {
            assert_eq!(throttle.attempt(&address, at(1)), Ok(()));
            assert!(throttle.full_at.len() <= Throttle::<u32>::MOST);
        }
        assert!(throttle.attempt(&0, at(1)).is_err());
    }
}
