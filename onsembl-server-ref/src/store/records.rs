//! Stored records of a command in one order, whether they have a row of their own or are parts of segments.

use super::columns::{int, number, time};
use super::output::StoredRecord;
use super::segment::Entry;
use super::segments;
use super::streams::{gap_cause, stream};
use bytes::Bytes;
use onsembl_protocol::fleet::StoredBody;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::cmp::Ordering;
use std::iter::Peekable;

/// The number of no command.
const NO_COMMAND: segments::CommandNumber = -1;

/// Where a record stands among those of its command.
pub(super) type Place = (Incarnation, ChunkSequence, ByteOffset);

/// A record without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) place: Place,
    pub(super) length: usize,
    pub(super) at: WallTime,
}

/// Whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Ends,
}

/// Two sequences of rows in one order; what comes first of equal ones is of the first.
struct Merged<A: Iterator, B: Iterator, F> {
    first: Peekable<A>,
    second: Peekable<B>,
    order: F,
}

impl<T, A, B, F> Iterator for Merged<A, B, F>
where
    A: Iterator<Item = rusqlite::Result<T>>,
    B: Iterator<Item = rusqlite::Result<T>>,
    F: Fn(&T, &T) -> Ordering,
{
    type Item = rusqlite::Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.first.peek(), self.second.peek()) {
            (Some(Ok(one)), Some(Ok(other))) => match (self.order)(one, other) {
                Ordering::Less | Ordering::Equal => self.first.next(),
                Ordering::Greater => self.second.next(),
            },
            (Some(Err(_)), _) | (Some(_), None) => self.first.next(),
            (None, _) | (Some(_), Some(Err(_))) => self.second.next(),
        }
    }
}

/// The parts of rows, one behind the other.
fn flat<T>(
    rows: impl Iterator<Item = rusqlite::Result<Vec<T>>>,
) -> impl Iterator<Item = rusqlite::Result<T>> {
    rows.flat_map(|row| match row {
        Ok(parts) => parts.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    })
}

const fn place(record: &StoredRecord) -> Place {
    (record.incarnation, record.sequence, record.offset)
}

