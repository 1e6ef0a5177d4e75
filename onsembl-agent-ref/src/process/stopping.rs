//! The course of a cancellation: asked, killed, settled.

use super::KILL_CONFIRMATION;
use super::group::Group;
use super::handle::Stop;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::Instant;

/// How soon a group is asked again whether it is empty. The pause doubles up to
/// [`ASK_AT_MOST_EVERY`], because one question can mean looking at every process of the host.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(10);
const ASK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// Beyond this a grace is as good as endless, and a clock can still add it.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far the stopping of a process is.
#[derive(Debug)]
pub(super) struct Stopping {
    phase: Phase,
    ask_at: Instant,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody wants it to stop.
    Unwanted,
    /// `SIGTERM` was sent; `SIGKILL` follows.
    Asked { kill_at: Instant },
    /// `SIGKILL` was sent.
    Killed { give_up_at: Instant },
    /// `SIGKILL` was sent long ago and the leader is still there, held by the kernel.
    Stuck,
    /// The leader is reaped, and the group is empty or was given up.
    Settled,
}

impl Stopping {
    pub(super) fn unwanted(now: Instant) -> Self {
        Self { phase: Phase::Unwanted, ask_at: now, pause: ASK_AGAIN }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.phase != Phase::Unwanted
    }

    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// Carries out `stop`, unless as much was done before.
    pub(super) fn order(&mut self, stop: Stop, group: &mut Group, now: Instant) {
        match (self.phase, stop) {
            (Phase::Unwanted, Stop::Terminate(grace)) => {
                group.ask_to_end();
                self.phase = Phase::Asked { kill_at: now + grace.min(LONGEST_GRACE) };
                self.ask_at = now;
            }
            (Phase::Unwanted | Phase::Asked { .. }, Stop::Kill) => self.kill(group, now),
            (Phase::Asked { .. }, Stop::Terminate(_))
            | (Phase::Killed { .. } | Phase::Stuck | Phase::Settled, _) => {}
        }
    }

    fn kill(&mut self, group: &mut Group, now: Instant) {
        group.signal(Signal::KILL);
        *self = Self {
            phase: Phase::Killed { give_up_at: now + KILL_CONFIRMATION },
            ..Self::unwanted(now)
        };
    }

    /// Does what is due at `now`.
    pub(super) fn advance(&mut self, group: &mut Group, now: Instant) {
        if !self.is_wanted() || self.is_settled() {
            return;
        }
        let reaped = group.is_leader_reaped();
        if reaped && self.ask_at <= now {
            if group.is_empty() {
                self.phase = Phase::Settled;
                return;
            }
            self.ask_at = now + self.pause;
            self.pause = (self.pause * 2).min(ASK_AT_MOST_EVERY);
        }
        let id = group.leader();
        match self.phase {
            Phase::Asked { kill_at } if kill_at <= now => self.kill(group, now),
            Phase::Killed { give_up_at } if give_up_at <= now && reaped => {
                tracing::warn!(group = %id, "process group lives on after SIGKILL; giving it up");
                self.phase = Phase::Settled;
            }
            Phase::Killed { give_up_at } if give_up_at <= now => {
                tracing::warn!(group = %id, "SIGKILL has no effect yet; the kernel holds the process");
                self.phase = Phase::Stuck;
            }
            Phase::Stuck if reaped => self.kill(group, now),
            Phase::Unwanted
            | Phase::Asked { .. }
            | Phase::Killed { .. }
            | Phase::Stuck
            | Phase::Settled => {}
        }
    }

    /// When [`advance`](Self::advance) is to be called next. The group is asked only once the
    /// leader is reaped; until then the leader's end is the next thing to happen.
    pub(super) fn wake_at(&self, group: &Group) -> Option<Instant> {
        match self.phase {
            Phase::Unwanted | Phase::Stuck | Phase::Settled => None,
            Phase::Asked { kill_at: bound } | Phase::Killed { give_up_at: bound } => {
                Some(if group.is_leader_reaped() { bound.min(self.ask_at) } else { bound })
            }
        }
    }
}
