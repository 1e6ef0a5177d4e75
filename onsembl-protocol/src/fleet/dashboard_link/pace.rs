//! What is sent to a dashboard on a schedule, and when it counts as silent: probes, the refresh that legacy dashboards
//! need, batches of changes. There is no session to resume: a dashboard that reconnects starts over.

use crate::liveness::{HeartbeatMonitor, Liveness};
use crate::model::HeartbeatTiming;
use crate::step::Actions;
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;

/// A legacy dashboard closes a link on which it got no JSON message for 30 s (P-126).
const PING_EVERY: Duration = Duration::from_secs(20);

/// A legacy dashboard shows an agent as offline when its status is older than 120 s; four
/// repetitions fit into that (P-125).
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// How long changes of agents are gathered into one batch: most come several at a time.
const GATHER: Duration = Duration::from_millis(100);

/// The pace of one dashboard's link after its hello.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    monitor: HeartbeatMonitor,
    ping_at: Timestamp,
    refresh_at: Timestamp,
    /// When the batch of changes is sent.
    show_at: Deadline,
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Something came from the peer.
    Heard,
    /// Something that its user may see changed.
    Changed,
    /// Time passed.
    Wake,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A JSON `PING`.
    Ping,
    /// The status of every subscribed agent, again.
    Refresh,
    /// The changes of agents.
    Show,
    /// The dashboard is silent: close the link.
    Silent,
}

impl Pace {
    /// The pace of a dashboard whose hello was accepted now. Its liveness times are fixed: only agents negotiate
    /// theirs.
    pub(super) fn new(now: Now) -> Self {
        let at = now.monotonic;
        Self {
            monitor: HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at),
            ping_at: at.saturating_add(PING_EVERY),
            refresh_at: at.saturating_add(REFRESH_EVERY),
            show_at: Deadline::Never,
        }
    }

    /// Takes one event, and returns what is due. Nothing follows [`Due::Silent`].
    pub(super) fn take(&mut self, beat: Beat, now: Now) -> Actions<Due> {
        let (mut out, at) = (Actions::none(), now.monotonic);
        let changed = match beat {
            Beat::Heard => self.monitor.on_received(at).changed,
            Beat::Wake => self.monitor.on_wake(at).changed,
            Beat::Changed => {
                self.show_at = self.show_at.min(Deadline::At(at.saturating_add(GATHER)));
                None
            }
        };
        if changed == Some(Liveness::TimedOut) {
            out.push(Due::Silent);
            return out;
        }
        if self.ping_at <= at {
            self.ping_at = at.saturating_add(PING_EVERY);
            out.push(Due::Ping);
        }
        if self.show_at.is_due(at) {
            self.show_at = Deadline::Never;
            out.push(Due::Show);
        }
        if self.refresh_at <= at {
            self.refresh_at = at.saturating_add(REFRESH_EVERY);
            out.push(Due::Refresh);
        }
        out
    }

    /// When something may be due.
    pub(super) fn deadline(&self) -> Deadline {
        let own = Deadline::At(self.ping_at.min(self.refresh_at)).min(self.show_at);
        self.monitor.deadline().min(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// What is due for a dashboard that sends something every `every`, until `end`.
    fn due(every: Option<Duration>, end: Duration) -> Vec<(Duration, Due)> {
        let mut pace = Pace::new(Now::without_suspend(Duration::ZERO));
        let mut log = Vec::new();
        let mut speaks = every;
        loop {
            let Deadline::At(wake) = pace.deadline() else { return log };
            let wake = wake.since_origin();
            let (at, beat) = match speaks {
                Some(next) if next <= wake => {
                    speaks = every.map(|every| next + every);
                    (next, Beat::Heard)
                }
                Some(_) | None => (wake, Beat::Wake),
            };
            if at > end || log.last().is_some_and(|(_, due)| *due == Due::Silent) {
                return log;
            }
            let now = Now::without_suspend(at);
            log.extend(pace.take(beat, now).into_iter().map(|due| (at, due)));
        }
    }

    #[test]
    fn a_dashboard_gets_a_ping_every_twenty_seconds_and_a_refresh_every_thirty() {
        let expected = [
            (secs(20), Due::Ping),
            (secs(30), Due::Refresh),
            (secs(40), Due::Ping),
            (secs(60), Due::Ping),
            (secs(60), Due::Refresh),
        ];
        assert_eq!(due(Some(secs(25)), secs(60)), expected);
    }

    #[test]
    fn a_silent_dashboard_is_given_up_and_a_speaking_one_is_not() {
        assert_eq!(due(None, secs(3600)).last(), Some(&(secs(90), Due::Silent)));
        let speaking = due(Some(secs(30)), secs(24 * 3600));
        assert!(speaking.iter().all(|(_, due)| *due != Due::Silent));
    }

    #[test]
    fn a_server_that_was_frozen_gives_up_no_dashboard() {
        let mut pace = Pace::new(Now::without_suspend(secs(1)));
        let due: Vec<Due> =
            pace.take(Beat::Wake, Now::without_suspend(secs(600))).into_iter().collect();
        assert_eq!(due, [Due::Ping, Due::Refresh], "and no burst of missed ones");
    }

    #[test]
    fn changes_are_gathered_and_shown_once() {
        let at = |ms| Now::without_suspend(Duration::from_millis(ms));
        let mut pace = Pace::new(at(0));
        for ms in [10, 50, 100] {
            assert!(pace.take(Beat::Changed, at(ms)).is_empty());
        }
        assert_eq!(pace.deadline(), Deadline::At(at(110).monotonic));
        assert_eq!(pace.take(Beat::Wake, at(110)).into_iter().collect::<Vec<_>>(), [Due::Show]);
        assert!(pace.take(Beat::Wake, at(111)).is_empty());
    }
}
