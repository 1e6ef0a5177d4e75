//! What a dashboard has not been told yet: the difference between its user's board and what it was
//! sent.

use super::lines::LineAssembler;
use super::telling::{Taste, end, output};
use super::words;
use crate::board::{AgentEntry, Board, CommandEntry, Content, Revision};
use crate::hub::StopState;
use crate::store::Cursor;
use onsembl_protocol::command::{watches_agent, watches_command, watches_output};
use onsembl_protocol::id::{
    AgentId, CommandId, MessageId, PresenceVersion, ServerInstanceId, StopId,
};
use onsembl_protocol::model::DASHBOARD_FEATURES;
use onsembl_protocol::output::{Fetch, LogRecord, OutputLog};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{
    Ack, AgentStatus, DashboardConnected, DashboardExtensions, Feature, Replay, Subscriptions,
};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Output that is taken from a log at once.
const BATCH_BYTES: usize = 64 * 1024;

/// A legacy dashboard that comes late gets so much of what an open command wrote.
const LEGACY_REPLAY: usize = 1 << 20;
/// So long after its end a command is told to dashboards that come.
const TOLD_AFTER_END_MS: i64 = 10 * 60 * 1000;

/// What one dashboard was told, and how it wants to be told.
pub(super) struct Feed {
    board: Arc<Board>,
    server: ServerInstanceId,
    subscriptions: Subscriptions,
    /// Whether it speaks the extensions; then it gets our words.
    extended: bool,
    taste: Taste,
    /// Whether it knows stops that hold.
    latches_stops: bool,
    ready: VecDeque<ServerToDashboard>,
    /// Output that comes after it. Put into words one by one: for a legacy dashboard a short line costs
    /// thirty times its bytes.
    unsaid: VecDeque<(CommandId, AgentId, LogRecord)>,
    agents: BTreeMap<AgentId, Shown>,
    commands: BTreeMap<CommandId, Told>,
    /// Whose output came last: the others' comes next.
    served: Option<CommandId>,
    scanned: Revision,
}

/// What was told of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    version: PresenceVersion,
    status: PresenceStatus,
    stopped: Option<(StopId, StopState)>,
    paused: bool,
}

impl Shown {
    fn of(id: &AgentId, agent: &AgentEntry, content: &Content, latches_stops: bool) -> Self {
        let stop = content.stop_of(id).filter(|_| latches_stops);
        Self {
            version: agent.presence.version,
            status: agent.presence.status,
            stopped: stop.map(|(order, state)| (order.id.clone(), state)),
            paused: agent.paused,
        }
    }
}

/// What was told of one command.
#[derive(Default)]
struct Told {
    revision: Revision,
    final_told: bool,
    cursor: Cursor,
    /// Where to begin, if that is to be looked up first.
    seek: Option<Seek>,
    lines: LineAssembler,
}

impl Told {
    fn has_all_of(&self, log: &OutputLog) -> bool {
        self.seek.is_none() && self.cursor >= log.end()
    }
}

/// Where in the stored output to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// So many bytes before its end.
    Tail(usize),
    /// At a place.
    Place(Replay),
}

/// What comes next.
pub(super) enum Next {
    /// Say this.
    Say(Box<ServerToDashboard>),
    /// Read on in the store, and hand it to [`Feed::stored`].
    Read(CommandId, Cursor),
    /// Look up where to begin, and hand it to [`Feed::sought`].
    Seek(CommandId, Seek),
    /// Output was taken that gives nothing to say yet; ask again.
    More,
    /// Nothing new.
    Nothing,
}

impl Feed {
    /// A dashboard that was accepted now. Of commands that ended lately it is told how. Output that is
    /// there already comes only if it asks; to a legacy one, which cannot, the end of what open
    /// commands wrote.
    pub(super) fn new(
        board: Arc<Board>,
        server: ServerInstanceId,
        subscriptions: Subscriptions,
        extensions: Option<&DashboardExtensions>,
        now: WallTime,
    ) -> Self {
        let mut feed = Self {
            board,
            server,
            subscriptions,
            extended: extensions.is_some(),
            taste: Taste::of(extensions),
            latches_stops: extensions.is_some_and(|e| e.features.contains(&Feature::StopLatch)),
            ready: VecDeque::new(),
            unsaid: VecDeque::new(),
            agents: BTreeMap::new(),
            commands: BTreeMap::new(),
            served: None,
            scanned: 0,
        };
        let board = Arc::clone(&feed.board);
        for (id, entry) in &board.look().commands {
            let ended = entry.view.is_some_and(|v| v.status.is_final());
            let at = entry.view.and_then(|v| v.ended_at).unwrap_or_default();
            let long_ago = ended && now.unix_millis() - at.unix_millis() > TOLD_AFTER_END_MS;
            let told = Told {
                revision: if long_ago { entry.revision } else { 0 },
                final_told: long_ago,
                cursor: entry.log.end(),
                seek: if feed.extended { None } else { tail_of(entry) },
                lines: LineAssembler::default(),
            };
            let _ = feed.commands.insert(id.clone(), told);
        }
        feed
    }

