//! Puts into frames what the feed of a dashboard gives: bytes as they are, or lines for a legacy one. What is
//! told, and when, is decided by the feed ([`onsembl_protocol::fleet::DashboardFeed`]).

use super::line_assembler::LineAssembler;
use crate::fleet_view::FleetView;
use crate::store::Cursor;
use onsembl_protocol::fleet::{DashboardFeed, FeedItem, LogRecord, Seek, StoredBody};
use onsembl_protocol::id::{AgentId, ChunkSequence, CommandId, MessageId, ServerInstanceId};
use onsembl_protocol::model::{Capabilities, OutputFormat, Stream, gap_notice};
use onsembl_protocol::time::{Deadline, Timestamp, WallTime};
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{
    DashboardExtensions, OutputContent, OutputGap, StreamContent, Subscription, Subscriptions,
    TerminalStream,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The feed of one dashboard over the fleet view of its user.
pub(super) struct FeedEncoder {
    fleet_view: Arc<FleetView>,
    feed: DashboardFeed,
    format: OutputFormat,
    /// What is begun of lines, for a dashboard that takes lines.
    lines: BTreeMap<CommandId, Begun>,
    /// When to look for unfinished lines of which command.
    unfinished: BTreeSet<(Timestamp, CommandId)>,
    ready: VecDeque<Ready>,
}

/// The lines of a command that are being put together.
#[derive(Default)]
struct Begun {
    /// Of a command whose output began anew the rest is of before.
    generation: u32,
    assembler: LineAssembler,
    /// As it stands in [`FeedEncoder::unfinished`].
    due: Option<Timestamp>,
}

/// What comes before anything else of the feed.
enum Ready {
    Message(Box<ServerToDashboard>),
    Lines(LinesOf),
}

/// Lines that are shown one by one, because existing dashboards join a list of them with commas; each in the
/// session of its command and in that of its agent, which is the only one that their agents page shows.
struct LinesOf {
    sessions: Vec<CommandId>,
    /// The session that the first of the lines is for.
    next: usize,
    agent: AgentId,
    stream: Stream,
    lines: VecDeque<String>,
    at: Option<WallTime>,
    sequence: Option<ChunkSequence>,
}

impl LinesOf {
    fn new(
        shown: CommandId,
        agent: AgentId,
        stream: Stream,
        lines: impl IntoIterator<Item = String>,
    ) -> Self {
        let own = CommandId::of_session(&agent);
        let sessions = if shown == own { vec![own] } else { vec![shown, own] };
        let lines = lines.into_iter().collect();
        Self { sessions, next: 0, agent, stream, lines, at: None, sequence: None }
    }

    /// The next frame.
    fn frame(&mut self) -> Option<ServerToDashboard> {
        let is_last = self.next + 1 >= self.sessions.len();
        let line = if is_last { self.lines.pop_front() } else { self.lines.front().cloned() }?;
        let command_id = self.sessions.get(self.next)?.clone();
        self.next = if is_last { 0 } else { self.next + 1 };
        Some(ServerToDashboard::TerminalStream(TerminalStream {
            command_id,
            agent_id: Some(self.agent.clone()),
            stream: self.stream.into(),
            content: StreamContent::Lines(vec![line]),
            timestamp: self.at,
            sequence: self.sequence,
            offset: None,
            incarnation: None,
        }))
    }
}

/// What comes next.
pub(super) enum Next {
    /// Say this.
    Message(Box<ServerToDashboard>),
    /// Read on in the store, and hand it to [`FeedEncoder::stored`].
    Read(CommandId, Cursor),
    /// Look up where to begin, and hand it to [`FeedEncoder::located`].
    Seek(CommandId, Seek),
    /// Nothing new.
    Nothing,
}

impl FeedEncoder {
    pub(super) fn new(
        fleet_view: Arc<FleetView>,
        server: ServerInstanceId,
        subscriptions: Subscriptions,
        extensions: Option<&DashboardExtensions>,
        now: WallTime,
    ) -> Self {
        let feed = DashboardFeed::new(&fleet_view.look(), server, subscriptions, extensions, now);
        let format = feed.capabilities().output_format();
        let (lines, unfinished, ready) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Self { fleet_view, feed, format, lines, unfinished, ready }
    }

    pub(super) fn greet(&mut self, hello: Option<MessageId>, now: WallTime) {
        self.feed.greet(hello, now);
    }

    pub(super) fn watch(&mut self, subscriptions: Subscriptions) {
        self.feed.watch(&self.fleet_view.look(), subscriptions);
    }

    pub(super) fn scan_agents(&mut self, now: WallTime) {
        let view = self.fleet_view.look();
        self.feed.scan_agents(&view, now);
        let Self { lines, unfinished, .. } = self;
        lines.retain(|command, begun| {
            let is_kept = view.command(command).is_some();
            if let Some(due) = begun.due.filter(|_| !is_kept) {
                let _ = unfinished.remove(&(due, command.clone()));
            }
            is_kept
        });
    }

    /// When to look for unfinished lines.
    pub(super) fn deadline(&self) -> Deadline {
        self.unfinished.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Shows unfinished lines of which nothing more came for some time.
    pub(super) fn flush(&mut self, now: Timestamp) {
        while let Some((due, command)) = self.unfinished.pop_first() {
            if due > now {
                let _ = self.unfinished.insert((due, command));
                return;
            }
            let Some(begun) = self.lines.get_mut(&command) else { continue };
            begun.due = None;
            let left = begun.assembler.flush(now);
            let view = self.fleet_view.look();
            let agent = view.command(&command).map(|entry| entry.agent.clone());
            drop(view);
            if let Some(agent) = agent {
                let shown = self.feed.shown(&command, &agent);
                for (stream, line) in left {
                    let lines = LinesOf::new(shown.clone(), agent.clone(), stream, [line]);
                    self.ready.push_back(Ready::Lines(lines));
                }
            }
        }
    }

    pub(super) fn refresh(&mut self) {
        self.feed.refresh();
    }

    pub(super) fn subscribe(&mut self, id: Option<MessageId>, what: Subscription, now: WallTime) {
        self.feed.subscribe(&self.fleet_view.look(), id, what, now);
    }

    pub(super) fn unsubscribe(&mut self, id: Option<MessageId>, what: &Subscription) {
        self.feed.unsubscribe(&self.fleet_view.look(), id, what);
    }

    /// Whether answers wait for the link.
    pub(super) fn is_behind(&self) -> bool {
        !self.ready.is_empty() || self.feed.is_behind()
    }

    pub(super) fn located(&mut self, command: &CommandId, cursor: Cursor) {
        self.feed.located(command, cursor);
    }

    pub(super) fn stored(&mut self, command: &CommandId, records: Vec<LogRecord>) {
        self.feed.stored(&self.fleet_view.look(), command, records);
    }

    pub(super) const fn capabilities(&self) -> Capabilities {
        self.feed.capabilities()
    }

    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        loop {
            match self.ready.pop_front() {
                Some(Ready::Message(message)) => return Next::Message(message),
                Some(Ready::Lines(mut lines)) => {
                    if let Some(message) = lines.frame() {
                        self.ready.push_front(Ready::Lines(lines));
                        return Next::Message(Box::new(message));
                    }
                    continue;
                }
                None => {}
            }
            let item = self.feed.next(&self.fleet_view.look());
            match item {
                FeedItem::Message(message) => return Next::Message(message),
                FeedItem::Output { command, shown, agent, record, generation } => {
                    // Of a short piece there may be no whole line yet.
                    let text = self.output(command, shown, agent, record, generation, now);
                    self.ready.extend(text);
                }
                FeedItem::Ended { command, shown, agent, generation, end } => {
                    self.finish(&command, &shown, &agent, generation);
                    let end = end.into_iter().map(|message| Ready::Message(Box::new(message)));
                    self.ready.extend(end);
                }
                FeedItem::Read(command, cursor) => return Next::Read(command, cursor),
                FeedItem::Seek(command, seek) => return Next::Seek(command, seek),
                FeedItem::Nothing => return Next::Nothing,
            }
        }
    }

    /// A record in the form that the dashboard takes, if it gives any.
    fn output(
        &mut self,
        command: CommandId,
        command_id: CommandId,
        agent: AgentId,
        record: LogRecord,
        generation: u32,
        now: Timestamp,
    ) -> Option<Ready> {
        let message = |message| Some(Ready::Message(Box::new(message)));
        let LogRecord { incarnation, sequence, stream, offset, body, at } = record;
        let text = match (body, self.format) {
            (StoredBody::Gap { .. }, OutputFormat::Bytes) => return None,
            (StoredBody::Gap { length, because }, OutputFormat::Records) => {
                return message(ServerToDashboard::OutputGap(OutputGap {
                    command_id,
                    agent_id: Some(agent),
                    incarnation,
                    stream_type: stream.into(),
                    sequence,
                    offset,
                    length,
                    because,
                    timestamp: Some(at),
                }));
            }
            (StoredBody::Chunk(bytes), OutputFormat::Bytes | OutputFormat::Records) => {
                return message(ServerToDashboard::TerminalStream(TerminalStream {
                    command_id,
                    agent_id: Some(agent),
                    stream: stream.into(),
                    content: StreamContent::Bytes(OutputContent::from_bytes(&bytes)),
                    timestamp: Some(at),
                    sequence: Some(sequence),
                    offset: Some(offset),
                    incarnation: Some(incarnation),
                }));
            }
            (StoredBody::Chunk(bytes), OutputFormat::Lines) => {
                self.lines_of(command, generation, stream, &bytes, now)
            }
            (StoredBody::Gap { length, because }, OutputFormat::Lines) => {
                let mut text = self.lines_of(command, generation, stream, b"\n", now);
                text.retain(|line| !line.is_empty());
                text.push(gap_notice(length, because));
                text
            }
        };
        (!text.is_empty()).then(|| {
            let lines = LinesOf::new(command_id, agent, stream, text);
            Ready::Lines(LinesOf { at: Some(at), sequence: Some(sequence), ..lines })
        })
    }

    /// The lines of a command that are whole with these bytes.
    fn lines_of(
        &mut self,
        command: CommandId,
        generation: u32,
        stream: Stream,
        bytes: &[u8],
        now: Timestamp,
    ) -> Vec<String> {
        let begun = self.lines.entry(command.clone()).or_default();
        if begun.generation != generation {
            (begun.generation, begun.assembler) = (generation, LineAssembler::default());
        }
        let lines = begun.assembler.push(stream, bytes, now);
        let due = match begun.assembler.deadline() {
            Deadline::At(at) => Some(at),
            Deadline::Never => None,
        };
        if begun.due != due {
            if let Some(before) = begun.due {
                let _ = self.unfinished.remove(&(before, command.clone()));
            }
            begun.due = due;
            if let Some(at) = due {
                let _ = self.unfinished.insert((at, command));
            }
        }
        lines
    }

    /// What is left of the lines of a command that is over.
    fn finish(&mut self, command: &CommandId, shown: &CommandId, agent: &AgentId, generation: u32) {
        let Some(mut begun) = self.lines.remove(command) else { return };
        if let Some(due) = begun.due {
            let _ = self.unfinished.remove(&(due, command.clone()));
        }
        if begun.generation != generation {
            return;
        }
        for (stream, line) in begun.assembler.finish() {
            let lines = LinesOf::new(shown.clone(), agent.clone(), stream, [line]);
            self.ready.push_back(Ready::Lines(lines));
        }
    }
}
