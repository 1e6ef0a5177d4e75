//! Output on its way in: records as they were produced, and the receipts of what is stored. Reading
//! is in `reading`, what the records add up to in `streams`.

use super::Output;
use super::budget::{self, Terms};
use super::columns::int;
use super::error::StoreError;
use super::line::{Lane, Needs, Routing};
use super::reader::Asker;
use super::request::{QueuedRecord, Request};
use super::segments::Appending;
use super::streams::StreamRow;
use crate::bounds::Turn;
use onsembl_protocol::fleet::{LogRecord, StoredBody};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::worker::{Record, Run};
use rusqlite::{Connection, params};

/// A record of the output of one process: bytes, or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StoredRecord {
    /// The owner of the command.
    pub user: UserId,
    /// The command; it must be stored already.
    pub command: CommandId,
    /// The process that produced it.
    pub incarnation: Incarnation,
    /// Its number among the records of all streams. A gap that the store filled in has the number of
    /// the record behind it.
    pub sequence: ChunkSequence,
    pub stream: Stream,
    /// Where in the stream it begins.
    pub offset: ByteOffset,
    /// What it holds.
    pub body: StoredBody,
    /// When it was received.
    pub at: WallTime,
}

impl StoredRecord {
    /// A record of this run.
    pub fn new(user: UserId, run: Run, record: Record, at: WallTime) -> Self {
        let Run { command, incarnation } = run;
        let Record { sequence, stream, offset, body } = record;
        Self { user, command, incarnation, sequence, stream, offset, body: body.into(), at }
    }

    /// As a log of the output has it.
    pub fn of_log(user: UserId, command: CommandId, record: LogRecord) -> Self {
        let LogRecord { incarnation, sequence, stream, offset, body, at } = record;
        Self { user, command, incarnation, sequence, stream, offset, body, at }
    }

    /// As a log of the output takes it.
    pub fn into_log(self) -> LogRecord {
        let Self { incarnation, sequence, stream, offset, body, at, .. } = self;
        LogRecord { incarnation, sequence, stream, offset, body, at }
    }

    /// Where the next record of its stream begins.
    pub fn end(&self) -> ByteOffset {
        ByteOffset(self.offset.0.saturating_add(self.body.length()))
    }
}

/// What became of one record. Receipts of one command come in the order of its records.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct OutputReceipt {
    /// The owner of the command.
    pub user: UserId,
    pub command: CommandId,
    /// The process that produced the record.
    pub incarnation: Incarnation,
    /// The number of the record.
    pub sequence: ChunkSequence,
    pub stream: Stream,
    /// Where in the stream the record begins.
    pub offset: ByteOffset,
    /// Whether it is a gap.
    pub is_gap: bool,
    /// Where in the stream the record ends. If it is committed, everything before is too.
    pub end: ByteOffset,
    /// `Ok` if the record is committed, now or by an earlier copy of it. Otherwise it will never be
    /// stored ([`StoreError::Refused`]; for one, its command is unknown).
    pub outcome: Result<(), StoreError>,
}

impl OutputReceipt {
    pub(super) fn new(record: &StoredRecord, outcome: Result<(), StoreError>) -> Self {
        Self {
            user: record.user.clone(),
            command: record.command.clone(),
            incarnation: record.incarnation,
            sequence: record.sequence,
            stream: record.stream,
            offset: record.offset,
            is_gap: matches!(record.body, StoredBody::Gap { .. }),
            end: record.end(),
            outcome,
        }
    }
}

impl Output<'_> {
    /// Hands in a record, waiting only for room in the queue (8 MiB for all commands). What became
    /// of it comes out of [`Receipts::output`].
    ///
    /// What is stored of a stream is always whole: a record, or the part of one, that is stored
    /// already counts as stored and changes nothing; in front of one from behind a hole the hole is
    /// stored as a gap, `GapCause::NeverCame`.
    ///
    /// Dropping the future before it is ready means that the record was not handed in.
    ///
    /// [`Receipts::output`]: super::Receipts::output
    ///
    /// # Errors
    /// [`StoreError::Closed`] only.
    pub async fn append(self, record: StoredRecord) -> Result<(), StoreError> {
        let asker = Asker::User(record.user.clone());
        let room = self.store.queue().room(Lane::Data, &asker, record.body.byte_count()).await?;
        self.hand_in(record, Some(room))
    }

    /// The same without waiting for room, for one whose senders are held back otherwise.
    pub(crate) fn put(self, record: StoredRecord) -> Result<(), StoreError> {
        self.hand_in(record, None)
    }

    fn hand_in(self, record: StoredRecord, room: Option<Turn<Asker>>) -> Result<(), StoreError> {
        let routing = Routing::data(&record.user, Needs::Room(record.command.clone()));
        let queued = QueuedRecord::new(record, self.store.terms(), room);
        self.store.queue().push(routing, Request::Output(Box::new(queued)))
    }
}

