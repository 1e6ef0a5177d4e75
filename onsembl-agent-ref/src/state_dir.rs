//! The state directory of an agent: where it is, the lock that keeps a second process out, and the
//! key that makes the agent the same agent in every session.
//!
//! All calls are short and block; they are for the start of a process.

use crate::journal::JOURNAL_FILE;
use crate::process::identify;
use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use onsembl_protocol::id::AgentKey;
use onsembl_protocol::worker::ProcessIdentity;
use onsembl_transport::private::{self, Mode};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use uuid::Uuid;

const KEY_FILE: &str = "agent.key";
const LOCK_FILE: &str = "lock";
/// The folder of the spool.
pub(crate) const SPOOL_FOLDER: &str = "spool";
pub(crate) const STATUS_FILE: &str = "status.json";
/// What this run leaves for the next one.
pub(crate) const RUN_FILE: &str = "run.json";

/// More of the lock file is not read: a number and the identity of a process.
const LOCK_BYTES: u64 = 1024;

/// Longest file name of the common file systems, in bytes.
const NAME_MAX: usize = 255;

/// A question whether the agent lives ([`is_live`]) holds the lock for a moment; an agent that
/// starts right then waits this often for [`LOCK_RETRY`].
const LOCK_TRIES: u32 = 20;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StateDirError {
    /// Neither given nor to be derived.
    #[error("no home directory is known, so there is no default state directory; set --state-dir")]
    NoHome,
    /// The name of the agent cannot be a folder's.
    #[error(
        "the agent name {0:?} cannot be used as a folder name (empty or too long); choose another, or set --state-dir"
    )]
    Name(String),
    /// Another process of this agent runs.
    #[error("{} is in use by another onsembl-agent{}; stop that one, or give this one a name or --state-dir of its own", dir.display(), pid_text(*pid))]
    InUse {
        dir: PathBuf,
        /// The process that uses it; `None` if it has not written its number yet.
        pid: Option<u32>,
    },
    /// The key file holds no key. Never replaced silently: that would make this a new agent.
    #[error("{} does not hold an agent key (a UUID); restore it from a backup, or remove it to start as a new agent", path.display())]
    KeyCorrupt {
        /// The key file.
        path: PathBuf,
    },
    /// Others can replace what is in it.
    #[error("every user of this machine can write in the state directory {} (mode {mode}), and so have this agent run what they like; run chmod 700 on it, and check its contents", path.display())]
    Open {
        path: PathBuf,
        /// In octal.
        mode: String,
    },
    /// The status file cannot be read as one.
    #[error("{} is not a status file of this version: {why}; it is rewritten when the agent runs", path.display())]
    StatusCorrupt {
        /// The status file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: serde_json::Error,
    },
    /// The file system failed.
    #[error("cannot {what} {}: {why}; check the folder's owner, permissions and free space", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        why: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

pub(crate) fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StateDirError + 'a {
    move |why| StateDirError::Io { what, path: path.to_owned(), why }
}

/// A state directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    key: AgentKey,
    earlier_owner: Option<ProcessIdentity>,
    _lock: File,
}

