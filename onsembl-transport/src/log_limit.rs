//! Log lines that a peer can bring about: each at most once in a while, with the number of those left out.
//!
//! For lines that say the same each time; how much a program logs at all, `logging` bounds.

use onsembl_protocol::shared_pool::{Room, SharedPool};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line may be repeated for one key: once a minute.
const EVERY: Duration = Duration::from_secs(60);
/// Keys that are counted apart, of all peers. Who brings about most of them has only as many as the others leave.
const MOST_KEYS: usize = 4096;
/// How often keys whose time is over are looked for while there is no room: a look takes a step for each key.
const SWEEP_EVERY: u32 = 8;

/// Which lines were written lately: what they say (`K`), of whom (`W`).
///
/// Peers choose how many of the former there are, so they have a bound. Beyond it those of whoever has most share one
/// line, and its oldest makes room for those of others.
#[derive(Debug)]
pub struct LogLimit<W, K> {
    every: Duration,
    lately: Mutex<Lately<W, K>>,
}

#[derive(Debug)]
struct Lately<W, K> {
    /// Under no key: all that has none of its own.
    lines: SharedPool<W, Option<K>, Line>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl<W: Ord + Clone, K: Ord + Clone> Default for LogLimit<W, K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Ord + Clone, K: Ord + Clone> LogLimit<W, K> {
    /// At most one line a minute for each key.
    #[must_use]
    pub fn new() -> Self {
        Self::every(EVERY)
    }

    /// The same with another interval.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        let lately = Lately { lines: SharedPool::new(MOST_KEYS), swept: None };
        Self { every, lately: Mutex::new(lately) }
    }

    /// Whether the line for this key of this peer may be written now: `Some` with how many were left out before it.
    pub fn allow(&self, whose: W, key: K) -> Option<u64> {
        self.allow_at(whose, key, Instant::now())
    }

    fn allow_at(&self, whose: W, key: K, now: Instant) -> Option<u64> {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |line: &Line| now.saturating_duration_since(line.written) >= self.every;
        let mut key = Some(key);
        if !lately.lines.contains(&whose, &key) && lately.lines.free() == 0 {
            let interval = self.every / SWEEP_EVERY;
            if lately.swept.is_none_or(|at| now.saturating_duration_since(at) >= interval) {
                // What these left out is not reported any more: keys that never leave would shut out others.
                lately.lines.retain(|_, _, line| !is_over(line));
                lately.swept = Some(now);
            }
            // One of its own instead of another of its own would give it a line for each key that it can think of.
            match lately.lines.room_for(&whose) {
                Room::Free | Room::Of(_) => {}
                Room::Own => key = None,
            }
        }
        match lately.lines.get_mut(&whose, &key) {
            Some(line) if !is_over(line) => {
                line.left_out += 1;
                None
            }
            Some(line) => {
                line.written = now;
                Some(std::mem::take(&mut line.left_out))
            }
            None => {
                let _ = lately.lines.insert(whose, key, Line { written: now, left_out: 0 });
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
        assert_eq!(limit.allow_at((), "a", now), Some(0));
        assert_eq!(limit.allow_at((), "a", now), None);
        assert_eq!(limit.allow_at((), "a", now + EVERY / 2), None);
        assert_eq!(limit.allow_at((), "b", now), Some(0));
        assert_eq!(limit.allow_at((), "a", now + EVERY), Some(2));
    }

    #[test]
    fn keys_of_one_peer_beyond_the_bound_share_one_line() {
        let (limit, now) = (LogLimit::new(), Instant::now());
        let written = (0..3 * MOST_KEYS).filter(|n| limit.allow_at((), *n, now).is_some()).count();
        assert_eq!(written, MOST_KEYS + 1);
        assert!(limit.lately.lock().unwrap().lines.len() <= MOST_KEYS);
        let again = (1..MOST_KEYS).filter(|n| limit.allow_at((), *n, now).is_some()).count();
        assert_eq!(again, 0, "they were all written a moment ago");
        assert_eq!(
            limit.allow_at((), 7 * MOST_KEYS, now + EVERY),
            Some(0),
            "and make room when they are over"
        );
    }

    #[test]
    fn a_peer_with_many_keys_takes_no_line_from_another() {
        let (limit, now) = (LogLimit::new(), Instant::now());
        assert_eq!(limit.allow_at("quiet", 0, now), Some(0));
        let flood = || (0..3 * MOST_KEYS).filter(|n| limit.allow_at("loud", *n, now).is_some());
        assert_eq!(flood().count(), MOST_KEYS);
        assert_eq!(limit.allow_at("quiet", 0, now), None, "its line is still known");
        assert_eq!(limit.allow_at("quiet", 1, now), Some(0), "it has room for another");
        assert_eq!(limit.allow_at("newcomer", 1, now), Some(0));
        assert_eq!(limit.allow_at("newcomer", 1, now), None, "which is known, too");
        assert!(flood().count() < 4, "and what the other has left of its own is known");
    }
}
