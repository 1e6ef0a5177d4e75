//! Carries out how a run is stopped, as the core's `RunStop` decides: signals to its processes, and looks at them.

use super::group::Group;
use onsembl_protocol::time::{Deadline, Timestamp};
use onsembl_protocol::worker::{RunSignal, RunStop, RunStopNote, RunStopOrder};
use tokio::time::Instant;

/// The stop of one run, on the clock of its task.
#[derive(Debug)]
pub(super) struct Stopping {
    stop: RunStop,
    begun: Instant,
}

impl Stopping {
    pub(super) fn unwanted(begun: Instant) -> Self {
        Self { stop: RunStop::unwanted(Timestamp::ORIGIN), begun }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.stop.is_wanted()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.stop.is_settled()
    }

    fn since(&self, now: Instant) -> Timestamp {
        Timestamp::from_origin(now.saturating_duration_since(self.begun))
    }

    pub(super) fn order(&mut self, order: RunStopOrder, group: &Group, now: Instant) {
        let signal = self.stop.order(order, self.since(now));
        group.signal(signal);
    }

    /// Does what is due at `now`.
    pub(super) fn advance(&mut self, group: &Group, now: Instant) {
        let at = self.since(now);
        if self.stop.wants_look(group.leader_state(), at) {
            let signal = self.stop.on_look(group.is_empty(), at);
            group.signal(signal);
        }
        let step = self.stop.on_time(group.leader_state(), at);
        group.signal(step.signal);
        let id = group.leader();
        match step.note {
            Some(RunStopNote::LivesOn) => {
                tracing::warn!(group = %id, "a process survives SIGKILL; its command ends when the process has ended");
            }
            Some(RunStopNote::NoEffect) => {
                tracing::warn!(group = %id, "SIGKILL has no effect yet; the kernel holds the process");
            }
            None => {}
        }
    }

    /// When [`advance`](Self::advance) is to be called next.
    pub(super) fn wake_at(&self, group: &Group) -> Option<Instant> {
        match self.stop.deadline(group.leader_state()) {
            Deadline::At(at) => Some(self.begun + at.since_origin()),
            Deadline::Never => None,
        }
    }
}

impl Group {
    /// Sends what the core decided, if anything.
    pub(super) fn signal(&self, signal: Option<RunSignal>) {
        match signal {
            Some(RunSignal::End) => self.ask_to_end(),
            Some(RunSignal::Kill) => self.kill(),
            None => {}
        }
    }
}