impl StateDir {
    /// Opens, and creates where it is missing, the state directory at `path`, or that of the agent
    /// `name` at its default place (see [`locate`]). Folders are created with mode 0700.
    ///
    /// # Errors
    ///
    /// When it cannot be created or read, another process uses it, or its key is damaged.
    pub fn open(path: Option<PathBuf>, name: &str) -> Result<Self, StateDirError> {
        let path = locate(path, name)?;
        private::create_dir(&path).map_err(io_error("create the state directory", &path))?;
        make_private(&path)?;
        let (lock, earlier_owner) = take_lock(&path)?;
        let key = match read_key(&path)? {
            Some(key) => key,
            None => create_key(&path)?,
        };
        Ok(Self { path, key, earlier_owner, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process that used it before, if that is known. While this one has it that process is dead, or its
    /// state directory is another one of which this is a copy.
    pub fn earlier_owner(&self) -> Option<ProcessIdentity> {
        self.earlier_owner.clone()
    }

    /// The agent's key: a UUID, made when the directory was first opened.
    pub fn key(&self) -> AgentKey {
        self.key.clone()
    }
}

/// Where the state of the agent `name` is: `path` if given, else `$XDG_STATE_HOME/onsembl/<name>`,
/// else `~/.local/state/onsembl/<name>`. Touches nothing.
///
/// ```
/// use onsembl_agent_ref::state_dir::locate;
///
/// let given = locate(Some("/var/lib/agent".into()), "builder").unwrap();
/// assert_eq!(given.to_str(), Some("/var/lib/agent"));
/// ```
///
/// # Errors
///
/// When no home directory is known or `name` cannot name a folder.
pub fn locate(path: Option<PathBuf>, name: &str) -> Result<PathBuf, StateDirError> {
    match path {
        Some(path) => Ok(path),
        None => Ok(default_base()?.join(folder_name(name)?)),
    }
}

/// The folder that holds the state directories of all agents that were given none.
///
/// # Errors
///
/// When no home directory is known.
pub fn default_base() -> Result<PathBuf, StateDirError> {
    let folders = Xdg::new().map_err(|_| StateDirError::NoHome)?;
    // A relative HOME would name a different directory in each working directory.
    let state = folders.state_dir().filter(|path| path.is_absolute());
    Ok(state.ok_or(StateDirError::NoHome)?.join("onsembl"))
}

/// `name` as one path component. Two names never become the same folder, because then two agents
/// would share one identity; so what is replaced is percent-encoded, not dropped.
fn folder_name(name: &str) -> Result<String, StateDirError> {
    let mut folder = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => folder.push(byte.into()),
            b'.' if index > 0 => folder.push('.'),
            other => folder.push_str(&format!("%{other:02X}")),
        }
    }
    if folder.is_empty() || folder.len() > NAME_MAX {
        return Err(StateDirError::Name(name.to_owned()));
    }
    Ok(folder)
}

/// Closes to others what is there: a user who opens the lock can keep the agent from starting, and one who has the
/// key and a token of the same user can replace it.
fn make_private(dir: &Path) -> Result<(), StateDirError> {
    let mode = Mode::at(dir).map_err(io_error("inspect the state directory", dir))?;
    if mode.others_write() {
        return Err(StateDirError::Open { path: dir.to_owned(), mode: mode.to_string() });
    }
    for name in [LOCK_FILE, KEY_FILE, STATUS_FILE, RUN_FILE, JOURNAL_FILE, SPOOL_FOLDER] {
        let path = dir.join(name);
        match private::close_to_others(&path) {
            Ok(None) => {}
            Ok(Some(before)) => {
                tracing::warn!(path = %path.display(), %before, "a file of the agent was accessible to every user of this machine; its mode is now restricted");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of the agent may be accessible to every user of this machine; check its owner and mode");
            }
        }
    }
    Ok(())
}

fn lock_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn take_lock(dir: &Path) -> Result<(File, Option<ProcessIdentity>), StateDirError> {
    let path = dir.join(LOCK_FILE);
    // Not truncated: while another process holds the lock, its number is in there. Never removed:
    // two processes could then hold locks on two files of that name.
    let mut lock = lock_options()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open the lock file", &path))?;
    let mut tries = 1;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::InUse { dir: dir.to_owned(), pid: read_pid(&lock) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(io_error("lock the lock file", &path)(source));
            }
        }
        tries += 1;
    }
    let earlier = read_lock(&lock).and_then(|text| serde_json::from_str(text.lines().nth(1)?).ok());
    let pid = std::process::id();
    // The first line is for people and other versions.
    let own = identify(pid).and_then(|own| serde_json::to_string(&own).ok()).unwrap_or_default();
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| write!(lock, "{pid}\n{own}\n"))
        .map_err(io_error("write the lock file", &path))?;
    Ok((lock, earlier))
}

/// What the latest owner wrote into the lock file: its number, and behind that who it is.
fn read_lock(lock: &File) -> Option<String> {
    let mut text = String::new();
    lock.take(LOCK_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn read_pid(lock: &File) -> Option<u32> {
    read_lock(lock)?.lines().next()?.trim().parse().ok()
}

/// Whether a running process holds the state directory `dir`; what its files say is then current.
/// A missing directory is not live.
///
/// # Errors
///
/// When the lock file is there but cannot be opened or asked.
pub fn is_live(dir: &Path) -> Result<bool, StateDirError> {
    let path = dir.join(LOCK_FILE);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(io_error("open the lock file", &path)(source)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(io_error("query the lock file", &path)(source)),
    }
}

/// The key in `dir`, if there is one.
pub(crate) fn key_at(dir: &Path) -> Result<Option<AgentKey>, StateDirError> {
    read_key(dir)
}

fn read_key(dir: &Path) -> Result<Option<AgentKey>, StateDirError> {
    let path = dir.join(KEY_FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(128).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read the agent key", &path)(source)),
    }
    let key = std::str::from_utf8(&bytes).ok().and_then(|text| Uuid::try_parse(text.trim()).ok());
    match key {
        Some(key) if !key.is_nil() => Ok(Some(AgentKey::new(key.to_string()))),
        Some(_) | None => Err(StateDirError::KeyCorrupt { path }),
    }
}

/// Called with the lock held, so no other process creates one.
fn create_key(dir: &Path) -> Result<AgentKey, StateDirError> {
    let path = dir.join(KEY_FILE);
    let key = Uuid::new_v4().to_string();
    replace_file(&path, format!("{key}\n").as_bytes(), Durability::SurvivesPowerLoss)
        .map_err(io_error("write the agent key", &path))?;
    Ok(AgentKey::new(key))
}

/// What a written file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of this process.
    SurvivesExit,
    /// The loss of power, too.
    SurvivesPowerLoss,
}

/// Replaces the file at `path` so that readers find the old or the new content, never a part. For
/// one writer at a time: the temporary file has a fixed name, so a crash leaves at most one behind.
pub(crate) fn replace_file(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    match durability {
        Durability::SurvivesExit => std::fs::rename(&new, path),
        Durability::SurvivesPowerLoss => {
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_escapes_its_folder() {
        for (name, folder) in [
            ("builder-1", "builder-1"),
            ("v1.2", "v1.2"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("..", "%2E."),
            (".", "%2E"),
            ("/etc", "%2Fetc"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("nul\0", "nul%00"),
            ("\u{e9}", "%C3%A9"),
        ] {
            assert_eq!(folder_name(name).unwrap(), folder);
        }
        assert!(matches!(folder_name(""), Err(StateDirError::Name(_))));
        assert!(matches!(folder_name(&"/".repeat(86)), Err(StateDirError::Name(_))));
        assert!(folder_name(&"x".repeat(255)).is_ok());
    }
}
