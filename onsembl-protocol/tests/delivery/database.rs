//! What is committed, and outlives the server: rows of commands, records of output, what they add up to.
//! What of a record is stored, and what is cut, the core decides; here it is done as the store does it.

use onsembl_protocol::fleet::{
    AgentRecord, CommandRecord, CommandUpdate, Cursor, LogPosition, LogRecord, StoredBody,
    StreamCut, StreamPosition, StreamSums, cursor_before,
};
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation};
use onsembl_protocol::model::{GapCause, SizeRecord, Stream, TerminalSize};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::worker::Run;
use std::collections::BTreeMap;

type Key = (CommandId, Incarnation, Stream);

#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    pub(super) records: BTreeMap<CommandId, Vec<LogRecord>>,
    pub(super) streams: BTreeMap<Key, StreamSums>,
    /// Commands and terminals that it knows.
    pub(super) commands: BTreeMap<CommandId, CommandRecord>,
    pub(super) agents: BTreeMap<AgentId, AgentRecord>,
    /// Which size a terminal has from where.
    pub(super) sizes: BTreeMap<(CommandId, ByteOffset), TerminalSize>,
    /// The end of what was cut of streams.
    pub(super) cut: BTreeMap<Key, u64>,
}

impl Database {
    pub(super) fn sums(&self, run: &Run, stream: Stream) -> StreamSums {
        let key = (run.command.clone(), run.incarnation, stream);
        self.streams.get(&key).copied().unwrap_or_default()
    }

    /// Why this stream of the last run of a command ends with a gap of unknown length.
    pub(super) fn open_gap(&self, command: &CommandId, stream: Stream) -> Option<GapCause> {
        let of = |key: &&Key| key.0 == *command && key.2 == stream;
        let last = self.streams.keys().filter(of).max_by_key(|key| key.1)?;
        self.streams.get(last)?.open_gap
    }

    pub(super) fn note_size(&mut self, command: &CommandId, record: SizeRecord) {
        if self.commands.contains_key(command) {
            self.sizes.insert((command.clone(), record.offset), record.size);
        }
    }

    /// Whether something of a run that nobody has heard of stands behind what is stored of this one.
    pub(super) fn goes_back(&self, run: &Run, stream: Stream) -> bool {
        let later = |key: &Key| key.1 > run.incarnation && key.0 == run.command && key.2 == stream;
        self.sums(run, stream).next > ByteOffset(0) && self.streams.keys().any(later)
    }

    /// Everything before it was cut.
    pub(super) fn cut_of(&self, run: &Run, stream: Stream) -> u64 {
        let key = (run.command.clone(), run.incarnation, stream);
        self.cut.get(&key).copied().unwrap_or(0)
    }

    /// Stores what is new of a record. What that is comes back.
    pub(super) fn write(&mut self, command: &CommandId, record: &LogRecord) -> Vec<LogRecord> {
        let key = (command.clone(), record.incarnation, record.stream);
        let sums = self.streams.entry(key).or_default();
        let rows = self.records.entry(command.clone()).or_default();
        let Some(admitted) = sums.admit(record.offset, record.body.clone()) else {
            return Vec::new();
        };
        if admitted.reopens {
            let is_open = |r: &LogRecord| r.stream == record.stream && r.body.is_open();
            rows.retain(|r| r.incarnation != record.incarnation || !is_open(r));
        }
        let new = admitted.hole.into_iter().chain([admitted.new]);
        let new: Vec<_> =
            new.map(|(offset, body)| LogRecord { offset, body, ..record.clone() }).collect();
        for row in &new {
            insert(rows, row.clone());
        }
        new
    }

    /// Cuts history: what came before a time, and the oldest of what is more than `most` bytes. Each
    /// transaction cuts at most this many chunks. The streams that lost something come back.
    pub(super) fn cut(&mut self, before: WallTime, most: u64, batch: usize) -> Vec<(Run, Stream)> {
        let bytes = |r: &LogRecord| r.body.byte_count() as u64;
        let kept: u64 = self.records.values().flatten().map(bytes).sum();
        let (mut over, mut chunks, mut all) = (kept.saturating_sub(most), 0, Vec::new());
        while chunks < batch {
            let Some((at, key)) = self.oldest() else { break };
            if at >= before && over == 0 {
                break;
            }
            let cut = self.cut_stream(&key, StreamCut::new(before, over, batch - chunks));
            over = over.saturating_sub(cut.bytes());
            chunks += cut.chunks().max(1);
            let (command, incarnation, stream) = key;
            all.push((Run { command, incarnation }, stream));
        }
        all
    }

