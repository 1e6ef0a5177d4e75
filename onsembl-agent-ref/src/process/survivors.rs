//! Finding and ending what an agent that died left running.
//!
//! A process belongs to a run if it bears the run's mark, or is in the group or session of its leader while that
//! number is certain to be the run's: the leader is there and started when it did, or a member of the
//! group bears the mark. If its leader was written down with a tag, it belongs to the run if it bears that, whatever else it
//! shed. So does what descends from such a process. Everything else is a stranger and not touched.

use super::census::{self, Line, processes};
use onsembl_protocol::id::RunMark;
use onsembl_protocol::worker::{Cleared, Fate, LeftBehind, ProcessIdentity, RunTag};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The variable that holds the mark. A run within a run has both, the outer one first.
pub(crate) const MARK: &str = "ONSEMBL_RUN";

/// How long the killed may take to vanish.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the processes of the machine are looked through. Two empty results mean that none is left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The value of the variable for a run: behind the one that this process bears itself.
pub(super) fn mark_to_bear(mark: &RunMark) -> String {
    match std::env::var(MARK) {
        Ok(outer) if !outer.is_empty() => format!("{outer}:{}", mark.as_str()),
        Ok(_) | Err(_) => mark.as_str().to_owned(),
    }
}

/// Which process of this machine `pid` is, if the system tells.
pub(crate) fn identify(pid: u32) -> Option<ProcessIdentity> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let line = Line::parse(&String::from_utf8_lossy(&line))?;
    let (boot, namespace) = (boot()?, namespace()?);
    Some(ProcessIdentity { pid, started: line.started, boot, namespace, tag: None })
}

/// Which run of this machine this is, if the system tells.
pub(crate) fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

fn namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// Kills what these runs left and waits until it has ended, at most five seconds in all. Blocks.
pub(crate) fn clear(runs: Vec<LeftBehind>) -> Vec<Cleared> {
    let (boot, namespace) = (boot(), namespace());
    let mut known = Vec::new();
    let mut searched = Vec::new();
    for run in runs {
        match run.searchable(boot.as_deref(), namespace.as_deref()) {
            Ok(run) => searched.push(Search::new(run)),
            Err(cleared) => known.push(cleared),
        }
    }
    let give_up = Instant::now() + PATIENCE;
    while searched.iter().any(|search| search.seen_empty < 2) && Instant::now() < give_up {
        if let Err(error) = round(&mut searched) {
            tracing::warn!(%error, "cannot list the processes of this machine");
        }
        sleep(LOOK_AGAIN);
    }
    known.extend(searched.into_iter().map(Search::verdict));
    known
}

/// Whether the process of this identity lives, as another than this one. One that has ended and that nobody has buried
/// does not: process 1 of a container may never do that.
pub(crate) fn is_alive(owner: &ProcessIdentity) -> bool {
    owner.pid != std::process::id()
        && identify(owner.pid).as_ref() == Some(owner)
        && census::lives(owner.pid, owner.started)
}

/// Leaves these runs alone, because the process that has them lives: the state directory that names them is a
/// copy of its own.
pub(crate) fn leave(runs: Vec<LeftBehind>, owner: &ProcessIdentity) -> Vec<Cleared> {
    let pid = owner.pid;
    tracing::warn!(
        pid,
        "the state directory is a copy of that of an agent running on this machine, whose commands are left alone. Give this agent a state directory of its own, or stop one of the two"
    );
    let why = format!(
        "another process of this agent ({pid}), of whose state directory this one is a copy, is running and has it"
    );
    runs.into_iter().map(|run| run.cleared(Fate::Unknown, &why)).collect()
}

#[derive(Debug)]
struct Search {
    run: LeftBehind,
    /// The number of its group is certain to be its own.
    group_is_ours: bool,
    killed: BTreeSet<i32>,
    alive: BTreeSet<i32>,
    /// In its group, if it is its group.
    strangers: BTreeSet<i32>,
    seen_empty: u8,
}

