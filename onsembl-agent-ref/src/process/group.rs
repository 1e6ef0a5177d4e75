//! The processes of one run: sending them signals, and asking whether anyone is left.
//!
//! # The rule
//!
//! A number of a process or group is reused once nothing has it any more, so a signal sent late
//! can hit a stranger. We signal a group by its number only
//!
//! - while its leader has not been reaped: even dead, it keeps the number; or
//! - after that, while the group has living members: they keep the number too. That is asked right
//!   before each signal, and once nobody has it, it is never ours again.
//!
//! All others that belong to the run, wherever they went, are signalled one by one, each by a handle of the
//! process that was seen. Who they are, the core decides (`worker::Kinship`).
//!
//! Numbers 0 (our own group) and 1 (every process there is, when negated) are never groups here.

use super::household::{Kin, Members};
use super::survivors::signal_process;
use onsembl_protocol::worker::{ProcessName, RunLeader, RunRest};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::collections::BTreeSet;

/// How often the processes of a run are looked through for those that were not signalled.
const ROUNDS: u32 = 8;

/// What a run is led by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// A process group.
    Group,
    /// The session of a terminal, whose shell gives each of its jobs a group.
    Session,
}

/// A run that we started.
#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    scope: Scope,
    leader_reaped: bool,
    kin: Kin,
}

impl Group {
    /// The run led by the process `pid`, which must be a child of ours that is not yet reaped.
    /// `None` for numbers that can never be such a child.
    pub(super) fn led_by(pid: u32, kin: Kin) -> Option<Self> {
        let id = i32::try_from(pid).ok().filter(|raw| *raw > 1).and_then(Pid::from_raw)?;
        Some(Self { id, scope: Scope::Group, leader_reaped: false, kin })
    }

    /// The same, if its leader leads a session too.
    pub(super) fn with_its_session(self) -> Self {
        Self { scope: Scope::Session, ..self }
    }

    /// Says that the leader's number is no longer kept by the leader itself.
    pub(super) fn leader_was_reaped(&mut self) {
        self.leader_reaped = true;
        self.kin.leader_was_reaped();
    }

    /// What is left of the run, once the leader was reaped.
    pub(super) fn rest(&self) -> RunRest {
        self.kin.rest().unwrap_or_else(|error| {
            // Without a look at the processes, a group that is not there is all that can be told.
            match (self.scope, test_kill_process_group(self.id)) {
                (Scope::Group, Err(Errno::SRCH)) => RunRest::Ended,
                (Scope::Group | Scope::Session, _) => {
                    tracing::debug!(group = %self.id, %error, "cannot list the processes of a run");
                    RunRest::Lives
                }
            }
        })
    }

    /// Those that may be of this run or of another, as of the latest look.
    pub(super) fn unclear(&self) -> Vec<i32> {
        self.kin.unclear()
    }

    /// Sends a signal to each member, also to those that are born meanwhile.
    fn send(&self, signal: Signal) {
        let own_group = self.id.as_raw_pid();
        let mut signalled = BTreeSet::new();
        let mut is_group_signalled = false;
        for _ in 0..ROUNDS {
            // Before the leader is signalled: where orphans are lost, who descends from it is not known any more
            // once it has ended.
            let Members { all, have_group } = match self.kin.members() {
                Ok(living) => living,
                Err(error) if is_group_signalled || self.leader_reaped => {
                    return tracing::debug!(group = %self.id, %error, "cannot list the processes of a run");
                }
                // The leader keeps the number, and without a look that is all that can be told.
                Err(_) => return self.send_to_group(signal),
            };
            if have_group && !is_group_signalled {
                // All at once, so that none of them can start another meanwhile.
                self.send_to_group(signal);
                is_group_signalled = true;
                let members = all.iter().filter(|(_, group)| *group == own_group);
                signalled.extend(members.map(|(name, _)| *name));
            }
            let new = all.into_iter().map(|(name, _)| name).filter(|name| signalled.insert(*name));
            let new: Vec<ProcessName> = new.collect();
            if new.is_empty() {
                return;
            }
            for ProcessName { pid, started } in new {
                if let Err(errno) = signal_process(pid, started, signal) {
                    tracing::error!(group = %self.id, pid, ?signal, %errno, "a process of a run cannot be signalled");
                }
            }
        }
    }

    fn send_to_group(&self, signal: Signal) {
        match kill_process_group(self.id, signal) {
            Ok(()) => tracing::debug!(group = %self.id, ?signal, "signal sent to process group"),
            Err(Errno::SRCH) => {}
            Err(errno) => {
                tracing::error!(group = %self.id, ?signal, %errno, "process group cannot be signalled");
            }
        }
    }
}

impl Group {
    /// Its number.
    pub(super) fn leader(&self) -> Pid {
        self.id
    }

    /// Whether the leader's end was taken.
    pub(super) fn leader_state(&self) -> RunLeader {
        if self.leader_reaped { RunLeader::Reaped } else { RunLeader::Present }
    }

    /// Asks each member to end, also those that are stopped. The end of a session is a hangup, without which shells
    /// that talk to people stay.
    pub(super) fn ask_to_end(&self) {
        if self.scope == Scope::Session {
            self.send(Signal::HUP);
        }
        self.send(Signal::TERM);
        self.send(Signal::CONT);
    }

    /// Kills each member, if the rule allows.
    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Whether nothing that is known to be of this run lives. What may be another's is not waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.leader_reaped
            && match self.rest() {
                RunRest::Ended | RunRest::Unclear => true,
                RunRest::Lives => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::super::household;
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    fn leader(script: &str) -> (Child, Group) {
        let start = || Command::new("sh").args(["-c", script]).process_group(0).spawn();
        let (child, kin) = household::start(None, start, |child| Some(child.id())).unwrap();
        let group = Group::led_by(child.id(), kin.unwrap()).unwrap();
        (child, group)
    }

    #[test]
    fn our_own_group_and_process_one_are_never_groups() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            let (mut child, Group { kin, .. }) = leader("exit 0");
            assert!(Group::led_by(pid, kin).is_none(), "{pid}");
            child.wait().unwrap();
        }
    }

    #[test]
    fn before_its_leader_is_reaped_a_group_is_not_empty() {
        let (mut ended, mut group) = leader("exec sleep 1000");
        group.kill();
        assert!(!group.is_empty());
        ended.wait().unwrap();
        group.leader_was_reaped();
        assert!(group.is_empty());
        assert_eq!(group.rest(), RunRest::Ended);
    }

    #[test]
    fn each_member_gets_a_signal_once_wherever_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let count = "trap 'echo x >> $0' TERM; echo up >> up; while :; do :; done";
        let script = format!(
            "cd {}; sh -c \"{count}\" one & setsid sh -c \"{count}\" two & wait; wait; wait",
            dir.path().display()
        )
        .replace("$0", "\\$0");
        let (mut child, mut group) = leader(&script);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let soon = |what: &str, holds: &dyn Fn() -> bool| {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while !holds() {
                assert!(std::time::Instant::now() < until, "never: {what}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        };
        soon("both run", &|| read("up") == "up\nup\n");
        group.send(Signal::TERM);
        soon("both heard", &|| !read("one").is_empty() && !read("two").is_empty());
        assert_eq!((read("one").as_str(), read("two").as_str()), ("x\n", "x\n"));
        group.kill();
        child.wait().unwrap();
        group.leader_was_reaped();
        soon("none is left", &|| group.rest() == RunRest::Ended);
    }
}
