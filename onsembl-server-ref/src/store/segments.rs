//! Segments of output in the database: chunks on their way in, and out of it where a stream is cut. Reading is in
//! `reading`.
//!
//! The numbers of two segments of a run never overlap, and within each stream offsets grow with numbers. What would break
//! that is stored as a row of its own, as gaps are.

use super::columns::{int, number};
use super::output::StoredRecord;
use super::segment::{self, Entry, Segment};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// What stands for a command in the rows of its output.
pub(super) type CommandNumber = i64;

/// The number of a command; `None` if nothing of it was stored as a segment.
pub(super) fn number_of(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<Option<CommandNumber>> {
    db.prepare_cached("SELECT number FROM output_commands WHERE user_id = ?1 AND command_id = ?2")?
        .query_row([user.as_str(), command.as_str()], |row| row.get(0))
        .optional()
}

/// Writes chunks of one run of a command, in one transaction.
pub(super) struct Appending<'a> {
    db: &'a Connection,
    user: &'a UserId,
    command: &'a CommandId,
    incarnation: i64,
    /// The number of the command, and that of the last chunk that is stored as part of a segment.
    known: Option<(CommandNumber, Option<ChunkSequence>)>,
    kept_from: WallTime,
    filling: Segment,
}

impl<'a> Appending<'a> {
    /// What is written ages from `kept_from` on.
    pub(super) fn new(
        db: &'a Connection,
        of: &'a StoredRecord,
        kept_from: WallTime,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            db,
            user: &of.user,
            command: &of.command,
            incarnation: int(of.incarnation.0)?,
            known: None,
            kept_from,
            filling: Segment::default(),
        })
    }

    /// Adds a chunk of this run. Whether it was taken: otherwise it needs a row of its own.
    pub(super) fn push(
        &mut self,
        record: &StoredRecord,
        offset: ByteOffset,
        bytes: &[u8],
    ) -> rusqlite::Result<bool> {
        // What does not sort as a column is refused with the chunk that has it.
        let (_, _) = (int(record.sequence.0)?, int(offset.0.saturating_add(bytes.len() as u64))?);
        let (command, last) = self.known()?;
        let last = if self.filling.first().is_some() { Some(self.filling.last()) } else { last };
        if last.is_some_and(|last| record.sequence <= last) {
            return Ok(false);
        }
        if !self.filling.has_room(bytes.len()) {
            self.flush()?;
            self.known = Some((command, last));
        }
        let StoredRecord { sequence, stream, at, .. } = *record;
        self.filling.push(Entry { sequence, stream, offset, length: bytes.len(), at }, bytes);
        Ok(true)
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        let Some(first) = self.filling.first().copied() else { return Ok(()) };
        let (command, _) = self.known()?;
        insert(self.db, command, self.incarnation, first, self.kept_from, &mut self.filling)?;
        self.filling.clear();
        Ok(())
    }

    fn known(&mut self) -> rusqlite::Result<(CommandNumber, Option<ChunkSequence>)> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let known = match number_of(self.db, self.user, self.command)? {
            Some(command) => (command, last(self.db, command, self.incarnation)?),
            None => (new_number(self.db, self.user, self.command)?, None),
        };
        Ok(*self.known.insert(known))
    }
}

fn new_number(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<CommandNumber> {
    let _ = db
        .prepare_cached("INSERT INTO output_commands (user_id, command_id) VALUES (?1, ?2)")?
        .execute([user.as_str(), command.as_str()])?;
    Ok(db.last_insert_rowid())
}

/// The number of the last chunk of a run that is part of a segment.
fn last(
    db: &Connection,
    command: CommandNumber,
    incarnation: i64,
) -> rusqlite::Result<Option<ChunkSequence>> {
    db.prepare_cached(
        "SELECT last FROM output_segments WHERE command = ?1 AND incarnation = ?2
         ORDER BY sequence DESC LIMIT 1",
    )?
    .query_row(params![command, incarnation], |row| Ok(ChunkSequence(number(row, "last")?)))
    .optional()
}

fn insert(
    db: &Connection,
    command: CommandNumber,
    incarnation: i64,
    first: Entry,
    kept_from: WallTime,
    segment: &mut Segment,
) -> rusqlite::Result<()> {
    let (sequence, last) = (int(first.sequence.0)?, int(segment.last().0)?);
    segment.close();
    db.prepare_cached(
        "INSERT INTO output_segments (command, incarnation, sequence, last, at, kept_from, records, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        command,
        incarnation,
        sequence,
        last,
        first.at.unix_millis(),
        kept_from.unix_millis(),
        segment.records(),
        segment.bytes(),
    ])
    .map(drop)
}

/// What a row says of its chunks. It has the columns `sequence`, `at` and `records`.
pub(super) fn entries(row: &Row<'_>) -> rusqlite::Result<Vec<Entry>> {
    let sequence = ChunkSequence(number(row, "sequence")?);
    let at = WallTime::from_unix_millis(row.get("at")?);
    let records = row.get_ref("records")?.as_str()?;
    segment::parse(records, sequence, at)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

/// A chunk in a segment, and when that began to age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aged {
    pub(super) entry: Entry,
    pub(super) kept_from: WallTime,
}

