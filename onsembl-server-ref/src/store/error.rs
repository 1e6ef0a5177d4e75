//! What can go wrong in the store: [`StoreError`] for one request, [`StoreHealth`] for the whole.
//!
//! Here SQLite's errors are classified once: trouble of the database, which passes and is waited
//! for, and faults of a request, which are answered. Nothing here touches a connection.

use super::budget::OverBudget;
use crate::bounds::NoTurn;
use onsembl_protocol::id::AgentId;
use onsembl_protocol::session;
use onsembl_protocol::time::WallTime;
use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why the database cannot take writes now. No request is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreTrouble {
    /// Another connection holds a lock on the database.
    Busy,
    /// There is no space left for it.
    Full,
    /// Reading or writing its files failed.
    Failed,
    /// They are damaged.
    Damaged,
}

impl fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "database busy",
            Self::Full => "disk full",
            Self::Failed => "database failed",
            Self::Damaged => "database damaged",
        })
    }
}

/// Whether writes are being committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// The latest commit succeeded, or nothing was written yet.
    Healthy,
    /// Writes wait, and are tried again until they succeed or the store is closed.
    Troubled {
        /// When the first attempt failed.
        since: WallTime,
        /// How the latest attempt failed.
        trouble: StoreTrouble,
    },
    /// The disk is full. New commands are refused and output waits; what ends, stops or reports is written
    /// out of the reserve. Passes by itself when there is room.
    Scarce {
        /// When the disk was found to be full.
        since: WallTime,
    },
}

impl StoreHealth {
    /// Whether there is more on the disk than the reserve, as far as is known.
    pub(super) const fn has_room(self) -> bool {
        match self {
            Self::Healthy => true,
            Self::Scarce { .. } => false,
            Self::Troubled { trouble, .. } => match trouble {
                StoreTrouble::Full => false,
                StoreTrouble::Busy | StoreTrouble::Failed | StoreTrouble::Damaged => true,
            },
        }
    }
}

impl StoreHealth {
    /// Whether nothing will be read or written any more.
    pub(crate) const fn is_damaged(self) -> bool {
        matches!(self, Self::Troubled { trouble: StoreTrouble::Damaged, .. })
    }

    /// Whether it may take any time until a write is committed.
    pub(crate) const fn is_stuck(self) -> bool {
        match self {
            Self::Healthy | Self::Scarce { .. } => false,
            Self::Troubled { trouble, .. } => match trouble {
                StoreTrouble::Full | StoreTrouble::Failed => true,
                // Another program has it for a moment; damage is told of otherwise.
                StoreTrouble::Busy | StoreTrouble::Damaged => false,
            },
        }
    }

    /// Why nothing is recorded, as connections are told; `None` if writes are committed.
    pub(crate) const fn trouble(self) -> Option<session::StoreTrouble> {
        match self {
            Self::Healthy => None,
            Self::Scarce { .. } => Some(session::StoreTrouble::Full),
            Self::Troubled { trouble, .. } => Some(match trouble {
                StoreTrouble::Busy => session::StoreTrouble::Busy,
                StoreTrouble::Full => session::StoreTrouble::Full,
                StoreTrouble::Failed | StoreTrouble::Damaged => session::StoreTrouble::Failed,
            }),
        }
    }
}

impl fmt::Display for StoreHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Troubled { since, trouble } => write!(f, "{trouble} since {since}"),
            Self::Scarce { since } => write!(
                f,
                "disk full since {since}: new commands are refused, output waits; free disk space"
            ),
        }
    }
}

