//! A link that is kept beside the one of its agent's session, because the agent is a legacy wrapper.
//!
//! A wrapper takes the end of any of its links for the end of the link that it uses: it dials, the new link
//! takes over, and if that closed the older one, it would dial again, once a second without end. So an older or
//! a silent link of it is left open. Nothing is asked of it but that it answers pings of the link itself.

use crate::liveness::{HeartbeatMonitor, Liveness};
use crate::model::HeartbeatTiming;
use crate::time::{Deadline, Now, Timestamp};

/// What is known of a parked link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) hello: Hello,
    monitor: HeartbeatMonitor,
    ping_at: Timestamp,
}

/// Whether a link said a hello before it was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// Until there is one, nothing that comes has an effect.
    Owed,
    /// What its agent had already sent over it counts.
    Said,
}

impl Parked {
    pub(super) const fn new(hello: Hello, timing: HeartbeatTiming, now: Now) -> Self {
        let monitor = HeartbeatMonitor::new(timing, now.monotonic);
        Self { hello, monitor, ping_at: now.monotonic.saturating_add(timing.interval()) }
    }

    /// A frame came.
    pub(super) fn heard(&mut self, now: Now) {
        let _only_silence_ends_it = self.monitor.on_received(now.monotonic);
    }

    /// The deadline came: what that changes.
    pub(super) fn wake(&mut self, now: Now) -> Option<Liveness> {
        self.monitor.on_wake(now.monotonic).changed
    }

    /// Whether a ping is due; the next one is an interval later.
    pub(super) fn ping(&mut self, now: Now) -> bool {
        let is_due = self.ping_at <= now.monotonic;
        if is_due {
            self.ping_at = now.monotonic.saturating_add(self.monitor.timing().interval());
        }
        is_due
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.monitor.deadline().min(Deadline::At(self.ping_at))
    }
}
