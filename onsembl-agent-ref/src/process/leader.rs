//! Learning that the leader of a group exited, without reaping it: unreaped it keeps its number,
//! and with it the number of the group (see `group.rs`).

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often a leader is looked at when no `SIGCHLD` comes. Only matters where the agent was
/// started with that signal blocked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A listener for `SIGCHLD`.
pub(super) fn child_signals() -> io::Result<Signal> {
    signal(SignalKind::child())
}

/// A child of ours.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    child_signals: Signal,
}

impl Leader {
    /// The child `pid`. `child_signals` must be older than the child.
    pub(super) fn new(pid: Pid, child_signals: Signal) -> Self {
        Self { pid, child_signals }
    }

    /// Completes when the child has exited; it is still to be reaped then.
    pub(super) async fn exited(mut self) {
        while !self.has_exited() {
            tokio::select! {
                Some(()) = self.child_signals.recv() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn has_exited(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), look) {
            Ok(status) => status.is_some(),
            Err(Errno::INTR) => false,
            Err(errno) => {
                tracing::error!(pid = %self.pid, %errno, "child process cannot be watched; was it reaped elsewhere?");
                true
            }
        }
    }
}