/// One look at every process of the machine.
fn round(searches: &mut [Search]) -> io::Result<()> {
    let own = std::process::id().cast_signed();
    let has_tags = searches.iter().any(|search| search.tag().is_some());
    let seen: Vec<Seen> = processes()?
        .filter(|(pid, line)| *pid != own && !line.is_dead())
        .map(|(pid, line)| {
            let tag = if has_tags { census::tag(pid) } else { None };
            Seen { pid, line, marks: marks(pid), tag }
        })
        .collect();
    for search in searches {
        search.look(&seen);
    }
    Ok(())
}

struct Seen {
    pid: i32,
    line: Line,
    marks: Option<String>,
    tag: Option<RunTag>,
}

/// The marks that a process bears; `None` if it bears none, or does not show it.
pub(super) fn marks(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|v| v.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl Search {
    fn new(run: LeftBehind) -> Self {
        Self {
            run,
            group_is_ours: false,
            killed: BTreeSet::new(),
            alive: BTreeSet::new(),
            strangers: BTreeSet::new(),
            seen_empty: 0,
        }
    }

    /// What its processes bear besides the mark.
    fn tag(&self) -> Option<RunTag> {
        self.run.leader.as_ref().and_then(|leader| leader.tag)
    }

    fn look(&mut self, seen: &[Seen]) {
        let (mark, tag) = (self.run.mark.as_str(), self.tag());
        let bears = |s: &Seen| {
            let is_tagged = tag.is_some() && s.tag == tag;
            is_tagged || s.marks.as_deref().is_some_and(|m| m.split(':').any(|m| m == mark))
        };
        let leader = self.run.leader.as_ref().map(|l| (l.pid.cast_signed(), l.started));
        let in_group =
            |s: &Seen| leader.is_some_and(|(pid, _)| s.line.group == pid || s.line.session == pid);
        let is_leader = |s: &Seen| leader == Some((s.pid, s.line.started));
        self.group_is_ours |= seen.iter().any(|s| is_leader(s) || (in_group(s) && bears(s)));
        let ours = |s: &&Seen| bears(s) || (self.group_is_ours && in_group(s));
        let mut found: BTreeSet<(i32, u64)> =
            seen.iter().filter(ours).map(|s| (s.pid, s.line.started)).collect();
        loop {
            let descends = |s: &&Seen| found.iter().any(|(pid, _)| *pid == s.line.parent);
            let all: BTreeSet<(i32, u64)> =
                seen.iter().filter(descends).map(|s| (s.pid, s.line.started)).collect();
            let before = found.len();
            found.extend(all);
            if found.len() == before {
                break;
            }
        }
        // A number that lives on under another leader was reused: no process of the run had it.
        let another = seen.iter().any(|s| leader.is_some_and(|l| l.0 == s.pid) && !is_leader(s));
        self.strangers =
            seen.iter().filter(|s| !another && in_group(s) && !ours(s)).map(|s| s.pid).collect();
        self.strangers.retain(|pid| found.iter().all(|(ours, _)| ours != pid));
        self.seen_empty = if found.is_empty() { self.seen_empty.saturating_add(1) } else { 0 };
        self.alive = found.iter().map(|(pid, _)| *pid).collect();
        for (pid, started) in found {
            match signal_process(pid, started, Signal::KILL) {
                Ok(()) => drop(self.killed.insert(pid)),
                Err(error) => {
                    tracing::warn!(pid, %error, command = %self.run.command, "cannot kill processes left by an earlier process of this agent");
                }
            }
        }
    }

    fn verdict(self) -> Cleared {
        let killed = self.killed.len();
        let list = |pids: &BTreeSet<i32>| {
            let pids: Vec<String> = pids.iter().take(8).map(i32::to_string).collect();
            pids.join(", ")
        };
        if self.seen_empty < 2 {
            let why = format!("its processes could not be killed: {}", list(&self.alive));
            return self.run.cleared(Fate::Unknown, &why);
        }
        if !self.strangers.is_empty() {
            let why = format!(
                "processes of its group are running, and it is unknown whether they belong to it: {}",
                list(&self.strangers)
            );
            return self.run.cleared(Fate::Unknown, &why);
        }
        let why = match killed {
            0 => "no process of it was left".to_owned(),
            1 => "one process of it was left and was killed".to_owned(),
            n => format!("{n} processes of it were left and were killed"),
        };
        self.run.cleared(Fate::Ended, &why)
    }
}

/// Signals the process of this number that started then, and no other.
#[cfg(target_os = "linux")]
pub(super) fn signal_process(pid: i32, started: u64, signal: Signal) -> rustix::io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let id = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
    let handle = match pidfd_open(id, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        handle => handle?,
    };
    // The handle keeps the process; is it the one that was seen?
    if identify(pid.cast_unsigned()).is_none_or(|now| now.started != started) {
        return Ok(());
    }
    match pidfd_send_signal(handle, signal) {
        Err(Errno::SRCH) => Ok(()),
        sent => sent,
    }
}

