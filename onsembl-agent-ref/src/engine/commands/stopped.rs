//! An emergency stop that holds: everything is killed at once, nothing starts until it is released, and
//! the server hears how far that is.

use super::{Commands, Word};
use crate::engine::notes::StoppedBy;
use onsembl_protocol::command::JournalEntry;
use onsembl_protocol::id::StopId;

impl Commands {
    /// The server orders it; perhaps again, because it has not heard that it is done.
    pub(in super::super) fn on_stop_order(&mut self, stop: StopId) {
        if self.guard.on_order(stop.clone()) {
            self.counters.count("emergency_stops");
            tracing::warn!(%stop, "emergency stop: killing all commands; nothing starts until it is released");
            // Killing does not wait for the disk.
            self.stop_all(StoppedBy::Emergency, true);
            self.write(JournalEntry::Stopped { stop });
        }
        self.look_whether_empty();
        self.say_receipt();
    }

    /// The stop that is in force.
    pub(in super::super) const fn stop_in_force(&self) -> Option<&StopId> {
        self.guard.order()
    }

    pub(super) fn on_stop_written(&mut self, stop: &StopId, failed: Option<String>) {
        match failed {
            None => drop(self.guard.on_durable(stop)),
            Some(error) => {
                tracing::error!(%stop, %error, "the emergency stop holds, but would not survive the end of this process; the server is not told that it does");
            }
        }
        self.say_receipt();
    }

    /// A session began; this stop is in force, or none is.
    pub(in super::super) fn on_welcome_of_latch(&mut self, in_force: Option<StopId>) {
        if let Some(released) = self.guard.on_welcome(in_force.as_ref()) {
            self.released(released);
        }
        if let Some(stop) = in_force {
            self.on_stop_order(stop);
        }
    }

    pub(in super::super) fn on_stop_release(&mut self, stop: &StopId) {
        if let Some(released) = self.guard.on_release(stop) {
            self.released(released);
        }
    }

    /// Something ended: was it the last?
    pub(super) fn look_whether_empty(&mut self) {
        let empty = self.running.is_empty() && !self.groups_may_live;
        if self.guard.is_held() && empty && self.guard.on_empty() {
            self.say_receipt();
        }
    }

    fn released(&mut self, stop: StopId) {
        tracing::info!(%stop, "the emergency stop is released");
        self.groups_may_live = false;
        self.write(JournalEntry::Released { stop });
    }

    fn say_receipt(&mut self) {
        if let Some((stop, stage)) = self.guard.receipt()
            && self.joined
        {
            self.due.receipt(Word::Stopped(stop, stage));
        }
    }
}
