//! What screens of terminals are built from besides output: sizes with their places, and keyframes. A keyframe is a
//! short cut: without it more output is read, or the oldest of what was drawn is missing.

use super::Screens;
use super::budget;
use super::columns::{int, number, unreadable};
use super::error::StoreError;
use super::line::{Needs, Routing};
use super::{Cursor, Submitted};
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::{SizeRecord, TerminalSize};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Sizes that are kept of one terminal: the latest.
pub(crate) const SIZES_KEPT: usize = 1024;
/// The longest dump that is kept as a keyframe: a quarter of the output between two of them.
pub(crate) const KEYFRAME_BYTES: usize = 64 * 1024;

/// The screen of a terminal behind one record of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyframe {
    pub(crate) incarnation: Incarnation,
    /// The record.
    pub(crate) sequence: ChunkSequence,
    /// Where it ends in the terminal's stream.
    pub(crate) offset: ByteOffset,
    pub(crate) size: TerminalSize,
    /// Whether all is drawn that was written before.
    pub(crate) whole: bool,
    /// What brings a fresh terminal of this size there.
    pub(crate) dump: Vec<u8>,
}

impl Keyframe {
    /// Where the output behind it begins.
    pub(crate) fn cursor(&self) -> Cursor {
        Some((self.incarnation, self.sequence))
    }
}

impl Screens<'_> {
    /// A terminal has this size from there. The same place again counts as the last time; keyframes behind it were
    /// drawn at another size, and go.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_size(
        self,
        user: &UserId,
        command: &CommandId,
        record: SizeRecord,
    ) -> Result<Submitted<()>, StoreError> {
        let (of, command) = (user.clone(), command.clone());
        self.store.put(Routing::data(user, Needs::BehindAll), "size of a terminal", move |db| {
            note_size(db, &of, &command, record)
        })
    }

    /// The sizes of a terminal, in the order of their places: at most [`SIZES_KEPT`].
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn sizes(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Vec<SizeRecord>, StoreError> {
        let (of, command) = (user.clone(), command.clone());
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(
                    "SELECT incarnation, offset, columns, rows FROM screen_sizes
                 WHERE user_id = ?1 AND command_id = ?2 ORDER BY incarnation, offset",
                )?
                .query_map([of.as_str(), command.as_str()], |row| {
                    Ok(SizeRecord {
                        incarnation: Incarnation(number(row, "incarnation")?),
                        offset: ByteOffset(number(row, "offset")?),
                        size: size(row)?,
                    })
                })?
                .collect()
            })
            .await
    }

    /// Keeps a keyframe, if its user has room for it. It is of no use to who has to wait for it. `place` is held until it
    /// is written, or not.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_keyframe(
        self,
        user: &UserId,
        command: &CommandId,
        frame: Keyframe,
        place: impl Send + 'static,
    ) -> Result<Submitted<()>, StoreError> {
        let (of, command, terms) = (user.clone(), command.clone(), self.store.terms());
        self.store.put(Routing::data(user, Needs::BehindAll), "keyframe", move |db| {
            let _held = &place;
            let has = budget::usage(db, &of)?.bytes();
            if has.saturating_add(frame.dump.len() as u64) > terms.budget {
                return Ok(());
            }
            insert(db, &of, &command, &frame)
        })
    }

    /// The last keyframe of a terminal.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn last_keyframe(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Option<Keyframe>, StoreError> {
        let (of, command) = (user.clone(), command.clone());
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(
                    "SELECT incarnation, offset, sequence, columns, rows, whole, dump
                 FROM screen_keyframes
                 WHERE user_id = ?1 AND command_id = ?2
                 ORDER BY incarnation DESC, offset DESC LIMIT 1",
                )?
                .query_row([of.as_str(), command.as_str()], |row| {
                    Ok(Keyframe {
                        incarnation: Incarnation(number(row, "incarnation")?),
                        sequence: ChunkSequence(number(row, "sequence")?),
                        offset: ByteOffset(number(row, "offset")?),
                        size: size(row)?,
                        whole: row.get("whole")?,
                        dump: row.get("dump")?,
                    })
                })
                .optional()
            })
            .await
    }

    /// What an agent shows: its latest terminal, or else its latest command.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Closed`].
    pub(crate) async fn shown_by(
        self,
        user: &UserId,
        agent: &AgentId,
    ) -> Result<Option<CommandId>, StoreError> {
        let (of, agent) = (user.clone(), agent.clone());
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(
                    "SELECT command_id FROM (SELECT command_id, created_at FROM commands
                                         WHERE user_id = ?1 AND agent_id = ?2
                                         ORDER BY created_at DESC LIMIT 1024)
                 ORDER BY substr(command_id, 1, 9) = 'terminal-' DESC, created_at DESC LIMIT 1",
                )?
                .query_row([of.as_str(), agent.as_str()], |row| row.get::<_, String>(0))
                .optional()
                .map(|found| found.map(CommandId::new))
            })
            .await
    }
}

fn size(row: &Row<'_>) -> rusqlite::Result<TerminalSize> {
    TerminalSize::new(number(row, "columns")?, number(row, "rows")?)
        .ok_or_else(|| unreadable(row, "columns", Type::Integer, "no size of a terminal"))
}

