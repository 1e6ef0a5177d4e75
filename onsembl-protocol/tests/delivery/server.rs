//! The server's edge around its logs: what comes is taken, handed to the database in order, and
//! acknowledged when it is committed. The database outlives the server.

use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::output::GapCause;
use onsembl_protocol::output::{
    Cursor, Fetch, LogRecord, Outgoing, OutputLog, Run, StoredBody, StoredPlace, Stream,
    StreamState, StreamSums, Taken, Written,
};
use onsembl_protocol::time::WallTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From the agent.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Holds(Vec<StreamState>),
    Wrote(Outgoing),
    BrokeOff(Run, Stream, ByteOffset),
    Over(CommandId, Written),
}

/// To the agent.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Resume(Vec<(Run, Stream, ByteOffset)>),
    Ack(Run, Stream, ByteOffset, bool),
    Confirm(CommandId),
}

type Key = (CommandId, Incarnation, Stream);

/// What is committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    pub(super) records: BTreeMap<CommandId, Vec<LogRecord>>,
    pub(super) streams: BTreeMap<Key, StreamSums>,
    /// Commands that are over.
    pub(super) ended: BTreeSet<CommandId>,
}

impl Database {
    pub(super) fn sums(&self, run: &Run, stream: Stream) -> StreamSums {
        let key = (run.command.clone(), run.incarnation, stream);
        self.streams.get(&key).copied().unwrap_or_default()
    }

    /// Why this stream of any run of a command ends with a gap of unknown length.
    pub(super) fn open_gap(&self, command: &CommandId, stream: Stream) -> Option<GapCause> {
        let of = |key: &Key| key.0 == *command && key.2 == stream;
        self.streams.iter().find_map(|(key, sums)| sums.open_gap.filter(|_| of(key)))
    }

    fn write(&mut self, command: &CommandId, record: &LogRecord) -> Vec<LogRecord> {
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
            let key = |r: &LogRecord| (r.incarnation, r.sequence, r.offset, r.stream);
            let at = rows.partition_point(|r| key(r) < key(row));
            assert!(rows.get(at).is_none_or(|r| key(r) != key(row)), "the key of {row:?} is taken");
            rows.insert(at, row.clone());
        }
        new
    }

    fn end(&self, command: &CommandId) -> Cursor {
        self.records.get(command).and_then(|rows| rows.last()).map(LogRecord::position)
    }

    /// A page behind the cursor; records of one number stay together.
    fn page(&self, command: &CommandId, after: Cursor, most: usize) -> Vec<LogRecord> {
        let rows = self.records.get(command).map_or(&[][..], Vec::as_slice);
        let begin = rows.partition_point(|r| Some(r.position()) <= after);
        let mut page: Vec<LogRecord> = Vec::new();
        for row in &rows[begin..] {
            let held: usize = page.iter().map(|r| r.body.held()).sum();
            let is_full = held + row.body.held() > most;
            if is_full && page.last().is_some_and(|last| last.position() != row.position()) {
                break;
            }
            page.push(row.clone());
        }
        page
    }

    /// The cursor in front of the record that holds this place.
    fn cursor(&self, run: &Run, stream: Stream, offset: u64) -> Cursor {
        let rows = self.records.get(&run.command).map_or(&[][..], Vec::as_slice);
        let before = rows.iter().filter(|r| {
            r.incarnation == run.incarnation && r.stream == stream && r.offset.0 <= offset
        });
        let at = before.max_by_key(|r| r.offset).map_or(0, |r| r.sequence.0);
        Some((run.incarnation, ChunkSequence(at.saturating_sub(1))))
    }
}

/// What is to be written.
#[derive(Clone, Debug)]
enum Entry {
    Output(LogRecord),
    End,
}

/// A process of the server.
#[derive(Debug, Default)]
pub(super) struct Server {
    logs: BTreeMap<CommandId, OutputLog>,
    ledger: VecDeque<(CommandId, Entry)>,
    receipts: VecDeque<(CommandId, Entry)>,
    /// Positions that are being looked up.
    questions: VecDeque<Vec<StreamState>>,
    waiting: usize,
    /// Commands whose ends it does not know.
    open: BTreeSet<CommandId>,
}

impl Server {
    /// A new process, with what the database has of all commands.
    pub(super) fn start(database: &Database, commands: impl Iterator<Item = CommandId>) -> Self {
        let open = commands.filter(|c| !database.ended.contains(c)).collect();
        let mut server = Self { open, ..Self::default() };
        for command in database.records.keys() {
            let places = database.streams.iter().filter(|((c, ..), _)| c == command).map(
                |((_, incarnation, stream), sums)| StoredPlace {
                    incarnation: *incarnation,
                    stream: *stream,
                    committed: sums.next,
                    open_gap: sums.open_gap.is_some(),
                },
            );
            let log = OutputLog::behind(database.end(command), places);
            server.logs.insert(command.clone(), log);
        }
        server
    }

    /// Whether so much is unstored that the agent is not read.
    pub(super) fn holds_back(&self, most: usize) -> bool {
        self.waiting >= most
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ledger.is_empty() && self.receipts.is_empty() && self.questions.is_empty()
    }