    /// The answer to the hello: the agents there are, then how each is, then its acknowledgement.
    pub(super) fn greet(&mut self, hello: Option<MessageId>, now: WallTime) {
        let board = Arc::clone(&self.board);
        let content = board.look();
        let watched: Vec<_> = content
            .agents
            .iter()
            .filter(|(id, _)| watches_agent(&self.subscriptions, id))
            .collect();
        let agents = watched.iter().map(|(id, a)| words::summary(id, a, self.extended)).collect();
        self.ready.push_back(self.list(agents, now));
        for (id, agent) in watched {
            self.ready.push_back(self.status(id, agent, &content));
            let shown = Shown::of(id, agent, &content, self.latches_stops);
            let _ = self.agents.insert(id.clone(), shown);
        }
        self.ready.push_back(ServerToDashboard::Ack(self.acknowledgement(hello)));
    }

    /// Takes what it wants to see from now on. To a legacy dashboard, of open commands that it did not see
    /// the end of what they wrote.
    pub(super) fn watch(&mut self, subscriptions: Subscriptions) {
        let before = std::mem::replace(&mut self.subscriptions, subscriptions);
        if self.extended {
            return;
        }
        let board = Arc::clone(&self.board);
        for (id, entry) in &board.look().commands {
            if watches_output(&before, &entry.agent, id)
                || !watches_output(&self.subscriptions, &entry.agent, id)
            {
                continue;
            }
            let told = self.commands.entry(id.clone()).or_default();
            told.cursor = entry.log.end();
            told.seek = tail_of(entry);
            told.lines = LineAssembler::default();
        }
    }

    /// Says what is subscribed now.
    pub(super) fn acknowledgement(&self, message_id: Option<MessageId>) -> Ack {
        let subscriptions = Some(self.subscriptions.clone());
        Ack { message_id, success: true, subscriptions, ..Ack::default() }
    }

    /// Says the status of each watched agent again.
    pub(super) fn refresh(&mut self) {
        self.agents.values_mut().for_each(|shown| shown.version = PresenceVersion(0));
        self.scanned = 0;
    }

    /// Looks at what changed about agents.
    pub(super) fn scan_agents(&mut self, now: WallTime) {
        let board = Arc::clone(&self.board);
        let content = board.look();
        let mut new = Vec::new();
        let mut after = Vec::new();
        for (id, agent) in &content.agents {
            if !watches_agent(&self.subscriptions, id) {
                continue;
            }
            let shown = Shown::of(id, agent, &content, self.latches_stops);
            let status = shown.status;
            let told = self.agents.insert(id.clone(), shown.clone());
            match told {
                Some(told)
                    if told.version >= shown.version
                        && (&told.stopped, told.paused) == (&shown.stopped, shown.paused) =>
                {
                    let _ =
                        self.agents.insert(id.clone(), Shown { version: told.version, ..shown });
                    continue;
                }
                Some(told)
                    if status == PresenceStatus::Offline
                        && told.status != PresenceStatus::Offline =>
                {
                    let went = words::went(id, agent, now);
                    after.push(ServerToDashboard::AgentDisconnect(went));
                }
                Some(told)
                    if told.status == PresenceStatus::Offline
                        && status != PresenceStatus::Offline =>
                {
                    let came = words::came(id, agent, now);
                    after.push(ServerToDashboard::AgentConnected(came));
                }
                Some(_) => {}
                None => {
                    new.push(words::summary(id, agent, self.extended));
                    let came = words::came(id, agent, now);
                    after.push(ServerToDashboard::AgentConnected(came));
                }
            }
            after.push(self.status(id, agent, &content));
        }
        if !new.is_empty() {
            self.ready.push_back(self.list(new, now));
        }
        self.ready.extend(after);
        self.agents.retain(|id, _| content.agents.contains_key(id));
    }

