//! Stored output on its way out: pages of records behind a cursor.
//!
//! A cursor is the number of the last record that a reader has. Records of one number (a gap and the
//! chunk that showed it) are never torn apart by a page.

use super::Reading;
use super::columns::int;
use super::error::StoreError;
use super::output::StoredRecord;
use super::records::{self, Placed, Walk};
use super::segments;
use bytes::Bytes;
use onsembl_protocol::fleet::{Cursor, Seek, StoredBody, cursor_before};
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, params};

/// Records that one read returns at most, but for those of the last number.
pub(crate) const READ_RECORDS: usize = 4096;

/// Commands of an agent whose output is looked through for the latest of it.
const LATEST_COMMANDS: u32 = 256;

/// Before all records, for a reader that has none and is not a new one.
const BEFORE_ALL: (i64, i64) = (-1, -1);

impl Reading<'_> {
    /// The stored output of a command behind the cursor `after` (`None`: from the beginning), in
    /// the order of incarnation and number, of one stream if it is named: as many records as fit
    /// into `max_bytes`, at least one if there is one, about 4,096 at most.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn read(
        self,
        user: &UserId,
        command: &CommandId,
        only: Option<Stream>,
        after: Cursor,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store
            .read_for(&user.clone(), move |db| read(db, &user, &command, only, after, max_bytes))
            .await
    }

    /// The cursor in front of the record that holds this position of a stream, or that would; records
    /// of other streams, and the first bytes of that one, may come before the position.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn cursor(
        self,
        user: &UserId,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
    ) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store
            .read_for(&user.clone(), move |db| {
                let of = (&user, &command);
                let containing = record_at(db, of, incarnation, stream, offset)?;
                Ok(cursor_before(incarnation, containing.as_ref().map(|(n, body)| (*n, body))))
            })
            .await
    }

    /// The cursor behind all records of a command; `None` if there are none.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn end(self, user: &UserId, command: &CommandId) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store
            .read_for(&user.clone(), move |db| {
                let last = last(db, (&user, &command))?;
                Ok(last.map(|Placed { place: (incarnation, sequence, _), .. }| {
                    (incarnation, sequence)
                }))
            })
            .await
    }

    /// When the latest of a command's output came that is stored; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn last_at(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Option<WallTime>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store
            .read_for(&user.clone(), move |db| Ok(last(db, (&user, &command))?.map(|last| last.at)))
            .await
    }

    /// The cursor behind which the last records of a command are, as many as hold at most
    /// `max_bytes` together and about 4,096 at most. `None` if that is all there is.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn tail(
        self,
        user: &UserId,
        command: &CommandId,
        max_bytes: usize,
    ) -> Result<Cursor, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store.read_for(&user.clone(), move |db| tail(db, &user, &command, max_bytes)).await
    }

    /// The cursor in front of what is sought of a command's output.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn seek(
        self,
        user: &UserId,
        command: &CommandId,
        seek: &Seek,
    ) -> Result<Cursor, StoreError> {
        match *seek {
            Seek::Tail(bytes) => self.tail(user, command, bytes).await,
            Seek::Offset { incarnation, stream, offset } => {
                self.cursor(user, command, incarnation, stream, offset).await
            }
            Seek::OffsetOfFirst { stream, offset } => {
                let first = self.read(user, command, None, None, 0).await?;
                match first.first() {
                    Some(StoredRecord { incarnation, .. }) => {
                        self.cursor(user, command, *incarnation, stream, offset).await
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
    pub(crate) async fn latest(
        self,
        user: &UserId,
        agent: &AgentId,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        self.store
            .read_for(&user.clone(), move |db| {
                let mut query = db.prepare_cached(
                    "SELECT command_id FROM commands WHERE user_id = ?1 AND agent_id = ?2
                 ORDER BY created_at DESC LIMIT ?3",
                )?;
                let mut rows =
                    query.query(params![user.as_str(), agent.as_str(), LATEST_COMMANDS])?;
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

/// The last record of a command.
fn last(db: &Connection, of: (&UserId, &CommandId)) -> rusqlite::Result<Option<Placed>> {
    let mut last = None;
    records::walk_back(db, of, |placed| {
        last = Some(placed);
        Walk::Ends
    })?;
    Ok(last)
}

pub(super) fn tail(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    max_bytes: usize,
) -> rusqlite::Result<Cursor> {
    let (mut total, mut count, mut behind) = (0_usize, 0_usize, None);
    records::walk_back(db, (user, command), |Placed { place, length, .. }| {
        total = total.saturating_add(length);
        count += 1;
        if total > max_bytes || count > READ_RECORDS {
            behind = Some((place.0, place.1));
            return Walk::Ends;
        }
        Walk::On
    })?;
    Ok(behind)
}

/// The number and the body of the record that holds a position of a stream, or of the last one before it. The bytes of a
/// chunk are left out.
pub(super) fn record_at(
    db: &Connection,
    (user, command): (&UserId, &CommandId),
    incarnation: Incarnation,
    stream: Stream,
    offset: ByteOffset,
) -> rusqlite::Result<Option<(ChunkSequence, StoredBody)>> {
    let single = db
        .prepare_cached(
            "SELECT incarnation, sequence, stream, offset, zeroblob(0) AS bytes, gap_length, gap_because, at
             FROM output_singles
             WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
               AND offset <= ?5
             ORDER BY offset DESC LIMIT 1",
        )?
        .query_row(
            params![
                user.as_str(),
                command.as_str(),
                int(incarnation.0)?,
                stream.as_str(),
                int(offset.0)?
            ],
            |row| records::single(row, user, command),
        )
        .optional()?;
    let chunk = match segments::number_of(db, user, command)? {
        Some(number) => segments::chunk_at(db, number, incarnation, stream, offset)?,
        None => None,
    };
    Ok(match (single, chunk) {
        (Some(single), Some(chunk)) if single.offset <= chunk.offset => {
            Some((chunk.sequence, StoredBody::Chunk(Bytes::new())))
        }
        (Some(single), _) => Some((single.sequence, single.body)),
        (None, Some(chunk)) => Some((chunk.sequence, StoredBody::Chunk(Bytes::new()))),
        (None, None) => None,
    })
}

pub(super) fn read(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    only: Option<Stream>,
    after: Cursor,
    max_bytes: usize,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let after = match after {
        Some((incarnation, sequence)) => (int(incarnation.0)?, int(sequence.0)?),
        None => BEFORE_ALL,
    };
    let (mut read, mut total) = (Vec::<StoredRecord>::new(), 0_usize);
    records::walk(db, (user, command), only, after, |record| {
        total = total.saturating_add(record.body.byte_count());
        let is_full = total > max_bytes || read.len() >= READ_RECORDS;
        if let Some(last) = read.last()
            && is_full
            && (last.incarnation, last.sequence) != (record.incarnation, record.sequence)
        {
            return Walk::Ends;
        }
        read.push(record);
        Walk::On
    })?;
    Ok(read)
}
