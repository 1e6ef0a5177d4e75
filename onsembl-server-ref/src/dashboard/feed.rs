//! What a dashboard has not been told yet: the difference between its user's board and what it was
//! sent.

use super::lines::LineAssembler;
use super::words;
use crate::board::{Board, CommandEntry, Content, Revision};
use crate::store::{Cursor, StoredBody};
use onsembl_protocol::command::{watches_agent, watches_command, watches_output};
use onsembl_protocol::id::{AgentId, CommandId, MessageId, PresenceVersion, ServerInstanceId};
use onsembl_protocol::output::{Fetch, LogRecord, gap_notice};
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{
    Ack, DashboardConnected, DashboardExtensions, Feature, OutputContent, OutputGap, Replay,
    StreamContent, Subscriptions, TerminalStream,
};
use std::collections::{BTreeMap, VecDeque};
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
    pub(super) subscriptions: Subscriptions,
    /// Whether it speaks the extensions; then it gets our words.
    extended: bool,
    taste: Taste,
    ready: VecDeque<ServerToDashboard>,
    agents: BTreeMap<AgentId, (PresenceVersion, PresenceStatus)>,
    commands: BTreeMap<CommandId, Told>,
    scanned: Revision,
}

/// How a dashboard takes output.
#[derive(Clone, Copy)]
enum Taste {
    /// Whole lines, and a gap is a line too.
    Lines,
    /// Bytes; a gap it sees by the next offset.
    Bytes,
    /// Bytes and gaps.
    Records,
}

