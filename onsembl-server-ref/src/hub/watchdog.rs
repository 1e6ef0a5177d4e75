//! Measures how long each event holds the hub up: all users share its one task, so an event that is slow is
//! named with its user before many are.

use crate::bounds::LogLimit;
use onsembl_protocol::fleet::{FleetEvent, Request, StoreAnswer};
use onsembl_protocol::id::UserId;
use onsembl_transport::counters::Counters;
use std::time::{Duration, Instant};
use tracing::warn;

/// What an event may take with all that it decides: half of what deadlines may be late (100 ms).
const SLOW: Duration = Duration::from_millis(50);

/// What the hub is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind(&'static str);

impl Kind {
    /// Taking up what an earlier run left.
    pub(super) const RECOVERY: Self = Self("recovery");

    pub(super) const fn of(event: &FleetEvent) -> Self {
        Self(match event {
            FleetEvent::Hello { .. } => "hello",
            FleetEvent::Silent { .. } => "silent link",
            FleetEvent::Parked { .. } => "parked link",
            FleetEvent::Admit { .. } => "admit",
            FleetEvent::Welcomed { .. } => "welcomed",
            FleetEvent::Presence { .. } => "presence",
            FleetEvent::Beats { .. } => "heartbeats",
            FleetEvent::Heard { .. } => "heard",
            FleetEvent::Metrics { .. } => "metrics",
            FleetEvent::Paused { .. } => "paused",
            FleetEvent::Message { .. } => "message of an agent",
            FleetEvent::LinkEnded { .. } => "link ended",
            FleetEvent::Forgotten { .. } => "forgotten",
            FleetEvent::Request { request, .. } => match request {
                Request::Command(_) => "request: command",
                Request::Cancel(_) => "request: cancel",
                Request::Control(_) => "request: control",
                Request::StopOnce(_) | Request::LatchStop(_) | Request::Stop { .. } => {
                    "request: stop"
                }
                Request::Release(_) => "request: release",
                Request::DeleteAgent(_) => "request: delete agent",
                Request::Audit(_) => "request: audit",
            },
            FleetEvent::Store(answer) => match answer {
                StoreAnswer::Session { .. } => "store: session",
                StoreAnswer::Inserted { .. } => "store: inserted",
                StoreAnswer::EndStored { .. } => "store: end stored",
                StoreAnswer::Positions { .. } => "store: positions",
                StoreAnswer::LogPosition { .. } => "store: log position",
                StoreAnswer::Balance { .. } => "store: balance",
                StoreAnswer::FindingsKept { .. } => "store: findings kept",
                StoreAnswer::Deleted { .. } => "store: deleted",
                StoreAnswer::Stopped { .. } => "store: stopped",
                StoreAnswer::Released { .. } => "store: released",
            },
            FleetEvent::Receipts(_) => "receipts",
            FleetEvent::Wake => "wake",
        })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Watchdog {
    slow: Duration,
    lines: LogLimit<(UserId, Kind)>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { slow: SLOW, lines: LogLimit::new() }
    }
}

impl Watchdog {
    /// An event of this user that began then was handled.
    pub(super) fn handled(&self, user: &UserId, kind: Kind, began: Instant, counters: &Counters) {
        self.took(user, kind, began.elapsed(), counters);
    }

    fn took(&self, user: &UserId, kind: Kind, took: Duration, counters: &Counters) -> bool {
        if took <= self.slow {
            return false;
        }
        counters.count("slow_events");
        let Some(left_out) = self.lines.allow((user.clone(), kind)) else { return false };
        warn!(
            ?user,
            event = kind.0,
            took_ms = took.as_millis() as u64,
            left_out,
            "an event held up all users; if this continues, its user has more than this server can serve"
        );
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
            let took = Duration::from_millis(millis);
            watchdog.took(&UserId::new(user), Kind::of(&FleetEvent::Wake), took, &counters)
        };
        assert!(!took("a", 50));
        assert!(took("a", 51));
        assert!(!took("a", 51), "not again so soon");
        assert!(took("b", 51), "another user");
        assert_eq!(counters.snapshot().get("slow_events"), Some(&3));
    }
}