    /// The next thing to say. Output goes before the end of its command.
    pub(super) fn next(&mut self) -> Next {
        if let Some(message) = self.ready.pop_front() {
            return Next::Say(Box::new(message));
        }
        if let Some((id, agent, record)) = self.unsaid.pop_front() {
            let told = self.commands.entry(id.clone()).or_default();
            let id = shown(&id, &agent, self.extended);
            return match output(&mut told.lines, id, agent, record, self.taste) {
                Some(message) => Next::Say(Box::new(message)),
                None => Next::More,
            };
        }
        let board = Arc::clone(&self.board);
        let content = board.look();
        self.commands.retain(|id, _| content.commands.contains_key(id));
        // How commands are, before what they write: output may have no end. But the end of a command
        // comes behind its own.
        for (id, entry) in &content.commands {
            if !watches_command(&self.subscriptions, &entry.agent, id) {
                continue;
            }
            let told = self.commands.entry(id.clone()).or_default();
            let Some(view) = entry.view.filter(|_| !told.final_told) else { continue };
            let writes = watches_output(&self.subscriptions, &entry.agent, id);
            if !view.status.is_final() {
                if told.revision < entry.revision {
                    told.revision = entry.revision;
                    if !self.extended && id.is_terminal() {
                        continue;
                    }
                    let agent = content.agents.get(&entry.agent);
                    let held_up = agent.and_then(|agent| agent.holds_up(view.status));
                    let status = words::command(id, entry, &view, held_up, self.extended);
                    return Next::Say(Box::new(ServerToDashboard::CommandStatus(status)));
                }
            } else if !writes || told.has_all_of(&entry.log) {
                told.final_told = true;
                let shown = shown(id, &entry.agent, self.extended);
                self.ready.extend(end(&mut told.lines, &shown, entry, self.extended));
                if let Some(message) = self.ready.pop_front() {
                    return Next::Say(Box::new(message));
                }
            }
        }
        let after = self.served.clone();
        for (id, entry) in in_turn(&content.commands, after.as_ref()) {
            if !watches_output(&self.subscriptions, &entry.agent, id) {
                continue;
            }
            let Some(told) = self.commands.get_mut(id).filter(|told| !told.final_told) else {
                continue;
            };
            if let Some(seek) = &told.seek {
                return Next::Seek(id.clone(), seek.clone());
            }
            match entry.log.after(told.cursor, BATCH_BYTES) {
                Fetch::InStore => {
                    self.served = Some(id.clone());
                    return Next::Read(id.clone(), told.cursor);
                }
                Fetch::Records(records) => {
                    self.served = Some(id.clone());
                    take(told, &mut self.unsaid, id, &entry.agent, records);
                    return Next::More;
                }
                Fetch::UpToDate => {}
            }
        }
        Next::Nothing
    }

    /// What it wants to see.
    pub(super) const fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whether this dashboard speaks the extensions.
    pub(super) const fn is_extended(&self) -> bool {
        self.extended
    }

    /// Shows the stored output of a command from there on. Whether there is such a command.
    pub(super) fn replay(&mut self, id: &CommandId, from: Replay) -> bool {
        if !self.board.look().commands.contains_key(id) {
            return false;
        }
        let told = self.commands.entry(id.clone()).or_default();
        told.seek = Some(Seek::Place(from));
        told.final_told = false;
        true
    }

    /// Where the store has what was sought.
    pub(super) fn sought(&mut self, id: &CommandId, cursor: Cursor) {
        if let Some(told) = self.commands.get_mut(id) {
            told.seek = None;
            told.cursor = cursor;
            told.lines = LineAssembler::default();
        }
    }

    /// What the store had behind a cursor; nothing if it has nothing there any more.
    pub(super) fn stored(&mut self, id: &CommandId, records: Vec<LogRecord>) {
        let board = Arc::clone(&self.board);
        let content = board.look();
        let Some(entry) = content.commands.get(id) else { return };
        let told = self.commands.entry(id.clone()).or_default();
        if records.is_empty() {
            told.cursor = told.cursor.max(entry.log.begin());
        } else {
            take(told, &mut self.unsaid, id, &entry.agent, records);
        }
    }

    /// Whether this dashboard knows stops that hold, and can release them.
    pub(super) const fn latches_stops(&self) -> bool {
        self.latches_stops
    }

    fn status(&self, id: &AgentId, agent: &AgentEntry, content: &Content) -> ServerToDashboard {
        let status = words::status(id, agent, is_busy(content, id), self.extended);
        let stop = content.stop_of(id).filter(|_| self.latches_stops);
        let stopped = stop.map(|(order, state)| words::stopped(order, state));
        ServerToDashboard::AgentStatus(AgentStatus { stopped, ..status })
    }

    fn list(
        &self,
        agents: Vec<onsembl_protocol::wire::payload::AgentSummary>,
        now: WallTime,
    ) -> ServerToDashboard {
        let extensions = self.extended.then(|| DashboardExtensions {
            features: DASHBOARD_FEATURES.to_vec(),
            server_instance: Some(self.server.clone()),
        });
        ServerToDashboard::Connected(DashboardConnected {
            agents,
            timestamp: Some(now),
            extensions,
        })
    }
}

/// Where a legacy dashboard begins that did not see this command: nowhere if it is over.
fn tail_of(entry: &CommandEntry) -> Option<Seek> {
    let ended = entry.view.is_some_and(|view| view.status.is_final());
    let tail = LEGACY_REPLAY.saturating_sub(entry.log.unstored());
    (!ended).then_some(Seek::Tail(tail))
}