/// Why a request to the store failed. None of these means "not found".
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StoreError {
    /// The data directory or the file in it cannot be created.
    #[error("cannot use {}: {source}; name a directory that this user may write", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A newer program wrote this database.
    #[error(
        "{} has schema {found}, but this program knows schemas up to {known}; run the newer \
         program or name another data directory", path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// Another program wrote this database.
    #[error(
        "{} is a database of another program: {what}; nothing in it was changed; name another data directory",
        path.display()
    )]
    Foreign {
        path: PathBuf,
        /// What shows that.
        what: String,
    },
    /// The file is damaged, or is no database. Nothing else is done with it.
    #[error(
        "the database {file} is damaged ({why}); restore the data directory from a backup, or move {file} away, save \
         what can be read with `sqlite3 {file} .recover | sqlite3 saved.db`, and put saved.db in its place",
        file = super::schema::FILE_NAME
    )]
    Damaged {
        /// What SQLite says.
        why: String,
    },
    /// The schema could not be brought up to date; nothing of the failed step was kept.
    #[error("the schema of {} could not be brought up to date: {source}", path.display())]
    Migration {
        path: PathBuf,
        /// The failed step.
        source: Box<rusqlite_migration::Error>,
    },
    /// The file system of the data directory cannot hold a database in WAL mode.
    #[error(
        "{} cannot be put into WAL mode (it is in mode {mode}); name a directory on a local disk",
        path.display()
    )]
    NoWal {
        path: PathBuf,
        /// The mode SQLite chose instead.
        mode: String,
    },
    /// The writer could not be started.
    #[error("the writer of the store could not be started: {0}")]
    Thread(#[source] io::Error),
    /// A read, or opening, failed by trouble of the database. Try again later.
    #[error("{trouble}: {source}")]
    Trouble {
        trouble: StoreTrouble,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// This one request breaks a rule of the schema or holds a value out of range. It was not
    /// carried out; sending it again brings the same answer.
    #[error("the store refused the request: {0}")]
    Refused(#[source] rusqlite::Error),
    /// A stored row does not hold what this program writes; another program changed it.
    #[error("a stored row cannot be read: {0}; another program may have changed the database")]
    Unreadable(#[source] rusqlite::Error),
    /// The user has all that one may have on the disk. It was not done.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The disk is full, and this needs room. It was not done.
    #[error("the disk of the server is full; nothing new is stored until space is free")]
    NoRoom,
    /// Too much that this user asked for waits already. Nothing was done; ask again later.
    #[error("too many of your database reads are waiting: {limit}; wait for their answers")]
    Crowded { limit: String },
    /// A read took more than its time, in which others wait for their turns. Ask for less.
    #[error("the read took more than its share of the database's time; request less at once")]
    TooLong,
    /// The store is closed, or was closed before the request was committed.
    #[error("the store is closed")]
    Closed,
    /// The store was closed before all writes could be committed.
    #[error("the store was closed with {writes} writes not committed")]
    Unwritten {
        /// How many.
        writes: usize,
    },
    /// The writer did not stop in time; it hangs in the operating system.
    #[error("the writer of the store did not stop in time; the disk does not answer")]
    Hanging,
}

impl StoreError {
    /// Whether opening fails again until a person has done something.
    pub(crate) const fn needs_a_person(&self) -> bool {
        match self {
            Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Migration { .. }
            | Self::NoWal { .. } => true,
            Self::Directory { .. }
            | Self::Thread(_)
            | Self::Trouble { .. }
            | Self::Refused(_)
            | Self::Unreadable(_)
            | Self::OverBudget(_)
            | Self::NoRoom
            | Self::Crowded { .. }
            | Self::TooLong
            | Self::Closed
            | Self::Unwritten { .. }
            | Self::Hanging => false,
        }
    }

    /// Whether a row was refused because the command that it belongs to is not stored.
    pub fn is_unknown_command(&self) -> bool {
        let Self::Refused(rusqlite::Error::SqliteFailure(failure, _)) = self else { return false };
        failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY
    }
}

impl From<rusqlite::Error> for StoreError {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the errors of the library are open")]
    fn from(source: rusqlite::Error) -> Self {
        match trouble_of(&source) {
            Some(StoreTrouble::Damaged) => return Self::Damaged { why: source.to_string() },
            Some(trouble) => return Self::Trouble { trouble, source },
            None => {}
        }
        if source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
            return Self::TooLong;
        }
        match source {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Unreadable(source),
            _ => Self::Refused(source),
        }
    }
}

impl From<NoTurn> for StoreError {
    fn from(refused: NoTurn) -> Self {
        match refused {
            NoTurn::TooMany { .. } | NoTurn::TooLarge { .. } => {
                Self::Crowded { limit: refused.to_string() }
            }
            NoTurn::Closed => Self::Closed,
        }
    }
}

/// Why a session could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The agent was deleted; it must stay away.
    #[error("agent {0} was deleted")]
    Deleted(AgentId),
    /// Its token may not speak for the agent. The text is for its user.
    #[error("{0}")]
    Held(String),
    /// The store failed. The agent may well exist: it should come back later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The trouble behind an error of SQLite; `None` if the request itself is at fault.
#[allow(clippy::wildcard_enum_match_arm, reason = "the codes of the library are open")]
pub(super) fn trouble_of(error: &rusqlite::Error) -> Option<StoreTrouble> {
    match error.sqlite_error_code()? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(StoreTrouble::Busy),
        ErrorCode::DiskFull => Some(StoreTrouble::Full),
        ErrorCode::SystemIoFailure
        | ErrorCode::OutOfMemory
        | ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::NoLargeFileSupport => Some(StoreTrouble::Failed),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(StoreTrouble::Damaged),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn trouble_is_told_from_faults_of_a_request() {
        let cases = [
            (ffi::SQLITE_BUSY, Some(StoreTrouble::Busy)),
            (ffi::SQLITE_BUSY_SNAPSHOT, Some(StoreTrouble::Busy)),
            (ffi::SQLITE_LOCKED, Some(StoreTrouble::Busy)),
            (ffi::SQLITE_FULL, Some(StoreTrouble::Full)),
            (ffi::SQLITE_IOERR_FSYNC, Some(StoreTrouble::Failed)),
            (ffi::SQLITE_CORRUPT, Some(StoreTrouble::Damaged)),
            (ffi::SQLITE_NOTADB, Some(StoreTrouble::Damaged)),
            (ffi::SQLITE_READONLY, Some(StoreTrouble::Failed)),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, None),
            (ffi::SQLITE_TOOBIG, None),
            (ffi::SQLITE_ERROR, None),
        ];
        for (code, trouble) in cases {
            assert_eq!(trouble_of(&failure(code)), trouble, "code {code}");
        }
        assert_eq!(trouble_of(&rusqlite::Error::QueryReturnedNoRows), None);
    }

    #[test]
    fn health_names_the_trouble_and_since_when() {
        let since = WallTime::from_unix_millis(0);
        let health = StoreHealth::Troubled { since, trouble: StoreTrouble::Busy };
        assert_eq!(health.to_string(), format!("database busy since {since}"));
    }
}