impl Taste {
    fn of(extensions: Option<&DashboardExtensions>) -> Self {
        let has = |feature| extensions.is_some_and(|e| e.features.contains(&feature));
        match (has(Feature::OutputBytes), has(Feature::OutputSpool)) {
            (true, true) => Self::Records,
            (true, false) => Self::Bytes,
            (false, _) => Self::Lines,
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
    /// Output was taken in that gives nothing to say yet; ask again.
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
            ready: VecDeque::new(),
            agents: BTreeMap::new(),
            commands: BTreeMap::new(),
            scanned: 0,
        };
        let board = Arc::clone(&feed.board);
        for (id, entry) in &board.look().commands {
            let ended = entry.view.is_some_and(|v| v.status.is_final());
            let at = entry.view.and_then(|v| v.ended_at).unwrap_or_default();
            let long_ago = ended && now.unix_millis() - at.unix_millis() > TOLD_AFTER_END_MS;
            let tail = LEGACY_REPLAY.saturating_sub(entry.log.unstored());
            let told = Told {
                revision: if long_ago { entry.revision } else { 0 },
                final_told: long_ago,
                cursor: entry.log.end(),
                seek: (!feed.extended && !ended).then_some(Seek::Tail(tail)),
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
            let busy = is_busy(&content, id);
            let status = words::status(id, agent, busy, self.extended);
            self.ready.push_back(ServerToDashboard::AgentStatus(status));
            let _ = self.agents.insert(id.clone(), (agent.presence.version, agent.presence.status));
        }
        self.ready.push_back(ServerToDashboard::Ack(self.acknowledgement(hello)));
    }

    /// Says what is subscribed now.
    pub(super) fn acknowledgement(&self, message_id: Option<MessageId>) -> Ack {
        let subscriptions = Some(self.subscriptions.clone());
        Ack { message_id, success: true, subscriptions, ..Ack::default() }
    }

    /// Says the status of each watched agent again.
    pub(super) fn refresh(&mut self) {
        self.agents.values_mut().for_each(|(version, _)| *version = PresenceVersion(0));
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
            let shown = (agent.presence.version, agent.presence.status);
            let told = self.agents.insert(id.clone(), shown);
            match told {
                Some((version, _)) if version >= shown.0 => {
                    let _ = self.agents.insert(id.clone(), (version, shown.1));
                    continue;
                }
                Some((_, before))
                    if shown.1 == PresenceStatus::Offline && before != PresenceStatus::Offline =>
                {
                    let went = words::went(id, agent, now);
                    after.push(ServerToDashboard::AgentDisconnect(went));
                }
                Some((_, PresenceStatus::Offline)) if shown.1 != PresenceStatus::Offline => {
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
            let status = words::status(id, agent, is_busy(&content, id), self.extended);
            after.push(ServerToDashboard::AgentStatus(status));
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
        let board = Arc::clone(&self.board);
        let content = board.look();
        self.commands.retain(|id, _| content.commands.contains_key(id));
        for (id, entry) in &content.commands {
            if !watches_command(&self.subscriptions, &entry.agent, id) {
                continue;
            }
            let told = self.commands.entry(id.clone()).or_default();
            if told.final_told {
                continue;
            }
            if let Some(view) = entry.view
                && told.revision < entry.revision
                && !view.status.is_final()
            {
                told.revision = entry.revision;
                let status = words::command(id, entry, &view, self.extended);
                return Next::Say(Box::new(ServerToDashboard::CommandStatus(status)));
            }
            if watches_output(&self.subscriptions, &entry.agent, id) {
                if let Some(seek) = &told.seek {
                    return Next::Seek(id.clone(), seek.clone());
                }
                match entry.log.after(told.cursor, BATCH_BYTES) {
                    Fetch::InStore => return Next::Read(id.clone(), told.cursor),
                    Fetch::Records(records) => {
                        let said = output(told, id, &entry.agent, records, self.taste);
                        self.ready.extend(said);
                        return match self.ready.pop_front() {
                            Some(message) => Next::Say(Box::new(message)),
                            None => Next::More,
                        };
                    }
                    Fetch::UpToDate => {}
                }
            }
            if let Some(view) = entry.view
                && view.status.is_final()
            {
                told.final_told = true;
                self.ready.extend(end(told, id, entry, self.extended));
                if let Some(message) = self.ready.pop_front() {
                    return Next::Say(Box::new(message));
                }
            }
        }
        Next::Nothing
    }

    /// Shows the stored output of a command from there on. Whether there is such a command.
    /// Whether this dashboard speaks the extensions.
    pub(super) const fn is_extended(&self) -> bool {
        self.extended
    }

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
            self.ready.extend(output(told, id, &entry.agent, records, self.taste));
        }
    }

    fn list(
        &self,
        agents: Vec<onsembl_protocol::wire::payload::AgentSummary>,
        now: WallTime,
    ) -> ServerToDashboard {
        let extensions = self.extended.then(|| DashboardExtensions {
            features: vec![Feature::OutputBytes, Feature::OutputSpool, Feature::OutputReplay],
            server_instance: Some(self.server.clone()),
        });
        ServerToDashboard::Connected(DashboardConnected {
            agents,
            timestamp: Some(now),
            extensions,
        })
    }
}

fn is_busy(content: &Content, agent: &AgentId) -> bool {
    content
        .commands
        .values()
        .any(|c| c.agent == *agent && c.view.is_some_and(|v| !v.status.is_final()))
}

fn output(
    told: &mut Told,
    id: &CommandId,
    agent: &AgentId,
    records: Vec<LogRecord>,
    taste: Taste,
) -> Vec<ServerToDashboard> {
    let mut said = Vec::with_capacity(records.len());
    for record in records {
        told.cursor = Some((record.incarnation, record.sequence));
        let stream = TerminalStream {
            command_id: id.clone(),
            agent_id: Some(agent.clone()),
            stream: record.stream.into(),
            content: StreamContent::Lines(Vec::new()),
            timestamp: Some(record.at),
            sequence: Some(record.sequence),
            offset: None,
            incarnation: None,
        };
        let message = match (&record.body, taste) {
            (StoredBody::Chunk(bytes), Taste::Bytes | Taste::Records) => TerminalStream {
                content: StreamContent::Bytes(OutputContent::from_bytes(bytes)),
                offset: Some(record.offset),
                incarnation: Some(record.incarnation),
                ..stream
            },
            (StoredBody::Chunk(bytes), Taste::Lines) => {
                let lines = told.lines.push(record.stream, bytes);
                TerminalStream { content: StreamContent::Lines(lines), ..stream }
            }
            (StoredBody::Gap { length, because }, Taste::Lines) => {
                let mut lines = told.lines.push(record.stream, b"\n");
                lines.retain(|line| !line.is_empty());
                lines.push(gap_notice(*length, *because));
                TerminalStream { content: StreamContent::Lines(lines), ..stream }
            }
            (StoredBody::Gap { .. }, Taste::Bytes) => continue,
            (StoredBody::Gap { length, because }, Taste::Records) => {
                said.push(ServerToDashboard::OutputGap(OutputGap {
                    command_id: id.clone(),
                    agent_id: Some(agent.clone()),
                    incarnation: record.incarnation,
                    stream_type: record.stream.into(),
                    sequence: record.sequence,
                    offset: record.offset,
                    length: *length,
                    because: *because,
                    timestamp: Some(record.at),
                }));
                continue;
            }
        };
        if !matches!(&message.content, StreamContent::Lines(lines) if lines.is_empty()) {
            said.push(ServerToDashboard::TerminalStream(message));
        }
    }
    said
}

fn end(
    told: &mut Told,
    id: &CommandId,
    entry: &CommandEntry,
    extended: bool,
) -> Vec<ServerToDashboard> {
    let mut said = Vec::new();
    for (stream, line) in told.lines.finish() {
        said.push(ServerToDashboard::TerminalStream(TerminalStream {
            command_id: id.clone(),
            agent_id: Some(entry.agent.clone()),
            stream: stream.into(),
            content: StreamContent::Lines(vec![line]),
            timestamp: None,
            sequence: None,
            offset: None,
            incarnation: None,
        }));
    }
    if let Some(view) = &entry.view {
        said.push(ServerToDashboard::CommandStatus(words::command(id, entry, view, extended)));
        if !extended {
            let complete = words::complete(id, entry, view);
            said.push(ServerToDashboard::CommandComplete(complete));
        }
    }
    said
}
