//! Looks at this machine: the state directory, the agent that has it, the disk, descriptors. Changes nothing.

use super::observed::{Descriptors, Local, Process, Running, State, StateFound};
use crate::state_dir::{default_base, is_live, key_at};
use crate::status_file::AgentStatusFile;
use rustix::fs::{Access, access, statvfs};
use std::fs;
use std::path::{Path, PathBuf};

/// Blocks for some small files.
pub(super) fn look(dir: Option<PathBuf>) -> Local {
    let state = match dir {
        None => State::NotNamed,
        Some(dir) if !dir.is_dir() => {
            let unmakeable = unmakeable(&dir);
            State::Missing { path: dir, unmakeable }
        }
        Some(dir) => State::Found(Box::new(found(dir))),
    };
    Local { state, descriptors: descriptors("self") }
}

/// Why a directory cannot be made: by the nearest one above it that exists.
fn unmakeable(dir: &Path) -> Option<(PathBuf, String)> {
    let above = dir.ancestors().skip(1).map(|path| match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    });
    let nearest = above.into_iter().find(|path| path.exists())?;
    let error = access(nearest, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some((nearest.to_owned(), error.to_string()))
}

fn found(path: PathBuf) -> StateFound {
    let unwritable = access(&path, Access::WRITE_OK | Access::EXEC_OK).err();
    let disk = statvfs(&path).map(|of| {
        // Some file systems have no fixed number of files.
        let files = if of.f_files == 0 { u64::MAX } else { of.f_favail };
        (of.f_bavail.saturating_mul(of.f_frsize), files)
    });
    let agent = match (is_live(&path), AgentStatusFile::read(&path)) {
        (Ok(false), _) => Running::Not,
        (Ok(true), Ok(Some(status))) => {
            let process = process(status.pid);
            Running::Yes { status: Box::new(status), process }
        }
        (Ok(true), Ok(None)) => Running::Unreadable("no status written yet".to_owned()),
        (Ok(true), Err(error)) | (Err(error), _) => Running::Unreadable(error.to_string()),
    };
    StateFound {
        unwritable: unwritable.map(|error| error.to_string()),
        disk: disk.map_err(|error| error.to_string()),
        copies: copies(&path),
        agent,
        path,
    }
}

/// Other state directories of this user with the same key.
fn copies(path: &Path) -> Vec<PathBuf> {
    let Ok(Some(key)) = key_at(path) else { return Vec::new() };
    let same = fs::canonicalize(path).ok();
    let beside = [path.parent().map(Path::to_owned), default_base().ok()];
    let mut found: Vec<PathBuf> = beside
        .into_iter()
        .flatten()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|other| fs::canonicalize(other).ok() != same)
        .filter(|other| matches!(key_at(other), Ok(Some(theirs)) if theirs == key))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn process(pid: u32) -> Process {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name, in brackets, may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    Process { state, descriptors: descriptors(&pid.to_string()) }
}

fn descriptors(pid: &str) -> Option<Descriptors> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let allowed = line.split_whitespace().next()?;
    let allowed = if allowed == "unlimited" { u64::MAX } else { allowed.parse().ok()? };
    Some(Descriptors { open, allowed })
}
