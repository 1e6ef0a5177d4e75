//! All runs of this process of the system, and the orphans that come to it. There is one household, because the
//! system keeps one list of children for a process.
//!
//! What belongs to whom is decided by the core's [`Kinship`]; here it is given something to look at, and the
//! dead are buried that nobody waits for.

use super::census;
use super::leader::child_signals;
use super::survivors::signal_process;
use super::tag::Tagging;
use onsembl_protocol::id::RunMark;
use onsembl_protocol::worker::{Kinship, Orphans, ProcessName, RunKey, RunRest, RunSignal, RunTag};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use std::collections::BTreeSet;
use std::io;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static HOUSEHOLD: LazyLock<Mutex<Household>> = LazyLock::new(|| {
    let own = rustix::process::getpid().as_raw_pid();
    let kinship = Kinship::new(own, Orphans::Lost);
    Mutex::new(Household { kinship, leaders: BTreeSet::new(), looked_at: None })
});

/// For so long a look is good enough to find whom to signal: a stop signals many runs at once. Who is born meanwhile
/// is seen when it is asked whether anybody is left.
const RECENT: Duration = Duration::from_millis(10);

/// How often the dead are looked for when no `SIGCHLD` comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Household {
    kinship: Kinship,
    /// Children of ours whose ends are awaited, so that they must not be taken by anybody else.
    leaders: BTreeSet<i32>,
    /// When the processes were looked through last.
    looked_at: Option<Instant>,
}

fn lock() -> MutexGuard<'static, Household> {
    // Nothing is left half done by a panic: each change is one call.
    HOUSEHOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes every descendant of this process stay below it, whatever it sheds: orphans become children of this process,
/// and are reaped as long as what is returned is polled. What descends from it now is left alone.
///
/// For a process that starts no children but by this crate: the end of any other child would be taken from whoever
/// waits for it.
///
/// # Errors
///
/// The system cannot do it.
#[cfg(target_os = "linux")]
pub fn adopt_orphans() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let own = rustix::process::getpid();
    let orphans = if own.is_init() {
        Orphans::AdoptedFromAnywhere
    } else {
        rustix::process::set_child_subreaper(Some(own))?;
        Orphans::Adopted
    };
    let seen = census::living(census::Marks::Descendants)?;
    lock().kinship.adopt(orphans, &seen);
    Ok(reap())
}

