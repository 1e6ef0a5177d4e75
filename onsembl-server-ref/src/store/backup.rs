//! A copy of a database that is in use, and the copy put in its place.
//!
//! The copy is of one moment: the source is read under one read transaction, from which SQLite's backup takes page
//! after page, while the server continues to write. What it writes meanwhile stays in its log, so that a copy has a
//! pace
//! and an end. It becomes a file under its name only when it is whole, checked, and on the disk.

use super::error::StoreError;
use super::examine::{self, Owner};
use super::schema::{self, FILE_NAME, open_reader};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes that are copied between two looks at the pace.
const STEP_BYTES: u64 = 1 << 20;
/// From one try to the next while another program holds the database.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long another program may hold it.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no copy, or none was put in place.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum BackupError {
    /// There is nothing to copy.
    #[error("there is no database {}; name the data folder of a server with --data", path.display())]
    NoDatabase { path: PathBuf },
    /// The copy would replace something.
    #[error("{} already exists; name another file, or replace it with --force", path.display())]
    Exists { path: PathBuf },
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// It is damaged, of another program or of a newer version.
    #[error("{}: {error}", path.display())]
    Store {
        path: PathBuf,
        #[source]
        error: StoreError,
    },
    /// It is in use by something that does not let go.
    #[error("another program has held {} for {} s; stop it, or try again", path.display(), BUSY_PATIENCE.as_secs())]
    Busy { path: PathBuf },
    /// What was copied is not whole.
    #[error(
        "the copy is damaged: {why}; the database itself may be, so look at it with `sqlite3 FILE 'PRAGMA integrity_check'`"
    )]
    Damaged { why: String },
    /// A server uses the data folder.
    #[error(transparent)]
    InUse(Box<crate::server::StartError>),
}

/// What is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Contents {
    pub bytes: u64,
    /// The version of the schema.
    pub schema: i64,
    pub agents: u64,
    pub commands: u64,
}

/// How fast is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the disk gives it.
    Unbounded,
    /// At most this many bytes a second.
    BytesPerSecond(u64),
}

impl Pace {
    /// How long this many bytes take at least.
    fn takes(self, bytes: u64) -> Duration {
        match self {
            Self::Unbounded | Self::BytesPerSecond(0) => Duration::ZERO,
            Self::BytesPerSecond(most) => Duration::from_secs_f64(bytes as f64 / most as f64),
        }
    }
}

/// Whether something that is in the way is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum InTheWay {
    Stays,
    IsReplaced,
}

/// Copies the database of the data folder `data`, in use or not, to `to`, and checks the copy. Blocks.
///
/// # Errors
/// [`BackupError`]: then nothing is at `to` that was not there before.
pub fn backup(
    data: &Path,
    to: &Path,
    pace: Pace,
    in_the_way: InTheWay,
) -> Result<Contents, BackupError> {
    let from = data.join(FILE_NAME);
    if !fs::metadata(&from).is_ok_and(|found| found.is_file() && found.len() > 0) {
        return Err(BackupError::NoDatabase { path: from });
    }
    if in_the_way == InTheWay::Stays && fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let partial = Partial::beside(to)?;
    copy(&from, &partial.0, pace)?;
    let contents = look_through(&partial.0)?;
    partial.finish(to, in_the_way)?;
    Ok(contents)
}

fn copy(from: &Path, to: &Path, pace: Pace) -> Result<(), BackupError> {
    let failed = |error: rusqlite::Error| of_store(from)(error.into());
    let source = open_reader(from).map_err(failed)?;
    let _ = examine::owner(&source, from).map_err(of_store(from))?;
    // Under one read transaction all pages are of one moment, and commits of the server do not begin it again.
    source.execute_batch("BEGIN").map_err(failed)?;
    // A transaction begins with the first page that is read: until then the copy would begin and end one at each step.
    let _: i64 = source
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let page_bytes: i64 =
        source.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
    let page_bytes = u64::try_from(page_bytes).unwrap_or(STEP_BYTES).max(1);
    let pages = i32::try_from((STEP_BYTES / page_bytes).max(1)).unwrap_or(i32::MAX);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target =
        Connection::open_with_flags(to, flags).map_err(|error| of_store(to)(error.into()))?;
    let began = Instant::now();
    let mut busy_since: Option<Instant> = None;
    {
        let copying = Backup::new(&source, &mut target).map_err(failed)?;
        loop {
            let step = copying.step(pages).map_err(failed)?;
            if matches!(step, StepResult::Done) {
                break;
            }
            if matches!(step, StepResult::More) {
                busy_since = None;
            } else {
                // The others are those that pass: the library may name more of them.
                let since = *busy_since.get_or_insert_with(Instant::now);
                if since.elapsed() > BUSY_PATIENCE {
                    return Err(BackupError::Busy { path: from.to_owned() });
                }
                thread::sleep(BUSY_PAUSE);
            }
            let progress = copying.progress();
            let copied =
                u64::try_from(progress.pagecount.saturating_sub(progress.remaining)).unwrap_or(0);
            thread::sleep(
                pace.takes(copied.saturating_mul(page_bytes)).saturating_sub(began.elapsed()),
            );
        }
    }
    source.execute_batch("COMMIT").map_err(failed)?;
    // One file, with no log beside it. A server that opens it puts it back.
    let mode: Result<String, _> =
        target.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0));
    let _ = mode.map_err(|error| of_store(to)(error.into()))?;
    Ok(())
}

