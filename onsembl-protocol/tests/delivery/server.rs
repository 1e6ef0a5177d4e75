//! The server's edge around its logs: what comes is taken, handed to the database in order, and
//! acknowledged when it is committed. It does what the hub of the reference server does.

use super::database::Database;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId};
use onsembl_protocol::output::{
    Cursor, Fetch, GapCause, LogRecord, Outgoing, OutputLog, Run, StoredBody, Stream, StreamState,
    Taken, Written,
};
use onsembl_protocol::time::WallTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From the agent.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Opened(CommandId),
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
    /// It knows no such command.
    Unknown(CommandId),
    /// It is over here, so it must be over there.
    Cancel(CommandId),
}

/// What is to be written.
#[derive(Clone, Debug)]
enum Entry {
    Output(LogRecord),
    Terminal,
    End,
    /// It was given up.
    Gone,
}

/// What came of it.
#[derive(Clone, Debug)]
enum Receipt {
    Stored(LogRecord),
    /// The database has no such command.
    OfNothing,
    Inserted,
    Existing,
    Ended,
}

#[derive(Clone, Debug, Default)]
struct Unplaced {
    said: Vec<Up>,
    /// It is to be given up then.
    given_up: bool,
}

#[derive(Clone, Debug)]
enum Question {
    Positions(Vec<StreamState>),
    Place(CommandId),
}

/// A command of which the end is not committed.
#[derive(Debug, Default)]
struct Open {
    stored: bool,
    over: bool,
}

/// A process of the server.
#[derive(Debug, Default)]
pub(super) struct Server {
    logs: BTreeMap<CommandId, OutputLog>,
    ledger: VecDeque<(CommandId, Entry)>,
    receipts: VecDeque<(CommandId, Receipt)>,
    /// What is being looked up.
    questions: VecDeque<Question>,
    /// What was said of commands of which it is being looked up where their logs go on.
    unplaced: BTreeMap<CommandId, Unplaced>,
    waiting: usize,
    open: BTreeMap<CommandId, Open>,
    /// What the agent of this session was told that nobody knows.
    told: BTreeSet<CommandId>,
    /// Terminals that were given up, because too many were open.
    pub(super) given_up: BTreeSet<CommandId>,
    /// Those of which the end is committed.
    gone: BTreeSet<CommandId>,
}

impl Server {
    /// A new process. Of what the database has it knows the commands that are not over, and of those
    /// that are it `remembers` some.
    pub(super) fn start(database: &Database, remembers: impl Fn(&CommandId) -> bool) -> Self {
        let mut server = Self::default();
        for command in &database.commands {
            let is_over = database.ended.contains(command);
            if !is_over {
                let open = Open { stored: true, ..Open::default() };
                server.open.insert(command.clone(), open);
            }
            if !is_over || remembers(command) {
                let (end, places) = database.place(command);
                server.logs.insert(command.clone(), OutputLog::behind(end, places));
            }
        }
        server
    }

    /// A command is committed, and nothing of it came yet.
    pub(super) fn accept(&mut self, command: &CommandId) {
        self.open.insert(command.clone(), Open { stored: true, ..Open::default() });
        self.logs.insert(command.clone(), OutputLog::default());
    }

    /// Commands that ended are not remembered for ever.
    pub(super) fn forget(&mut self, command: &CommandId) -> bool {
        let is_over = !self.open.contains_key(command) && !self.unplaced.contains_key(command);
        let is_stored = self.logs.get(command).is_some_and(|log| log.waiting() == 0);
        is_over && is_stored && self.logs.remove(command).is_some()
    }

    /// Whether so much is unstored that the agent is not read.
    pub(super) fn holds_back(&self, most: usize) -> bool {
        self.waiting >= most
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ledger.is_empty() && self.receipts.is_empty() && self.questions.is_empty()
    }

