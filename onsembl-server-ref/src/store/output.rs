//! Output of commands: chunks as they were produced, and the receipts of what is stored.

use super::Store;
use super::columns::{int, number, time, unreadable};
use super::error::StoreError;
use super::queue::Lane;
use super::request::{QueuedChunk, Request};
use bytes::Bytes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::output::Stream;
use onsembl_protocol::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

/// Chunks that one read returns at most, whatever their size.
const READ_CHUNKS: i64 = 4096;

/// A piece of the output of one process. (user, command, incarnation, sequence) is its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// The owner of the command.
    pub user: UserId,
    /// The command; it must be stored already.
    pub command: CommandId,
    /// The process that produced it.
    pub incarnation: Incarnation,
    /// Its number among the chunks of both streams.
    pub sequence: ChunkSequence,
    /// The stream.
    pub stream: Stream,
    /// Where in the stream its first byte is.
    pub offset: ByteOffset,
    /// The bytes, as they were produced.
    pub bytes: Bytes,
    /// When it was received.
    pub at: WallTime,
}

/// What became of one chunk. Receipts of one command come in the order of its chunks.
#[derive(Debug)]
pub struct OutputReceipt {
    /// The owner of the command.
    pub user: UserId,
    /// The command.
    pub command: CommandId,
    /// The process that produced the chunk.
    pub incarnation: Incarnation,
    /// The number of the chunk.
    pub sequence: ChunkSequence,
    /// Its stream.
    pub stream: Stream,
    /// Where in the stream the chunk ends: what is acknowledged, if all before it is stored too.
    pub end: ByteOffset,
    /// `Ok` if the chunk is committed, now or by an earlier copy of it. Otherwise the chunk will
    /// never be stored ([`StoreError::Refused`]; for one, its command is not known).
    pub outcome: Result<(), StoreError>,
}

impl OutputReceipt {
    pub(super) fn new(chunk: &OutputChunk, outcome: Result<(), StoreError>) -> Self {
        let length = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
        Self {
            user: chunk.user.clone(),
            command: chunk.command.clone(),
            incarnation: chunk.incarnation,
            sequence: chunk.sequence,
            stream: chunk.stream,
            end: ByteOffset(chunk.offset.0.saturating_add(length)),
            outcome,
        }
    }
}

impl Store {
    /// Hands in a chunk, waiting only for room in the queue (8 MiB for all commands). What became
    /// of it comes out of [`Receipts::output`]. A chunk that is stored already counts as stored.
    ///
    /// Dropping the future before it is ready means that the chunk was not handed in.
    ///
    /// [`Receipts::output`]: super::Receipts::output
    ///
    /// # Errors
    /// [`StoreError::Closed`] only.
    pub async fn append_output(&self, chunk: OutputChunk) -> Result<(), StoreError> {
        let place = self.queue().room(Lane::Data, chunk.bytes.len()).await?;
        self.queue().push(Lane::Data, Request::Output(QueuedChunk::new(chunk, place)))
    }

    /// The stored output of a command behind the cursor `after` (`None`: from the beginning), in
    /// the order of incarnation and sequence: as many chunks as fit into `max_bytes`, at least one
    /// if there is one, at most 4,096.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn read_output(
        &self,
        user: &UserId,
        command: &CommandId,
        after: Option<(Incarnation, ChunkSequence)>,
        max_bytes: usize,
    ) -> Result<Vec<OutputChunk>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read(move |db| read(db, &user, &command, after, max_bytes)).await
    }
}

impl OutputChunk {
    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT INTO output_chunks
                 (user_id, command_id, incarnation, sequence, stream, offset, bytes, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (user_id, command_id, incarnation, sequence) DO NOTHING",
        )?
        .execute(params![
            self.user.as_str(),
            self.command.as_str(),
            int(self.incarnation.0)?,
            int(self.sequence.0)?,
            name(self.stream),
            int(self.offset.0)?,
            &*self.bytes,
            self.at.unix_millis(),
        ])
        .map(drop)
    }
}

fn read(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    after: Option<(Incarnation, ChunkSequence)>,
    max_bytes: usize,
) -> rusqlite::Result<Vec<OutputChunk>> {
    let (incarnation, sequence) = match after {
        Some((incarnation, sequence)) => (int(incarnation.0)?, int(sequence.0)?),
        None => (-1, -1),
    };
    let mut query = db.prepare_cached(
        "SELECT incarnation, sequence, stream, offset, bytes, at FROM output_chunks
         WHERE user_id = ?1 AND command_id = ?2 AND (incarnation, sequence) > (?3, ?4)
         ORDER BY incarnation, sequence LIMIT ?5",
    )?;
    let mut rows = query.query(params![
        user.as_str(),
        command.as_str(),
        incarnation,
        sequence,
        READ_CHUNKS
    ])?;
    let (mut chunks, mut total) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let chunk = from_row(row, user, command)?;
        total = total.saturating_add(chunk.bytes.len());
        if !chunks.is_empty() && total > max_bytes {
            break;
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn from_row(row: &Row<'_>, user: &UserId, command: &CommandId) -> rusqlite::Result<OutputChunk> {
    let stream: String = row.get("stream")?;
    let stream = Stream::ALL
        .into_iter()
        .find(|s| name(*s) == stream)
        .ok_or_else(|| unreadable(row, "stream", Type::Text, "not the name of a stream"))?;
    Ok(OutputChunk {
        user: user.clone(),
        command: command.clone(),
        incarnation: Incarnation(number(row, "incarnation")?),
        sequence: ChunkSequence(number(row, "sequence")?),
        stream,
        offset: ByteOffset(number(row, "offset")?),
        bytes: Bytes::from(row.get::<_, Vec<u8>>("bytes")?),
        at: time(row, "at")?,
    })
}

const fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Terminal => "terminal",
    }
}