/// Only Linux has it.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let error = io::Error::from(io::ErrorKind::Unsupported);
    Err::<std::future::Ready<()>, _>(error)
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
async fn reap() {
    let mut signals = match child_signals() {
        Ok(signals) => signals,
        Err(error) => {
            return tracing::error!(%error, "cannot watch orphans; they stay as zombies");
        }
    };
    loop {
        lock().reap_orphans();
        tokio::select! {
            Some(()) = signals.recv() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Starts a leader. Nobody else takes its end before it is known as one.
pub(super) fn start<T, E>(
    mark: Option<&RunMark>,
    start: impl FnOnce() -> Result<T, E>,
    pid: impl FnOnce(&T) -> Option<u32>,
) -> Result<(T, Option<Kin>), E> {
    let mut household = lock();
    // Who embeds this library may start processes of its own at any time; the tag is not for those.
    let tagging = match household.kinship.orphans() {
        Orphans::Adopted | Orphans::AdoptedFromAnywhere => Tagging::begin(),
        Orphans::Lost => None,
    };
    let started = start();
    let tag = tagging.map(Tagging::end);
    let started = started?;
    let kin = pid(&started).and_then(|pid| i32::try_from(pid).ok()).map(|pid| {
        let _ = household.leaders.insert(pid);
        let name = ProcessName { pid, started: census::started(pid).unwrap_or(0) };
        Kin { key: household.kinship.begin(name, mark.cloned(), tag), leader: pid, tag }
    });
    Ok((started, kin))
}

/// Ends what belongs to one of several runs and to none for sure.
pub(crate) fn sweep(signal: RunSignal) {
    let signals: &[Signal] = match signal {
        RunSignal::End => &[Signal::TERM, Signal::CONT],
        RunSignal::Kill => &[Signal::KILL],
    };
    let mut household = lock();
    if let Err(error) = household.look() {
        return tracing::error!(%error, "cannot list the processes of this machine");
    }
    for ProcessName { pid, started } in household.kinship.strays() {
        match signals.iter().try_for_each(|signal| signal_process(pid, started, *signal)) {
            Ok(()) => {
                tracing::warn!(
                    pid,
                    ?signal,
                    "ended a process that one of several commands started"
                );
            }
            Err(errno) => {
                tracing::error!(pid, %errno, ?signal, "a process that one of several commands started cannot be ended");
            }
        }
    }
}

impl Household {
    fn look(&mut self) -> io::Result<()> {
        let seen = census::living(match self.kinship.orphans() {
            // What does not descend from this process is not of its runs, whatever it bears.
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => census::Marks::Descendants,
            Orphans::Lost => census::Marks::Everybody,
        })?;
        self.kinship.look(&seen);
        self.looked_at = Some(Instant::now());
        Ok(())
    }

    fn look_unless_recent(&mut self) -> io::Result<()> {
        // Where orphans are lost, who was born behind that look and loses its parent to the signal is not found again.
        let is_enough = match self.kinship.orphans() {
            Orphans::Lost => false,
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => true,
        };
        match is_enough && self.looked_at.is_some_and(|at| at.elapsed() < RECENT) {
            true => Ok(()),
            false => self.look(),
        }
    }

    /// Whether each child of this process was seen by the latest look. One that is born and orphaned faster than a
    /// look takes can hide from it, but not among the children.
    fn knows_its_children(&self) -> bool {
        match self.kinship.orphans() {
            Orphans::Lost => true,
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => {
                census::own_children().map_or(true, |children| {
                    let unknown =
                        |pid: &&i32| !self.leaders.contains(pid) && !self.kinship.has_seen(**pid);
                    children.iter().find(unknown).is_none()
                })
            }
        }
    }

    /// Whether this process has no children but leaders, as far as the system shows that in short.
    fn has_only_leaders(&self) -> bool {
        match self.kinship.orphans() {
            Orphans::Lost => false,
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => {
                census::own_children().is_ok_and(|children| children.is_subset(&self.leaders))
            }
        }
    }

    fn reap_orphans(&self) {
        let children = census::own_children().or_else(|_| census::children_in_full());
        let children = children.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the children of this process; those that ended stay as zombies");
            BTreeSet::new()
        });
        for pid in children.difference(&self.leaders).copied().filter_map(Pid::from_raw) {
            let dead = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match waitid(WaitId::Pid(pid), dead) {
                Ok(Some(_)) => tracing::debug!(%pid, "an orphan ended"),
                Ok(None) => {}
                Err(errno) => tracing::debug!(%pid, %errno, "reaped an orphan"),
            }
        }
    }
}

/// The processes of one run.
#[derive(Debug)]
pub(super) struct Kin {
    key: RunKey,
    leader: i32,
    tag: Option<RunTag>,
}

impl Drop for Kin {
    fn drop(&mut self) {
        let mut household = lock();
        household.kinship.forget(self.key);
        let _ = household.leaders.remove(&self.leader);
    }
}

/// Those that live.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) all: Vec<(ProcessName, i32)>,
    /// Whether the group of the leader's number is certain to be theirs.
    pub(super) have_group: bool,
}

impl Kin {
    /// What its processes bear, if they do.
    pub(super) const fn tag(&self) -> Option<RunTag> {
        self.tag
    }

    pub(super) fn leader_was_reaped(&self) {
        let mut household = lock();
        household.kinship.on_leader_reaped(self.key);
        let _ = household.leaders.remove(&self.leader);
    }

    pub(super) fn members(&self) -> io::Result<Members> {
        let mut household = lock();
        household.look_unless_recent()?;
        let all = household.kinship.members(self.key).collect();
        Ok(Members { all, have_group: household.kinship.has_group(self.key) })
    }

    /// Those that may be of this run or of another, as of the latest look.
    pub(super) fn unclear(&self) -> Vec<i32> {
        lock().kinship.unclear(self.key).map(|name| name.pid).collect()
    }

    /// What is left, once the leader was reaped.
    pub(super) fn rest(&self) -> io::Result<RunRest> {
        let mut household = lock();
        // Twice, because a process can be born behind the reading position and its parent die before it.
        if (0..2).all(|_| household.has_only_leaders()) {
            return Ok(RunRest::Ended);
        }
        for _ in 0..2 {
            household.look()?;
            match household.kinship.rest(self.key) {
                RunRest::Ended => {}
                rest @ (RunRest::Unclear | RunRest::Lives) => return Ok(rest),
            }
        }
        Ok(if household.knows_its_children() { RunRest::Ended } else { RunRest::Unclear })
    }
}
