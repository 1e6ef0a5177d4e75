//! A line for each holder in front of a queue that all share: so many of each holder are in the queue at a
//! time, so that nobody waits behind all that another one wants.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lines of all holders that have something in the queue, or wait for it.
#[derive(Debug)]
pub(crate) struct Turns<K>(Arc<Shared<K>>);

impl<K> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<K> {
    each: usize,
    lines: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K> Shared<K> {
    fn lines(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropped, it is the next one's.
#[derive(Debug)]
pub(crate) struct Turn<K: Eq + Hash> {
    // In this order: the place is free before the line looks whether it is needed.
    _place: Option<OwnedSemaphorePermit>,
    _line: Line<K>,
}

#[derive(Debug)]
struct Line<K: Eq + Hash> {
    shared: Arc<Shared<K>>,
    holder: K,
    places: Option<Arc<Semaphore>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// So many places for each holder.
    pub(crate) fn new(each: usize) -> Self {
        Self(Arc::new(Shared { each, lines: Mutex::default() }))
    }

    /// Waits for a place, in the order of asking.
    pub(crate) async fn take(&self, holder: &K) -> Turn<K> {
        let shared = Arc::clone(&self.0);
        let places = Arc::clone(
            shared
                .lines()
                .entry(holder.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(shared.each))),
        );
        let line = Line { shared, holder: holder.clone(), places: Some(Arc::clone(&places)) };
        // Nobody closes it, so this cannot fail.
        let place = places.acquire_owned().await.ok();
        Turn { _place: place, _line: line }
    }
}

impl<K: Eq + Hash> Drop for Line<K> {
    fn drop(&mut self) {
        self.places = None;
        let mut lines = self.shared.lines();
        if lines.get(&self.holder).is_some_and(|places| Arc::strong_count(places) == 1) {
            let _ = lines.remove(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn one_that_wants_much_waits_in_its_own_line() {
        let turns = Turns::new(2);
        let first = turns.take(&"loud").now_or_never().unwrap();
        let _second = turns.take(&"loud").now_or_never().unwrap();
        assert!(turns.take(&"loud").now_or_never().is_none());
        assert!(turns.take(&"quiet").now_or_never().is_some());
        drop(first);
        assert!(turns.take(&"loud").now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_of_who_wants_nothing() {
        let turns = Turns::new(1);
        let first = turns.take(&"a").now_or_never().unwrap();
        assert!(turns.take(&"a").now_or_never().is_none(), "and it gives up waiting");
        assert_eq!(turns.0.lines().len(), 1);
        drop(first);
        assert!(turns.0.lines().is_empty());
    }
}