/// What is in a database that nobody uses. All of it is read.
///
/// # Errors
/// It is damaged, of another program, or of a newer version.
pub fn look_through(path: &Path) -> Result<Contents, BackupError> {
    let failed = |error: rusqlite::Error| of_store(path)(error.into());
    let file = fs::metadata(path).map_err(|error| BackupError::Io {
        what: "read",
        path: path.to_owned(),
        error,
    })?;
    let db = open_reader(path).map_err(failed)?;
    match examine::owner(&db, path).map_err(of_store(path))? {
        Owner::Us | Owner::UsUnmarked => {}
        Owner::Nobody => return Err(BackupError::NoDatabase { path: path.to_owned() }),
    }
    let schema = schema::known_version(&db, path).map_err(of_store(path))?;
    let found: String =
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(BackupError::Damaged { why: found });
    }
    let count = |table: &str| -> Result<u64, BackupError> {
        let query = format!("SELECT count(*) FROM {table}");
        let count: i64 = db.query_row(&query, [], |row| row.get(0)).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok(Contents {
        bytes: file.len(),
        schema,
        agents: count("agents")?,
        commands: count("commands")?,
    })
}

/// Puts the copy at `from` in the place of the database of `data`, whose server must not run. What was there is
/// kept beside
/// it, and its name is given. Blocks.
///
/// # Errors
/// [`BackupError`]: then what was there is in place.
pub(crate) fn put_in_place(
    from: &Path,
    data: &Path,
    aside: &str,
) -> Result<Option<PathBuf>, BackupError> {
    let place = data.join(FILE_NAME);
    let partial = Partial::beside(&place)?;
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |error| BackupError::Io { what, path, error }
    };
    let mut reader = File::open(from).map_err(failed("read", from))?;
    let mut writer =
        File::options().write(true).open(&partial.0).map_err(failed("write", &partial.0))?;
    let _ = io::copy(&mut reader, &mut writer).map_err(failed("write", &partial.0))?;
    writer.sync_all().map_err(failed("write", &partial.0))?;
    let kept =
        if fs::symlink_metadata(&place).is_ok() { Some(set_aside(&place, aside)?) } else { None };
    fs::rename(&partial.0, &place).map_err(failed("write", &place))?;
    std::mem::forget(partial);
    sync_folder(data)?;
    Ok(kept)
}

