//! Cutting history: stored output that is too old or too much goes, the oldest first, and a gap says so
//! at the beginning of its stream; commands that are too old go as a whole. Which chunks go of a stream, and what
//! stands for them, the core decides; and by which clock they age.

use super::Retention;
use super::columns::{int, number, time};
use super::error::StoreError;
use super::keyboards;
use super::line::Routing;
use super::output::StoredRecord;
use super::screens;
use super::segments::{self, Aged, CommandNumber};
use super::streams::stream;
use onsembl_protocol::fleet::{RetentionClock, StreamCut};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::atomic::Ordering;

/// Records that one transaction cuts at most: others wait for it.
pub(super) const BATCH: usize = 512;

/// Under which key the clock of retention is kept.
const CLOCK: &str = "retention_clock";

/// What one transaction cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of output.
    pub bytes: u64,
    /// Whether there is more to cut.
    pub more: bool,
}

/// Whether all of something was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    More,
    Nothing,
}

/// What becomes of gaps in front of a chunk that stays, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    Stay,
    /// The marker stands for them too.
    Go,
}

/// What was cut of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandCut {
    pub(super) records: usize,
    pub(super) left: Part,
}

impl Retention<'_> {
    /// Cuts stored output that began to age before a time, and the oldest of the user who has the most while
    /// there are more than this many bytes: about 512 records, to be called again while there is more. Sums of
    /// streams stay what they are.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn cut_output(self, before: WallTime, most: u64) -> Result<Cut, StoreError> {
        self.store.write(Routing::upkeep(), "cut output", 0, move |db| cut(db, before, most)).await
    }

    /// Removes commands that are over and began to age before a time, with their steps and their output: a
    /// few, to be called again while there are more. Whether there are.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn remove_commands(self, before: WallTime) -> Result<bool, StoreError> {
        self.store
            .write(Routing::upkeep(), "remove commands", 0, move |db| remove_old(db, before))
            .await
    }

    /// What the clock of retention shows: what is stored ages from then on.
    #[must_use]
    pub fn ages_by(self) -> WallTime {
        WallTime::from_unix_millis(self.store.0.ages_by.load(Ordering::Relaxed))
    }

    /// Sets the clock of retention.
    pub fn set_ages_by(self, at: WallTime) {
        self.store.0.ages_by.store(at.unix_millis(), Ordering::Relaxed);
    }

    /// Keeps what the clock of retention shows for the next run.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) async fn keep_clock(self) -> Result<(), StoreError> {
        let at = self.ages_by();
        self.store.write(Routing::upkeep(), "keep clock", 0, move |db| write_clock(db, at)).await
    }
}

/// What the clock of retention continues from: where the run before left it; in a database of an earlier schema,
/// and in a new one, the newest time that is in it.
pub(super) fn resume_clock(
    db: &Connection,
    newest_beat: Option<WallTime>,
    wall: WallTime,
) -> rusqlite::Result<WallTime> {
    let kept: Option<String> = db
        .query_row("SELECT value FROM meta WHERE key = ?1", [CLOCK], |row| row.get(0))
        .optional()?;
    let kept = kept.and_then(|text| text.parse().ok()).map(WallTime::from_unix_millis);
    let newest: Option<i64> = match kept {
        Some(_) => None,
        None => db.query_row(
            "SELECT max(at) FROM (SELECT max(last_heartbeat) AS at FROM agents
                                  UNION ALL SELECT max(opened_at) FROM sessions
                                  UNION ALL SELECT max(created_at) FROM commands
                                  UNION ALL SELECT max(ended_at) FROM commands
                                  UNION ALL SELECT max(oldest_at) FROM output_streams)",
            [],
            |row| row.get(0),
        )?,
    };
    let newest = newest.map(WallTime::from_unix_millis).max(newest_beat);
    Ok(RetentionClock::resumed(kept, newest, wall).shows())
}

fn write_clock(db: &Connection, at: WallTime) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![CLOCK, at.unix_millis().to_string()])
    .map(drop)
}

/// A stream with bytes.
#[derive(Debug)]
struct Oldest {
    user: UserId,
    command: CommandId,
    incarnation: Incarnation,
    stream: Stream,
    at: WallTime,
}

fn cut(db: &Connection, before: WallTime, most: u64) -> rusqlite::Result<Cut> {
    let mut over = kept_of_all(db)?.saturating_sub(most);
    let (mut done, mut records) = (Cut::default(), 0);
    while records < BATCH {
        let (bytes, count) = match oldest(db)?.filter(|oldest| oldest.at < before) {
            Some(oldest) => oldest.cut(db, before, 0, BATCH - records, Gaps::Stay)?,
            None if over == 0 => return Ok(done),
            None => {
                let Some(user) = largest(db)? else { return Ok(done) };
                let cut = cut_of_user(db, &user, over, BATCH - records)?;
                if cut.1 == 0 {
                    return Ok(done);
                }
                cut
            }
        };
        over = over.saturating_sub(bytes);
        done.bytes = done.bytes.saturating_add(bytes);
        records += count.max(1);
    }
    done.more = true;
    Ok(done)
}

