//! Counting the living of a process group.
//!
//! The kernel counts the dead in until their parent reaps them, which for orphans is process 1.
//! Some reap only every few seconds, and what runs as process 1 of a container may never do so.

use rustix::io::Errno;
use rustix::process::Pid;
use std::fs;
use std::io;
use std::path::Path;

/// Who belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The members of a process group.
    Group,
    /// All groups of a session: where a terminal is, its shell gives each of its jobs a group.
    Session,
}

impl Scope {
    fn has(self, id: Pid, line: &Line) -> bool {
        match self {
            Self::Group => line.group == id.as_raw_pid(),
            Self::Session => line.session == id.as_raw_pid(),
        }
    }
}

/// Whether no process of the group or session `id` is alive any more, as far as `/proc` shows. Where
/// there is no `/proc`, no process is known to be dead, and this is `false`.
pub(super) fn all_dead(scope: Scope, id: Pid) -> bool {
    // Twice, because a process can be born behind the reading position and its parent die before it.
    (0..2).all(|_| none_seen(scope, id).unwrap_or(false))
}

fn none_seen(scope: Scope, id: Pid) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if number(&entry).is_some() && is_living_member(scope, id, &entry.path().join("stat"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The living of the session `id`, each with the time of its start.
pub(super) fn living_of_session(id: Pid) -> io::Result<Vec<(i32, u64)>> {
    let ours = |(_, line): &(i32, Line)| Scope::Session.has(id, line) && !line.is_dead();
    Ok(processes()?.filter(ours).map(|(pid, line)| (pid, line.started)).collect())
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

fn is_living_member(scope: Scope, id: Pid, stat: &Path) -> io::Result<bool> {
    match fs::read(stat) {
        // What cannot be understood counts as alive.
        Ok(line) => Ok(Line::parse(&String::from_utf8_lossy(&line))
            .is_none_or(|line| scope.has(id, &line) && !line.is_dead())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Reaped between opening and reading.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What matters of a line of `/proc/<pid>/stat`, by the field numbers of proc(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Field 3.
    state: char,
    /// Field 5.
    pub(super) group: i32,
    /// Field 6.
    pub(super) session: i32,
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
        let group = fields.nth(1)?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let threads = fields.nth(13)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self { state, group, session, threads, started })
    }

    /// A process whose first thread has ended looks like a zombie while its other threads run.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    /// A process that leads a session and a group, as this one need not: in a container the leader of
    /// a test's session is often outside, and its number is 0 then.
    struct Leader(Child);

    impl Leader {
        fn start() -> Self {
            let mut child = Command::new("setsid")
                .args(["sh", "-c", "echo; exec sleep 1000"])
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
    fn a_group_and_a_session_live_until_their_last_process_is_dead() {
        let mut leader = Leader::start();
        let id = leader.id();
        assert!(!all_dead(Scope::Session, id));
        assert!(!all_dead(Scope::Group, id));
        let living = living_of_session(id).unwrap();
        assert_eq!(living.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [id.as_raw_pid()]);

        leader.0.kill().unwrap();
        leader.0.wait().unwrap();
        assert!(all_dead(Scope::Session, id));
        assert!(all_dead(Scope::Group, id));
    }

    #[test]
    fn a_group_that_is_not_there_has_no_living() {
        assert!(all_dead(Scope::Session, Pid::from_raw(i32::MAX).unwrap()));
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
            assert_eq!(line, Line { state, group: 7, session: 5, threads, started: 3 });
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
