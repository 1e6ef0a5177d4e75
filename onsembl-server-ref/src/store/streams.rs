//! What the records of a stream add up to: one row a stream, kept in the transaction of each record,
//! so that positions and sums never need a scan.

use super::Store;
use super::columns::{int, number, unreadable};
use super::error::StoreError;
use super::output::StoredRecord;
use onsembl_protocol::fleet::{StoredBody, StoredPosition, StreamSums};
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation, UserId};
use onsembl_protocol::model::{GapCause, Stream};
use onsembl_protocol::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How far a stream is stored. `committed = delivered + gaps`, always.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StreamPosition {
    pub command: CommandId,
    pub incarnation: Incarnation,
    pub stream: Stream,
    /// Everything before it is committed, as bytes or as a gap.
    pub committed: ByteOffset,
    /// Bytes that were committed, also those that retention has cut since.
    pub delivered: u64,
    /// Bytes in declared gaps, without those of retention.
    pub gaps: u64,
    /// Why the stream ends with a gap of unknown length, if it does.
    pub open_gap: Option<GapCause>,
    /// Bytes that can be read now.
    pub kept: u64,
}

impl StreamPosition {
    /// Where a log of the output goes on.
    pub fn stored(&self) -> StoredPosition {
        StoredPosition {
            incarnation: self.incarnation,
            stream: self.stream,
            committed: self.committed,
            open_gap: self.open_gap.is_some(),
        }
    }
}

const COLUMNS: &str = "s.command_id, s.incarnation, s.stream, s.next, s.delivered, s.gaps,
                       s.open_gap, s.kept";

impl Store {
    /// How far the streams of these commands are stored. Streams without a record are not there.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn output_positions(
        &self,
        user: &UserId,
        commands: Vec<CommandId>,
    ) -> Result<Vec<StreamPosition>, StoreError> {
        let user = user.clone();
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM output_streams AS s WHERE user_id = ?1 AND command_id = ?2"
            ))?;
            let mut all = Vec::new();
            for command in commands {
                let rows = query.query_map([user.as_str(), command.as_str()], from_row)?;
                for row in rows {
                    all.push(row?);
                }
            }
            Ok(all)
        })
        .await
    }

    /// How far the streams of all commands of an agent are stored, the newest command first; at most
    /// `limit` streams.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn output_positions_of_agent(
        &self,
        user: &UserId,
        agent: &AgentId,
        limit: usize,
    ) -> Result<Vec<StreamPosition>, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM commands AS c
                 JOIN output_streams AS s USING (user_id, command_id)
                 WHERE c.user_id = ?1 AND c.agent_id = ?2 ORDER BY c.created_at DESC LIMIT ?3"
            ))?
            .query_map(params![user.as_str(), agent.as_str(), limit], from_row)?
            .collect()
        })
        .await
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StreamPosition> {
    Ok(StreamPosition {
        command: row.get::<_, String>("command_id")?.into(),
        incarnation: Incarnation(number(row, "incarnation")?),
        stream: stream(row)?,
        committed: ByteOffset(number(row, "next")?),
        delivered: number(row, "delivered")?,
        gaps: number(row, "gaps")?,
        open_gap: gap_cause(row, "open_gap")?,
        kept: number(row, "kept")?,
    })
}

/// The stream of a row.
pub(super) fn stream(row: &Row<'_>) -> rusqlite::Result<Stream> {
    let word: String = row.get("stream")?;
    Stream::parse(&word)
        .ok_or_else(|| unreadable(row, "stream", Type::Text, "not the name of a stream"))
}

/// Why there is a gap, if the row says so.
pub(super) fn gap_cause(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<GapCause>> {
    let word: Option<String> = row.get(column)?;
    word.map(|word| {
        GapCause::parse(&word)
            .ok_or_else(|| unreadable(row, column, Type::Text, "not the cause of a gap"))
    })
    .transpose()
}

/// The row of a stream while a record is added to it.
#[derive(Debug, Default)]
pub(super) struct StreamRow {
    pub(super) sums: StreamSums,
    kept: u64,
    oldest_at: Option<WallTime>,
}

impl StreamRow {
    /// The row of the stream of `record`; an empty one before its first record.
    pub(super) fn read(db: &Connection, record: &StoredRecord) -> rusqlite::Result<Self> {
        let row = db
            .prepare_cached(
                "SELECT next, delivered, gaps, open_gap, kept, oldest_at FROM output_streams
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4",
            )?
            .query_row(
                params![
                    record.user.as_str(),
                    record.command.as_str(),
                    int(record.incarnation.0)?,
                    record.stream.as_str()
                ],
                |row| {
                    Ok(Self {
                        sums: StreamSums {
                            next: ByteOffset(number(row, "next")?),
                            delivered: number(row, "delivered")?,
                            gaps: number(row, "gaps")?,
                            open_gap: gap_cause(row, "open_gap")?,
                        },
                        kept: number(row, "kept")?,
                        oldest_at: super::columns::time_or_none(row, "oldest_at")?,
                    })
                },
            )
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// A record was stored, and can be read from now on.
    pub(super) fn keep(&mut self, record: &StoredRecord) {
        if let StoredBody::Chunk(bytes) = &record.body {
            if self.kept == 0 {
                self.oldest_at = Some(record.at);
            }
            self.kept = self.kept.saturating_add(bytes.len() as u64);
        }
    }

    /// Writes it back.
    pub(super) fn write(&self, db: &Connection, record: &StoredRecord) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO output_streams
                 (user_id, command_id, incarnation, stream, next, delivered, gaps, open_gap, kept,
                  oldest_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            record.user.as_str(),
            record.command.as_str(),
            int(record.incarnation.0)?,
            record.stream.as_str(),
            int(self.sums.next.0)?,
            int(self.sums.delivered)?,
            int(self.sums.gaps)?,
            self.sums.open_gap.map(GapCause::as_str),
            int(self.kept)?,
            self.oldest_at.map(WallTime::unix_millis),
        ])
        .map(drop)
    }
}
