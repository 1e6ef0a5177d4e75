//! Output in the form that a dashboard takes: bytes as they are, in texts or in binary messages, or lines for a legacy
//! dashboard.

use super::item::FeedItem;
use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId};
use crate::model::{Capabilities, OutputFormat, Stream};
use crate::output::{CHUNK_BYTES, LineAssembler, LogRecord, Pieces, StoredBody};
use crate::time::{Deadline, Timestamp, WallTime};
use crate::wire::payload::{OutputContent, OutputGap, StreamContent, TerminalStream};
use crate::wire::{ServerToDashboard, StreamFrame};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes of unfinished lines of one dashboard. When there are more, the oldest are sent unfinished.
pub(super) const MOST_UNFINISHED: usize = 256 * 1024;

/// Bytes of joined chunks: with its head the message stays below 32 KiB, and so in one WebSocket frame.
const JOINED_BYTES: usize = CHUNK_BYTES - 1024;

/// Chunks that were received further apart are not joined: a message has one time.
const JOINED_WITHIN_MS: i64 = 1000;

/// A command as the source of output for a dashboard.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) command: CommandId,
    /// The id that the dashboard knows it by.
    pub(super) shown: CommandId,
    /// The agent that runs it.
    pub(super) agent: AgentId,
    /// Grows when its output is restarted for this dashboard. An unfinished line of an earlier generation is not
    /// continued.
    pub(super) generation: u32,
}

/// Turns the output of all commands into messages, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Output {
    format: OutputFormat,
    framing: Framing,
    capabilities: Capabilities,
    /// Unfinished lines, for a dashboard that takes lines.
    lines: BTreeMap<CommandId, Begun>,
    /// When to look for unfinished lines, by command.
    unfinished: BTreeSet<(Timestamp, CommandId)>,
    /// Bytes of unfinished lines.
    unfinished_bytes: usize,
    ready: VecDeque<Ready>,
}

/// The lines of a command that are being assembled.
#[derive(Clone, Debug)]
struct Begun {
    source: Source,
    assembler: LineAssembler,
    /// When it is due in [`Output::unfinished`].
    due: Option<Timestamp>,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Each chunk as a text.
    Text,
    /// In binary messages, neighbours in one.
    Binary,
}

#[derive(Clone, Debug)]
enum Ready {
    Message(Box<ServerToDashboard>),
    /// A binary message with this many bytes of output, which others may still join.
    Frame(Box<StreamFrame>, usize),
    /// Bytes that are sent in pieces: an earlier version stored chunks of any length.
    Pieces(Box<TerminalStream>, Pieces),
    Lines(Lines),
}

/// Lines that are sent one at a time, because existing dashboards join a list of them with commas. Each is sent in the
/// session of its command and in that of its agent, which is the only one that their agents page shows.
#[derive(Clone, Debug)]
struct Lines {
    sessions: Vec<CommandId>,
    /// The session that the first of the lines is for.
    next: usize,
    agent: AgentId,
    stream: Stream,
    lines: VecDeque<String>,
    at: Option<WallTime>,
    sequence: Option<ChunkSequence>,
}

impl Lines {
    fn new(source: &Source, stream: Stream, lines: impl IntoIterator<Item = String>) -> Self {
        let Source { shown, agent, .. } = source.clone();
        let own = CommandId::of_session(&agent);
        let sessions = if shown == own { alloc::vec![own] } else { alloc::vec![shown, own] };
        let lines = lines.into_iter().collect();
        Self { sessions, next: 0, agent, stream, lines, at: None, sequence: None }
    }

    fn next(&mut self) -> Option<ServerToDashboard> {
        let is_last = self.next + 1 >= self.sessions.len();
        let line = if is_last { self.lines.pop_front() } else { self.lines.front().cloned() }?;
        let command_id = self.sessions.get(self.next)?.clone();
        self.next = if is_last { 0 } else { self.next + 1 };
        Some(ServerToDashboard::TerminalStream(TerminalStream {
            command_id,
            agent_id: Some(self.agent.clone()),
            stream: self.stream.into(),
            content: StreamContent::Lines(alloc::vec![line]),
            timestamp: self.at,
            sequence: self.sequence,
            offset: None,
            incarnation: None,
        }))
    }
}

/// A piece of output that begins there.
fn piece_of(whole: &TerminalStream, at: u64, body: StoredBody) -> ServerToDashboard {
    let bytes = match body {
        StoredBody::Chunk(bytes) => bytes,
        StoredBody::Gap { .. } => Bytes::new(),
    };
    let offset = whole.offset.map(|offset| ByteOffset(offset.0.saturating_add(at)));
    let content = StreamContent::Bytes(OutputContent::from_bytes(&bytes));
    ServerToDashboard::TerminalStream(TerminalStream { offset, content, ..whole.clone() })
}

