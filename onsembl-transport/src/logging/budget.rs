//! How many lines of which level may come: numbers, and the bucket that counts them. Nothing here knows lines.

use std::time::{Duration, Instant};
use tracing::Level;

/// How many at once, and how many more in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) burst: u32,
    pub(super) refill: u32,
}

/// How fast buckets fill.
const REFILL: Duration = Duration::from_secs(10);

/// What lines of one level may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    /// Of one place in the program, for one peer.
    pub(super) peer: Budget,
    /// Of one place in the program, for all peers together.
    pub(super) place: Budget,
    /// Of the whole process.
    pub(super) process: Budget,
}

/// What a person reads who is called: a few show what it is, a count shows how bad it is.
const TROUBLE: Budgets = Budgets {
    peer: Budget { burst: 20, refill: 2 },
    place: Budget { burst: 200, refill: 20 },
    process: Budget { burst: 2_000, refill: 200 },
};
/// The course of things: each agent of a large fleet that comes back at once may be named.
const COURSE: Budgets = Budgets {
    peer: Budget { burst: 500, refill: 50 },
    place: Budget { burst: 2_000, refill: 200 },
    process: Budget { burst: 10_000, refill: 1_000 },
};
/// Asked for by a person who follows something, for a while.
const DETAIL: Budgets = Budgets {
    peer: Budget { burst: 10_000, refill: 10_000 },
    place: Budget { burst: 50_000, refill: 50_000 },
    process: Budget { burst: 100_000, refill: 100_000 },
};

impl Budgets {
    pub(super) fn of(level: &Level) -> &'static Self {
        match *level {
            Level::ERROR | Level::WARN => &TROUBLE,
            Level::INFO => &COURSE,
            // Debug and trace: the levels are no enum, so that the compiler cannot know that these are all.
            _ => &DETAIL,
        }
    }
}

/// A bucket that fills by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(budget: Budget, now: Instant) -> Self {
        Self { left: f64::from(budget.burst), at: now }
    }

    /// Whether there is a line left.
    pub(super) fn has_one(&mut self, budget: Budget, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        let more = passed * f64::from(budget.refill);
        self.left = (self.left + more).min(f64::from(budget.burst));
        self.at = self.at.max(now);
        self.left >= 1.0
    }

    pub(super) fn take_one(&mut self) {
        self.left -= 1.0;
    }

    /// Whether it equals a new one.
    pub(super) fn is_full(&mut self, budget: Budget, now: Instant) -> bool {
        let _ = self.has_one(budget, now);
        self.left >= f64::from(budget.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_what_came_in() {
        let budget = Budget { burst: 3, refill: 2 };
        let start = Instant::now();
        let mut bucket = Bucket::full(budget, start);
        let mut taken = |now| {
            (0..10)
                .filter(|_| {
                    let one = bucket.has_one(budget, now);
                    if one {
                        bucket.take_one();
                    }
                    one
                })
                .count()
        };
        assert_eq!(taken(start), 3);
        assert_eq!(taken(start + REFILL / 4), 0);
        assert_eq!(taken(start + REFILL), 2);
        assert_eq!(taken(start + 100 * REFILL), 3);
        assert_eq!(taken(start), 0, "a clock that steps back gives nothing");
    }
}
