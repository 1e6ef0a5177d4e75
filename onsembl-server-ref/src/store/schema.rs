//! The file: where it lies, how connections to it are set up, and how its schema is brought up to
//! date. The tables themselves are in `migrations/`. No query lives here.

use super::error::{StoreError, StoreTrouble, trouble_of};
use super::examine::{self, Owner};
use super::queue::Disk;
use super::reserve::Reserve;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Name of the database in the data directory.
pub const FILE_NAME: &str = "onsembl.db";

/// How long one statement waits for a lock. Short, so that a held lock becomes known (the writer
/// has a loop of its own) instead of hiding in the wait.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// How long opening waits for another program that holds the database.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Prepared statements kept per connection: more than there are.
const STATEMENTS: usize = 64;

/// The log is cut back to this size after it grew beyond it under a long read or a burst.
const WAL_SIZE_LIMIT: i64 = 64 * 1024 * 1024;

/// Size of a page of a new database; SQLite's own default is half of it. Output comes in pieces of
/// 32 KiB, and each page of it costs two writes.
const PAGE_BYTES: i64 = 8 * 1024;

const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/0001_initial.sql")),
    M::up(include_str!("migrations/0002_records.sql")),
    M::up(include_str!("migrations/0003_stops.sql")),
    M::up(include_str!("migrations/0004_command_history.sql")),
    M::up(include_str!("migrations/0005_tokens.sql")),
    M::up(include_str!("migrations/0006_budgets.sql")),
    M::up(include_str!("migrations/0007_deleted_agents.sql")),
    M::up(include_str!("migrations/0008_findings.sql")),
    M::up(include_str!("migrations/0009_agents_budget.sql")),
    M::up(include_str!("migrations/0010_cheaper_output.sql")),
    M::up(include_str!("migrations/0011_kept_names.sql")),
    M::up(include_str!("migrations/0012_screens.sql")),
    M::up(include_str!("migrations/0013_keyboards.sql")),
    M::up(include_str!("migrations/0014_left_holds.sql")),
    M::up(include_str!("migrations/0015_beat_log.sql")),
    M::up(include_str!("migrations/0016_output_segments.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// Opens the database as [`open_writer`] does, with the reserve beside it, for a database that may become so
/// large; and says whether there is more room than the reserve.
pub(super) fn open_with_reserve(
    dir: &Path,
    now: WallTime,
    most: Option<u64>,
) -> Result<(Connection, Reserve, Disk), StoreError> {
    create_directory(dir)?;
    let reserve = Reserve::new(dir, most);
    let disk = if reserve.before_opening() { Disk::Ample } else { Disk::Scarce };
    let db = open_writer(dir, now)?;
    match disk {
        Disk::Ample => reserve.confine(&db)?,
        Disk::Scarce => reserve.open_up(&db),
    }
    Ok((db, reserve, disk))
}

/// Creates the directory (0700) and the database (0600) where they are missing, brings the schema
/// up to date and returns the connection of the writer.
pub(super) fn open_writer(dir: &Path, now: WallTime) -> Result<Connection, StoreError> {
    let path = create_files(dir)?;
    let give_up = Instant::now() + OPEN_PATIENCE;
    loop {
        match set_up(&path, now) {
            Ok(Opened::Ready(db)) => return Ok(db),
            Ok(Opened::Overtaken) => {}
            Err(error) if !is_busy(&error) || Instant::now() >= give_up => return Err(error),
            Err(_) => thread::sleep(OPEN_PAUSE),
        }
    }
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Directory { path, source }
}

fn create_directory(dir: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable(dir))
}

fn create_files(dir: &Path) -> Result<PathBuf, StoreError> {
    create_directory(dir)?;
    let path = dir.join(FILE_NAME);
    // SQLite gives its log and index files the mode of the database.
    let mut open = fs::OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false).mode(0o600);
    open.open(&path).map_err(unusable(&path))?;
    Ok(path)
}

enum Opened {
    Ready(Connection),
    /// Another program brought the schema further at the same moment.
    Overtaken,
}

fn set_up(path: &Path, now: WallTime) -> Result<Opened, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);

    let owner = examine::owner(&db, path)?;
    let found = known_version(&db, path)?;
    // Without effect on a database that has tables.
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::NoWal { path: path.to_owned(), mode });
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update_and_check(None, "journal_size_limit", WAL_SIZE_LIMIT, |_| Ok(()))?;

    match MIGRATIONS.to_latest(&mut db) {
        Ok(()) => {}
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) if trouble_of(&err).is_some() => {
            return Err(err.into());
        }
        Err(_) if schema_version(&db)? > found => return Ok(Opened::Overtaken),
        Err(source) => {
            return Err(StoreError::Migration { path: path.to_owned(), source: Box::new(source) });
        }
    }
    match owner {
        Owner::Us => {}
        Owner::Nobody | Owner::UsUnmarked => examine::mark(&db)?,
    }
    if found == 0 {
        db.execute(
            "INSERT INTO meta (key, value) VALUES ('created_at', ?1) ON CONFLICT DO NOTHING",
            [now.to_string()],
        )?;
    }
    Ok(Opened::Ready(db))
}