    /// The stream of the oldest chunk.
    fn oldest(&self) -> Option<(WallTime, Key)> {
        let chunks = self.records.iter().flat_map(|(command, rows)| {
            let chunks = rows.iter().filter(|r| matches!(r.body, StoredBody::Chunk(_)));
            chunks.map(|r| (r.at, (command.clone(), r.incarnation, r.stream)))
        });
        chunks.min()
    }

    fn cut_stream(&mut self, key: &Key, mut cut: StreamCut) -> StreamCut {
        let (command, incarnation, stream) = key;
        let rows = self.records.get_mut(command).unwrap();
        let is_of = |r: &LogRecord| r.incarnation == *incarnation && r.stream == *stream;
        let mut of: Vec<_> = rows.iter().filter(|r| is_of(r) && r.body.byte_count() > 0).collect();
        of.sort_by_key(|r| r.offset);
        for row in of {
            if !cut.look(row.sequence, row.offset, row.body.length(), row.at) {
                break;
            }
        }
        if let Some((sequence, body)) = cut.marker() {
            let end = cut.end();
            let first = rows.iter().find(|r| is_of(r)).unwrap().clone();
            rows.retain(|r| !is_of(r) || r.offset >= end);
            insert(rows, LogRecord { sequence, offset: ByteOffset(0), body, ..first });
            self.cut.insert(key.clone(), end.0);
        }
        cut
    }

    /// Whether a command is over.
    pub(super) fn is_over(&self, command: &CommandId) -> bool {
        self.commands.get(command).is_some_and(|record| record.ended_at.is_some())
    }

    /// Where a command is, unless it is over.
    pub(super) fn update(&mut self, command: &CommandId, update: &CommandUpdate) {
        let Some(record) = self.commands.get_mut(command) else { return };
        if record.ended_at.is_none() {
            record.stage = update.stage;
            record.exit = update.exit;
            record.ended_at = update.stage.is_final().then_some(update.at);
        }
    }

    /// How far the streams of a command are stored.
    pub(super) fn positions(&self, command: &CommandId) -> Vec<StreamPosition> {
        let of = self.streams.iter().filter(|((c, ..), _)| c == command);
        of.map(|((command, incarnation, stream), sums)| StreamPosition {
            command: command.clone(),
            incarnation: *incarnation,
            stream: *stream,
            committed: sums.next,
            delivered: sums.delivered,
            gaps: sums.gaps,
            open_gap: sums.open_gap,
        })
        .collect()
    }

    /// The last record of a command, and how far its streams are: where a log continues.
    pub(super) fn log_position(&self, command: &CommandId) -> LogPosition {
        let end = self.records.get(command).and_then(|rows| rows.last()).map(LogRecord::position);
        (end, self.positions(command))
    }

    /// A page behind the cursor, of one stream if it is named; records of one number stay together.
    pub(super) fn page(
        &self,
        command: &CommandId,
        only: Option<Stream>,
        after: Cursor,
        most: usize,
    ) -> Vec<LogRecord> {
        let rows = self.records.get(command).map_or(&[][..], Vec::as_slice);
        let begin = rows.partition_point(|r| Some(r.position()) <= after);
        let mut page: Vec<LogRecord> = Vec::new();
        for row in rows[begin..].iter().filter(|r| only.is_none_or(|only| r.stream == only)) {
            let byte_count: usize = page.iter().map(|r| r.body.byte_count()).sum();
            let is_full = byte_count + row.body.byte_count() > most;
            if is_full && page.last().is_some_and(|last| last.position() != row.position()) {
                break;
            }
            page.push(row.clone());
        }
        page
    }

    /// The cursor in front of the record that holds this position.
    pub(super) fn cursor(&self, run: &Run, stream: Stream, offset: u64) -> Cursor {
        let rows = self.records.get(&run.command).map_or(&[][..], Vec::as_slice);
        let before = rows.iter().filter(|r| {
            r.incarnation == run.incarnation && r.stream == stream && r.offset.0 <= offset
        });
        let containing = before.max_by_key(|r| r.offset);
        cursor_before(run.incarnation, containing.map(|r| (r.sequence, &r.body)))
    }
}

/// By the primary key, so that rows stand in the order in which they are read.
fn insert(rows: &mut Vec<LogRecord>, row: LogRecord) {
    let key = |r: &LogRecord| (r.incarnation, r.sequence, r.offset, r.stream);
    let at = rows.partition_point(|r| key(r) < key(&row));
    assert!(rows.get(at).is_none_or(|r| key(r) != key(&row)), "the key of {row:?} is taken");
    rows.insert(at, row);
}