/// The first chunks of a stream that are parts of segments, in the order of their offsets: at most `most`.
pub(super) fn first_of_stream(
    db: &Connection,
    command: CommandNumber,
    incarnation: Incarnation,
    stream: Stream,
    most: usize,
) -> rusqlite::Result<Vec<Aged>> {
    let mut query = db.prepare_cached(
        "SELECT sequence, at, kept_from, records FROM output_segments
         WHERE command = ?1 AND incarnation = ?2 ORDER BY sequence",
    )?;
    let mut rows = query.query(params![command, int(incarnation.0)?])?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let kept_from = WallTime::from_unix_millis(row.get("kept_from")?);
        let of_stream = entries(row)?.into_iter().filter(|entry| entry.stream == stream);
        found.extend(of_stream.map(|entry| Aged { entry, kept_from }));
    }
    found.truncate(most);
    Ok(found)
}

/// Removes the chunks of a stream before a position. How many those were.
pub(super) fn cut_stream(
    db: &Connection,
    command: CommandNumber,
    incarnation: Incarnation,
    stream: Stream,
    end: ByteOffset,
) -> rusqlite::Result<usize> {
    let incarnation = int(incarnation.0)?;
    let goes = |entry: &Entry| entry.stream == stream && entry.offset < end;
    let mut touched = Vec::new();
    {
        let mut query = db.prepare_cached(
            "SELECT sequence, at, records FROM output_segments
             WHERE command = ?1 AND incarnation = ?2 ORDER BY sequence",
        )?;
        let mut rows = query.query(params![command, incarnation])?;
        while let Some(row) = rows.next()? {
            let entries = entries(row)?;
            let is_last = entries.iter().any(|entry| entry.stream == stream && entry.offset >= end);
            if entries.iter().any(goes) {
                touched.push((int(number(row, "sequence")?)?, entries));
            }
            if is_last {
                break;
            }
        }
    }
    let mut gone = 0;
    for (sequence, entries) in touched {
        gone += entries.iter().filter(|entry| goes(entry)).count();
        cut_segment(db, (command, incarnation, sequence), &entries, goes)?;
    }
    Ok(gone)
}

/// Removes these chunks from a segment, and the segment with its last one.
fn cut_segment(
    db: &Connection,
    key: (CommandNumber, i64, i64),
    entries: &[Entry],
    goes: impl Fn(&Entry) -> bool,
) -> rusqlite::Result<()> {
    let mut left = Segment::default();
    let mut kept_from = WallTime::default();
    if !entries.iter().all(&goes) {
        let (bytes, since): (Vec<u8>, i64) = db
            .prepare_cached(
                "SELECT bytes, kept_from FROM output_segments
                 WHERE command = ?1 AND incarnation = ?2 AND sequence = ?3",
            )?
            .query_row(params![key.0, key.1, key.2], |row| Ok((row.get(0)?, row.get(1)?)))?;
        kept_from = WallTime::from_unix_millis(since);
        let mut rest = &*bytes;
        for entry in entries {
            let (of_entry, behind) = rest.split_at_checked(entry.length).unwrap_or((rest, &[]));
            rest = behind;
            if !goes(entry) {
                left.push(*entry, of_entry);
            }
        }
    }
    let _ = db
        .prepare_cached(
            "DELETE FROM output_segments WHERE command = ?1 AND incarnation = ?2 AND sequence = ?3",
        )?
        .execute(params![key.0, key.1, key.2])?;
    match left.first().copied() {
        Some(first) => insert(db, key.0, key.1, first, kept_from, &mut left),
        None => Ok(()),
    }
}

/// Removes all segments of a command, and what stands for it.
pub(super) fn remove(db: &Connection, user: &UserId, command: &CommandId) -> rusqlite::Result<()> {
    let Some(number) = number_of(db, user, command)? else { return Ok(()) };
    for table in [
        "DELETE FROM output_segments WHERE command = ?1",
        "DELETE FROM output_commands WHERE number = ?1",
    ] {
        let _ = db.prepare_cached(table)?.execute([number])?;
    }
    Ok(())
}

/// The last chunk of a stream in a segment that begins at or before a position; `None` if the first one of the stream
/// begins behind it. Looks at some of the segments only.
pub(super) fn chunk_at(
    db: &Connection,
    command: CommandNumber,
    incarnation: Incarnation,
    stream: Stream,
    offset: ByteOffset,
) -> rusqlite::Result<Option<Entry>> {
    let incarnation = int(incarnation.0)?;
    let Some(last) = last(db, command, incarnation)? else { return Ok(None) };
    let mut query = db.prepare_cached(
        "SELECT sequence, at, records FROM output_segments
         WHERE command = ?1 AND incarnation = ?2 AND sequence <= ?3 ORDER BY sequence DESC",
    )?;
    let (mut low, mut high, mut found) = (0, int(last.0)?.saturating_add(1), None);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut rows = query.query(params![command, incarnation, middle])?;
        let mut nearest = None;
        // The stream may have nothing in some of them.
        while nearest.is_none()
            && let Some(row) = rows.next()?
        {
            let mut of_stream = entries(row)?;
            of_stream.retain(|entry| entry.stream == stream);
            if let Some(first) = of_stream.first() {
                nearest = Some((int(number(row, "sequence")?)?, first.offset, of_stream));
            }
        }
        match nearest {
            Some((sequence, begin, _)) if begin > offset => high = sequence,
            Some((_, _, of_stream)) => {
                found = of_stream.into_iter().take_while(|entry| entry.offset <= offset).last();
                low = middle + 1;
            }
            None => low = middle + 1,
        }
    }
    Ok(found)
}
