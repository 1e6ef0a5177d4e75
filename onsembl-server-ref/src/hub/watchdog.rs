//! Measures how long each event holds the hub up, and names those that are slow: all users share its one task.

use crate::bounds::LogLimit;
use onsembl_protocol::fleet::StepTimes;
use onsembl_protocol::id::UserId;
use onsembl_transport::counters::Counters;
use std::time::{Duration, Instant};
use tracing::warn;

/// What the hub is busy with, for people.
pub(super) type Kind = &'static str;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Watchdog {
    times: StepTimes,
    lines: LogLimit<Option<UserId>, Kind>,
    counters: Counters,
}

impl Watchdog {
    pub(super) fn new(counters: Counters) -> Self {
        Self { times: StepTimes::default(), lines: LogLimit::new(), counters }
    }

    /// An event of this user that began then was handled.
    pub(super) fn handled(&mut self, user: &UserId, event: Kind, began: Instant) {
        let took = began.elapsed();
        if self.times.of_user(took)
            && let Some(left_out) = self.count(Some(user), event)
        {
            let took_ms = took.as_millis() as u64;
            warn!(
                ?user,
                event,
                took_ms,
                left_out,
                "one event blocked all users; if this continues, its user exceeds the capacity of this server"
            );
        }
    }

    /// All of a step of the hub's loop was done, also what is no user's.
    pub(super) fn stepped(&mut self, event: Kind, took: Duration) {
        if self.times.of_step(took)
            && let Some(left_out) = self.count(None, event)
        {
            let took_ms = took.as_millis() as u64;
            warn!(
                event,
                took_ms,
                left_out,
                "work of the server itself blocked all users; if this continues, the load exceeds the capacity of this server"
            );
        }
    }

    /// Counts it; whether it is to be logged too, and how many were not since the last one.
    fn count(&self, user: Option<&UserId>, event: Kind) -> Option<u64> {
        self.counters.count("slow_events");
        self.lines.allow(user.cloned(), event)
    }
}
