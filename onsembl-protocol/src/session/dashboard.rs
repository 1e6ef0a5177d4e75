//! The server's end of one dashboard link: probes, the refresh that legacy dashboards need, and
//! the end of a silent one. It has no session: a dashboard that comes back starts anew.

use crate::close::CloseCause;
use crate::liveness::{HeartbeatMonitor, Liveness};
use crate::model::HeartbeatTiming;
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;

/// A legacy dashboard closes a link on which it got no JSON message for 30 s (P-126).
const PING_EVERY: Duration = Duration::from_secs(20);

/// A legacy dashboard turns an agent offline whose status is older than 120 s; four
/// repetitions fit into that (P-125).
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// Changes of agents are gathered so long, because most come several at a time.
const GATHER: Duration = Duration::from_millis(100);

/// One dashboard link after its hello. A [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug)]
pub struct DashboardConnection {
    monitor: HeartbeatMonitor,
    ping_at: Timestamp,
    refresh_at: Timestamp,
    /// When changes are shown.
    show_at: Deadline,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

/// What happens to a dashboard link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardEvent {
    /// Any frame came.
    Received,
    /// Something changed of what its user may see.
    Changed,
    /// The deadline came; harmless at any other time.
    Wake,
}

/// What the driver of a dashboard link is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardAction {
    /// Send a JSON `PING`.
    SendPing,
    /// Send the status of every subscribed agent again.
    Refresh,
    /// Send what changed of agents.
    Show,
    /// Close the link; nothing follows.
    Close(CloseCause),
}

impl DashboardConnection {
    /// A dashboard whose hello was accepted now. Its liveness times are fixed, because it does not
    /// take part in the negotiation of agents.
    pub fn new(now: Now) -> Self {
        let at = now.monotonic;
        Self {
            monitor: HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, at),
            ping_at: at.saturating_add(PING_EVERY),
            refresh_at: at.saturating_add(REFRESH_EVERY),
            show_at: Deadline::Never,
            state: State::Open,
        }
    }

    /// Takes one event at one moment.
    pub fn handle(&mut self, event: DashboardEvent, now: Now) -> Step<DashboardAction> {
        let mut out = Actions::none();
        let at = now.monotonic;
        if self.state == State::Closed {
            return Step { actions: out, deadline: Deadline::Never };
        }
        let changed = match event {
            DashboardEvent::Received => self.monitor.on_received(at).changed,
            DashboardEvent::Wake => self.monitor.on_wake(at).changed,
            DashboardEvent::Changed => {
                self.show_at = self.show_at.min(Deadline::At(at.saturating_add(GATHER)));
                None
            }
        };
        if changed == Some(Liveness::TimedOut) {
            self.state = State::Closed;
            out.push(DashboardAction::Close(CloseCause::Silent));
            return Step { actions: out, deadline: Deadline::Never };
        }
        if self.ping_at <= at {
            self.ping_at = at.saturating_add(PING_EVERY);
            out.push(DashboardAction::SendPing);
        }
        if self.show_at.is_due(at) {
            self.show_at = Deadline::Never;
            out.push(DashboardAction::Show);
        }
        if self.refresh_at <= at {
            self.refresh_at = at.saturating_add(REFRESH_EVERY);
            out.push(DashboardAction::Refresh);
        }
        Step { actions: out, deadline: self.deadline().after(at) }
    }

    /// When to call with [`DashboardEvent::Wake`]. `Never` only when closed.
    pub fn deadline(&self) -> Deadline {
        if self.state == State::Closed {
            return Deadline::Never;
        }
        let own = Deadline::At(self.ping_at.min(self.refresh_at)).min(self.show_at);
        self.monitor.deadline().min(own)
    }
}
