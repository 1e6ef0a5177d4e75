//! Cutting history: stored output that is too old or too much goes, the oldest first, and a gap says so
//! at the beginning of its stream. Which chunks go of a stream, and what stands for them, the core decides.

use super::Store;
use super::columns::{int, number, time};
use super::error::StoreError;
use super::output::StoredRecord;
use super::queue::Lane;
use super::streams::stream;
use onsembl_protocol::fleet::StreamCut;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, params};

/// Records that one transaction cuts at most: others wait for it.
const BATCH: usize = 512;

/// What one transaction cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of output.
    pub bytes: u64,
    /// Whether there is more to cut.
    pub more: bool,
}

impl Store {
    /// Cuts stored output that was received before a time, and the oldest beyond so many bytes: about
    /// 512 records, to be called again while there is more. Sums of streams stay what they are.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn cut_output(&self, before: WallTime, most: u64) -> Result<Cut, StoreError> {
        self.write(Lane::Data, "cut output", 0, move |db| cut(db, before, most)).await
    }
}

/// The stream with the oldest bytes.
#[derive(Debug)]
struct Oldest {
    user: UserId,
    command: CommandId,
    incarnation: Incarnation,
    stream: Stream,
    at: WallTime,
}

fn cut(db: &Connection, before: WallTime, most: u64) -> rusqlite::Result<Cut> {
    let kept: i64 = db
        .prepare_cached("SELECT coalesce(sum(kept), 0) FROM output_streams WHERE kept > 0")?
        .query_row([], |row| row.get(0))?;
    let mut over = u64::try_from(kept).unwrap_or(0).saturating_sub(most);
    let (mut done, mut records) = (Cut::default(), 0);
    while records < BATCH {
        let Some(oldest) = oldest(db)? else { return Ok(done) };
        if oldest.at >= before && over == 0 {
            return Ok(done);
        }
        let (bytes, count) = oldest.cut(db, before, over, BATCH - records)?;
        over = over.saturating_sub(bytes);
        done.bytes = done.bytes.saturating_add(bytes);
        records += count.max(1);
    }
    done.more = true;
    Ok(done)
}

fn oldest(db: &Connection) -> rusqlite::Result<Option<Oldest>> {
    db.prepare_cached(
        "SELECT user_id, command_id, incarnation, stream, oldest_at FROM output_streams
         WHERE kept > 0 ORDER BY oldest_at LIMIT 1",
    )?
    .query_row([], |row| {
        Ok(Oldest {
            user: row.get::<_, String>("user_id")?.into(),
            command: row.get::<_, String>("command_id")?.into(),
            incarnation: Incarnation(number(row, "incarnation")?),
            stream: stream(row)?,
            at: time(row, "oldest_at")?,
        })
    })
    .optional()
}

impl Oldest {
    /// Cuts its first chunks: those from before a time, and as many as hold `over` bytes. How many
    /// bytes and chunks that were.
    fn cut(
        &self,
        db: &Connection,
        before: WallTime,
        over: u64,
        most: usize,
    ) -> rusqlite::Result<(u64, usize)> {
        let key = (self.user.as_str(), self.command.as_str(), self.stream.as_str());
        let incarnation = int(self.incarnation.0)?;
        let mut query = db.prepare_cached(
            "SELECT sequence, offset, length(bytes) AS length, at FROM output_records
             WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
               AND bytes IS NOT NULL
             ORDER BY offset LIMIT ?5",
        )?;
        let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
        let mut rows = query.query(params![key.0, key.1, incarnation, key.2, limit])?;
        let mut cut = StreamCut::new(before, over, most);
        while let Some(row) = rows.next()? {
            let sequence = ChunkSequence(number(row, "sequence")?);
            let offset = ByteOffset(number(row, "offset")?);
            if !cut.look(sequence, offset, number(row, "length")?, time(row, "at")?) {
                break;
            }
        }
        drop(rows);
        if let Some((sequence, body)) = cut.marker() {
            db.prepare_cached(
                "DELETE FROM output_records
                 WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
                   AND offset < ?5",
            )?
            .execute(params![key.0, key.1, incarnation, key.2, int(cut.end().0)?])?;
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
            .insert(db)?;
        }
        db.prepare_cached(
            "UPDATE output_streams SET kept = max(kept - ?5, 0), oldest_at = ?6
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
        ])?;
        Ok((cut.bytes(), cut.chunks()))
    }
}
