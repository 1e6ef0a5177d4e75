//! How a run is stopped whose leader is a process: asked to end, killed, and looked at until nothing of it lives.
//! Here is
//! when; the edge sends the signals and looks.

use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// How soon it is looked again whether anything lives. The pause doubles up to [`LOOK_AT_MOST_EVERY`], because one
/// look can mean every process of the machine.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// How often a run that outlives `SIGKILL` is killed again and looked at. Only the kernel can keep it, for an unknown
/// time.
const LINGERING_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Beyond this a grace is practically endless, and a clock can still add it.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStopOrder {
    /// Ask it to end, and kill it after this time.
    Terminate(Duration),
    /// Kill it.
    Kill,
}

/// What every process of the run is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunSignal {
    /// A request to end, also those that are stopped.
    End,
    /// `SIGKILL`.
    Kill,
}

/// Whether the leader was there when that was last known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum RunLeader {
    Present,
    /// Its end was taken.
    Reaped,
}

/// Something remarkable, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStopNote {
    /// The leader is still there: the kernel holds it.
    NoEffect,
    /// Another process of the run lives on.
    LivesOn,
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[must_use = "the signal is taken for sent"]
pub struct RunStopStep {
    pub signal: Option<RunSignal>,
    pub note: Option<RunStopNote>,
}

/// How far the stop of a run is.
#[derive(Clone, Copy, Debug)]
pub struct RunStop {
    phase: Phase,
    look_at: Timestamp,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is not asked to stop.
    Unwanted,
    /// It was asked to end; `SIGKILL` follows.
    Asked { kill_at: Timestamp },
    /// `SIGKILL` was sent.
    Killed { overdue_at: Timestamp },
    /// `SIGKILL` was sent long ago and the leader is still there, held by the kernel.
    Stuck,
    /// `SIGKILL` was sent long ago and the leader is reaped, but a member is still there.
    Lingering,
    /// The leader is reaped, and nothing of the run was seen.
    Settled,
}

impl RunStop {
    /// How long after `SIGKILL` a run may take to vanish before that is remarkable.
    pub const KILL_CONFIRMATION: Duration = Duration::from_secs(2);

    /// A run that continues.
    pub const fn unwanted(now: Timestamp) -> Self {
        Self { phase: Phase::Unwanted, look_at: now, pause: LOOK_AGAIN }
    }

    /// Whether it is to stop.
    pub fn is_wanted(&self) -> bool {
        self.phase != Phase::Unwanted
    }

    /// Whether nothing of it lives any more.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// An order, which changes nothing if as much was done before.
    #[must_use = "the signal is taken for sent"]
    pub fn order(&mut self, order: RunStopOrder, now: Timestamp) -> Option<RunSignal> {
        match (self.phase, order) {
            (Phase::Unwanted, RunStopOrder::Terminate(grace)) => {
                let kill_at = now.saturating_add(grace.min(LONGEST_GRACE));
                self.phase = Phase::Asked { kill_at };
                self.look_at = now;
                Some(RunSignal::End)
            }
            (Phase::Unwanted | Phase::Asked { .. }, RunStopOrder::Kill) => Some(self.kill(now)),
            (Phase::Asked { .. }, RunStopOrder::Terminate(_))
            | (Phase::Killed { .. } | Phase::Stuck | Phase::Lingering | Phase::Settled, _) => None,
        }
    }

    fn kill(&mut self, now: Timestamp) -> RunSignal {
        let overdue_at = now.saturating_add(Self::KILL_CONFIRMATION);
        *self = Self { phase: Phase::Killed { overdue_at }, ..Self::unwanted(now) };
        RunSignal::Kill
    }

    /// Whether to look now whether anything of it lives. Before its leader is reaped nothing could be concluded.
    pub fn wants_look(&self, leader: RunLeader, now: Timestamp) -> bool {
        let is_under_way = self.is_wanted() && !self.is_settled();
        is_under_way && leader == RunLeader::Reaped && self.look_at <= now
    }

    /// It was looked, and nothing or something lives.
    #[must_use = "the signal is taken for sent"]
    pub fn on_look(&mut self, is_empty: bool, now: Timestamp) -> Option<RunSignal> {
        if is_empty {
            self.phase = Phase::Settled;
            return None;
        }
        let signal = match self.phase {
            // A process was started while the others were killed.
            Phase::Killed { .. } => Some(RunSignal::Kill),
            Phase::Lingering => {
                self.pause = LINGERING_LOOKED_AT_EVERY;
                Some(RunSignal::Kill)
            }
            Phase::Unwanted | Phase::Asked { .. } | Phase::Stuck | Phase::Settled => None,
        };
        self.look_at = now.saturating_add(self.pause);
        self.pause = (self.pause * 2).min(LOOK_AT_MOST_EVERY);
        signal
    }

    /// Does what is due, behind a look if one is wanted.
    pub fn on_time(&mut self, leader: RunLeader, now: Timestamp) -> RunStopStep {
        let (mut signal, mut note) = (None, None);
        match (self.phase, leader) {
            (Phase::Asked { kill_at }, _) if kill_at <= now => signal = Some(self.kill(now)),
            (Phase::Killed { overdue_at }, RunLeader::Reaped) if overdue_at <= now => {
                note = Some(RunStopNote::LivesOn);
                self.phase = Phase::Lingering;
            }
            (Phase::Killed { overdue_at }, RunLeader::Present) if overdue_at <= now => {
                note = Some(RunStopNote::NoEffect);
                self.phase = Phase::Stuck;
            }
            // What the kernel held may have been about to start another.
            (Phase::Stuck, RunLeader::Reaped) => signal = Some(self.kill(now)),
            (
                Phase::Unwanted
                | Phase::Asked { .. }
                | Phase::Killed { .. }
                | Phase::Stuck
                | Phase::Lingering
                | Phase::Settled,
                RunLeader::Present | RunLeader::Reaped,
            ) => {}
        }
        RunStopStep { signal, note }
    }