/// The version of its schema, if this program knows it.
///
/// # Errors
/// It is of a newer program.
pub(super) fn known_version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let found = schema_version(db)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

fn schema_version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn is_busy(error: &StoreError) -> bool {
    matches!(error, StoreError::Trouble { trouble: StoreTrouble::Busy, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

    #[test]
    fn the_steps_are_sound_sql() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn chunks_of_the_first_schema_become_records_and_their_holes_gaps() {
        let mut db = Connection::open_in_memory().unwrap();
        MIGRATIONS.to_version(&mut db, 1).unwrap();
        db.execute_batch(
            "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities,
                 epoch, status, since, because, presence_version, created_at)
             VALUES ('a', 'u', 'k', 'n', 't', '[]', 1, 'online', 0, '', 1, 0);
             INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at,
                 updated_at)
             VALUES ('u', 'c', 'a', '', '{}', 'running', 0, 0);
             INSERT INTO output_chunks (user_id, command_id, sequence, incarnation, stream, offset,
                 bytes, at)
             VALUES ('u', 'c', 1, 7, 'stdout', 0, x'616263', 5),
                    ('u', 'c', 2, 7, 'stderr', 2, x'78', 6),
                    ('u', 'c', 4, 7, 'stdout', 10, x'6465', 8);",
        )
        .unwrap();
        MIGRATIONS.to_latest(&mut db).unwrap();
        let rows: Vec<(i64, String, i64, Option<i64>)> = db
            .prepare(
                "SELECT sequence, stream, offset, gap_length FROM output_records
                 ORDER BY stream, offset",
            )
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let row = |n, stream: &str, offset, gap| (n, stream.to_owned(), offset, gap);
        assert_eq!(
            rows,
            [
                row(2, "stderr", 0, Some(2)),
                row(2, "stderr", 2, None),
                row(1, "stdout", 0, None),
                row(4, "stdout", 3, Some(7)),
                row(4, "stdout", 10, None),
            ]
        );
        let sums: (i64, i64, i64, i64) = db
            .query_row(
                "SELECT next, delivered, gaps, oldest_at FROM output_streams
                 WHERE stream = 'stdout'",
                [],
                |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)),
            )
            .unwrap();
        assert_eq!(sums, (12, 5, 7, 5));
    }

    #[test]
    fn an_older_database_has_agents_that_nobody_holds_and_no_stops_of_deleted_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        MIGRATIONS.to_version(&mut old, 4).unwrap();
        old.execute_batch(
            "INSERT INTO agents
             SELECT column1, 'ann', column1, column1, 'custom', NULL, NULL, '[]', 1, 'offline', 1,
                    'b', 1, NULL, NULL, 1, column2, NULL
             FROM (VALUES ('here', NULL), ('gone', 5));
             INSERT INTO stops (user_id, stop_id, agent_id, reason, by, at) VALUES
             ('ann', 's1', 'gone', 'r', 'ann', 1), ('ann', 's2', 'here', 'r', 'ann', 2),
             ('ann', 's3', NULL, 'r', 'ann', 3);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12)
             INSERT INTO agent_aliases SELECT 'ann', 'alias ' || n, 'here' FROM n;
             INSERT INTO agent_aliases VALUES ('ann', 'other', 'gone');",
        )
        .unwrap();
        drop(old);
        let db = open_writer(dir.path(), NOW).unwrap();
        let texts = |query: &str| -> Vec<String> {
            let mut query = db.prepare(query).unwrap();
            query.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert!(texts("SELECT agent_id FROM agents WHERE lineage IS NOT NULL").is_empty());
        assert_eq!(texts("SELECT stop_id FROM stops WHERE released_at IS NULL"), ["s2", "s3"]);
        let kept = texts("SELECT alias FROM agent_aliases WHERE agent_id = 'here' ORDER BY rowid");
        assert_eq!(kept.first().map(String::as_str), Some("alias 5"));
        assert_eq!((kept.len(), texts("SELECT alias FROM agent_aliases").len()), (8, 9));
    }

    #[test]
    fn what_each_user_has_is_summed_up_once() {
        let mut db = Connection::open_in_memory().unwrap();
        MIGRATIONS.to_version(&mut db, 4).unwrap();
        db.execute_batch(
            "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities,
                 epoch, status, since, because, presence_version, created_at)
             VALUES ('a', 'u', 'k', 'n', 't', '[]', 1, 'online', 0, '', 1, 0);
             INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at,
                 updated_at)
             VALUES ('u', 'c', 'a', 'schön', '{}', 'running', 0, 0),
                    ('w', 'c', 'a', '', '{}', 'running', 0, 0);
             INSERT INTO command_events (user_id, command_id, number, at, status, cause)
             VALUES ('u', 'c', 1, 0, 'running', 'why');
             INSERT INTO output_streams (user_id, command_id, incarnation, stream, next, delivered,
                 gaps, kept, oldest_at)
             VALUES ('u', 'c', 1, 'stdout', 40000, 40000, 0, 40000, 0);",
        )
        .unwrap();
        MIGRATIONS.to_latest(&mut db).unwrap();
        let usage = |user: &str| -> (i64, i64, i64) {
            let query = "SELECT commands, kept, records FROM usage WHERE user_id = ?1";
            db.query_row(query, [user], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap()
        };
        assert_eq!(usage("u"), (512 + 6 + 2 + 128 + 7 + 3, 40_000, 3));
        assert_eq!(usage("w"), (512 + 2, 0, 0));
        db.execute_batch(
            "DELETE FROM command_events; DELETE FROM output_streams; DELETE FROM commands",
        )
        .unwrap();
        assert_eq!((usage("u"), usage("w")), ((0, 0, 0), (0, 0, 0)));
    }

    #[test]
    fn a_stream_has_an_oldest_exactly_if_it_has_bytes() {
        let mut db = Connection::open_in_memory().unwrap();
        MIGRATIONS.to_version(&mut db, 9).unwrap();
        db.execute_batch(
            "INSERT INTO output_streams (user_id, command_id, incarnation, stream, next, delivered,
                 gaps, kept, oldest_at)
             VALUES ('u', 'gaps', 1, 'stdout', 9, 0, 9, 0, 5), ('u', 'none', 1, 'stdout', 0, 0, 0, 0, NULL),
                    ('u', 'bytes', 1, 'stdout', 9, 9, 0, 9, 5), ('u', 'odd', 1, 'stdout', 9, 9, 0, 9, NULL);",
        )
        .unwrap();
        MIGRATIONS.to_latest(&mut db).unwrap();
        let oldest: Vec<(String, i64)> = db
            .prepare(
                "SELECT command_id, oldest_at FROM output_streams
                 WHERE oldest_at IS NOT NULL ORDER BY oldest_at",
            )
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(oldest, [("odd".to_owned(), 0), ("bytes".to_owned(), 5)]);
        let plan: String = db
            .query_row(
                "EXPLAIN QUERY PLAN SELECT command_id FROM output_streams
                 WHERE user_id = 'u' AND oldest_at IS NOT NULL ORDER BY oldest_at LIMIT 1",
                [],
                |r| r.get("detail"),
            )
            .unwrap();
        assert!(plan.contains("output_of_user"), "{plan}");
    }

    #[test]
    fn a_fresh_directory_is_private_and_the_writer_is_durable() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("a/b");
        let db = open_writer(&dir, NOW).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(FILE_NAME)), 0o600);
        let pragma = |name: &str| -> String {
            db.query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |r| {
                r.get(0)
            })
            .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "2", "FULL");
        assert_eq!(pragma("foreign_keys"), "1");
        assert_eq!(pragma("page_size"), "8192");
    }

    #[test]
    fn opening_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_writer(dir.path(), NOW).unwrap());
        let db = open_writer(dir.path(), WallTime::from_unix_millis(0)).unwrap();
        assert_eq!(schema_version(&db).unwrap(), STEPS.len() as i64);
        let created: String = db.query_row("SELECT value FROM meta", [], |r| r.get(0)).unwrap();
        assert_eq!(created, NOW.to_string());
    }

    #[test]
    fn a_database_with_other_pages_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        old.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; VACUUM").unwrap();
        MIGRATIONS.to_version(&mut { old }, 1).unwrap();
        let db = open_writer(dir.path(), NOW).unwrap();
        let pages: i64 = db.pragma_query_value(None, "page_size", |r| r.get(0)).unwrap();
        assert_eq!((pages, schema_version(&db).unwrap()), (4096, STEPS.len() as i64));
    }

    #[test]
    fn two_programs_may_open_a_fresh_directory_at_once() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            thread::scope(|s| {
                for _ in 0..4 {
                    s.spawn(|| open_writer(dir.path(), NOW).unwrap());
                }
            });
        }
    }

    #[test]
    fn a_reader_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let _writer = open_writer(dir.path(), NOW).unwrap();
        let reader = open_reader(&dir.path().join(FILE_NAME)).unwrap();
        let refused = reader.execute("DELETE FROM meta", []).unwrap_err();
        assert_eq!(trouble_of(&refused), Some(StoreTrouble::Failed));
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), vec![b'x'; 4096]).unwrap();
        let error = open_writer(dir.path(), NOW).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}
