//! The course of a cancellation: asked, killed, settled.

use super::KILL_CONFIRMATION;
use super::handle::Stop;
use rustix::process::{Pid, Signal};
use std::time::Duration;
use tokio::time::Instant;

/// How soon a group is asked again whether it is empty. The pause doubles up to
/// [`ASK_AT_MOST_EVERY`], because one question can mean looking at every process of the host.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(10);
const ASK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// How often a group that outlives `SIGKILL` is killed again and asked whether it is empty. Only the
/// kernel can keep it, for an unknown time.
pub(super) const LINGERING_ASKED_EVERY: Duration = Duration::from_secs(2);

/// Beyond this a grace is practically endless, and a clock can still add it.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is stopped: the processes of a run.
pub(super) trait Members {
    /// Its number.
    fn leader(&self) -> Pid;
    /// Whether the leader's end was taken.
    fn is_leader_reaped(&self) -> bool;
    /// Sends a signal to each member.
    fn signal(&mut self, signal: Signal);
    /// Asks each member to end, also those that are stopped.
    fn ask_to_end(&mut self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }
    /// Whether none of its processes is alive. While its leader is not reaped that is not asked.
    fn is_empty(&mut self) -> bool;
}

/// How far the stopping of a process is.
#[derive(Debug)]
pub(super) struct Stopping {
    phase: Phase,
    ask_at: Instant,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not asked to stop.
    Unwanted,
    /// `SIGTERM` was sent; `SIGKILL` follows.
    Asked { kill_at: Instant },
    /// `SIGKILL` was sent.
    Killed { overdue_at: Instant },
    /// `SIGKILL` was sent long ago and the leader is still there, held by the kernel.
    Stuck,
    /// `SIGKILL` was sent long ago and the leader is reaped, but a member is still there.
    Lingering,
    /// The leader is reaped, and the group was seen empty.
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
    pub(super) fn order(&mut self, stop: Stop, group: &mut impl Members, now: Instant) {
        match (self.phase, stop) {
            (Phase::Unwanted, Stop::Terminate(grace)) => {
                group.ask_to_end();
                self.phase = Phase::Asked { kill_at: now + grace.min(LONGEST_GRACE) };
                self.ask_at = now;
            }
            (Phase::Unwanted | Phase::Asked { .. }, Stop::Kill) => self.kill(group, now),
            (Phase::Asked { .. }, Stop::Terminate(_))
            | (Phase::Killed { .. } | Phase::Stuck | Phase::Lingering | Phase::Settled, _) => {}
        }
    }

    fn kill(&mut self, group: &mut impl Members, now: Instant) {
        group.signal(Signal::KILL);
        *self = Self {
            phase: Phase::Killed { overdue_at: now + KILL_CONFIRMATION },
            ..Self::unwanted(now)
        };
    }

    /// Does what is due at `now`.
    pub(super) fn advance(&mut self, group: &mut impl Members, now: Instant) {
        if !self.is_wanted() || self.is_settled() {
            return;
        }
        let reaped = group.is_leader_reaped();
        if reaped && self.ask_at <= now {
            if group.is_empty() {
                self.phase = Phase::Settled;
                return;
            }
            match self.phase {
                // A process was started while the others were killed.
                Phase::Killed { .. } => group.signal(Signal::KILL),
                Phase::Lingering => {
                    group.signal(Signal::KILL);
                    self.pause = LINGERING_ASKED_EVERY;
                }
                Phase::Unwanted | Phase::Asked { .. } | Phase::Stuck | Phase::Settled => {}
            }
            self.ask_at = now + self.pause;
            self.pause = (self.pause * 2).min(ASK_AT_MOST_EVERY);
        }
        let id = group.leader();
        match self.phase {
            Phase::Asked { kill_at } if kill_at <= now => self.kill(group, now),
            Phase::Killed { overdue_at } if overdue_at <= now && reaped => {
                tracing::warn!(group = %id, "a process lives on after SIGKILL; its command is not over before it has ended");
                self.phase = Phase::Lingering;
            }
            Phase::Killed { overdue_at } if overdue_at <= now => {
                tracing::warn!(group = %id, "SIGKILL has no effect yet; the kernel holds the process");
                self.phase = Phase::Stuck;
            }
            Phase::Stuck if reaped => self.kill(group, now),
            Phase::Unwanted
            | Phase::Asked { .. }
            | Phase::Killed { .. }
            | Phase::Stuck
            | Phase::Lingering
            | Phase::Settled => {}
        }
    }