    /// Takes a word; what is to be said at once comes back.
    pub(super) fn hear(&mut self, word: Up, at: WallTime, most_open: usize) -> Vec<Down> {
        if let Some(id) = self.unplaced_of(&word) {
            self.unplaced.entry(id).or_default().said.push(word);
            return Vec::new();
        }
        let (run, record) = match word {
            Up::Opened(id) => return self.on_opened(id, at, most_open),
            Up::Holds(held) => {
                self.questions.push_back(Question::Positions(held));
                return Vec::new();
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
        let log = self.logs.get_mut(&run.command).unwrap();
        match log.push(record) {
            Taken::Repeated(stored) => {
                let open = log.is_open_stored(stream);
                stored.map(|stored| Down::Ack(run, stream, stored, open)).into_iter().collect()
            }
            Taken::New { hole, record } => {
                for record in hole.into_iter().chain([record]) {
                    self.keep(&run.command, record);
                }
                Vec::new()
            }
            Taken::GivenUp if self.open.contains_key(&run.command) => Vec::new(),
            Taken::GivenUp => self.tell_unknown(&run.command).into_iter().collect(),
        }
    }

    /// Whose place must be known before this is taken.
    fn unplaced_of(&mut self, word: &Up) -> Option<CommandId> {
        let (id, is_output) = match word {
            Up::Opened(_) | Up::Holds(_) => return None,
            Up::Wrote(Outgoing { run, .. }) | Up::BrokeOff(run, ..) => (&run.command, true),
            Up::Over(id, _) => (id, false),
        };
        if is_output && !self.logs.contains_key(id) {
            self.ask_place(id);
        }
        self.unplaced.contains_key(id).then(|| id.clone())
    }

    fn ask_place(&mut self, id: &CommandId) {
        if !self.unplaced.contains_key(id) {
            self.unplaced.insert(id.clone(), Unplaced::default());
            self.questions.push_back(Question::Place(id.clone()));
        }
    }

    fn keep(&mut self, command: &CommandId, record: LogRecord) {
        self.waiting += record.cost();
        self.ledger.push_back((command.clone(), Entry::Output(record)));
    }

    fn on_opened(&mut self, id: CommandId, at: WallTime, most_open: usize) -> Vec<Down> {
        if self.open.contains_key(&id) {
            return Vec::new();
        }
        let mut said = Vec::new();
        let is_going = |id: &CommandId| self.unplaced.get(id).is_some_and(|u| u.given_up);
        let is_open =
            |(id, open): &(&CommandId, &Open)| id.is_terminal() && !open.over && !is_going(id);
        let open: Vec<_> = self.open.iter().filter(is_open).map(|(id, _)| id).collect();
        if open.len() >= most_open {
            let oldest = open[0].clone();
            if oldest > id {
                said.extend(self.tell_unknown(&id));
                return said;
            }
            self.given_up.insert(oldest.clone());
            match self.unplaced.get_mut(&oldest) {
                Some(unplaced) => unplaced.given_up = true,
                None => self.give_up(&oldest, at),
            }
        }
        if !self.logs.contains_key(&id) {
            self.ask_place(&id);
        }
        self.open.insert(id.clone(), Open::default());
        self.ledger.push_back((id, Entry::Terminal));
        said
    }

    fn give_up(&mut self, id: &CommandId, at: WallTime) {
        let ends = self.logs.get_mut(id).map(|log| log.give_up(id, at));
        ends.into_iter().flatten().for_each(|record| self.keep(id, record));
        self.end(id, Entry::Gone);
    }

    fn tell_unknown(&mut self, command: &CommandId) -> Option<Down> {
        self.told.insert(command.clone()).then(|| Down::Unknown(command.clone()))
    }

    fn on_over(&mut self, command: CommandId, wrote: Written, at: WallTime) -> Vec<Down> {
        if !self.open.contains_key(&command) {
            return vec![Down::Confirm(command)];
        }
        self.finish(&command, wrote, at);
        self.end(&command, Entry::End);
        Vec::new()
    }

    fn finish(&mut self, command: &CommandId, wrote: Written, at: WallTime) {
        let missing = self
            .logs
            .get_mut(command)
            .map(|log| log.finish(command, wrote, at))
            .unwrap_or_default();
        for record in missing {
            self.keep(command, record);
        }
    }

    fn end(&mut self, command: &CommandId, how: Entry) {
        if let Some(open) = self.open.get_mut(command)
            && !std::mem::replace(&mut open.over, true)
        {
            self.ledger.push_back((command.clone(), how));
        }
    }

    /// One transaction of at most so many records. What is new in the database comes back.
    pub(super) fn commit(
        &mut self,
        database: &mut Database,
        most: usize,
    ) -> Vec<(CommandId, LogRecord)> {
        let mut new = Vec::new();
        for (command, entry) in self.ledger.drain(..most.min(self.ledger.len())) {
            let is_known = database.commands.contains(&command);
            let receipt = match &entry {
                Entry::Output(_) if !is_known => Receipt::OfNothing,
                Entry::Output(record) => {
                    let is_gone = self.gone.contains(&command);
                    assert!(!is_gone, "{command} was given up, and then {record:?} is stored");
                    let rows = database.write(&command, record);
                    new.extend(rows.into_iter().map(|row| (command.clone(), row)));
                    Receipt::Stored(record.clone())
                }
                Entry::Terminal if is_known => Receipt::Existing,
                Entry::Terminal => {
                    database.commands.insert(command.clone());
                    Receipt::Inserted
                }
                Entry::End | Entry::Gone => {
                    if matches!(entry, Entry::Gone) {
                        self.gone.insert(command.clone());
                    }
                    if is_known {
                        database.ended.insert(command.clone());
                    }
                    Receipt::Ended
                }
            };
            self.receipts.push_back((command, receipt));
        }
        new
    }

    /// What was committed is acknowledged.
    pub(super) fn take_receipts(&mut self) -> Vec<Down> {
        let (mut stored, mut said) = (BTreeMap::new(), Vec::new());
        for (command, receipt) in std::mem::take(&mut self.receipts) {
            match receipt {
                Receipt::Stored(record) => {
                    let LogRecord { incarnation, sequence, stream, .. } = record;
                    let Some(log) = self.logs.get_mut(&command) else { continue };
                    self.waiting -= log.on_stored(incarnation, sequence, stream, record.end());
                    let end = (log.stored(stream), log.is_open_stored(stream));
                    let _ = stored.insert((command, incarnation, stream), end);
                }
                Receipt::OfNothing => {
                    self.drop_output(&command);
                    said.extend(self.tell_unknown(&command));
                    if self.open.get(&command).is_some_and(|open| open.stored) {
                        self.end(&command, Entry::End);
                    }
                }
                Receipt::Inserted => {
                    if let Some(open) = self.open.get_mut(&command) {
                        open.stored = true;
                        if open.over {
                            self.ledger.push_back((command, Entry::End));
                        }
                    }
                }
                Receipt::Existing => {
                    if self.open.remove(&command).is_some() {
                        said.push(Down::Cancel(command));
                    }
                }
                Receipt::Ended if self.open.remove(&command).is_none() => {}
                // What its agent still has of it is not wanted.
                Receipt::Ended if self.given_up.contains(&command) => {
                    said.extend(self.tell_unknown(&command));
                }
                Receipt::Ended => said.push(Down::Confirm(command)),
            }
        }
        let ack = |((command, incarnation, stream), (offset, open))| {
            Down::Ack(Run { command, incarnation }, stream, offset, open)
        };
        stored.into_iter().map(ack).chain(said).collect()
    }

    /// Forgets the output of a command that cannot be stored.
    fn drop_output(&mut self, command: &CommandId) {
        let log = if self.open.contains_key(command) {
            self.logs.get_mut(command).map(std::mem::take)
        } else {
            self.logs.remove(command)
        };
        self.waiting -= log.map_or(0, |log| log.waiting());
    }

    /// Takes the answer to the oldest question. What is to be said then comes back.
    pub(super) fn answer(&mut self, database: &Database, at: WallTime, most: usize) -> Vec<Down> {
        match self.questions.pop_front() {
            None => Vec::new(),
            Some(Question::Positions(held)) => {
                let place = |s: StreamState| {
                    let committed = database.sums(&s.run, s.stream).next;
                    (s.run, s.stream, committed)
                };
                vec![Down::Resume(held.into_iter().map(place).collect())]
            }
            Some(Question::Place(id)) => {
                let (end, places) = database.place(&id);
                self.logs.insert(id.clone(), OutputLog::behind(end, places));
                let Unplaced { said, given_up } = self.unplaced.remove(&id).unwrap_or_default();
                let hear = |word| self.hear(word, at, most);
                let answers = said.into_iter().flat_map(hear).collect();
                if given_up && self.open.get(&id).is_some_and(|open| open.over) {
                    // Its agent has said how it ended.
                    self.given_up.remove(&id);
                } else if given_up {
                    self.give_up(&id, at);
                }
                answers
            }
        }
    }

    /// The positions could not be read, and the agent waits in vain.
    pub(super) fn fail_to_answer(&mut self) {
        self.questions.retain(|q| matches!(q, Question::Place(_)));
    }

    /// The agent is gone: nobody waits for answers.
    pub(super) fn on_link_lost(&mut self) {
        self.fail_to_answer();
    }

    /// An agent that was told nothing yet.
    pub(super) fn on_session(&mut self) {
        self.told.clear();
    }

    /// The end of a command's output, if it is remembered.
    pub(super) fn log(&self, command: &CommandId) -> Option<&OutputLog> {
        self.logs.get(command)
    }

    /// Whether this command is not over for it.
    pub(super) fn is_open(&self, command: &CommandId) -> bool {
        self.open.get(command).is_some_and(|open| !open.over)
    }

    /// Whether it knows where every stream of this command goes on.
    pub(super) fn follows(&self, command: &CommandId) -> bool {
        self.open.get(command).is_some_and(|open| open.stored)
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
            Fetch::InStore => database.page(command, None, cursor, most),
        };
        match records.last() {
            Some(last) => (Some(last.position()), records),
            None => (cursor.max(log.begin()), records),
        }
    }
}
