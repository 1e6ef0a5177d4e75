//! Measures how long each event holds the hub up: all users share its one task, so an event that is slow is
//! named with its user before many are.

use crate::bounds::LogLimit;
use onsembl_protocol::fleet::FleetEvent;
use onsembl_protocol::id::UserId;
use onsembl_transport::counters::Counters;
use std::time::{Duration, Instant};
use tracing::warn;

/// What an event may take with all that it decides: half of what deadlines may be late (100 ms).
const SLOW: Duration = Duration::from_millis(50);

/// What the hub is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind(&'static str);

impl Kind {
    /// Taking up what an earlier run left.
    pub(super) const RECOVERY: Self = Self("recovery");
    /// What others ask of the hub that is no event of a fleet.
    pub(super) const STATS: Self = Self("request: figures");
    pub(super) const ACCEPT: Self = Self("request: link of an agent");
    pub(super) const RECORDING: Self = Self("request: recording");
    pub(super) const BEATS: Self = Self("request: heartbeats");
    pub(super) const COMMAND: Self = Self("request: where a command stands");
    pub(super) const OF_FLEET: Self = Self("request");
    /// Work of the loop itself.
    pub(super) const LINKS: Self = Self("links");
    pub(super) const RECORDED: Self = Self("recorded heartbeats");
    pub(super) const STORED: Self = Self("stored output");
    pub(super) const ANSWERED: Self = Self("answer of the store");
    pub(super) const HEALTH: Self = Self("health of the store");
    pub(super) const WAKE: Self = Self("wake-ups");
    pub(super) const TOKENS: Self = Self("ends of tokens");

    pub(super) const fn of(event: &FleetEvent) -> Self {
        Self(event.name())
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Watchdog {
    slow: Duration,
    lines: LogLimit<Option<UserId>, Kind>,
    /// What events of users took of the present step.
    named: Duration,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { slow: SLOW, lines: LogLimit::new(), named: Duration::ZERO }
    }
}

impl Watchdog {
    /// An event of this user that began then was handled.
    pub(super) fn handled(
        &mut self,
        user: &UserId,
        kind: Kind,
        began: Instant,
        counters: &Counters,
    ) {
        let took = began.elapsed();
        self.named += took;
        self.took(Some(user), kind, took, counters);
    }

    /// All of a step of the hub's loop was done, also what is no user's: what that took besides the events of users
    /// counts here.
    pub(super) fn stepped(&mut self, kind: Kind, took: Duration, counters: &Counters) -> bool {
        let of_nobody = took.saturating_sub(std::mem::take(&mut self.named));
        self.took(None, kind, of_nobody, counters)
    }

    fn took(&self, user: Option<&UserId>, kind: Kind, took: Duration, counters: &Counters) -> bool {
        if took <= self.slow {
            return false;
        }
        counters.count("slow_events");
        let Some(left_out) = self.lines.allow(user.cloned(), kind) else { return false };
        let took_ms = took.as_millis() as u64;
        match user {
            Some(user) => warn!(
                ?user,
                event = kind.0,
                took_ms,
                left_out,
                "one event blocked all users; if this continues, its user exceeds the capacity of this server"
            ),
            None => warn!(
                event = kind.0,
                took_ms,
                left_out,
                "work of the server itself blocked all users; if this continues, the load exceeds the capacity of this server"
            ),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_event_is_counted_each_time_and_named_once_in_a_while_for_each_user() {
        let (watchdog, counters) = (Watchdog::default(), Counters::default());
        let took = |user: &str, millis| {
            let (user, took) = (UserId::new(user), Duration::from_millis(millis));
            watchdog.took(Some(&user), Kind::of(&FleetEvent::Wake), took, &counters)
        };
        assert!(!took("a", 50));
        assert!(took("a", 51));
        assert!(!took("a", 51), "not again so soon");
        assert!(took("b", 51), "another user");
        assert_eq!(counters.snapshot().get("slow_events"), Some(&3));
    }

    #[test]
    fn what_is_no_users_is_under_it_too_and_no_time_counts_twice() {
        let (mut watchdog, counters) = (Watchdog::default(), Counters::default());
        let ms = Duration::from_millis;
        assert!(watchdog.stepped(Kind::STATS, ms(51), &counters));
        assert!(!watchdog.stepped(Kind::STATS, ms(51), &counters), "not again so soon");
        assert!(!watchdog.stepped(Kind::TOKENS, ms(50), &counters));
        watchdog.named = ms(500);
        assert!(!watchdog.stepped(Kind::WAKE, ms(530), &counters), "events of users were named");
        assert!(watchdog.stepped(Kind::WAKE, ms(51), &counters), "which counts for one step");
        assert_eq!(counters.snapshot().get("slow_events"), Some(&3));
    }
}