/// Walks through the records of a command behind a number of a run, of one stream if it is named, in the order of their
/// places.
pub(super) fn walk(
    db: &Connection,
    (user, command): (&UserId, &CommandId),
    only: Option<Stream>,
    after: (i64, i64),
    mut each: impl FnMut(StoredRecord) -> Walk,
) -> rusqlite::Result<()> {
    let mut singles = db.prepare_cached(
        "SELECT incarnation, sequence, stream, offset, bytes, gap_length, gap_because, at
         FROM output_singles
         WHERE user_id = ?1 AND command_id = ?2 AND (incarnation, sequence) > (?3, ?4)
           AND (?5 IS NULL OR stream = ?5)
         ORDER BY incarnation, sequence, offset",
    )?;
    let singles = singles.query_map(
        params![user.as_str(), command.as_str(), after.0, after.1, only.map(Stream::as_str)],
        |row| single(row, user, command),
    )?;
    let number = segments::number_of(db, user, command)?.unwrap_or(NO_COMMAND);
    // The segment that begins last at or before the number may go beyond it.
    let begin = db
        .prepare_cached(
            "SELECT incarnation, sequence FROM output_segments
             WHERE command = ?1 AND (incarnation, sequence) <= (?2, ?3)
             ORDER BY incarnation DESC, sequence DESC LIMIT 1",
        )?
        .query_row(params![number, after.0, after.1], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let begin: (i64, i64) = begin.unwrap_or(after);
    let mut segments = db.prepare_cached(
        "SELECT incarnation, sequence, at, records, bytes FROM output_segments
         WHERE command = ?1 AND (incarnation, sequence) >= (?2, ?3)
         ORDER BY incarnation, sequence",
    )?;
    let segments = segments.query_map(params![number, begin.0, begin.1], |row| {
        parts(row, user, command, |entry, incarnation| {
            let number = (int(incarnation.0)?, int(entry.sequence.0)?);
            Ok(number > after && only.is_none_or(|only| entry.stream == only))
        })
    })?;
    let order = |one: &StoredRecord, other: &StoredRecord| place(one).cmp(&place(other));
    let merged = Merged { first: singles.peekable(), second: flat(segments).peekable(), order };
    for record in merged {
        if each(record?) == Walk::Ends {
            break;
        }
    }
    Ok(())
}

/// Walks through the records of a command from its end, without their bytes.
pub(super) fn walk_back(
    db: &Connection,
    (user, command): (&UserId, &CommandId),
    mut each: impl FnMut(Placed) -> Walk,
) -> rusqlite::Result<()> {
    let mut singles = db.prepare_cached(
        "SELECT incarnation, sequence, offset, coalesce(length(bytes), 0) AS length, at
         FROM output_singles
         WHERE user_id = ?1 AND command_id = ?2
         ORDER BY incarnation DESC, sequence DESC, offset DESC",
    )?;
    let singles = singles.query_map([user.as_str(), command.as_str()], |row| {
        let length = usize::try_from(number(row, "length")?).unwrap_or(usize::MAX);
        let offset = ByteOffset(number(row, "offset")?);
        let (incarnation, sequence) = position(row)?;
        Ok(Placed { place: (incarnation, sequence, offset), length, at: time(row, "at")? })
    })?;
    let mut segments = db.prepare_cached(
        "SELECT incarnation, sequence, at, records FROM output_segments WHERE command = ?1
         ORDER BY incarnation DESC, sequence DESC",
    )?;
    let number_of_command = segments::number_of(db, user, command)?.unwrap_or(NO_COMMAND);
    let segments = segments.query_map([number_of_command], |row| {
        let incarnation = Incarnation(number(row, "incarnation")?);
        let placed = |Entry { sequence, offset, length, at, .. }| Placed {
            place: (incarnation, sequence, offset),
            length,
            at,
        };
        Ok(segments::entries(row)?.into_iter().rev().map(placed).collect::<Vec<_>>())
    })?;
    let order = |one: &Placed, other: &Placed| other.place.cmp(&one.place);
    let merged = Merged { first: singles.peekable(), second: flat(segments).peekable(), order };
    for placed in merged {
        if each(placed?) == Walk::Ends {
            break;
        }
    }
    Ok(())
}

/// The number of the record of a row, with that of its run.
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<(Incarnation, ChunkSequence)> {
    Ok((Incarnation(number(row, "incarnation")?), ChunkSequence(number(row, "sequence")?)))
}

/// The record of a row of its own.
pub(super) fn single(
    row: &Row<'_>,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<StoredRecord> {
    let (incarnation, sequence) = position(row)?;
    let body = match gap_cause(row, "gap_because")? {
        None => StoredBody::Chunk(Bytes::from(row.get::<_, Vec<u8>>("bytes")?)),
        Some(because) => {
            let length: Option<i64> = row.get("gap_length")?;
            StoredBody::Gap { length: length.and_then(|l| u64::try_from(l).ok()), because }
        }
    };
    Ok(StoredRecord {
        user: user.clone(),
        command: command.clone(),
        incarnation,
        sequence,
        stream: stream(row)?,
        offset: ByteOffset(number(row, "offset")?),
        body,
        at: time(row, "at")?,
    })
}

/// The records of a segment that are wanted. Each has a copy of its bytes, so that a reader that is slow with one does not
/// keep all of them in memory.
fn parts(
    row: &Row<'_>,
    user: &UserId,
    command: &CommandId,
    is_wanted: impl Fn(&Entry, Incarnation) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let incarnation = Incarnation(number(row, "incarnation")?);
    let mut rest = row.get_ref("bytes")?.as_blob()?;
    let mut wanted = Vec::new();
    for entry in segments::entries(row)? {
        let Some((bytes, behind)) = rest.split_at_checked(entry.length) else {
            return Err(super::columns::unreadable(
                row,
                "bytes",
                rusqlite::types::Type::Blob,
                "a segment has fewer bytes than it says",
            ));
        };
        rest = behind;
        if is_wanted(&entry, incarnation)? {
            wanted.push(StoredRecord {
                user: user.clone(),
                command: command.clone(),
                incarnation,
                sequence: entry.sequence,
                stream: entry.stream,
                offset: entry.offset,
                body: StoredBody::Chunk(Bytes::copy_from_slice(bytes)),
                at: entry.at,
            });
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests;
