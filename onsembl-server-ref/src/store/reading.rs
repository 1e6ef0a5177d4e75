//! Stored output on its way out: pages of records behind a cursor.
//!
//! A cursor is the number of the last record that a reader has. Records of one number (a gap and the
//! chunk that showed it) are never torn apart by a page.

use super::Store;
use super::columns::{int, number, time};
use super::error::StoreError;
use super::output::StoredRecord;
use super::streams::{gap_cause, stream};
use bytes::Bytes;
use onsembl_protocol::fleet::{Cursor, Seek, StoredBody, cursor_before};
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Records that one read returns at most, but for those of the last number.
pub(crate) const READ_RECORDS: usize = 4096;

/// Commands of an agent whose output is looked through for the latest of it.
const LATEST_COMMANDS: u32 = 256;

/// Before all records, for a reader that has none and is not a new one.
const BEFORE_ALL: (i64, i64) = (-1, -1);

impl Store {
    /// The stored output of a command behind the cursor `after` (`None`: from the beginning), in
    /// the order of incarnation and number, of one stream if it is named: as many records as fit
    /// into `max_bytes`, at least one if there is one, about 4,096 at most.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn read_output(
        &self,
        user: &UserId,
        command: &CommandId,
        only: Option<Stream>,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read_for(&user.clone(), move |db| read(db, &user, &command, only, after, max_bytes))
            .await
    }

    /// The cursor in front of the record that holds this position of a stream, or that would; records
    /// of other streams, and the first bytes of that one, may come before the position.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn output_cursor(
        &self,
        user: &UserId,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
    ) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read_for(&user.clone(), move |db| {
            let mut query = db.prepare_cached(
                "SELECT incarnation, sequence, stream, offset, bytes, gap_length, gap_because, at
                 FROM output_records
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
                   AND offset <= ?5
                 ORDER BY offset DESC LIMIT 1",
            )?;
            let key = (user.as_str(), command.as_str());
            let position = (int(incarnation.0)?, stream.as_str(), int(offset.0)?);
            let containing = query
                .query_row(params![key.0, key.1, position.0, position.1, position.2], |row| {
                    from_row(row, &user, &command)
                })
                .optional()?;
            Ok(cursor_before(incarnation, containing.as_ref().map(|r| (r.sequence, &r.body))))
        })
        .await
    }

    /// The cursor behind all records of a command; `None` if there are none.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn output_end(
        &self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read_for(&user.clone(), move |db| {
            db.prepare_cached(
                "SELECT incarnation, sequence FROM output_records
                 WHERE user_id = ?1 AND command_id = ?2
                 ORDER BY incarnation DESC, sequence DESC LIMIT 1",
            )?
            .query_row([user.as_str(), command.as_str()], position)
            .optional()
        })
        .await
    }

    /// When the latest of a command's output came that is stored; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn last_output_at(
        &self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Option<WallTime>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read_for(&user.clone(), move |db| {
            db.prepare_cached(
                "SELECT at FROM output_records WHERE user_id = ?1 AND command_id = ?2
                 ORDER BY incarnation DESC, sequence DESC LIMIT 1",
            )?
            .query_row([user.as_str(), command.as_str()], |row| time(row, "at"))
            .optional()
        })
        .await
    }

    /// The cursor behind which the last records of a command are, as many as hold at most
    /// `max_bytes` together and about 4,096 at most. `None` if that is all there is.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn output_tail(
        &self,
        user: &UserId,
        command: &CommandId,
        max_bytes: usize,
    ) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read_for(&user.clone(), move |db| tail(db, &user, &command, max_bytes)).await
    }

    /// The cursor in front of what is sought of a command's output.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn seek_output(
        &self,
        user: &UserId,
        command: &CommandId,
        seek: &Seek,
    ) -> Result<Cursor, StoreError> {
        match *seek {
            Seek::Tail(bytes) => self.output_tail(user, command, bytes).await,
            Seek::Offset { incarnation, stream, offset } => {
                self.output_cursor(user, command, incarnation, stream, offset).await
            }
            Seek::OffsetOfFirst { stream, offset } => {
                let first = self.read_output(user, command, None, None, 0).await?;
                match first.first() {
                    Some(StoredRecord { incarnation, .. }) => {
                        self.output_cursor(user, command, *incarnation, stream, offset).await
                    }
                    None => Ok(None),
                }
            }
        }
    }

    /// The latest records of the latest commands of an agent, oldest first: as many as hold at most
    /// `max_bytes` together, of 256 commands and about 4,096 records at most.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn latest_output(
        &self,
        user: &UserId,
        agent: &AgentId,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        self.read_for(&user.clone(), move |db| {
            let mut query = db.prepare_cached(
                "SELECT command_id FROM commands WHERE user_id = ?1 AND agent_id = ?2
                 ORDER BY created_at DESC LIMIT ?3",
            )?;
            let mut rows = query.query(params![user.as_str(), agent.as_str(), LATEST_COMMANDS])?;
            let (mut of_commands, mut left, mut count) = (Vec::new(), max_bytes, 0);
            while let Some(row) = rows.next()? {
                let command = CommandId::new(row.get::<_, String>(0)?);
                let behind = tail(db, &user, &command, left)?;
                let records = read(db, &user, &command, None, behind, left)?;
                let bytes: usize = records.iter().map(|record| record.body.byte_count()).sum();
                left = left.saturating_sub(bytes);
                count += records.len();
                of_commands.push(records);
                if left == 0 || count >= READ_RECORDS || behind.is_some() {
                    break;
                }
            }
            Ok(of_commands.into_iter().rev().flatten().collect())
        })
        .await
    }
}