fn kept_of_all(db: &Connection) -> rusqlite::Result<u64> {
    let kept: i64 = db
        .prepare_cached("SELECT coalesce(sum(kept), 0) FROM usage")?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(kept).unwrap_or(0))
}

/// The user with the most output: one who floods must not cost others theirs.
fn largest(db: &Connection) -> rusqlite::Result<Option<UserId>> {
    db.prepare_cached("SELECT user_id FROM usage WHERE kept > 0 ORDER BY kept DESC LIMIT 1")?
        .query_row([], |row| row.get::<_, String>(0))
        .optional()
        .map(|found| found.map(UserId::new))
}

/// Cuts the oldest output of a user, this many bytes of it, whether or not its commands are over. How many bytes
/// and chunks that were.
pub(super) fn cut_of_user(
    db: &Connection,
    user: &UserId,
    over: u64,
    most: usize,
) -> rusqlite::Result<(u64, usize)> {
    let (mut bytes, mut records) = (0_u64, 0);
    while bytes < over && records < most {
        let oldest = db
            .prepare_cached(
                "SELECT user_id, command_id, incarnation, stream, oldest_at FROM output_streams
                 WHERE user_id = ?1 AND oldest_at IS NOT NULL ORDER BY oldest_at LIMIT 1",
            )?
            .query_row([user.as_str()], Oldest::from_row)
            .optional()?;
        let Some(oldest) = oldest else { break };
        let (cut, count) = oldest.cut(db, NEVER, over - bytes, most - records, Gaps::Stay)?;
        bytes = bytes.saturating_add(cut);
        records += count.max(1);
    }
    Ok((bytes, records))
}

/// Cuts all output of a command, at most this many records.
pub(super) fn cut_of_command(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    most: usize,
) -> rusqlite::Result<CommandCut> {
    let streams: Vec<Oldest> = db
        .prepare_cached(
            "SELECT user_id, command_id, incarnation, stream, coalesce(oldest_at, 0) AS oldest_at
             FROM output_streams
             WHERE user_id = ?1 AND command_id = ?2 AND (kept > 0 OR records > 2) LIMIT ?3",
        )?
        .query_map(
            params![user.as_str(), command.as_str(), most.min(BATCH) as i64],
            Oldest::from_row,
        )?
        .collect::<rusqlite::Result<_>>()?;
    let mut records = streams.len();
    for stream in streams {
        if records >= most {
            return Ok(CommandCut { records, left: Part::More });
        }
        records += stream.cut(db, NEVER, u64::MAX, most - records, Gaps::Go)?.1;
    }
    let left = if records >= most { Part::More } else { Part::Nothing };
    if left == Part::Nothing {
        screens::remove(db, user, command)?;
    }
    Ok(CommandCut { records, left })
}

/// Nothing began to age before it.
const NEVER: WallTime = WallTime::from_unix_millis(i64::MIN);

fn remove_old(db: &Connection, before: WallTime) -> rusqlite::Result<bool> {
    let mut records = 0;
    while records < BATCH {
        let next = db
            .prepare_cached(
                "SELECT user_id, command_id FROM commands
                 WHERE ended_at IS NOT NULL AND coalesce(kept_from, ended_at) < ?1
                 ORDER BY coalesce(kept_from, ended_at) LIMIT 1",
            )?
            .query_row([before.unix_millis()], |row| {
                Ok((
                    UserId::new(row.get::<_, String>(0)?),
                    CommandId::new(row.get::<_, String>(1)?),
                ))
            })
            .optional()?;
        let Some((user, command)) = next else { return Ok(false) };
        let cut = cut_of_command(db, &user, &command, BATCH - records)?;
        records += cut.records + 1;
        if cut.left == Part::Nothing {
            remove_command(db, &user, &command)?;
        }
    }
    Ok(true)
}