    /// When [`advance`](Self::advance) is to be called next. The group is asked only once the
    /// leader is reaped; until then the leader's end is the next thing to happen.
    pub(super) fn wake_at(&self, group: &impl Members) -> Option<Instant> {
        match self.phase {
            Phase::Unwanted | Phase::Stuck | Phase::Settled => None,
            Phase::Lingering => Some(self.ask_at),
            Phase::Asked { kill_at: bound } | Phase::Killed { overdue_at: bound } => {
                Some(if group.is_leader_reaped() { bound.min(self.ask_at) } else { bound })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group as the kernel shows it, at a time that the test gives.
    struct FakeGroup {
        reaped: bool,
        alive: bool,
        kills: usize,
        asked: usize,
    }

    impl Members for FakeGroup {
        fn leader(&self) -> Pid {
            rustix::process::getpid()
        }

        fn is_leader_reaped(&self) -> bool {
            self.reaped
        }

        fn signal(&mut self, signal: Signal) {
            self.kills += usize::from(signal == Signal::KILL);
        }

        fn is_empty(&mut self) -> bool {
            self.asked += 1;
            !self.alive
        }
    }

    /// Wakes it when it wants to be woken, as its task does, until it is settled or that long passed.
    fn run(
        stopping: &mut Stopping,
        group: &mut FakeGroup,
        from: Instant,
        length: Duration,
    ) -> Instant {
        let until = from + length;
        let mut now = from;
        loop {
            stopping.advance(group, now);
            match stopping.wake_at(group) {
                Some(at) if at <= until && !stopping.is_settled() => now = now.max(at),
                Some(_) | None => return until,
            }
        }
    }

    #[test]
    fn a_group_that_outlives_its_killing_is_not_over_before_it_is_empty() {
        let start = Instant::now();
        let mut group = FakeGroup { reaped: true, alive: true, kills: 0, asked: 0 };
        let mut stopping = Stopping::unwanted(start);
        stopping.order(Stop::Kill, &mut group, start);
        let hour = Duration::from_secs(3600);
        let now = run(&mut stopping, &mut group, start, hour);
        assert!(!stopping.is_settled(), "its end is not confirmed");
        let most = hour.as_secs() as usize / 2 + 40;
        assert!(group.asked <= most, "asked {} times in an hour", group.asked);
        assert!(group.kills > 1000, "each question is a SIGKILL too: {}", group.kills);
        group.alive = false;
        let _ = run(&mut stopping, &mut group, now, LINGERING_ASKED_EVERY);
        assert!(stopping.is_settled());
    }

    #[test]
    fn a_leader_that_the_kernel_holds_is_waited_for_and_then_its_group_is_killed_again() {
        let start = Instant::now();
        let mut group = FakeGroup { reaped: false, alive: true, kills: 0, asked: 0 };
        let mut stopping = Stopping::unwanted(start);
        stopping.order(Stop::Terminate(Duration::from_secs(5)), &mut group, start);
        let now = run(&mut stopping, &mut group, start, Duration::from_secs(60));
        assert!(!stopping.is_settled());
        assert_eq!((group.kills, group.asked), (1, 0));
        assert_eq!(stopping.wake_at(&group), None, "its end is the next thing to happen");
        group.reaped = true;
        let now = run(&mut stopping, &mut group, now, Duration::from_secs(1));
        assert!(!stopping.is_settled() && group.kills > 2, "with each question");
        group.alive = false;
        let _ = run(&mut stopping, &mut group, now, Duration::from_secs(1));
        assert!(stopping.is_settled());
    }
}
