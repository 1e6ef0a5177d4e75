//! What the owner of a process holds: who it is, and a way to give it orders.

use super::pty::Keyboard;
use super::survivors::identify;
use onsembl_protocol::id::Incarnation;
use onsembl_protocol::worker::{ProcessIdentity, RunStopOrder, RunTag, TerminalSettings};
use rustix::process::Pid;
use std::time::Duration;
use tokio::sync::watch;

/// The orders that stand, as the task of the process reads them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) paused: bool,
    /// The reader of the screen does not keep up.
    pub(super) watched_slowly: bool,
    pub(super) stop: Option<RunStopOrder>,
}

/// A started process. Dropping it only ends a pause, which could not be ended later.
#[derive(Debug)]
pub struct ProcessHandle {
    pid: Pid,
    /// What all processes of its run bear, if they do.
    tag: Option<RunTag>,
    incarnation: Incarnation,
    orders: watch::Sender<Orders>,
    keyboard: Option<Keyboard>,
}

impl ProcessHandle {
    pub(super) fn new(
        (pid, tag): (Pid, Option<RunTag>),
        incarnation: Incarnation,
        orders: watch::Sender<Orders>,
        keyboard: Option<Keyboard>,
    ) -> Self {
        Self { pid, tag, incarnation, orders, keyboard }
    }

    /// The keyboard of its terminal, if it has one.
    pub fn keyboard(&self) -> Option<&Keyboard> {
        self.keyboard.as_ref()
    }

    /// Gives the keyboard up: nobody reads any more, and what is being typed is not awaited.
    pub(crate) fn drop_keyboard(&mut self) {
        self.keyboard = None;
    }

    /// How its terminal is set now, if it has one.
    pub fn terminal_settings(&self) -> Option<TerminalSettings> {
        self.keyboard.as_ref().map(|keyboard| keyboard.settings(self.pid))
    }

    /// Tells this process from any other under the same command id: its start in milliseconds of
    /// wall time since 1970.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The process id of the leader, which is also the id of its group. A label: the process may
    /// have ended, so signal it only through this handle.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// By what a successor of this agent finds its run, if the system tells.
    pub(crate) fn identity(&self) -> Option<ProcessIdentity> {
        identify(self.pid()).map(|identity| ProcessIdentity { tag: self.tag, ..identity })
    }

    /// Asks the whole group to end (`SIGTERM`, and `SIGCONT` for those that are stopped) and kills
    /// what is left of it after `grace`. A second call changes nothing, nor does one after the end.
    pub fn cancel(&self, grace: Duration) {
        self.orders.send_if_modified(|orders| {
            let first = orders.stop.is_none();
            orders.stop = orders.stop.or(Some(RunStopOrder::Terminate(grace)));
            first
        });
    }

    /// Kills the whole group at once, also during the grace of a [`cancel`](Self::cancel).
    pub fn kill(&self) {
        self.orders.send_modify(|orders| orders.stop = Some(RunStopOrder::Kill));
    }

    /// Stops reading output. The process blocks when its pipes are full; orders reach it all the
    /// same, but its end is reported only after reading was resumed and the rest was delivered.
    pub fn pause_reading(&self) {
        self.orders.send_modify(|orders| orders.paused = true);
    }

    /// Stops reading, or reads on, for the reader of the agent's own terminal. Independent
    /// of [`pause_reading`](Self::pause_reading).
    pub fn wait_for_watcher(&self, waits: bool) {
        self.orders.send_modify(|orders| orders.watched_slowly = waits);
    }

    /// Reads on.
    pub fn resume_reading(&self) {
        self.orders.send_modify(|orders| orders.paused = false);
    }
}
