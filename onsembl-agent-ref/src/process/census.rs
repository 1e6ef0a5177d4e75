//! Looking through the processes of the machine.
//!
//! The kernel counts the dead in until their parent reaps them, which for orphans is process 1.
//! Some reap only every few seconds, and what runs as process 1 of a container may never do so. Here they are dead.

use super::survivors::marks;
use onsembl_protocol::worker::{ProcessName, ProgramState, RunTag, SeenProcess};
use rustix::process::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// Of which processes the marks are read. Each takes one more file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// Of those that descend from this one.
    Descendants,
    Everybody,
}

/// Every living process.
pub(super) fn living(whose: Marks) -> io::Result<Vec<SeenProcess>> {
    let all: Vec<(i32, Line)> = processes()?.filter(|(_, line)| !line.is_dead()).collect();
    let own = std::process::id().cast_signed();
    let below = match whose {
        Marks::Descendants => Some(descendants(own, &all)),
        Marks::Everybody => None,
    };
    let seen = |(pid, line): (i32, Line)| {
        let is_near = below.as_ref().is_none_or(|below| below.contains(&pid));
        let marks = is_near.then(|| marks(pid)).flatten();
        // Who bears a mark is known by it.
        let tag = (is_near && marks.is_none()).then(|| tag(pid)).flatten();
        SeenProcess {
            name: ProcessName { pid, started: line.started },
            parent: line.parent,
            group: line.group,
            session: line.session,
            marks,
            tag,
        }
    };
    // This one bears the marks of the runs in which it runs itself.
    Ok(all.into_iter().filter(|(pid, _)| *pid != own).map(seen).collect())
}

fn descendants(own: i32, all: &[(i32, Line)]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, line) in all {
        children.entry(line.parent).or_default().push(*pid);
    }
    let (mut below, mut next) = (BTreeSet::new(), vec![own]);
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if below.insert(*child) {
                next.push(*child);
            }
        }
    }
    below
}

/// The children of this process, the dead among them too, by what the kernel lists in short. Not every kernel does,
/// and one that is born or ends meanwhile can be missing.
pub(super) fn own_children() -> io::Result<BTreeSet<i32>> {
    let mut children = BTreeSet::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let listed = match fs::read_to_string(thread?.path().join("children")) {
            Ok(listed) => listed,
            // A thread that ended; but where the first one lists none, none does.
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_children_files() => {
                continue;
            }
            Err(error) => return Err(error),
        };
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(children)
}

fn has_children_files() -> bool {
    fs::exists(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or(false)
}

/// The same by looking at everybody.
pub(super) fn children_in_full() -> io::Result<BTreeSet<i32>> {
    let own = std::process::id().cast_signed();
    Ok(processes()?.filter(|(_, line)| line.parent == own).map(|(pid, _)| pid).collect())
}

/// The tag that a process may bear: its limit of file locks, which the system hands on and does not apply.
pub(super) fn tag(pid: i32) -> Option<RunTag> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let of_locks = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    of_locks.split_whitespace().next()?.parse().ok().map(RunTag)
}

/// Whether a signal has stopped this program, which leads the session of a terminal, the job in its foreground, or a
/// child of the program there: a script waits for that. A shell that controls jobs takes the foreground back from one
/// that is stopped.
pub(super) fn program(leader: Pid) -> ProgramState {
    let line = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Line::parse(&String::from_utf8_lossy(&line))
    };
    let pid = leader.as_raw_pid();
    let Some(program) = line(pid) else { return ProgramState::Runs };
    if program.is_stopped() {
        return ProgramState::Stopped { process: pid };
    }
    let is_stopped_before_it = |pid: i32| {
        line(pid).is_some_and(|one| {
            one.is_stopped() && one.session == program.session && one.group == program.foreground
        })
    };
    // The leader of the foreground has its number.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse::<i32>().ok());
    let mut all = std::iter::once(program.foreground).filter(|job| *job > 1).chain(children);
    match all.find(|pid| is_stopped_before_it(*pid)) {
        Some(process) => ProgramState::Stopped { process },
        None => ProgramState::Runs,
    }
}

/// Whether the process of this number that started then lives. The dead whom nobody has buried do not.
pub(super) fn lives(pid: u32, started: u64) -> bool {
    let line = fs::read(format!("/proc/{pid}/stat"));
    let line = line.ok().and_then(|line| Line::parse(&String::from_utf8_lossy(&line)));
    line.is_some_and(|line| line.started == started && !line.is_dead())
}

/// When a process started, in clock ticks since the machine did.
pub(super) fn started(pid: i32) -> Option<u64> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Line::parse(&String::from_utf8_lossy(&line)).map(|line| line.started)
}

