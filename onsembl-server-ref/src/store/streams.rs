//! What the records of a stream add up to: one row a stream, kept in the transaction of each record,
//! so that positions and sums never need a scan.

use super::Streams;
use super::budget;
use super::columns::{int, number, number_at, unreadable};
use super::error::StoreError;
use super::output::StoredRecord;
use super::reader::Asker;
use onsembl_protocol::fleet::{self, LogPosition, StoredBody, StoredPosition, StreamSums};
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation, UserId};
use onsembl_protocol::model::{GapCause, Stream};
use onsembl_protocol::time::WallTime;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

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
    /// The same, as a fleet goes by it.
    pub(crate) fn of_fleet(self) -> fleet::StreamPosition {
        let Self { command, incarnation, stream, committed, delivered, gaps, open_gap, kept: _ } =
            self;
        fleet::StreamPosition { command, incarnation, stream, committed, delivered, gaps, open_gap }
    }

    /// Where a log of the output continues.
    pub fn stored(&self) -> StoredPosition {
        StoredPosition {
            incarnation: self.incarnation,
            stream: self.stream,
            committed: self.committed,
            open_gap: self.open_gap.is_some(),
        }
    }
}

/// Commands looked up in one turn of a reader; then others have theirs.
const AT_ONCE: usize = 64;

const COLUMNS: &str = "s.command_id, s.incarnation, s.stream, s.next, s.delivered, s.gaps,
                       s.open_gap, s.kept";

impl Streams<'_> {
    /// How far the streams of these commands are stored. Streams without a record are not there.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn positions(
        self,
        user: &UserId,
        commands: Vec<CommandId>,
    ) -> Result<Vec<StreamPosition>, StoreError> {
        let user = user.clone();
        let mut commands = commands.into_iter();
        let mut all = Vec::new();
        loop {
            let some: Vec<CommandId> = commands.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                return Ok(all);
            }
            let ids = |of: &[CommandId]| of.iter().map(|id| id.as_str().len()).sum::<usize>();
            // What waits in memory is the rest as well.
            let bytes = ids(&some) + ids(commands.as_slice());
            let user = user.clone();
            let asker = Asker::User(user.clone());
            let read = move |db: &Connection| positions(db, &user, &some);
            all.extend(self.store.0.readers.read(asker, bytes, read).await?);
        }
    }

    /// How far the streams of all commands of an agent are stored, the newest command first; at most
    /// `limit` streams.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn positions_of_agent(
        self,
        user: &UserId,
        agent: &AgentId,
        limit: usize,
    ) -> Result<Vec<StreamPosition>, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store
            .read_for(&user.clone(), move |db| {
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

    /// The end of the output of a command: after its last record, and in each stream.
    ///
    /// # Errors
    /// As [`positions`](Self::positions).
    pub(crate) async fn log_position(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<LogPosition, StoreError> {
        // The positions first: what is stored in between is behind the end then, and is taken once more.
        let positions = self.positions(user, vec![command.clone()]).await?;
        let end = self.store.reading().end(user, command).await?;
        Ok((end, positions.into_iter().map(StreamPosition::of_fleet).collect()))
    }

    /// How far the streams of an agent's commands are stored, at most `limit` of them, and those of the commands that
    /// it reported.
    ///
    /// # Errors
    /// As [`positions`](Self::positions).
    pub(crate) async fn balance(
        self,
        user: &UserId,
        agent: &AgentId,
        reported: Vec<CommandId>,
        limit: usize,
    ) -> Result<Vec<StreamPosition>, StoreError> {
        let mut stored = self.positions_of_agent(user, agent, limit).await?;
        let mut others = reported;
        others.retain(|command| stored.iter().all(|position| position.command != *command));
        stored.extend(self.positions(user, others).await?);
        Ok(stored)
    }
}

impl Streams<'_> {
    /// Commands of an agent, among its newest, whose output was asked not to be stored and is not; the newest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn unstored_of_agent(
        self,
        user: &UserId,
        agent: &AgentId,
        limit: usize,
    ) -> Result<Vec<CommandId>, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store
            .read_for(&user.clone(), move |db| {
                db.prepare_cached(
                    "SELECT command_id FROM
                         (SELECT * FROM commands WHERE user_id = ?1 AND agent_id = ?2
                          ORDER BY created_at DESC LIMIT ?3) AS c
                     WHERE octet_length(spec) < 4096 AND json_valid(spec)
                       AND json_extract(spec, '$.unstored')
                       AND NOT EXISTS (SELECT 1 FROM output_streams AS s
                                       WHERE s.user_id = c.user_id AND s.command_id = c.command_id)
                     ORDER BY created_at DESC",
                )?
                .query_map(params![user.as_str(), agent.as_str(), limit], |row| {
                    row.get::<_, String>(0).map(CommandId::from)
                })?
                .collect()
            })
            .await
    }
}