/// The database gets a second name, and what is beside it follows, so that at no moment there is none.
fn set_aside(place: &Path, aside: &str) -> Result<PathBuf, BackupError> {
    // What stands in the log goes into the file, if it can be read at all.
    if let Ok(db) = Connection::open(place) {
        let moved: Result<i64, _> =
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        if let Err(error) = moved {
            tracing::debug!(%error, "the log of the old database stays beside it");
        }
    }
    let kept = with_suffix(place, &format!(".{aside}"));
    let failed = |error| BackupError::Io { what: "keep", path: kept.clone(), error };
    fs::hard_link(place, &kept).map_err(failed)?;
    // A log of another database must not stand beside the one that is put in place.
    for part in ["-wal", "-shm"] {
        match fs::rename(with_suffix(place, part), with_suffix(&kept, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(kept)
}

/// A file that is there only while it is made, private to its owner.
struct Partial(PathBuf);

impl Partial {
    fn beside(path: &Path) -> Result<Self, BackupError> {
        let partial = with_suffix(path, &format!(".partial-{}", std::process::id()));
        let made = File::options().write(true).create_new(true).mode(0o600).open(&partial);
        match made {
            Ok(_) => Ok(Self(partial)),
            Err(error) => Err(BackupError::Io { what: "write", path: partial, error }),
        }
    }

    fn finish(self, to: &Path, in_the_way: InTheWay) -> Result<(), BackupError> {
        let failed = |error| BackupError::Io { what: "write", path: to.to_owned(), error };
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(failed)?;
        match in_the_way {
            InTheWay::IsReplaced => fs::rename(&self.0, to).map_err(failed)?,
            // What came there meanwhile stays too.
            InTheWay::Stays => match fs::hard_link(&self.0, to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(BackupError::Exists { path: to.to_owned() });
                }
                // A file system without links.
                Err(_) => fs::rename(&self.0, to).map_err(failed)?,
            },
        }
        sync_folder(
            to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        )
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for part in ["", "-journal", "-wal", "-shm"] {
            // Mostly there is none of them any more.
            let _ = fs::remove_file(with_suffix(&self.0, part));
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| BackupError::Io { what: "write", path: folder.to_owned(), error })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn of_store(path: &Path) -> impl FnOnce(StoreError) -> BackupError + Copy + '_ {
    move |error| BackupError::Store { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::*;
    use onsembl_protocol::time::WallTime;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    const NOW: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

    /// The database of a folder, with this many rows of 8 KB each.
    fn filled(dir: &Path, rows: i64) -> Connection {
        let db = open_writer(dir, NOW).unwrap();
        db.execute_batch("BEGIN").unwrap();
        (0..rows).for_each(|row| add(&db, row));
        db.execute_batch("COMMIT").unwrap();
        db
    }

    fn add(db: &Connection, row: i64) {
        let sql = "INSERT INTO meta (key, value) VALUES ('k' || ?1, hex(randomblob(4000)))";
        assert_eq!(db.execute(sql, [row]).unwrap(), 1);
    }

    fn rows(path: &Path) -> i64 {
        let db = open_reader(path).unwrap();
        db.query_row("SELECT count(*) FROM meta WHERE key LIKE 'k%'", [], |row| row.get(0)).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_is_whole_private_and_of_one_moment_while_the_writer_goes_on() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = filled(data.path(), 400);
        let to = out.path().join("copy.db");
        let done = AtomicBool::new(false);
        let pace = Pace::BytesPerSecond(8 << 20);
        let contents = thread::scope(|scope| {
            let copying = scope.spawn(|| {
                let contents = backup(data.path(), &to, pace, InTheWay::Stays);
                done.store(true, Ordering::Release);
                contents
            });
            let mut row = 400;
            while !done.load(Ordering::Acquire) {
                add(&writer, row);
                row += 1;
                thread::sleep(Duration::from_millis(5));
            }
            assert!(row > 410, "it was written meanwhile: {row}");
            copying.join().unwrap().unwrap()
        });
        let copied = rows(&to);
        assert!((400..=402).contains(&copied), "of the moment at which it began: {copied}");
        assert_eq!(contents.bytes, fs::metadata(&to).unwrap().len());
        assert_eq!((contents.agents, contents.commands), (0, 0));
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(out.path()), ["copy.db"], "nothing is left beside it");
    }

    #[test]
    fn a_pace_is_kept() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(filled(data.path(), 400));
        let began = Instant::now();
        let pace = Pace::BytesPerSecond(4 << 20);
        let _ = backup(data.path(), &out.path().join("copy"), pace, InTheWay::Stays).unwrap();
        assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        assert_eq!(Pace::BytesPerSecond(0).takes(1), Duration::ZERO);
    }

    #[test]
    fn what_is_in_the_way_stays_unless_it_is_to_be_replaced() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(filled(data.path(), 1));
        let to = out.path().join("copy.db");
        fs::write(&to, "mine").unwrap();
        let refused = backup(data.path(), &to, Pace::Unbounded, InTheWay::Stays).unwrap_err();
        assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");
        assert_eq!(fs::read(&to).unwrap(), b"mine");
        let _ = backup(data.path(), &to, Pace::Unbounded, InTheWay::IsReplaced).unwrap();
        assert_eq!((rows(&to), names(out.path()).len()), (1, 1));
        let missing = backup(out.path(), &out.path().join("x"), Pace::Unbounded, InTheWay::Stays);
        assert!(matches!(missing, Err(BackupError::NoDatabase { .. })));
    }

    #[test]
    fn what_is_put_in_place_keeps_what_was_there_with_its_log() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = filled(data.path(), 3);
        let to = out.path().join("copy.db");
        let _ = backup(data.path(), &to, Pace::Unbounded, InTheWay::Stays).unwrap();
        add(&writer, 3);
        // As a server that is killed leaves it: what it wrote last stands in the log.
        std::mem::forget(writer);
        let kept = put_in_place(&to, data.path(), "before-1").unwrap().unwrap();
        assert_eq!(kept, data.path().join("onsembl.db.before-1"));
        assert_eq!((rows(&data.path().join(FILE_NAME)), rows(&kept)), (3, 4));
        assert_eq!(
            fs::metadata(data.path().join(FILE_NAME)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let fresh = tempfile::tempdir().unwrap();
        assert_eq!(put_in_place(&to, fresh.path(), "x").unwrap(), None);
        assert_eq!(names(fresh.path()), [FILE_NAME]);
    }

    #[test]
    fn a_copy_that_is_damaged_foreign_or_newer_is_named() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(filled(data.path(), 300));
        let to = out.path().join("copy.db");
        let _ = backup(data.path(), &to, Pace::Unbounded, InTheWay::Stays).unwrap();
        Connection::open(&to).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let newer = look_through(&to).unwrap_err().to_string();
        assert!(newer.contains("copy.db") && newer.contains("999"), "{newer}");
        let mut bytes = fs::read(&to).unwrap();
        let half = bytes.len() / 2;
        bytes[60..64].copy_from_slice(&1_u32.to_be_bytes());
        bytes[half..half + 40_000].fill(0xa5);
        fs::write(&to, &bytes).unwrap();
        assert!(look_through(&to).is_err());
        fs::write(&to, "text").unwrap();
        let no_database = look_through(&to).unwrap_err().to_string();
        assert!(no_database.contains("copy.db"), "{no_database}");
    }
}
