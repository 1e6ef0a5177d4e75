//! `run.json`: what this run of an agent leaves for the next one, so that it can say what became of this one, and
//! what this one found and could not tell its server any more.
//!
//! A run that ends writes down that it did. One that is killed, or whose machine dies, does not: by that the next run
//! knows. Judged by the core.

use crate::process::boot;
use crate::state_dir::{Durability, RUN_FILE, StateDirError, io_error, replace_file};
use onsembl_protocol::diagnosis::{LastBoot, LastEnd, LastRun, LastVersion, OutOfMemory};
use onsembl_protocol::model::PastFinding;
use onsembl_protocol::time::WallTime;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that is read of a run file: findings have a bound of some 100 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    version: String,
    /// Which run of the machine it was.
    boot: Option<String>,
    /// Processes that the machine has killed for want of memory, when that was last looked at.
    oom_kills: Option<u64>,
    /// Those among them that were of its own control group, and where that is counted.
    #[serde(default)]
    group: Option<Group>,
    ended: Option<Ended>,
    /// When it was written: what the ages of the findings count from.
    written_at: i64,
    findings: Vec<PastFinding>,
}

/// Processes of a control group that were killed for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    file: PathBuf,
    /// Which file it was: a group that is made again under the same name counts from zero.
    inode: u64,
    oom_kills: u64,
}

/// How a run ended, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    Stopped,
    Crashed,
}

/// What the run before left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) run: LastRun,
    /// The version of its program.
    pub(crate) version: String,
    pub(crate) findings: Vec<PastFinding>,
    /// How long ago they were written down.
    pub(crate) ago: Duration,
}

impl RunFile {
    /// That of this run, which begins.
    pub(crate) fn begin(version: &str, at: WallTime) -> Self {
        Self {
            version: version.to_owned(),
            boot: boot(),
            oom_kills: oom_kills(),
            group: Group::own(),
            ended: None,
            written_at: at.unix_millis(),
            findings: Vec::new(),
        }
    }

    /// Looks how many processes were killed for want of memory: one that is killed for it later is found by a greater
    /// number.
    pub(crate) fn look(&mut self) {
        self.oom_kills = oom_kills();
        // A service manager may move a process after its start.
        self.group = Group::own();
    }

    pub(crate) fn found(&mut self, findings: Vec<PastFinding>, at: WallTime) {
        (self.findings, self.written_at) = (findings, at.unix_millis());
    }

    pub(crate) fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }

    /// Writes it into `dir`. Short, but blocks.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), StateDirError> {
        let path = dir.join(RUN_FILE);
        let failed = io_error("write the run file", &path);
        match serde_json::to_vec(self) {
            Ok(json) => replace_file(&path, &json, Durability::SurvivesExit).map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// What the run before left in `dir`; `None` if nothing, or nothing that can be read: then it is unknown what
    /// became of it, and this run is none the worse for it.
    pub(crate) fn left(dir: &Path, version: &str, at: WallTime) -> Option<Left> {
        let before = match read(&dir.join(RUN_FILE)) {
            Ok(before) => before?,
            Err(error) => {
                tracing::warn!(%error, path = %dir.join(RUN_FILE).display(), "cannot read how the previous run ended");
                return None;
            }
        };
        let now = Self::begin(version, at);
        let boot = match (&before.boot, &now.boot) {
            (Some(before), Some(now)) if before == now => LastBoot::Same,
            (Some(_), Some(_)) => LastBoot::Other,
            (None, _) | (_, None) => LastBoot::Unknown,
        };
        // What is not counted is unknown.
        let killed_for_memory = match boot {
            LastBoot::Same => before.killed_for_memory(&now),
            LastBoot::Other | LastBoot::Unknown => None,
        };
        let end = match before.ended {
            Some(Ended::Stopped) => LastEnd::Stopped,
            Some(Ended::Crashed) => LastEnd::Crashed,
            None => killed_for_memory.map_or(LastEnd::Vanished, LastEnd::OutOfMemory),
        };
        let is_same = before.version == now.version;
        let version = if is_same { LastVersion::Same } else { LastVersion::Other };
        let ago = now.written_at.saturating_sub(before.written_at);
        Some(Left {
            run: LastRun { end, boot, version },
            version: before.version,
            findings: before.findings,
            ago: Duration::from_millis(u64::try_from(ago).unwrap_or_default()),
        })
    }
}

impl RunFile {
    /// Whether processes were killed for want of memory since this was written, in the same run of the machine.
    fn killed_for_memory(&self, now: &Self) -> Option<OutOfMemory> {
        let group = self.group.as_ref();
        if let Some((before, now)) = group.and_then(|group| Some((group, group.again()?))) {
            // What the kernel kills, it counts there too: if it is not there, it was another process.
            return (before.oom_kills < now).then_some(OutOfMemory::OwnGroup);
        }
        // What is not counted is unknown.
        let more = self.oom_kills.zip(now.oom_kills).is_some_and(|(before, now)| before < now);
        more.then_some(OutOfMemory::Machine)
    }
}

fn read(path: &Path) -> io::Result<Option<RunFile>> {
    let mut json = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut json)) {
        Ok(_) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Group {
    /// That of this process, if it is known and is counted for.
    fn own() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        counter(&groups).and_then(Self::at)
    }

    fn at(file: PathBuf) -> Option<Self> {
        let inode = fs::metadata(&file).ok()?.ino();
        let counters = fs::read_to_string(&file).ok()?;
        Some(Self { oom_kills: counted(&counters)?, file, inode })
    }

    /// What is counted by now, if it is the same group.
    fn again(&self) -> Option<u64> {
        let now = Self::at(self.file.clone())?;
        (now.inode == self.inode).then_some(now.oom_kills)
    }
}

