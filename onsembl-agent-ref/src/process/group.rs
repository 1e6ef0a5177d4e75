//! A process group, or the session of a terminal with all its groups: sending it signals, and asking
//! whether anyone is left in it.
//!
//! # The rule
//!
//! A number of a process or group is reused once nothing has it any more, so a signal sent late
//! can hit a stranger. We signal a group only
//!
//! - while its leader has not been reaped: even dead, it keeps the number; or
//! - after that, while the group has living members: they keep the number too. That is asked right
//!   before each signal, and the first answer "empty" is final, whatever a later one would say.
//!
//! A number is kept by the groups of its session too, so the same holds for a session. Its members are
//! signalled one by one, each by a handle of the process that was seen.
//!
//! Numbers 0 (our own group) and 1 (every process there is, when negated) are never groups here.

use super::census::{self, Scope};
use super::stopping::Members;
use super::survivors::signal_process;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};
use std::collections::BTreeSet;

/// How often the processes of a session are looked through for those that were not signalled.
const ROUNDS: u32 = 8;

/// A process group that we started, led by the process of the same number.
#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    scope: Scope,
    leader_reaped: bool,
    seen_empty: bool,
}

impl Group {
    /// The group led by the process `pid`, which must be a child of ours that is not yet reaped.
    /// `None` for numbers that can never be such a child.
    pub(super) fn led_by(pid: u32) -> Option<Self> {
        let id = i32::try_from(pid).ok().filter(|raw| *raw > 1).and_then(Pid::from_raw)?;
        Some(Self { id, scope: Scope::Group, leader_reaped: false, seen_empty: false })
    }

    /// The same with all groups of the session that its leader leads too.
    pub(super) fn with_its_session(self) -> Self {
        Self { scope: Scope::Session, ..self }
    }

    /// Says that the leader's number is no longer kept by the leader itself.
    pub(super) fn leader_was_reaped(&mut self) {
        self.leader_reaped = true;
    }

    fn signal_session(&mut self, signal: Signal) {
        self.signal_group(signal);
        // The others one by one, and again, because one can be born while the others are signalled.
        let mut signalled = BTreeSet::new();
        for _ in 0..ROUNDS {
            let living = census::living_of_session(self.id).unwrap_or_else(|error| {
                tracing::error!(session = %self.id, %error, "the processes of a session cannot be looked through");
                Vec::new()
            });
            let new: Vec<_> = living.into_iter().filter(|p| signalled.insert(*p)).collect();
            if new.is_empty() {
                return;
            }
            for (pid, started) in new {
                if let Err(errno) = signal_process(pid, started, signal) {
                    tracing::error!(session = %self.id, pid, ?signal, %errno, "a process of a session cannot be signalled");
                }
            }
        }
    }

    fn signal_group(&mut self, signal: Signal) {
        match kill_process_group(self.id, signal) {
            Ok(()) => tracing::debug!(group = %self.id, ?signal, "signal sent to process group"),
            Err(Errno::SRCH) if self.scope == Scope::Session => {}
            Err(Errno::SRCH) => self.seen_empty = self.leader_reaped,
            Err(errno) => {
                tracing::error!(group = %self.id, ?signal, %errno, "process group cannot be signalled");
            }
        }
    }

    /// Where the agent is process 1 of a container (or a subreaper), orphans of the group become
    /// its children, and no other process would ever reap them. Elsewhere there are none.
    fn reap_orphans(&self) {
        let dead = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(self.id)), dead) {}
    }
}

impl Members for Group {
    fn leader(&self) -> Pid {
        self.id
    }

    fn is_leader_reaped(&self) -> bool {
        self.leader_reaped
    }

    /// The end of a session is a hangup, without which shells that talk to people stay.
    fn ask_to_end(&mut self) {
        if self.scope == Scope::Session {
            self.signal(Signal::HUP);
        }
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Sends `signal` to every member, if the rule allows.
    fn signal(&mut self, signal: Signal) {
        if self.is_empty() {
            return;
        }
        match self.scope {
            Scope::Group => self.signal_group(signal),
            Scope::Session => self.signal_session(signal),
        }
    }

    fn is_empty(&mut self) -> bool {
        if self.leader_reaped && !self.seen_empty {
            self.seen_empty = match test_kill_process_group(self.id) {
                Err(Errno::SRCH) if self.scope == Scope::Group => true,
                Ok(()) | Err(Errno::SRCH) => census::all_dead(self.scope, self.id),
                // Members whom we may not even signal.
                Err(_) => false,
            };
            if self.seen_empty {
                self.reap_orphans();
            }
        }
        self.seen_empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    #[test]
    fn our_own_group_and_process_one_are_never_groups() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            assert!(Group::led_by(pid).is_none(), "{pid}");
        }
        assert!(Group::led_by(2).is_some());
    }

    #[test]
    fn a_group_once_seen_empty_stays_empty_even_if_the_number_lives_again() {
        let mut alive = leader();
        let mut ended = Group::led_by(alive.id()).unwrap();
        ended.leader_reaped = true;
        ended.seen_empty = true;
        assert!(ended.is_empty());
        ended.signal(Signal::KILL);
        kill_process_group(ended.id, Signal::TERM).unwrap();
        let ended = alive.wait().unwrap().signal();
        assert_eq!(ended, Some(Signal::TERM.as_raw()), "the first signal must not be sent");
    }

    #[test]
    fn before_its_leader_is_reaped_a_group_is_not_empty() {
        let mut ended = leader();
        let mut group = Group::led_by(ended.id()).unwrap();
        kill_process_group(group.id, Signal::KILL).unwrap();
        assert!(!group.is_empty());
        ended.wait().unwrap();
        group.leader_was_reaped();
        assert!(group.is_empty());
    }

    fn leader() -> Child {
        Command::new("sleep").arg("1000").process_group(0).spawn().unwrap()
    }
}