/// Under which id a command is shown. Legacy dashboards have one place for what an agent writes beside
/// its commands, and would call a terminal an unknown command.
fn shown(id: &CommandId, agent: &AgentId, extended: bool) -> CommandId {
    if id.is_terminal() && !extended { CommandId::of_session(agent) } else { id.clone() }
}

fn is_busy(content: &Content, agent: &AgentId) -> bool {
    content.commands.iter().any(|(id, c)| {
        let runs = c.view.is_some_and(|v| !v.status.is_final());
        c.agent == *agent && runs && !id.is_terminal()
    })
}

/// All commands, beginning behind this one.
fn in_turn<'a>(
    commands: &'a BTreeMap<CommandId, CommandEntry>,
    after: Option<&CommandId>,
) -> impl Iterator<Item = (&'a CommandId, &'a CommandEntry)> {
    let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
    let first = commands.range::<CommandId, _>((bound, Bound::Unbounded));
    let rest = after.map(|after| commands.range::<CommandId, _>(..=after));
    first.chain(rest.into_iter().flatten())
}

/// Takes records that a dashboard is to be shown next.
fn take(
    told: &mut Told,
    unsaid: &mut VecDeque<(CommandId, AgentId, LogRecord)>,
    id: &CommandId,
    agent: &AgentId,
    records: Vec<LogRecord>,
) {
    for record in records {
        told.cursor = Some((record.incarnation, record.sequence));
        unsaid.push_back((id.clone(), agent.clone(), record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredBody;
    use bytes::Bytes;
    use onsembl_protocol::command::{CommandCause, CommandStage, CommandView};
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation};
    use onsembl_protocol::output::Stream;
    use onsembl_protocol::wire::payload::Selection;

    /// One that watches everything, and two commands that run.
    fn feed() -> (Arc<Board>, Feed) {
        let board = Arc::new(Board::default());
        board.touch(|content| {
            for id in ["a", "b"] {
                let view = CommandView {
                    status: CommandStage::Running,
                    because: CommandCause::Started,
                    exit: None,
                    started_at: None,
                    ended_at: None,
                };
                let entry = CommandEntry {
                    agent: AgentId::new("ada"),
                    view: Some(view),
                    detail: None,
                    log: OutputLog::default(),
                    revision: 1,
                };
                let _ = content.commands.insert(CommandId::new(id), entry);
            }
        });
        let all = Subscriptions {
            agents: Selection::All,
            commands: Selection::All,
            terminals: true,
            traces: false,
        };
        let features = vec![Feature::OutputBytes];
        let extended = DashboardExtensions { features, server_instance: None };
        let server = ServerInstanceId::new("s");
        let now = WallTime::default();
        (Arc::clone(&board), Feed::new(board, server, all, Some(&extended), now))
    }

    fn write(board: &Board, id: &str, sequence: u64) {
        board.touch(|content| {
            let log = &mut content.commands.get_mut(&CommandId::new(id)).unwrap().log;
            let offset = log.next(Stream::Stdout);
            let _ = log.push(LogRecord {
                incarnation: Incarnation(1),
                sequence: ChunkSequence(sequence),
                stream: Stream::Stdout,
                offset: ByteOffset(offset.0),
                body: StoredBody::Chunk(Bytes::from_static(&[b'x'; 32 * 1024])),
                at: WallTime::default(),
            });
        });
    }

    /// What is said while the first command writes as fast as it is read.
    fn said_beside_a_flood(board: &Board, feed: &mut Feed) -> Vec<ServerToDashboard> {
        let mut said = Vec::new();
        for sequence in 1..20 {
            write(board, "a", sequence);
            if let Next::Say(message) = feed.next() {
                said.push(*message);
            }
        }
        said
    }

    #[test]
    fn output_without_end_holds_up_neither_other_output_nor_how_commands_are() {
        let (board, mut feed) = feed();
        write(&board, "b", 1);
        let said = said_beside_a_flood(&board, &mut feed);
        let of_b = |m: &ServerToDashboard| matches!(m, ServerToDashboard::TerminalStream(t) if t.command_id.as_str() == "b");
        assert!(said.iter().any(of_b), "{}", said.len());
        assert!(said.iter().any(|m| matches!(m, ServerToDashboard::TerminalStream(_)) && !of_b(m)));
        board.touch(|content| {
            let entry = content.commands.get_mut(&CommandId::new("b")).unwrap();
            entry.revision = 2;
            entry.view.as_mut().unwrap().status = CommandStage::Cancelling;
        });
        let said = said_beside_a_flood(&board, &mut feed);
        let told = |m: &ServerToDashboard| matches!(m, ServerToDashboard::CommandStatus(s) if s.command_id.as_str() == "b");
        assert!(said.iter().any(told), "{}", said.len());
    }
}
