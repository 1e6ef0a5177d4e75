//! Whose a database is, before anything in it is changed; and whether it is whole, before anything is built on it.

use super::error::{StoreError, StoreTrouble, trouble_of};
use super::json_columns::{self, UnreadableRow};
use super::schema::{FILE_NAME, open_reader};
use rusqlite::{Connection, ErrorCode};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// "Onsb", in the header of the file, where SQLite keeps it for this purpose: `file` names it, and another
/// program's database is distinguished from ours.
const APPLICATION_ID: i64 = 0x4f6e_7362;
/// Tables of every schema of ours, by which a database is known that was made before it had the mark.
const TABLES: [&str; 5] = ["meta", "agents", "sessions", "presence_events", "commands"];

/// Whose a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It belongs to no program: there is nothing in it.
    Nobody,
    /// Ours, and marked.
    Us,
    /// Ours, of a version that marked nothing.
    UsUnmarked,
}

/// Whose it is. Changes nothing.
pub(super) fn owner(db: &Connection, path: &Path) -> Result<Owner, StoreError> {
    let mark: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if mark == APPLICATION_ID {
        return Ok(Owner::Us);
    }
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
                 ORDER BY name";
    let tables: Vec<String> =
        db.prepare(names)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if mark == 0 && tables.is_empty() && version == 0 {
        return Ok(Owner::Nobody);
    }
    let has_all = TABLES.iter().all(|ours| tables.iter().any(|table| table == ours));
    if mark == 0 && has_all && version > 0 {
        return Ok(Owner::UsUnmarked);
    }
    let what = match tables.first() {
        _ if mark != 0 => format!("its application id is {mark:#010x}"),
        Some(table) => format!("it has a table {table:?}"),
        None => format!("it has schema {version} and no table"),
    };
    Err(StoreError::Foreign { path: path.to_owned(), what })
}

/// Marks a database as ours.
pub(super) fn mark(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "application_id", APPLICATION_ID)
}

/// How much of a database was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All of it.
    Whole,
    /// As much as there was time for, and no damage was in it.
    InPart,
}

/// What was found in a database that is not damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// How much was looked at.
    pub checked: Checked,
    /// Rows with a column that cannot be read and is left out wherever they are: the first of them.
    pub unreadable: Vec<UnreadableRow>,
    /// How many there are besides.
    pub others: usize,
}

/// Looks for damage in the database in `dir`, and for rows that cannot be read, at most for `within`. Blocks.
///
/// # Errors
/// [`StoreError::Damaged`], or that it cannot be read.
pub fn check(dir: &Path, within: Duration) -> Result<Examined, StoreError> {
    let db = open_reader(&dir.join(FILE_NAME))?;
    let interrupt = db.get_interrupt_handle();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = thread::Builder::new().name("onsembl-check".to_owned());
        let watch = watch.spawn_scoped(scope, move || {
            let mut wait = within;
            // More than once: it has no effect before the check has begun.
            while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                interrupt.interrupt();
                wait = Duration::from_millis(1);
            }
        });
        // Without a limit it might last for minutes.
        let _watch = watch.map_err(StoreError::Thread)?;
        let found = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        let found = match found {
            Ok(found) if found == "ok" => unreadable(&db),
            Ok(why) => return Err(StoreError::Damaged { why }),
            Err(error) => Err(error),
        };
        drop(done);
        match found {
            Ok((unreadable, others)) => {
                Ok(Examined { checked: Checked::Whole, unreadable, others })
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
                    || trouble_of(&error) == Some(StoreTrouble::Busy) =>
            {
                Ok(Examined { checked: Checked::InPart, unreadable: Vec::new(), others: 0 })
            }
            Err(error) => Err(error.into()),
        }
    })
}

/// The rows that cannot be read, of all tables.
fn unreadable(db: &Connection) -> rusqlite::Result<(Vec<UnreadableRow>, usize)> {
    let (mut named, mut others) = (Vec::new(), 0_usize);
    for column in json_columns::ALL {
        let room = json_columns::NAMED.saturating_sub(named.len());
        let (found, count) = column.unreadable(db, room)?;
        others += count - found.len();
        named.extend(found);
    }
    Ok((named, others))
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::*;
    use onsembl_protocol::time::WallTime;
    use std::fs;
    use std::io::{Seek as _, SeekFrom, Write as _};

    const NOW: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

    fn beside(dir: &Path) -> Connection {
        Connection::open(dir.join(FILE_NAME)).unwrap()
    }

    fn id(db: &Connection) -> i64 {
        db.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_new_database_is_marked_and_an_old_one_of_ours_becomes_so() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(id(&open_writer(dir.path(), NOW).unwrap()), APPLICATION_ID);
        beside(dir.path()).pragma_update(None, "application_id", 0).unwrap();
        assert_eq!(id(&open_writer(dir.path(), NOW).unwrap()), APPLICATION_ID);
    }

    #[test]
    fn a_database_of_another_program_is_named_and_not_touched() {
        for (script, named) in [
            ("CREATE TABLE notes (x); PRAGMA user_version = 2;", "notes"),
            ("CREATE TABLE notes (x);", "notes"),
            ("PRAGMA application_id = 77; CREATE TABLE meta (x);", "0x0000004d"),
            ("PRAGMA user_version = 7;", "schema 7"),
            ("CREATE TABLE meta (x); CREATE TABLE agents (x); PRAGMA user_version = 1;", "agents"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            beside(dir.path()).execute_batch(script).unwrap();
            let before = fs::read(dir.path().join(FILE_NAME)).unwrap();
            let refused = open_writer(dir.path(), NOW).unwrap_err();
            assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
            assert!(refused.to_string().contains(named), "{refused}");
            assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), before);
        }
    }

    fn filled() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), NOW).unwrap();
        let row = "INSERT INTO meta (key, value) VALUES ('k' || ?1, hex(randomblob(4000)))";
        db.execute_batch("BEGIN").unwrap();
        (0..2000).for_each(|n| assert_eq!(db.execute(row, [n]).unwrap(), 1));
        db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        dir
    }

    #[test]
    fn a_damaged_page_is_found_and_a_whole_database_is_not_blamed() {
        let dir = filled();
        let minute = Duration::from_secs(60);
        let whole = Examined { checked: Checked::Whole, unreadable: Vec::new(), others: 0 };
        assert_eq!(check(dir.path(), minute).unwrap(), whole);
        let mut file = fs::File::options().write(true).open(dir.path().join(FILE_NAME)).unwrap();
        let length = file.metadata().unwrap().len();
        for page in (20..length / 8192).step_by(7) {
            file.seek(SeekFrom::Start(page * 8192)).unwrap();
            file.write_all(&[0xa5; 8192]).unwrap();
        }
        let damaged = check(dir.path(), minute).unwrap_err();
        assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged}");
        assert!(damaged.to_string().contains("backup"), "{damaged}");
    }

    #[test]
    fn a_check_ends_when_its_time_is_over() {
        let dir = filled();
        assert_eq!(check(dir.path(), Duration::ZERO).unwrap().checked, Checked::InPart);
    }
}