impl Output {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        let framing = match capabilities.output_is_binary() {
            true => Framing::Binary,
            false => Framing::Text,
        };
        Self {
            format: capabilities.output_format(),
            framing,
            capabilities,
            lines: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            unfinished_bytes: 0,
            ready: VecDeque::new(),
        }
    }

    /// The next message, if one is ready.
    pub(super) fn next(&mut self) -> Option<FeedItem> {
        loop {
            match self.ready.front_mut()? {
                Ready::Lines(lines) => match lines.next() {
                    Some(message) => return Some(FeedItem::Message(Box::new(message))),
                    None => drop(self.ready.pop_front()),
                },
                Ready::Pieces(whole, pieces) => {
                    let message = pieces.next().map(|(at, body)| piece_of(whole, at, body));
                    if pieces.is_empty() {
                        drop(self.ready.pop_front());
                    }
                    if let Some(message) = message {
                        return Some(FeedItem::Message(Box::new(message)));
                    }
                }
                Ready::Message(_) | Ready::Frame(..) => match self.ready.pop_front()? {
                    Ready::Message(message) => return Some(FeedItem::Message(message)),
                    Ready::Frame(frame, _) => return Some(FeedItem::Stream(frame)),
                    Ready::Lines(_) | Ready::Pieces(..) => {}
                },
            }
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When to look for unfinished lines.
    pub(super) fn deadline(&self) -> Deadline {
        self.unfinished.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Takes output of a command. A short piece may not complete a line.
    pub(super) fn wrote(&mut self, source: &Source, record: LogRecord, now: Timestamp) {
        let LogRecord { incarnation, sequence, stream, offset, body, at } = record;
        let (command_id, agent_id) = (source.shown.clone(), Some(source.agent.clone()));
        match (body, self.format) {
            // Who reads bytes sees it in the offset of the next message.
            (StoredBody::Gap { .. }, OutputFormat::Bytes) => {}
            (StoredBody::Gap { length, because }, OutputFormat::Records) => {
                let message = ServerToDashboard::OutputGap(OutputGap {
                    command_id,
                    agent_id,
                    incarnation,
                    stream_type: stream.into(),
                    sequence,
                    offset,
                    length,
                    because: because.as_told(self.capabilities),
                    timestamp: Some(at),
                });
                self.ready.push_back(Ready::Message(Box::new(message)));
            }
            (StoredBody::Chunk(bytes), OutputFormat::Bytes | OutputFormat::Records)
                if self.framing == Framing::Binary && bytes.len() <= CHUNK_BYTES =>
            {
                let joined = bytes.len();
                let frame = StreamFrame {
                    command_id,
                    agent_id: source.agent.clone(),
                    incarnation,
                    stream,
                    sequence,
                    offset,
                    timestamp: at,
                    chunks: alloc::vec![bytes],
                };
                self.ready.push_back(Ready::Frame(Box::new(frame), joined));
            }
            (StoredBody::Chunk(bytes), OutputFormat::Bytes | OutputFormat::Records) => {
                let whole = Box::new(TerminalStream {
                    command_id,
                    agent_id,
                    stream: stream.into(),
                    content: StreamContent::Lines(Vec::new()),
                    timestamp: Some(at),
                    sequence: Some(sequence),
                    offset: Some(offset),
                    incarnation: Some(incarnation),
                });
                let pieces = StoredBody::Chunk(bytes).into_pieces();
                self.ready.push_back(Ready::Pieces(whole, pieces));
            }
            (body, OutputFormat::Lines) => {
                let whole = self.assemble(source, |assembler| match body {
                    StoredBody::Chunk(bytes) => assembler.push(stream, bytes, now),
                    StoredBody::Gap { length, because } => assembler.gap(stream, length, because),
                });
                if !whole.is_empty() {
                    let lines = Lines::new(source, stream, whole);
                    let lines = Lines { at: Some(at), sequence: Some(sequence), ..lines };
                    self.ready.push_back(Ready::Lines(lines));
                }
                self.make_room();
            }
        }
    }

    /// Takes the next record of the command whose output was taken last into the same message; gives it back if it is
    /// not to be.
    pub(super) fn join(&mut self, record: LogRecord) -> Option<LogRecord> {
        let Some(Ready::Frame(frame, joined)) = self.ready.back_mut() else { return Some(record) };
        let StoredBody::Chunk(bytes) = &record.body else { return Some(record) };
        let is_neighbour = (record.incarnation, record.stream) == (frame.incarnation, frame.stream)
            && record.offset.0 == frame.offset.0.saturating_add(*joined as u64);
        let apart = record.at.unix_millis().saturating_sub(frame.timestamp.unix_millis());
        if !is_neighbour
            || joined.saturating_add(bytes.len()) > JOINED_BYTES
            || !(0..=JOINED_WITHIN_MS).contains(&apart)
        {
            return Some(record);
        }
        *joined = joined.saturating_add(bytes.len());
        frame.sequence = record.sequence;
        frame.chunks.push(bytes.clone());
        None
    }

    /// Adds to the lines of a command, and returns those that are complete.
    fn assemble(
        &mut self,
        source: &Source,
        tell: impl FnOnce(&mut LineAssembler) -> Vec<String>,
    ) -> Vec<String> {
        let mut begun = match self.take(&source.command) {
            // Read again from an earlier position, the output would be joined to a line that it is not a part of.
            Some(begun) if begun.source.generation == source.generation => begun,
            Some(_) | None => {
                let (source, assembler) = (source.clone(), LineAssembler::default());
                Begun { source, assembler, due: None }
            }
        };
        let whole = tell(&mut begun.assembler);
        self.put(begun);
        whole
    }

    /// Takes the lines of a command out.
    fn take(&mut self, command: &CommandId) -> Option<Begun> {
        let begun = self.lines.remove(command)?;
        if let Some(due) = begun.due {
            let _ = self.unfinished.remove(&(due, command.clone()));
        }
        self.unfinished_bytes = self.unfinished_bytes.saturating_sub(begun.assembler.byte_count());
        Some(begun)
    }

    fn put(&mut self, mut begun: Begun) {
        self.unfinished_bytes = self.unfinished_bytes.saturating_add(begun.assembler.byte_count());
        begun.due = match begun.assembler.deadline() {
            Deadline::At(at) => Some(at),
            Deadline::Never => None,
        };
        let command = begun.source.command.clone();
        if let Some(at) = begun.due {
            let _ = self.unfinished.insert((at, command.clone()));
        }
        let _ = self.lines.insert(command, begun);
    }

    /// Sends unfinished lines that got no more text for some time.
    pub(super) fn flush(&mut self, now: Timestamp) {
        while self.deadline().is_due(now) && self.show_oldest() {}
    }

    /// A command that writes no line ends would keep the memory of all others of this dashboard. The oldest is shown
    /// first: it has had the most time to be completed.
    fn make_room(&mut self) {
        while self.unfinished_bytes > MOST_UNFINISHED && self.show_oldest() {}
    }

    /// Sends the oldest unfinished lines as they are. Whether there are any.
    fn show_oldest(&mut self) -> bool {
        let oldest = self.unfinished.first().map(|(_, command)| command.clone());
        let Some(mut begun) = oldest.and_then(|command| self.take(&command)) else { return false };
        self.show(&begun.source, begun.assembler.flush());
        self.put(begun);
        true
    }

    fn show(&mut self, source: &Source, unfinished: Vec<(Stream, String)>) {
        for (stream, line) in unfinished {
            self.ready.push_back(Ready::Lines(Lines::new(source, stream, [line])));
        }
    }

    /// All output of a command was sent: its unfinished lines follow, then its end.
    pub(super) fn ended(&mut self, source: &Source, end: Vec<ServerToDashboard>) {
        if let Some(begun) = self.take(&source.command)
            && begun.source.generation == source.generation
        {
            self.show(source, begun.assembler.finish());
        }
        let end = end.into_iter().map(|message| Ready::Message(Box::new(message)));
        self.ready.extend(end);
    }

    /// Forgets the unfinished lines of commands that were removed.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&CommandId) -> bool) {
        let gone: Vec<CommandId> = self.lines.keys().filter(|id| !is_kept(id)).cloned().collect();
        for command in gone {
            let _ = self.take(&command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;
    use crate::model::{DASHBOARD_FEATURES, Dialect, Feature};
    use crate::output::GapCause;
    use core::time::Duration;

    fn source(command: &str, generation: u32) -> Source {
        let command = CommandId::new(command);
        Source { shown: command.clone(), command, agent: AgentId::new("ada"), generation }
    }

    fn record(body: StoredBody) -> LogRecord {
        LogRecord {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(1),
            stream: Stream::Stdout,
            offset: ByteOffset(0),
            body,
            at: WallTime::default(),
        }
    }

    fn chunk(text: &str) -> LogRecord {
        record(StoredBody::Chunk(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_millis(ms))
    }

    /// The next text.
    fn message(output: &mut Output) -> Option<ServerToDashboard> {
        match output.next()? {
            FeedItem::Message(message) => Some(*message),
            other => panic!("{other:?}"),
        }
    }

    fn to(features: &[Feature]) -> Output {
        let dialect = if features.is_empty() { Dialect::Legacy } else { Dialect::Extended };
        Output::new(Capabilities::negotiate(DASHBOARD_FEATURES, features, dialect))
    }

    /// What is sent: the session of each line, and the line.
    fn told(output: &mut Output) -> Vec<(String, String)> {
        core::iter::from_fn(|| message(output))
            .map(|message| match message {
                ServerToDashboard::TerminalStream(TerminalStream {
                    command_id,
                    content: StreamContent::Lines(lines),
                    ..
                }) => (command_id.as_str().into(), lines.join("|")),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(session, line)| ((*session).into(), (*line).into())).collect()
    }

    #[test]
    fn each_line_is_shown_in_the_session_of_its_command_and_of_its_agent() {
        let mut output = to(&[]);
        output.wrote(&source("c", 0), chunk("one\ntwo\nthr"), at(0));
        let own = CommandId::of_session(&AgentId::new("ada"));
        let own = own.as_str();
        assert_eq!(
            told(&mut output),
            pairs(&[("c", "one"), (own, "one"), ("c", "two"), (own, "two")])
        );
        output.ended(&source("c", 0), Vec::new());
        assert_eq!(told(&mut output), pairs(&[("c", "thr"), (own, "thr")]));
        // Output of an agent outside of its commands has one session only.
        let beside = Source { shown: CommandId::new(own), ..source("t", 0) };
        output.wrote(&beside, chunk("x\n"), at(0));
        assert_eq!(told(&mut output), pairs(&[(own, "x")]));
    }

    #[test]
    fn an_unfinished_line_is_shown_after_a_silence_and_a_gap_in_its_place() {
        let mut output = to(&[]);
        let lines = |output: &mut Output| -> Vec<String> {
            told(output).into_iter().step_by(2).map(|(_, line)| line).collect()
        };
        output.wrote(&source("c", 0), chunk("[y/N] "), at(0));
        output.wrote(&source("d", 0), chunk("still "), at(200));
        assert_eq!(output.deadline(), Deadline::At(at(300)));
        output.flush(at(299));
        assert_eq!(lines(&mut output), Vec::<String>::new());
        output.flush(at(300));
        assert_eq!(
            (lines(&mut output), output.deadline()),
            (alloc::vec!["[y/N] ".into()], Deadline::At(at(500)))
        );
        let gap = StoredBody::Gap { length: Some(7), because: GapCause::SpoolFull };
        output.wrote(&source("d", 0), record(gap), at(250));
        let notice = crate::model::gap_notice(Some(7), GapCause::SpoolFull);
        assert_eq!(lines(&mut output), ["still ", &*notice]);
        assert_eq!(output.deadline(), Deadline::Never);
    }

    #[test]
    fn an_unfinished_line_is_not_continued_in_output_that_restarts() {
        let mut output = to(&[]);
        output.wrote(&source("c", 0), chunk("left"), at(0));
        output.wrote(&source("c", 1), chunk("right\n"), at(0));
        assert_eq!(told(&mut output).first().map(|(_, line)| &**line), Some("right"));
        assert_eq!((output.unfinished_bytes, output.deadline()), (0, Deadline::Never));
    }

    #[test]
    fn unfinished_lines_of_many_commands_stay_within_their_bound_and_are_all_shown() {
        let mut output = to(&[]);
        let piece = "x".repeat(10_000);
        let mut shown = Vec::new();
        for n in 0..100 {
            output.wrote(&source(&alloc::format!("c-{n:03}"), 0), chunk(&piece), at(n));
            assert!(
                output.unfinished_bytes <= MOST_UNFINISHED,
                "{} after {n}",
                output.unfinished_bytes
            );
            shown.extend(told(&mut output).into_iter().step_by(2).map(|(session, _)| session));
        }
        assert!(shown.len() > 70, "{}", shown.len());
        output.flush(at(10_000));
        shown.extend(told(&mut output).into_iter().step_by(2).map(|(session, _)| session));
        let all: Vec<String> = (0..100).map(|n| alloc::format!("c-{n:03}")).collect();
        assert_eq!((shown, output.unfinished_bytes), (all, 0), "the oldest first, and each once");
    }

    /// An earlier version stored chunks of any length; in one message some would be too long for the link.
    #[test]
    fn what_is_stored_longer_than_a_chunk_is_sent_in_pieces() {
        let mut output = to(&[Feature::OutputBytes]);
        let text = "\u{1}".repeat(1 << 20);
        output.wrote(&source("c", 0), chunk(&text), at(0));
        let mut whole = 0_u64;
        while let Some(message) = message(&mut output) {
            let id = crate::id::MessageId::new("m");
            let bytes = crate::wire::encode(&id, WallTime::default(), &message).len();
            assert!(bytes <= 6 * 32 * 1024 + 1024, "{bytes}");
            let ServerToDashboard::TerminalStream(TerminalStream {
                content: StreamContent::Bytes(content),
                offset,
                ..
            }) = message
            else {
                panic!("not output")
            };
            assert_eq!(offset, Some(ByteOffset(whole)));
            whole += content.as_bytes().len() as u64;
        }
        assert_eq!(whole, 1 << 20);
    }

    fn binary() -> Output {
        to(&[Feature::OutputBytes, Feature::OutputSpool, Feature::OutputBinary])
    }

    /// The chunk of this number, which begins there.
    fn part(sequence: u64, offset: u64, bytes: Bytes) -> LogRecord {
        LogRecord {
            sequence: ChunkSequence(sequence),
            offset: ByteOffset(offset),
            ..record(StoredBody::Chunk(bytes))
        }
    }

    /// The records of one command are taken one after the other: what each message says of its place, its last chunk
    /// and its length.
    fn frames(records: impl IntoIterator<Item = LogRecord>) -> Vec<(u64, u64, usize)> {
        let mut output = binary();
        for record in records {
            if let Some(record) = output.join(record) {
                output.wrote(&source("c", 0), record, at(0));
            }
        }
        core::iter::from_fn(|| output.next())
            .map(|item| match item {
                FeedItem::Stream(f) => (f.offset.0, f.sequence.0, f.byte_count()),
                FeedItem::Message(_) => (0, 0, 0),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    const GAP: (u64, u64, usize) = (0, 0, 0);

    #[test]
    fn neighbours_of_one_stream_go_in_one_message() {
        let ten = || Bytes::from_static(b"0123456789");
        assert_eq!(frames((0..3).map(|n| part(n + 1, n * 10, ten()))), [(0, 3, 30)]);
        let apart = [part(1, 0, ten()), part(2, 20, ten())];
        assert_eq!(frames(apart), [(0, 1, 10), (20, 2, 10)], "something is missing between them");
        let other = LogRecord { stream: Stream::Stderr, ..part(2, 10, ten()) };
        let streams = [part(1, 0, ten()), other, part(3, 10, ten())];
        assert_eq!(frames(streams), [(0, 1, 10), (10, 2, 10), (10, 3, 10)]);
        let next = LogRecord { incarnation: Incarnation(2), ..part(1, 10, ten()) };
        assert_eq!(frames([part(1, 0, ten()), next]), [(0, 1, 10), (10, 1, 10)]);
        let body = StoredBody::Gap { length: Some(5), because: GapCause::SpoolFull };
        let gap = LogRecord { body, ..part(2, 10, ten()) };
        assert_eq!(
            frames([part(1, 0, ten()), gap, part(3, 15, ten())]),
            [(0, 1, 10), GAP, (15, 3, 10)],
            "a gap is told where it is"
        );
    }

    #[test]
    fn a_message_has_31_kib_at_most_and_the_time_of_a_second() {
        let piece =
            |n: u64, bytes: usize, before: u64| part(n, before, alloc::vec![b'x'; bytes].into());
        let most = JOINED_BYTES as u64;
        let full = [piece(1, JOINED_BYTES - 1, 0), piece(2, 1, most - 1), piece(3, 1, most)];
        assert_eq!(frames(full), [(0, 2, JOINED_BYTES), (most, 3, 1)]);
        assert_eq!(frames([piece(1, CHUNK_BYTES, 0)]), [(0, 1, CHUNK_BYTES)], "one alone");
        let late = |ms| LogRecord { at: WallTime::from_unix_millis(ms), ..piece(2, 1, 1) };
        assert_eq!(frames([piece(1, 1, 0), late(JOINED_WITHIN_MS)]).len(), 1);
        assert_eq!(frames([piece(1, 1, 0), late(JOINED_WITHIN_MS + 1)]).len(), 2);
        assert_eq!(frames([piece(1, 1, 0), late(-1)]).len(), 2, "the clock was set");
    }

    #[test]
    fn a_removed_command_leaves_nothing() {
        let mut output = to(&[]);
        output.wrote(&source("c", 0), chunk("left"), at(0));
        output.keep(|_| false);
        assert_eq!(
            (output.unfinished_bytes, output.deadline(), output.lines.len()),
            (0, Deadline::Never, 0)
        );
    }
}