impl StoredRecord {
    pub(super) fn write(&self, db: &Connection, terms: Terms) -> rusqlite::Result<()> {
        Self::write_all(db, self, core::iter::once(self), terms)
    }

    /// Writes records of the run of `of`, in order; the row of each stream once.
    pub(super) fn write_all<'a>(
        db: &Connection,
        of: &'a Self,
        records: impl Iterator<Item = &'a Self>,
        terms: Terms,
    ) -> rusqlite::Result<()> {
        let mut streams: Vec<(&Self, StreamRow, usize)> = Vec::with_capacity(1);
        let mut chunks = Appending::new(db, of, terms.kept_from)?;
        for record in records {
            let at = streams.iter().position(|(of, ..)| of.stream == record.stream);
            let at = match at {
                Some(at) => at,
                None => {
                    streams.push((record, StreamRow::read(db, record)?, 0));
                    streams.len() - 1
                }
            };
            if let Some((_, row, added)) = streams.get_mut(at) {
                *added += usize::from(record.add_to(row, &mut chunks, db, terms)?);
            }
        }
        chunks.flush()?;
        let (mut added, mut is_looked_at) = (0, false);
        for (of, row, of_stream) in streams {
            if of_stream > 0 {
                added += of_stream;
                row.write(db, of)?;
                let (now, before) = row.charged();
                is_looked_at |= budget::is_looked_at(before, now, terms);
            }
        }
        if is_looked_at {
            budget::make_room_for_output(db, &of.user, added, terms)?;
        }
        Ok(())
    }

    /// Whether both are of one run of a command.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation
            && self.command == other.command
            && self.user == other.user
    }

    /// Whether anything of it is new.
    fn add_to(
        &self,
        row: &mut StreamRow,
        chunks: &mut Appending<'_>,
        db: &Connection,
        terms: Terms,
    ) -> rusqlite::Result<bool> {
        let Some(admitted) = row.sums.admit(self.offset, self.body.clone()) else {
            return Ok(false);
        };
        if admitted.reopens {
            row.removed(remove_open_gap(db, self)?);
        }
        for (offset, body) in admitted.hole.into_iter().chain([admitted.new]) {
            row.keep(&body, terms.kept_from);
            let is_taken = match &body {
                StoredBody::Chunk(bytes) => chunks.push(self, offset, bytes)?,
                StoredBody::Gap { .. } => false,
            };
            if !is_taken {
                Self { offset, body, ..self.clone() }.insert(db, terms.kept_from)?;
            }
        }
        Ok(true)
    }

    /// As a row of its own.
    pub(super) fn insert(&self, db: &Connection, kept_from: WallTime) -> rusqlite::Result<()> {
        let (bytes, length, because) = match &self.body {
            StoredBody::Chunk(bytes) => (Some(&**bytes), None, None),
            StoredBody::Gap { length, because } => {
                (None, length.map(int).transpose()?, Some(because.as_str()))
            }
        };
        db.prepare_cached(
            "INSERT INTO output_singles (user_id, command_id, incarnation, sequence, stream, offset,
                                         bytes, gap_length, gap_because, at, kept_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            self.user.as_str(),
            self.command.as_str(),
            int(self.incarnation.0)?,
            int(self.sequence.0)?,
            self.stream.as_str(),
            int(self.offset.0)?,
            bytes,
            length,
            because,
            self.at.unix_millis(),
            kept_from.unix_millis(),
        ])
        .map(drop)
    }
}

fn remove_open_gap(db: &Connection, of: &StoredRecord) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "DELETE FROM output_singles
         WHERE user_id = ?1 AND command_id = ?2 AND incarnation = ?3 AND stream = ?4
           AND bytes IS NULL AND gap_length IS NULL",
    )?
    .execute(params![
        of.user.as_str(),
        of.command.as_str(),
        int(of.incarnation.0)?,
        of.stream.as_str()
    ])
}