/// Where there is no handle of a process, none is signalled by its number alone.
#[cfg(not(target_os = "linux"))]
pub(super) fn signal_process(_: i32, _: u64, _: Signal) -> rustix::io::Result<()> {
    Err(Errno::NOTSUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::CommandId;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    fn started(mark: &str, script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env(MARK, mark).process_group(0).stdout(Stdio::null());
        command.spawn().unwrap()
    }

    /// A daemon without an environment, whose parent has ended.
    #[test]
    fn one_that_shed_all_but_the_tag_of_its_run_is_found() {
        let tag = 8_796_093_022_207 - u64::from(std::process::id());
        let mut daemon = Command::new("prlimit");
        daemon.args([&format!("--locks={tag}:"), "sleep", "1000"]).env_clear();
        daemon.env("PATH", std::env::var_os("PATH").unwrap()).process_group(0);
        let Ok(mut daemon) = daemon.stdout(Stdio::null()).spawn() else {
            return eprintln!("skipped: prlimit is not installed");
        };
        let begun = Instant::now();
        while census::tag(daemon.id().cast_signed()) != Some(RunTag(tag)) {
            assert!(begun.elapsed() < PATIENCE, "it bears no tag");
            sleep(LOOK_AGAIN);
        }
        let of = |tag: Option<RunTag>| {
            // A number that no process has.
            let gone = identify(std::process::id()).unwrap();
            let leader = ProcessIdentity { pid: 1 << 30, started: 1, tag, ..gone };
            clear(vec![left("of-a-daemon", Some(leader))]).remove(0)
        };
        assert_eq!(of(None).why, "no process of it was left");
        let cleared = of(Some(RunTag(tag)));
        assert_eq!(cleared.fate, Fate::Ended);
        assert_eq!(cleared.why, "one process of it was left and was killed");
        assert!(!daemon.wait().unwrap().success());
    }

    fn left(mark: &str, leader: Option<ProcessIdentity>) -> LeftBehind {
        LeftBehind { command: CommandId::new(mark), mark: RunMark::new(mark), leader }
    }

    fn fresh() -> String {
        uuid::Uuid::new_v4().to_string()
    }

    #[test]
    fn what_bears_the_mark_is_killed_wherever_it_went_and_nobody_else() {
        let (mark, other) = (fresh(), fresh());
        // A leader, a member of its group, and one that left for a session of its own.
        let mut ours = started(&mark, "sleep 1000 & setsid sleep 1000 & wait");
        let mut stranger = started(&other, "exec sleep 1000");
        let leader = identify(ours.id());
        assert!(leader.is_some());
        sleep(Duration::from_millis(100));
        let reaper = std::thread::spawn(move || ours.wait().unwrap());
        let cleared = clear(vec![left(&mark, leader)]);
        assert_eq!(cleared.first().map(|c| c.fate), Some(Fate::Ended), "{cleared:?}");
        assert!(cleared.first().is_some_and(|c| c.why.contains("3 processes")), "{cleared:?}");
        assert!(!reaper.join().unwrap().success());
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        let _ = stranger.wait();
    }

    #[test]
    fn members_that_hide_their_mark_go_with_their_leader() {
        let mark = fresh();
        let mut ours = started(&mark, "exec env -i sleep 1000");
        sleep(Duration::from_millis(100));
        let leader = identify(ours.id());
        let reaper = std::thread::spawn(move || ours.wait().unwrap());
        assert_eq!(clear(vec![left(&mark, leader)]).first().map(|c| c.fate), Some(Fate::Ended));
        assert!(!reaper.join().unwrap().success());
    }

    #[test]
    fn what_shed_all_but_its_parent_is_found_by_that() {
        let mark = fresh();
        let shed = "setsid env -i sh -c 'setsid sleep 1000.25 & sleep 1000.25' & echo; wait";
        let mut ours = started(&mark, shed);
        let lives = || processes().unwrap().any(|(pid, line)| !line.is_dead() && is_shed(pid));
        fn is_shed(pid: i32) -> bool {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"sleep\x001000.25")
        }
        let until = Instant::now() + Duration::from_secs(30);
        while !lives() {
            assert!(Instant::now() < until);
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(100));
        let leader = identify(ours.id());
        let reaper = std::thread::spawn(move || ours.wait().unwrap());
        let cleared = clear(vec![left(&mark, leader)]);
        assert_eq!(cleared.first().map(|c| c.fate), Some(Fate::Ended), "{cleared:?}");
        assert!(!reaper.join().unwrap().success());
        assert!(!lives(), "{cleared:?}");
    }

    #[test]
    fn nothing_is_killed_on_the_word_of_a_number() {
        let mut stranger = started(&fresh(), "exec sleep 1000");
        let mut leader = identify(stranger.id()).unwrap();
        leader.started += 1;
        let cleared = clear(vec![left(&fresh(), Some(leader.clone()))]);
        assert_eq!(cleared.first().map(|c| c.fate), Some(Fate::Ended), "{cleared:?}");
        leader.boot = "another".to_owned();
        let cleared = clear(vec![left(&fresh(), Some(leader.clone()))]);
        assert!(cleared.first().is_some_and(|c| c.why.contains("rebooted")), "{cleared:?}");
        let mut elsewhere = identify(stranger.id()).unwrap();
        elsewhere.namespace = "another".to_owned();
        let cleared = clear(vec![left(&fresh(), Some(elsewhere))]);
        assert_eq!(cleared.first().map(|c| c.fate), Some(Fate::Unknown), "{cleared:?}");
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        let _ = stranger.wait();
    }

    #[test]
    fn the_dead_whom_nobody_buries_and_those_of_another_start_do_not_live() {
        let mut child = started(&fresh(), "exec sleep 1000");
        let owner = identify(child.id()).unwrap();
        assert!(is_alive(&owner));
        let mut another = owner.clone();
        another.started += 1;
        assert!(!is_alive(&another), "its number was reused");
        another.clone_from(&owner);
        another.boot = "another".to_owned();
        assert!(!is_alive(&another));
        child.kill().unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        // It stays as a zombie, since it is not waited for.
        while is_alive(&owner) {
            assert!(
                Instant::now() < until,
                "{:?}",
                fs::read_to_string(format!("/proc/{}/stat", child.id()))
            );
            sleep(Duration::from_millis(10));
        }
        assert_eq!(identify(child.id()).as_ref(), Some(&owner), "its number is kept");
        let _ = child.wait();
        assert!(!is_alive(&owner));
    }

    #[test]
    fn a_group_without_leader_and_mark_is_left_alone_and_said_to_be_unknown() {
        let mark = fresh();
        let mut leader = started(&mark, "env -i sleep 1000 & echo; sleep 0.2");
        let identity = identify(leader.id()).unwrap();
        let _ = leader.wait();
        let cleared = clear(vec![left(&mark, Some(identity.clone()))]);
        assert_eq!(cleared.first().map(|c| c.fate), Some(Fate::Unknown), "{cleared:?}");
        let group = Pid::from_raw(identity.pid.cast_signed()).unwrap();
        rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    }
}