/// Removes a command whose output was cut.
pub(super) fn remove_command(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<()> {
    screens::remove(db, user, command)?;
    keyboards::remove(db, user, command)?;
    segments::remove(db, user, command)?;
    for table in [
        "DELETE FROM output_singles WHERE user_id = ?1 AND command_id = ?2",
        "DELETE FROM output_streams WHERE user_id = ?1 AND command_id = ?2",
        "DELETE FROM command_events WHERE user_id = ?1 AND command_id = ?2",
        "DELETE FROM commands WHERE user_id = ?1 AND command_id = ?2",
    ] {
        db.prepare_cached(table)?.execute([user.as_str(), command.as_str()])?;
    }
    Ok(())
}

fn oldest(db: &Connection) -> rusqlite::Result<Option<Oldest>> {
    db.prepare_cached(
        "SELECT user_id, command_id, incarnation, stream, oldest_at FROM output_streams
         WHERE oldest_at IS NOT NULL ORDER BY oldest_at LIMIT 1",
    )?
    .query_row([], Oldest::from_row)
    .optional()
}

/// Cuts the first chunks of the stream of a record.
#[cfg(test)]
pub(super) fn cut_first(
    db: &Connection,
    of: &StoredRecord,
    before: WallTime,
    over: u64,
    most: usize,
) -> rusqlite::Result<()> {
    let StoredRecord { user, command, incarnation, stream, at, .. } = of.clone();
    let oldest = Oldest { user, command, incarnation, stream, at };
    oldest.cut(db, before, over, most, Gaps::Stay).map(drop)
}

impl Oldest {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            user: row.get::<_, String>("user_id")?.into(),
            command: row.get::<_, String>("command_id")?.into(),
            incarnation: Incarnation(number(row, "incarnation")?),
            stream: stream(row)?,
            at: time(row, "oldest_at")?,
        })
    }

    /// Cuts its first chunks: those from before a time, and as many as hold `over` bytes. How many
    /// bytes and chunks that were.
    fn cut(
        &self,
        db: &Connection,
        before: WallTime,
        over: u64,
        most: usize,
        gaps: Gaps,
    ) -> rusqlite::Result<(u64, usize)> {
        let key = (self.user.as_str(), self.command.as_str(), self.stream.as_str());
        let incarnation = int(self.incarnation.0)?;
        let number = segments::number_of(db, &self.user, &self.command)?;
        let limit = most.saturating_add(1);
        let mut cut = StreamCut::new(before, over, most);
        for first in self.first(db, number, limit, gaps)? {
            let First { sequence, offset, length, at, is_gap } = first;
            let goes = if is_gap {
                cut.look_gap(sequence, offset, length, at)
            } else {
                cut.look(sequence, offset, length, at)
            };
            if !goes {
                break;
            }
        }
        let mut fewer = 0_i64;
        if let Some((sequence, body)) = cut.marker() {
            let gone = db
                .prepare_cached(
                    "DELETE FROM output_singles
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
                   AND offset < ?5",
                )?
                .execute(params![key.0, key.1, incarnation, key.2, int(cut.end().0)?])?;
            let of_segments = match number {
                Some(number) => {
                    segments::cut_stream(db, number, self.incarnation, self.stream, cut.end())?
                }
                None => 0,
            };
            // But one stands for them.
            fewer = i64::try_from(gone.saturating_add(of_segments))
                .unwrap_or(i64::MAX)
                .saturating_sub(1);
            StoredRecord {
                user: self.user.clone(),
                command: self.command.clone(),
                incarnation: self.incarnation,
                sequence,
                stream: self.stream,
                offset: ByteOffset(0),
                body,
                at: self.at,
            }
            .insert(db, self.at)?;
        }
        if self.stream == Stream::Terminal {
            screens::cut_before(db, &self.user, &self.command, self.incarnation, cut.end())?;
        }
        db.prepare_cached(
            "UPDATE output_streams SET kept = max(kept - ?5, 0), oldest_at = ?6,
                                       records = max(records - ?7, 0)
             WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4",
        )?
        .execute(params![
            key.0,
            key.1,
            incarnation,
            key.2,
            // Without a chunk there is nothing to keep, whatever the sum says.
            if cut.oldest_at().is_some() { int(cut.bytes())? } else { i64::MAX },
            cut.oldest_at().map(WallTime::unix_millis),
            fewer,
        ])?;
        Ok((cut.bytes(), cut.chunks()))
    }

    /// Its first records, in the order of their offsets: at most `limit`, and those gaps that may go.
    fn first(
        &self,
        db: &Connection,
        command: Option<CommandNumber>,
        limit: usize,
        gaps: Gaps,
    ) -> rusqlite::Result<Vec<First>> {
        let mut query = db.prepare_cached(
            "SELECT sequence, offset, coalesce(length(bytes), gap_length) AS length,
                    bytes IS NULL AS is_gap, coalesce(kept_from, at) AS at
             FROM output_singles
             WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
               AND (bytes IS NOT NULL OR (?6 AND gap_length IS NOT NULL))
             ORDER BY offset, sequence LIMIT ?5",
        )?;
        let rows = query.query_map(
            params![
                self.user.as_str(),
                self.command.as_str(),
                int(self.incarnation.0)?,
                self.stream.as_str(),
                i64::try_from(limit).unwrap_or(i64::MAX),
                gaps == Gaps::Go
            ],
            |row| {
                Ok(First {
                    sequence: ChunkSequence(number(row, "sequence")?),
                    offset: ByteOffset(number(row, "offset")?),
                    length: number(row, "length")?,
                    at: time(row, "at")?,
                    is_gap: row.get("is_gap")?,
                })
            },
        )?;
        let mut first = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        if let Some(command) = command {
            let chunks =
                segments::first_of_stream(db, command, self.incarnation, self.stream, limit)?;
            first.extend(chunks.into_iter().map(|Aged { entry, kept_from }| First {
                sequence: entry.sequence,
                offset: entry.offset,
                length: entry.length as u64,
                at: kept_from,
                is_gap: false,
            }));
            first.sort_by_key(|first| (first.offset, first.sequence));
            first.truncate(limit);
        }
        Ok(first)
    }
}

/// A record at the beginning of a stream.
#[derive(Clone, Copy, Debug)]
struct First {
    sequence: ChunkSequence,
    offset: ByteOffset,
    length: u64,
    at: WallTime,
    is_gap: bool,
}