/// Where it is counted what was killed of a process, by the list of its control groups.
fn counter(groups: &str) -> Option<PathBuf> {
    let of = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (kind, path) = rest.split_once(':')?;
        let path = path.trim_start_matches('/');
        match kind {
            // With controllers of version 1 beside it, this hierarchy does not count.
            "" => Some(Path::new("/sys/fs/cgroup").join(path).join("memory.events")),
            _ if kind.split(',').any(|kind| kind == "memory") => {
                Some(Path::new("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"))
            }
            _ => None,
        }
    };
    groups.lines().filter_map(of).find(|file| file.exists())
}

fn counted(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// How many processes this machine has killed for want of memory since it started, if it says.
fn oom_kills() -> Option<u64> {
    counted(&fs::read_to_string("/proc/vmstat").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::model::{Cause, Confidence, Evidence, Finding};

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    fn cause(left: Option<Left>) -> Option<Cause> {
        left.map(|left| left.run.finding().cause)
    }

    #[test]
    fn the_next_run_knows_what_became_of_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let left = |version: &str| RunFile::left(dir.path(), version, at(61_000));
        assert!(left("1").is_none(), "there was none");
        let mut run = RunFile::begin("1", at(1000));
        run.write(dir.path()).unwrap();
        assert_eq!(cause(left("1")), Some(Cause::AgentKilled));
        run.end(Ended::Stopped);
        run.write(dir.path()).unwrap();
        assert_eq!(cause(left("1")), Some(Cause::AgentRestarted));
        assert_eq!(cause(left("2")), Some(Cause::AgentUpgraded));
        run.end(Ended::Crashed);
        run.write(dir.path()).unwrap();
        assert_eq!(cause(left("1")), Some(Cause::AgentCrashed));
        run.ended = None;
        run.boot = Some("another run of the machine".to_owned());
        run.write(dir.path()).unwrap();
        assert_eq!(cause(left("1")), Some(Cause::HostRebooted));
        run = RunFile { group: None, ..RunFile::begin("1", at(1000)) };
        run.oom_kills = oom_kills().map(|kills| kills.saturating_add(1));
        run.write(dir.path()).unwrap();
        assert_eq!(cause(left("1")), Some(Cause::AgentKilled), "another machine counted");
        // Where it is not counted, it is unknown.
        run.oom_kills = oom_kills().map(|kills| kills.saturating_sub(1));
        run.write(dir.path()).unwrap();
        let counted = oom_kills().is_some_and(|kills| kills > 0);
        let expected = if counted { Cause::HostOutOfMemory } else { Cause::AgentKilled };
        assert_eq!(cause(left("1")), Some(expected));
    }

    #[test]
    fn a_process_of_the_own_group_that_was_killed_for_memory_proves_more_than_any_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        let kills = |count: u64| fs::write(&file, format!("oom 9\noom_kill {count}\n")).unwrap();
        let left = || RunFile::left(dir.path(), "1", at(61_000)).unwrap().run.end;
        kills(3);
        let mut run = RunFile::begin("1", at(1000));
        run.group = Group::at(file.clone());
        run.write(dir.path()).unwrap();
        assert_eq!(left(), LastEnd::Vanished);
        kills(4);
        assert_eq!(left(), LastEnd::OutOfMemory(OutOfMemory::OwnGroup));
        run.group = Group::at(file.clone());
        run.write(dir.path()).unwrap();
        assert_eq!(left(), LastEnd::Vanished, "what was counted by then was another process");
        run.oom_kills = Some(0);
        run.write(dir.path()).unwrap();
        assert_eq!(left(), LastEnd::Vanished, "any other process of the machine");
        // Made again, beside the old one so that it is another file.
        fs::rename(&file, dir.path().join("old")).unwrap();
        kills(9);
        let counted = oom_kills().is_some_and(|kills| kills > 0);
        let by_machine =
            if counted { LastEnd::OutOfMemory(OutOfMemory::Machine) } else { LastEnd::Vanished };
        assert_eq!(left(), by_machine, "the group is another one");
        run.boot = Some("another run of the machine".to_owned());
        kills(5);
        run.group = Group::at(file.clone());
        run.write(dir.path()).unwrap();
        fs::write(&file, "oom_kill 6\n").unwrap();
        assert_eq!(left(), LastEnd::Vanished, "another run of the machine counted");
    }

    #[test]
    fn where_kills_are_counted_is_found_by_the_list_of_control_groups() {
        let own = |groups: &str| counter(groups);
        assert_eq!(own("9:name=systemd:/\n"), None);
        assert_eq!(own("0::/there/is/no/such/group\nnonsense\n"), None);
    }

    #[test]
    fn what_it_found_is_there_for_the_next_run_and_a_broken_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = RunFile::begin("1", at(1000));
        let finding = Finding::new(Cause::NoRoute, Confidence::High)
            .on(Evidence::NONE.with("errno", "EHOSTUNREACH"));
        let told = PastFinding {
            finding,
            ago: Duration::from_secs(9),
            lasted: Duration::from_secs(3),
            times: 4,
        };
        run.found(vec![told.clone()], at(2000));
        run.write(dir.path()).unwrap();
        let left = RunFile::left(dir.path(), "1", at(62_000)).unwrap();
        assert_eq!((left.findings, left.ago), (vec![told], Duration::from_secs(60)));
        fs::write(dir.path().join(RUN_FILE), b"{").unwrap();
        assert!(RunFile::left(dir.path(), "1", at(62_000)).is_none());
    }
}