    /// Takes a word; what is to be said at once comes back.
    pub(super) fn hear(&mut self, word: Up, at: WallTime) -> Option<Down> {
        let (run, record) = match word {
            Up::Holds(held) => {
                self.questions.push_back(held);
                return None;
            }
            Up::Over(command, wrote) => return self.on_over(command, wrote, at),
            Up::Wrote(Outgoing { run, record }) => {
                let body = StoredBody::from(record.body);
                (run, (record.sequence, record.stream, record.offset, body))
            }
            Up::BrokeOff(run, stream, offset) => {
                let body = StoredBody::Gap { length: None, because: GapCause::AgentDied };
                (run, (ChunkSequence(0), stream, offset, body))
            }
        };
        let (sequence, stream, offset, body) = record;
        let incarnation = run.incarnation;
        let record = LogRecord { incarnation, sequence, stream, offset, body, at };
        let log = self.logs.entry(run.command.clone()).or_default();
        match log.push(record) {
            Taken::Repeated(stored) => {
                let open = log.is_open_stored(stream);
                stored.map(|stored| Down::Ack(run, stream, stored, open))
            }
            Taken::New { hole, record } => {
                for record in hole.into_iter().chain([record]) {
                    self.keep(&run.command, record);
                }
                None
            }
        }
    }

    fn keep(&mut self, command: &CommandId, record: LogRecord) {
        self.waiting += record.cost();
        self.ledger.push_back((command.clone(), Entry::Output(record)));
    }

    fn on_over(&mut self, command: CommandId, wrote: Written, at: WallTime) -> Option<Down> {
        if !self.open.remove(&command) {
            let writes = self.ledger.iter().chain(&self.receipts);
            let is_written =
                !writes.into_iter().any(|(c, e)| *c == command && matches!(e, Entry::End));
            return is_written.then_some(Down::Confirm(command));
        }
        let log = self.logs.entry(command.clone()).or_default();
        let missing = log.finish(&command, wrote, at);
        for record in missing {
            self.keep(&command, record);
        }
        self.ledger.push_back((command, Entry::End));
        None
    }

    /// One transaction of at most so many records. What is new in the database comes back.
    pub(super) fn commit(
        &mut self,
        database: &mut Database,
        most: usize,
    ) -> Vec<(CommandId, LogRecord)> {
        let mut new = Vec::new();
        for (command, entry) in self.ledger.drain(..most.min(self.ledger.len())) {
            match &entry {
                Entry::Output(record) => {
                    let rows = database.write(&command, record);
                    new.extend(rows.into_iter().map(|row| (command.clone(), row)));
                }
                Entry::End => drop(database.ended.insert(command.clone())),
            }
            self.receipts.push_back((command, entry));
        }
        new
    }

    /// What was committed is acknowledged.
    pub(super) fn take_receipts(&mut self) -> Vec<Down> {
        let (mut stored, mut ended) = (BTreeMap::new(), Vec::new());
        for (command, entry) in self.receipts.drain(..) {
            let Entry::Output(record) = entry else {
                ended.push(Down::Confirm(command));
                continue;
            };
            let LogRecord { incarnation, sequence, stream, .. } = record;
            let Some(log) = self.logs.get_mut(&command) else { continue };
            self.waiting -= log.on_stored(incarnation, sequence, stream, record.end());
            let end = (log.stored(stream), log.is_open_stored(stream));
            let _ = stored.insert((command, incarnation, stream), end);
        }
        let ack = |((command, incarnation, stream), (offset, open))| {
            Down::Ack(Run { command, incarnation }, stream, offset, open)
        };
        stored.into_iter().map(ack).chain(ended).collect()
    }

    /// Says how far the streams of the oldest question are committed.
    pub(super) fn answer(&mut self, database: &Database) -> Option<Down> {
        let held = self.questions.pop_front()?;
        let place = |s: StreamState| {
            let committed = database.sums(&s.run, s.stream).next;
            (s.run, s.stream, committed)
        };
        Some(Down::Resume(held.into_iter().map(place).collect()))
    }

    /// The positions could not be read.
    pub(super) fn fail_to_answer(&mut self) {
        self.questions.clear();
    }

    /// The agent is gone: nobody waits for answers.
    pub(super) fn on_link_lost(&mut self) {
        self.questions.clear();
    }

    /// The next records for a viewer, and where it is then.
    pub(super) fn show(
        &self,
        database: &Database,
        command: &CommandId,
        cursor: Cursor,
        most: usize,
    ) -> (Cursor, Vec<LogRecord>) {
        let Some(log) = self.logs.get(command) else { return (cursor, Vec::new()) };
        let records = match log.after(cursor, most) {
            Fetch::UpToDate => return (cursor, Vec::new()),
            Fetch::Records(records) => records,
            Fetch::InStore => database.page(command, cursor, most),
        };
        match records.last() {
            Some(last) => (Some(last.position()), records),
            None => (cursor.max(log.begin()), records),
        }
    }

    /// Where a viewer begins that has seen so much of a stream.
    pub(super) fn seek(database: &Database, run: &Run, stream: Stream, offset: u64) -> Cursor {
        database.cursor(run, stream, offset)
    }
}