fn tail(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    max_bytes: usize,
) -> rusqlite::Result<Cursor> {
    let mut query = db.prepare_cached(
        "SELECT incarnation, sequence, length(bytes) AS length FROM output_records
         WHERE user_id = ?1 AND command_id = ?2
         ORDER BY incarnation DESC, sequence DESC",
    )?;
    let mut rows = query.query([user.as_str(), command.as_str()])?;
    let (mut total, mut count) = (0_usize, 0_usize);
    while let Some(row) = rows.next()? {
        let length: Option<i64> = row.get("length")?;
        total = total.saturating_add(usize::try_from(length.unwrap_or(0)).unwrap_or(0));
        count += 1;
        if total > max_bytes || count > READ_RECORDS {
            return position(row).map(Some);
        }
    }
    Ok(None)
}

fn read(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    only: Option<Stream>,
    after: Cursor,
    max_bytes: usize,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let (incarnation, sequence) = match after {
        Some((incarnation, sequence)) => (int(incarnation.0)?, int(sequence.0)?),
        None => BEFORE_ALL,
    };
    let mut query = db.prepare_cached(
        "SELECT incarnation, sequence, stream, offset, bytes, gap_length, gap_because, at
         FROM output_records
         WHERE user_id = ?1 AND command_id = ?2 AND (incarnation, sequence) > (?3, ?4)
           AND (?5 IS NULL OR stream = ?5)
         ORDER BY incarnation, sequence, offset",
    )?;
    let mut rows = query.query(params![
        user.as_str(),
        command.as_str(),
        incarnation,
        sequence,
        only.map(Stream::as_str)
    ])?;
    let (mut records, mut total) = (Vec::<StoredRecord>::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let record = from_row(row, user, command)?;
        total = total.saturating_add(record.body.byte_count());
        let is_full = total > max_bytes || records.len() >= READ_RECORDS;
        if let Some(last) = records.last()
            && is_full
            && (last.incarnation, last.sequence) != (record.incarnation, record.sequence)
        {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

fn position(row: &Row<'_>) -> rusqlite::Result<(Incarnation, ChunkSequence)> {
    Ok((Incarnation(number(row, "incarnation")?), ChunkSequence(number(row, "sequence")?)))
}

fn from_row(row: &Row<'_>, user: &UserId, command: &CommandId) -> rusqlite::Result<StoredRecord> {
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