fn note_size(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    record: SizeRecord,
) -> rusqlite::Result<()> {
    let (incarnation, offset) = (int(record.incarnation.0)?, int(record.offset.0)?);
    let key = (user.as_str(), command.as_str());
    // The other rows of a command keep it from being forgotten; these do not, and come after it only.
    let changed = db
        .prepare_cached(
            "INSERT INTO screen_sizes (user_id, command_id, incarnation, offset, columns, rows)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE EXISTS (SELECT 1 FROM commands WHERE user_id = ?1 AND command_id = ?2)
             ON CONFLICT (user_id, command_id, incarnation, offset)
             DO UPDATE SET columns = excluded.columns, rows = excluded.rows
             WHERE columns <> excluded.columns OR rows <> excluded.rows",
        )?
        .execute(params![
            key.0,
            key.1,
            incarnation,
            offset,
            record.size.columns(),
            record.size.rows()
        ])?;
    if changed == 0 {
        return Ok(());
    }
    let _ = db
        .prepare_cached(
            "DELETE FROM screen_keyframes
             WHERE user_id = ?1 AND command_id = ?2
               AND (incarnation > ?3 OR incarnation = ?3 AND offset >= ?4)",
        )?
        .execute(params![key.0, key.1, incarnation, offset])?;
    db.prepare_cached(
        "DELETE FROM screen_sizes
         WHERE user_id = ?1 AND command_id = ?2 AND (incarnation, offset) IN (
             SELECT incarnation, offset FROM screen_sizes WHERE user_id = ?1 AND command_id = ?2
             ORDER BY incarnation DESC, offset DESC LIMIT -1 OFFSET ?3)",
    )?
    .execute(params![key.0, key.1, SIZES_KEPT as i64])
    .map(drop)
}

fn insert(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    frame: &Keyframe,
) -> rusqlite::Result<()> {
    // Output that was cut meanwhile is not continued by it, but what was not cut is.
    db.prepare_cached(
        "INSERT INTO screen_keyframes
             (user_id, command_id, incarnation, offset, sequence, columns, rows, whole, dump)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
         WHERE EXISTS (SELECT 1 FROM commands
                       WHERE user_id = ?1 AND command_id = ?2 AND cut_at IS NULL)
         ON CONFLICT (user_id, command_id, incarnation, offset) DO NOTHING",
    )?
    .execute(params![
        user.as_str(),
        command.as_str(),
        int(frame.incarnation.0)?,
        int(frame.offset.0)?,
        int(frame.sequence.0)?,
        frame.size.columns(),
        frame.size.rows(),
        frame.whole,
        frame.dump,
    ])
    .map(drop)
}

/// The output of a terminal before this place was cut, and what was drawn then goes with it.
pub(super) fn cut_before(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    incarnation: Incarnation,
    offset: ByteOffset,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM screen_keyframes
         WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND offset < ?4",
    )?
    .execute(params![user.as_str(), command.as_str(), int(incarnation.0)?, int(offset.0)?])
    .map(drop)
}

/// The output of a command is cut: nothing is left to be drawn.
pub(super) fn remove(db: &Connection, user: &UserId, command: &CommandId) -> rusqlite::Result<()> {
    for table in [
        "DELETE FROM screen_keyframes WHERE user_id = ?1 AND command_id = ?2",
        "DELETE FROM screen_sizes WHERE user_id = ?1 AND command_id = ?2",
    ] {
        let _ = db.prepare_cached(table)?.execute([user.as_str(), command.as_str()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::super::wall_now;
    use super::*;

    fn record(offset: u64, columns: u64) -> SizeRecord {
        let size = TerminalSize::new(columns, 24).unwrap();
        SizeRecord { incarnation: Incarnation(1), offset: ByteOffset(offset), size }
    }

    fn frame(offset: u64) -> Keyframe {
        Keyframe {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(offset),
            offset: ByteOffset(offset),
            size: TerminalSize::DEFAULT,
            whole: true,
            dump: vec![b'x'; 100],
        }
    }

    fn places(db: &Connection, table: &str) -> Vec<i64> {
        let query = format!("SELECT offset FROM {table} ORDER BY offset");
        let mut query = db.prepare(&query).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn of_commands(db: &Connection) -> i64 {
        db.query_row("SELECT commands FROM usage WHERE user_id = 'u'", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn sizes_and_keyframes_have_their_places_count_and_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let (user, command) = (UserId::new("u"), CommandId::new("terminal-1"));
        note_size(&db, &user, &command, record(0, 80)).unwrap();
        insert(&db, &user, &command, &frame(10)).unwrap();
        assert_eq!(places(&db, "screen_sizes"), [] as [i64; 0], "no command, nothing of it");
        db.execute_batch(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at, updated_at)
             VALUES ('u', 'terminal-1', 'a', '', '{}', 'running', 0, 0);",
        )
        .unwrap();
        let before = of_commands(&db);
        for (offset, columns) in [(0, 80), (100, 100), (100, 120), (200, 80)] {
            note_size(&db, &user, &command, record(offset, columns)).unwrap();
        }
        assert_eq!(places(&db, "screen_sizes"), [0, 100, 200]);
        for offset in [50, 150, 250] {
            insert(&db, &user, &command, &frame(offset)).unwrap();
        }
        assert_eq!(of_commands(&db) - before, 3 * 128 + 3 * 356);
        // Known already: nothing was drawn at another size.
        note_size(&db, &user, &command, record(100, 120)).unwrap();
        assert_eq!(places(&db, "screen_keyframes"), [50, 150, 250]);
        note_size(&db, &user, &command, record(120, 40)).unwrap();
        assert_eq!(places(&db, "screen_keyframes"), [50], "the others were drawn at another size");
        cut_before(&db, &user, &command, Incarnation(1), ByteOffset(60)).unwrap();
        assert_eq!(places(&db, "screen_keyframes"), [] as [i64; 0]);
        for offset in 0..2000 {
            note_size(&db, &user, &command, record(1000 + offset, 10 + offset % 2)).unwrap();
        }
        assert_eq!(places(&db, "screen_sizes").len(), SIZES_KEPT);
        remove(&db, &user, &command).unwrap();
        assert_eq!(of_commands(&db), before);
    }
}