fn positions(
    db: &Connection,
    user: &UserId,
    commands: &[CommandId],
) -> rusqlite::Result<Vec<StreamPosition>> {
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

/// The row of a stream while records are added to it.
#[derive(Debug, Default)]
pub(super) struct StreamRow {
    pub(super) sums: StreamSums,
    kept: u64,
    /// When the oldest of what is kept began to age.
    oldest_at: Option<WallTime>,
    /// Chunks and gaps that are stored.
    records: u64,
    found: Found,
}

/// What of the row of a stream was there before.
#[derive(Clone, Copy, Debug, Default)]
enum Found {
    #[default]
    Nothing,
    Row {
        oldest_at: Option<WallTime>,
        /// What it counted of its user's bound.
        charged: u64,
    },
}

impl StreamRow {
    /// The row of the stream of `record`; an empty one before its first record.
    pub(super) fn read(db: &Connection, record: &StoredRecord) -> rusqlite::Result<Self> {
        let row = db
            .prepare_cached(
                "SELECT next, delivered, gaps, open_gap, kept, oldest_at, records
                 FROM output_streams
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
                    let kept = number_at(row, 4, "kept")?;
                    let oldest_at: Option<i64> = row.get(5)?;
                    let oldest_at = oldest_at.map(WallTime::from_unix_millis);
                    let records = number_at(row, 6, "records")?;
                    Ok(Self {
                        sums: StreamSums {
                            next: ByteOffset(number_at(row, 0, "next")?),
                            delivered: number_at(row, 1, "delivered")?,
                            gaps: number_at(row, 2, "gaps")?,
                            open_gap: match row.get_ref(3)? {
                                ValueRef::Null => None,
                                ValueRef::Integer(_)
                                | ValueRef::Real(_)
                                | ValueRef::Text(_)
                                | ValueRef::Blob(_) => gap_cause(row, "open_gap")?,
                            },
                        },
                        kept,
                        oldest_at,
                        records,
                        found: Found::Row { oldest_at, charged: budget::of_output(kept, records) },
                    })
                },
            )
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// A record was stored, and can be read from now on.
    pub(super) fn keep(&mut self, body: &StoredBody, kept_from: WallTime) {
        self.records = self.records.saturating_add(1);
        if let StoredBody::Chunk(bytes) = body {
            if self.kept == 0 && !bytes.is_empty() {
                self.oldest_at = Some(kept_from);
            }
            self.kept = self.kept.saturating_add(bytes.len() as u64);
        }
    }

    /// This many records were removed again.
    pub(super) const fn removed(&mut self, records: usize) {
        self.records = self.records.saturating_sub(records as u64);
    }

    /// What it counts of its user's bound now, and what it counted before.
    pub(super) const fn charged(&self) -> (u64, u64) {
        let before = match self.found {
            Found::Nothing => 0,
            Found::Row { charged, .. } => charged,
        };
        (budget::of_output(self.kept, self.records), before)
    }

    /// Writes it back. Each record of output does this, so no column of an index is set that is as it was.
    pub(super) fn write(&self, db: &Connection, record: &StoredRecord) -> rusqlite::Result<()> {
        let change = match self.found {
            Found::Nothing => {
                "INSERT INTO output_streams
                     (user_id, command_id, incarnation, stream, next, delivered, gaps, open_gap, kept,
                      records, oldest_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Found::Row { oldest_at, .. } if oldest_at == self.oldest_at => {
                "UPDATE output_streams
                 SET next = ?5, delivered = ?6, gaps = ?7, open_gap = ?8, kept = ?9, records = ?10
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4"
            }
            Found::Row { .. } => {
                "UPDATE output_streams
                 SET next = ?5, delivered = ?6, gaps = ?7, open_gap = ?8, kept = ?9, records = ?10,
                     oldest_at = ?11
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4"
            }
        };
        let mut change = db.prepare_cached(change)?;
        let (incarnation, next) = (int(record.incarnation.0)?, int(self.sums.next.0)?);
        let (delivered, gaps) = (int(self.sums.delivered)?, int(self.sums.gaps)?);
        let open_gap = self.sums.open_gap.map(GapCause::as_str);
        let (kept, records) = (int(self.kept)?, int(self.records)?);
        let oldest_at = self.oldest_at.map(WallTime::unix_millis);
        let values: [&dyn ToSql; 11] = [
            &record.user.as_str(),
            &record.command.as_str(),
            &incarnation,
            &record.stream.as_str(),
            &next,
            &delivered,
            &gaps,
            &open_gap,
            &kept,
            &records,
            &oldest_at,
        ];
        let asked = change.parameter_count();
        change.execute(values.get(..asked).unwrap_or(&values)).map(drop)
    }
}
