//! Log lines that a peer can bring about: each at most once in a while, with the number of those left out.
//!
//! For lines that say the same each time; how much a program logs at all, `logging` bounds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line may be repeated for one key: once a minute.
const EVERY: Duration = Duration::from_secs(60);
/// Keys that are counted apart. Peers choose them, so beyond this they share one.
const MOST_KEYS: usize = 4096;

/// Which lines were written lately.
#[derive(Debug)]
pub struct LogLimit<K> {
    every: Duration,
    lately: Mutex<HashMap<Option<K>, Line>>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl<K: Eq + Hash> Default for LogLimit<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash> LogLimit<K> {
    /// At most one line a minute for each key.
    #[must_use]
    pub fn new() -> Self {
        Self::every(EVERY)
    }

    /// The same with another interval.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { every, lately: Mutex::default() }
    }

    /// Whether the line for this key may be written now: `Some` with how many were left out before it.
    pub fn allow(&self, key: K) -> Option<u64> {
        self.allow_at(key, Instant::now())
    }

    fn allow_at(&self, key: K, now: Instant) -> Option<u64> {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |line: &Line| now.saturating_duration_since(line.written) >= self.every;
        let mut key = Some(key);
        if !lately.contains_key(&key) && lately.len() >= MOST_KEYS {
            // What these left out is not reported any more: keys that never leave would shut out others.
            lately.retain(|_, line| !is_over(line));
            if lately.len() >= MOST_KEYS {
                key = None;
            }
        }
        match lately.get_mut(&key) {
            Some(line) if !is_over(line) => {
                line.left_out += 1;
                None
            }
            Some(line) => {
                line.written = now;
                Some(std::mem::take(&mut line.left_out))
            }
            None => {
                let _ = lately.insert(key, Line { written: now, left_out: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_once_a_minute_for_each_key_and_says_how_many_it_stands_for() {
        let (limit, now) = (LogLimit::new(), Instant::now());
        assert_eq!(limit.allow_at("a", now), Some(0));
        assert_eq!(limit.allow_at("a", now), None);
        assert_eq!(limit.allow_at("a", now + EVERY / 2), None);
        assert_eq!(limit.allow_at("b", now), Some(0));
        assert_eq!(limit.allow_at("a", now + EVERY), Some(2));
    }

    #[test]
    fn keys_beyond_the_bound_share_one_line() {
        let (limit, now) = (LogLimit::new(), Instant::now());
        let written = (0..3 * MOST_KEYS).filter(|n| limit.allow_at(*n, now).is_some()).count();
        assert_eq!(written, MOST_KEYS + 1);
        assert!(limit.lately.lock().unwrap().len() <= MOST_KEYS + 1);
        let again = (0..MOST_KEYS).filter(|n| limit.allow_at(*n, now).is_some()).count();
        assert_eq!(again, 0, "they were all written a moment ago");
        assert_eq!(
            limit.allow_at(7 * MOST_KEYS, now + EVERY),
            Some(0),
            "and make room when they are over"
        );
    }
}
