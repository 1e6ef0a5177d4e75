//! Puts into frames what the feed of a dashboard gives: bytes as they are, or lines for a legacy one. What is
//! told, and when, is decided by the feed ([`onsembl_protocol::fleet::DashboardFeed`]).

use super::line_assembler::LineAssembler;
use crate::fleet_view::FleetView;
use crate::store::Cursor;
use onsembl_protocol::fleet::{DashboardFeed, FeedItem, LogRecord, Seek, StoredBody};
use onsembl_protocol::id::{AgentId, CommandId, MessageId, ServerInstanceId};
use onsembl_protocol::model::{Capabilities, OutputFormat, gap_notice};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{
    DashboardExtensions, OutputContent, OutputGap, StreamContent, Subscription, Subscriptions,
    TerminalStream,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The feed of one dashboard over the fleet view of its user.
pub(super) struct FeedEncoder {
    fleet_view: Arc<FleetView>,
    feed: DashboardFeed,
    format: OutputFormat,
    /// What is begun of lines, for a dashboard that takes lines. Of a command whose output began anew it is
    /// of before.
    lines: BTreeMap<CommandId, (u32, LineAssembler)>,
    ready: VecDeque<ServerToDashboard>,
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
        Self { fleet_view, feed, format, lines: BTreeMap::new(), ready: VecDeque::new() }
    }

    pub(super) fn greet(&mut self, hello: Option<MessageId>, now: WallTime) {
        self.feed.greet(&self.fleet_view.look(), hello, now);
    }

    pub(super) fn watch(&mut self, subscriptions: Subscriptions) {
        self.feed.watch(&self.fleet_view.look(), subscriptions);
    }

    pub(super) fn scan_agents(&mut self, now: WallTime) {
        let view = self.fleet_view.look();
        self.feed.scan_agents(&view, now);
        self.lines.retain(|command, _| view.command(command).is_some());
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

    pub(super) fn next(&mut self) -> Next {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Next::Message(Box::new(message));
            }
            let item = self.feed.next(&self.fleet_view.look());
            match item {
                FeedItem::Message(message) => return Next::Message(message),
                FeedItem::Output { command, shown, agent, record, generation } => {
                    // Of a short piece there may be no whole line yet.
                    let text = self.output(command, shown, agent, record, generation);
                    self.ready.extend(text);
                }
                FeedItem::Ended { command, shown, agent, generation, end } => {
                    self.finish(&command, &shown, &agent, generation);
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
    ) -> Option<ServerToDashboard> {
        let LogRecord { incarnation, sequence, stream, offset, body, at } = record;
        let text = match (body, self.format) {
            (StoredBody::Gap { .. }, OutputFormat::Bytes) => return None,
            (StoredBody::Gap { length, because }, OutputFormat::Records) => {
                return Some(ServerToDashboard::OutputGap(OutputGap {
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
                return Some(ServerToDashboard::TerminalStream(TerminalStream {
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
                self.lines_of(command, generation).push(stream, &bytes)
            }
            (StoredBody::Gap { length, because }, OutputFormat::Lines) => {
                let mut text = self.lines_of(command, generation).push(stream, b"\n");
                text.retain(|line| !line.is_empty());
                text.push(gap_notice(length, because));
                text
            }
        };
        (!text.is_empty()).then(|| {
            ServerToDashboard::TerminalStream(TerminalStream {
                command_id,
                agent_id: Some(agent),
                stream: stream.into(),
                content: StreamContent::Lines(text),
                timestamp: Some(at),
                sequence: Some(sequence),
                offset: None,
                incarnation: None,
            })
        })
    }

    fn lines_of(&mut self, command: CommandId, generation: u32) -> &mut LineAssembler {
        let (begun, lines) = self.lines.entry(command).or_default();
        if *begun != generation {
            (*begun, *lines) = (generation, LineAssembler::default());
        }
        lines
    }

    /// What is left of the lines of a command that is over.
    fn finish(&mut self, command: &CommandId, shown: &CommandId, agent: &AgentId, generation: u32) {
        let left = self.lines.remove(command).filter(|(begun, _)| *begun == generation);
        for (stream, line) in left.map(|(_, mut lines)| lines.finish()).unwrap_or_default() {
            self.ready.push_back(ServerToDashboard::TerminalStream(TerminalStream {
                command_id: shown.clone(),
                agent_id: Some(agent.clone()),
                stream: stream.into(),
                content: StreamContent::Lines(vec![line]),
                timestamp: None,
                sequence: None,
                offset: None,
                incarnation: None,
            }));
        }
    }
}