    /// When something is due. Before its leader is reaped, nothing is looked for: the leader's end is what happens
    /// next.
    pub fn deadline(&self, leader: RunLeader) -> Deadline {
        match (self.phase, leader) {
            (Phase::Unwanted | Phase::Stuck | Phase::Settled, _) => Deadline::Never,
            (Phase::Lingering, _) => Deadline::At(self.look_at),
            (
                Phase::Asked { kill_at: bound } | Phase::Killed { overdue_at: bound },
                RunLeader::Reaped,
            ) => Deadline::At(bound.min(self.look_at)),
            (
                Phase::Asked { kill_at: bound } | Phase::Killed { overdue_at: bound },
                RunLeader::Present,
            ) => Deadline::At(bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run as the kernel shows it, at a time that the test gives.
    struct FakeRun {
        stop: RunStop,
        leader: RunLeader,
        alive: bool,
        kills: usize,
        looks: usize,
        notes: alloc::vec::Vec<RunStopNote>,
        now: Timestamp,
    }

    impl FakeRun {
        fn new(leader: RunLeader) -> Self {
            let now = Timestamp::from_origin(Duration::from_secs(100));
            let stop = RunStop::unwanted(now);
            let notes = alloc::vec::Vec::new();
            Self { stop, leader, alive: true, kills: 0, looks: 0, notes, now }
        }

        fn order(&mut self, order: RunStopOrder) {
            let signal = self.stop.order(order, self.now);
            self.count(signal);
        }

        fn count(&mut self, signal: Option<RunSignal>) {
            self.kills += usize::from(signal == Some(RunSignal::Kill));
        }

        /// Wakes it when it wants to be woken, as its task does, until it is settled or that long passed.
        fn run(&mut self, length: Duration) {
            let until = self.now.saturating_add(length);
            loop {
                if self.stop.wants_look(self.leader, self.now) {
                    self.looks += 1;
                    let signal = self.stop.on_look(!self.alive, self.now);
                    self.count(signal);
                }
                let step = self.stop.on_time(self.leader, self.now);
                self.count(step.signal);
                self.notes.extend(step.note);
                match self.stop.deadline(self.leader) {
                    Deadline::At(at) if at <= until && !self.stop.is_settled() => {
                        self.now = self.now.max(at);
                    }
                    Deadline::At(_) | Deadline::Never => break,
                }
            }
            self.now = until;
        }
    }

    #[test]
    fn a_run_that_outlives_its_killing_is_not_over_before_nothing_of_it_lives() {
        let mut run = FakeRun::new(RunLeader::Reaped);
        run.order(RunStopOrder::Kill);
        let hour = Duration::from_secs(3600);
        run.run(hour);
        assert!(!run.stop.is_settled(), "its end is not confirmed");
        let most = hour.as_secs() as usize / 2 + 40;
        assert!(run.looks <= most, "looked at {} times in an hour", run.looks);
        assert!(run.kills > 1000, "each look is a SIGKILL too: {}", run.kills);
        assert_eq!(run.notes, [RunStopNote::LivesOn], "once");
        run.alive = false;
        run.run(LINGERING_LOOKED_AT_EVERY);
        assert!(run.stop.is_settled());
    }

    #[test]
    fn a_leader_that_the_kernel_holds_is_waited_for_and_then_its_run_is_killed_again() {
        let mut run = FakeRun::new(RunLeader::Present);
        run.order(RunStopOrder::Terminate(Duration::from_secs(5)));
        run.run(Duration::from_secs(60));
        assert!(!run.stop.is_settled());
        assert_eq!((run.kills, run.looks), (1, 0));
        assert_eq!(run.notes, [RunStopNote::NoEffect]);
        assert_eq!(run.stop.deadline(run.leader), Deadline::Never, "its end is what happens next");
        run.leader = RunLeader::Reaped;
        run.run(Duration::from_secs(1));
        assert!(!run.stop.is_settled() && run.kills > 2, "with each look");
        run.alive = false;
        run.run(Duration::from_secs(1));
        assert!(run.stop.is_settled());
    }

    #[test]
    fn a_later_request_to_end_takes_nothing_back() {
        let mut run = FakeRun::new(RunLeader::Present);
        let now = run.now;
        let second = RunStopOrder::Terminate(Duration::from_secs(1));
        let endless = RunStopOrder::Terminate(Duration::MAX);
        assert_eq!(run.stop.order(second, now), Some(RunSignal::End));
        assert_eq!(run.stop.order(endless, now), None);
        let kill_at = now.saturating_add(Duration::from_secs(1));
        assert_eq!(run.stop.deadline(run.leader), Deadline::At(kill_at));
        assert_eq!(run.stop.order(RunStopOrder::Kill, now), Some(RunSignal::Kill));
        assert_eq!(run.stop.order(second, now), None);
    }
}