/// Every process that shows itself, with its number.
pub(super) fn processes() -> io::Result<impl Iterator<Item = (i32, Line)>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| {
        let pid = number(&entry)?;
        let line = fs::read(entry.path().join("stat")).ok()?;
        Some((pid, Line::parse(&String::from_utf8_lossy(&line))?))
    }))
}

fn number(entry: &fs::DirEntry) -> Option<i32> {
    entry.file_name().to_str()?.parse().ok()
}

/// What matters of a line of `/proc/<pid>/stat`, by the field numbers of proc(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Field 3.
    state: char,
    /// Field 4.
    pub(super) parent: i32,
    /// Field 5.
    pub(super) group: i32,
    /// Field 6.
    pub(super) session: i32,
    /// Field 8: the group in the foreground of its terminal.
    foreground: i32,
    /// Field 20.
    threads: u32,
    /// Field 22: when it started, in clock ticks since the machine did.
    pub(super) started: u64,
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<Self> {
        // Field 2 is the name of the program, which can hold anything, spaces and brackets too.
        let (_, from_3) = line.rsplit_once(')')?;
        let mut fields = from_3.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let foreground = fields.nth(1)?.parse().ok()?;
        let threads = fields.nth(11)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self { state, parent, group, session, foreground, threads, started })
    }

    /// Stopped by a signal, and not by a debugger.
    fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// A process whose first thread has ended looks like a zombie while its other threads run.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Pid;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    /// A process that leads a session and a group, as this one need not: in a container the leader of
    /// a test's session is often outside, and its number is 0 then.
    struct Leader(Child);

    impl Leader {
        fn start() -> Self {
            let mut child = Command::new("setsid")
                .args(["sh", "-c", "echo; exec sleep 1000"])
                .env("ONSEMBL_RUN", "a-mark")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            Self(child)
        }

        fn id(&self) -> Pid {
            Pid::from_raw(self.0.id().cast_signed()).unwrap()
        }
    }

    impl Drop for Leader {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_living_show_who_they_are_and_the_dead_do_not() {
        let mut leader = Leader::start();
        let pid = leader.id().as_raw_pid();
        let find = |whose| living(whose).unwrap().into_iter().find(|seen| seen.name.pid == pid);
        for whose in [Marks::Descendants, Marks::Everybody] {
            let seen = find(whose).unwrap();
            let own = std::process::id().cast_signed();
            assert_eq!((seen.parent, seen.group, seen.session), (own, pid, pid));
            assert_eq!(seen.marks.as_deref(), Some("a-mark"));
            assert_eq!(Some(seen.name.started), started(pid));
        }
        assert!(children_in_full().unwrap().contains(&pid));
        assert!(own_children().is_ok_and(|children| children.contains(&pid)));
        leader.0.kill().unwrap();
        leader.0.wait().unwrap();
        assert_eq!(find(Marks::Everybody), None);
        assert!(!own_children().unwrap().contains(&pid));
    }

    #[test]
    fn a_line_is_read_behind_the_name_whatever_the_name_holds() {
        for (name, state, threads, dead) in [
            ("sh", 'S', 1, false),
            ("sh", 'R', 8, false),
            ("sh", 'T', 1, false),
            ("sh", 'Z', 1, true),
            ("sh", 'X', 0, true),
            ("first thread gone", 'Z', 3, false),
            ("a) Z 1 8 8 (b", 'S', 1, false),
            ("a) S 1 8 8 (b", 'Z', 1, true),
        ] {
            let text =
                format!("9 ({name}) {state} 1 7 5 0 -1 42 0 0 0 0 0 0 0 0 20 0 {threads} 0 3");
            let line = Line::parse(&text).unwrap();
            let (group, session, foreground) = (7, 5, -1);
            let wanted = Line { state, parent: 1, group, session, foreground, threads, started: 3 };
            assert_eq!(line, wanted);
            assert_eq!(line.is_dead(), dead, "{text}");
        }
        for odd in ["", "9 (sh) Z", "9 (sh) Z 1 x 5 0 -1 42 0 0 0 0 0 0 0 0 20 0 1 0 3"] {
            assert_eq!(Line::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_line_says_what_the_system_says() {
        let leader = Leader::start();
        let id = leader.id();
        let text = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_pid())).unwrap();
        let line = Line::parse(&text).unwrap();
        assert_eq!(line.group, rustix::process::getpgid(Some(id)).unwrap().as_raw_pid());
        assert_eq!(line.session, rustix::process::getsid(Some(id)).unwrap().as_raw_pid());
        assert!(!line.is_dead());
    }
}
