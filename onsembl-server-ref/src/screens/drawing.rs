//! One screen and how far it is drawn: records of output and sizes go in, in the order of their places.

use crate::store::{Cursor, KEYFRAME_BYTES, Keyframe, StoredBody, StoredRecord, StreamPosition};
use onsembl_protocol::id::{ByteOffset, CommandId, Incarnation};
use onsembl_protocol::model::{SizeRecord, Stream, TerminalSize};
use onsembl_transport::screen::{Look, Screen};
use std::collections::VecDeque;
use std::time::Instant;

/// Output of a terminal between two keyframes.
pub(crate) const KEYFRAME_EVERY: u64 = 256 * 1024;

/// What pipes write goes to the next line with each line feed, as a terminal would have it.
const LINES_OF_PIPES: &[u8] = b"\x1b[20h";
/// Ends a sequence of which the rest is missing.
const CANCEL: &[u8] = b"\x18";

/// Records to be drawn, in order.
pub(super) type Page = VecDeque<StoredRecord>;

/// Where a screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The run; `None` if nothing is stored of any.
    pub(crate) incarnation: Option<Incarnation>,
    /// Of a terminal, the end of what is drawn of its stream; of another command how much is.
    pub(crate) offset: ByteOffset,
    pub(crate) size: TerminalSize,
    /// Whether all is drawn that was written.
    pub(crate) whole: bool,
}

#[derive(Debug)]
pub(super) struct Drawing {
    of: Kind,
    screen: Screen,
    run: Option<Incarnation>,
    offset: ByteOffset,
    /// Behind which record it continues.
    cursor: Cursor,
    whole: bool,
    /// All that are known, in the order of their places.
    sizes: Vec<SizeRecord>,
    /// Output since the last keyframe.
    since_keyframe: u64,
    /// How much is drawn of a record of a pipe that is not drawn whole yet.
    begun: usize,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Terminal,
    /// The output of both pipes, in the order in which it came.
    Pipes,
}

impl Drawing {
    pub(super) fn new(command: &CommandId) -> Self {
        let of = if command.is_terminal() { Kind::Terminal } else { Kind::Pipes };
        Self {
            of,
            screen: Screen::new(TerminalSize::DEFAULT),
            run: None,
            offset: ByteOffset(0),
            cursor: None,
            whole: true,
            sizes: Vec::new(),
            since_keyframe: 0,
            begun: 0,
        }
    }

    /// Takes the sizes that are known now, and says behind which record it continues. It begins again if something that
    /// is drawn had another size.
    pub(super) fn begin(&mut self, sizes: Vec<SizeRecord>) -> Cursor {
        let drawn = |sizes: &[SizeRecord]| -> Vec<SizeRecord> {
            let reached = |record: &&SizeRecord| {
                self.run.is_some_and(|run| (record.incarnation, record.offset) < (run, self.offset))
            };
            sizes.iter().filter(reached).copied().collect()
        };
        if drawn(&sizes) != drawn(&self.sizes) {
            self.restart();
        }
        self.sizes = sizes;
        self.apply_sizes();
        self.cursor
    }

    /// Whether nothing is drawn yet.
    pub(super) const fn is_new(&self) -> bool {
        self.cursor.is_none()
    }

    /// Begins with a keyframe, if there is one. Behind which record it continues.
    pub(super) fn begin_behind(&mut self, frame: Option<Keyframe>) -> Cursor {
        let Some(frame) = frame else { return self.cursor };
        self.screen = Screen::new(frame.size);
        self.screen.feed(&frame.dump);
        (self.run, self.offset) = (Some(frame.incarnation), frame.offset);
        self.whole = frame.whole;
        self.cursor = frame.cursor();
        self.apply_sizes();
        self.cursor
    }

    /// Whether more than this is stored behind it.
    pub(super) fn is_far_behind(&self, positions: &[StreamPosition], furthest: u64) -> bool {
        let behind = |position: &StreamPosition| {
            let is_drawn = Some(position.incarnation) == self.run && self.of == Kind::Terminal;
            let drawn = if is_drawn { self.offset.0 } else { 0 };
            let is_over = self.run.is_some_and(|run| position.incarnation < run);
            if is_over { 0 } else { position.committed.0.saturating_sub(drawn).min(position.kept) }
        };
        positions.iter().map(behind).sum::<u64>() > furthest
    }

    /// Begins with an empty screen behind this record: what was written before is left out.
    pub(super) fn begin_at_tail(&mut self, tail: Cursor) -> Cursor {
        self.restart();
        self.whole = tail.is_none();
        self.cursor = tail;
        self.cursor
    }

    /// Which stream is read.
    pub(super) fn stream(&self, command: &CommandId) -> Option<Stream> {
        command.is_terminal().then_some(Stream::Terminal)
    }

    /// Draws records until this time, and takes those that are drawn out of the page. The keyframes that are to be kept
    /// come back.
    pub(super) fn draw(&mut self, page: &mut Page, until: Instant) -> Vec<Keyframe> {
        let mut frames = Vec::new();
        while let Some(record) = page.front()
            && Instant::now() < until
        {
            if self.run != Some(record.incarnation) {
                self.begin_run(record.incarnation, record.offset);
            }
            match &record.body {
                StoredBody::Chunk(bytes) => {
                    if !self.draw_chunk(record.offset, bytes, until) {
                        return frames;
                    }
                }
                StoredBody::Gap { length, .. } => {
                    self.whole = false;
                    self.screen.feed(CANCEL);
                    let end = record.offset.0.saturating_add(length.unwrap_or(0));
                    self.move_to(ByteOffset(end));
                }
            }
            if self.since_keyframe >= KEYFRAME_EVERY {
                self.since_keyframe = 0;
                frames.extend(self.keyframe(record));
            }
            self.begun = 0;
            self.cursor = Some((record.incarnation, record.sequence));
            let _drawn = page.pop_front();
        }
        frames
    }

    pub(super) fn shown(&self) -> Shown {
        Shown {
            incarnation: self.run,
            offset: self.offset,
            size: self.screen.size(),
            whole: self.whole && self.screen.faults() == 0,
        }
    }

    pub(super) fn look(&self) -> Look {
        self.screen.look()
    }

    pub(super) fn dump(&self) -> Vec<u8> {
        self.screen.dump()
    }

    fn restart(&mut self) {
        self.screen = Screen::new(TerminalSize::DEFAULT);
        (self.run, self.offset, self.cursor) = (None, ByteOffset(0), None);
        (self.whole, self.since_keyframe, self.begun) = (true, 0, 0);
    }

    fn begin_run(&mut self, run: Incarnation, first: ByteOffset) {
        self.run = Some(run);
        self.offset = match self.of {
            Kind::Terminal => first,
            Kind::Pipes => ByteOffset(0),
        };
        self.screen = Screen::new(self.size_at(self.offset).unwrap_or(TerminalSize::DEFAULT));
        if self.of == Kind::Pipes {
            self.screen.feed(LINES_OF_PIPES);
        }
    }

    /// Whether all of it is drawn.
    fn draw_chunk(&mut self, offset: ByteOffset, bytes: &[u8], until: Instant) -> bool {
        match self.of {
            Kind::Pipes => {
                let rest = bytes.get(self.begun..).unwrap_or_default();
                let taken = self.screen.feed_until(rest, until);
                self.offset = ByteOffset(self.offset.0.saturating_add(taken as u64));
                if taken < rest.len() {
                    self.begun += taken;
                    return false;
                }
            }
            Kind::Terminal => {
                // What is behind the next size is drawn at that size.
                let known = usize::try_from(self.offset.0.saturating_sub(offset.0));
                let known = known.unwrap_or(usize::MAX).min(bytes.len());
                let (_, mut rest) = bytes.split_at(known);
                self.move_to(self.offset.max(offset));
                while !rest.is_empty() {
                    if Instant::now() >= until {
                        return false;
                    }
                    let next_size = self.next_size().map_or(u64::MAX, |next| next.offset.0);
                    let room = usize::try_from(next_size.saturating_sub(self.offset.0));
                    let room = room.unwrap_or(usize::MAX).min(rest.len());
                    let (piece, _) = rest.split_at(room);
                    let taken = self.screen.feed_until(piece, until);
                    self.move_to(ByteOffset(self.offset.0.saturating_add(taken as u64)));
                    (_, rest) = rest.split_at(taken);
                }
                self.since_keyframe = self.since_keyframe.saturating_add(bytes.len() as u64);
            }
        }
        true
    }

    fn move_to(&mut self, offset: ByteOffset) {
        self.offset = self.offset.max(offset);
        self.apply_sizes();
    }

    /// The size that the terminal has where it is.
    fn apply_sizes(&mut self) {
        if let Some(size) = self.size_at(self.offset)
            && size != self.screen.size()
        {
            self.screen.resize(size);
        }
    }

    fn size_at(&self, offset: ByteOffset) -> Option<TerminalSize> {
        let run = self.run?;
        let of_run = self.sizes.iter().filter(|record| record.incarnation == run);
        of_run.take_while(|record| record.offset <= offset).last().map(|record| record.size)
    }

    fn next_size(&self) -> Option<&SizeRecord> {
        let run = self.run?;
        self.sizes.iter().find(|record| record.incarnation == run && record.offset > self.offset)
    }

    fn keyframe(&self, behind: &StoredRecord) -> Option<Keyframe> {
        let dump = self.screen.dump();
        (dump.len() <= KEYFRAME_BYTES).then(|| Keyframe {
            incarnation: behind.incarnation,
            sequence: behind.sequence,
            offset: self.offset,
            size: self.screen.size(),
            whole: self.shown().whole,
            dump,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use onsembl_protocol::id::{ChunkSequence, UserId};
    use onsembl_protocol::model::GapCause;
    use onsembl_protocol::time::WallTime;

    const RUN: Incarnation = Incarnation(1);

    fn later() -> Instant {
        Instant::now() + std::time::Duration::from_secs(60)
    }

    fn terminal() -> CommandId {
        CommandId::of_terminal("1")
    }

    fn record(sequence: u64, offset: u64, body: StoredBody) -> StoredRecord {
        StoredRecord {
            user: UserId::new("u"),
            command: terminal(),
            incarnation: RUN,
            sequence: ChunkSequence(sequence),
            stream: Stream::Terminal,
            offset: ByteOffset(offset),
            body,
            at: WallTime::default(),
        }
    }

    fn chunk(sequence: u64, offset: u64, text: &str) -> StoredRecord {
        record(sequence, offset, StoredBody::Chunk(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn size(offset: u64, columns: u64, rows: u64) -> SizeRecord {
        let size = TerminalSize::new(columns, rows).unwrap();
        SizeRecord { incarnation: RUN, offset: ByteOffset(offset), size }
    }

    fn drawn(sizes: &[SizeRecord], records: Vec<StoredRecord>) -> Drawing {
        let mut drawing = Drawing::new(&terminal());
        drawing.begin(sizes.to_vec());
        drawing.draw(&mut records.into(), later());
        drawing
    }

    #[test]
    fn each_byte_is_drawn_at_the_size_that_the_terminal_had_there() {
        // The status line is drawn in the last of three rows, and then in the last of five.
        let text = "\x1b[99;1Hlow\x1b[99;1Hlower";
        let sizes = [size(0, 20, 3), size(10, 30, 5)];
        let drawing = drawn(&sizes, vec![chunk(1, 0, text)]);
        assert_eq!(drawing.shown().size, sizes[1].size);
        assert_eq!(drawing.look().text(), "\n\nlow\n\nlower\n");
        assert!(drawing.shown().whole);
        assert_eq!(drawing.shown().offset, ByteOffset(text.len() as u64));
    }

    #[test]
    fn a_size_that_becomes_known_late_has_it_drawn_anew() {
        let mut drawing = drawn(&[size(0, 20, 3)], vec![chunk(1, 0, "\x1b[99;1Hlow")]);
        assert_eq!(drawing.begin(vec![size(0, 20, 3), size(10, 20, 5)]), drawing.cursor);
        assert!(!drawing.is_new(), "nothing of it was drawn behind that size");
        assert_eq!(drawing.shown().size.rows(), 5);
        assert_eq!(drawing.begin(vec![size(0, 20, 4), size(10, 20, 5)]), None);
        assert!(drawing.is_new());
    }

    #[test]
    fn a_gap_is_told_of_and_what_follows_is_drawn() {
        let because = GapCause::SpoolFull;
        let gap = StoredBody::Gap { length: Some(100), because };
        let records = vec![chunk(1, 0, "a\x1b[3"), record(2, 4, gap), chunk(3, 104, "b")];
        let drawing = drawn(&[], records);
        assert_eq!(drawing.look().text(), "ab\n");
        assert!(!drawing.shown().whole);
        assert_eq!(drawing.shown().offset, ByteOffset(105));
    }

    #[test]
    fn a_keyframe_is_left_for_each_piece_of_output_and_continues_exactly() {
        let line = "\x1b[1;32ma line of some length\x1b[0m\r\n".repeat(200);
        let mut records = Vec::new();
        let mut offset = 0;
        for sequence in 1..=100 {
            records.push(chunk(sequence, offset, &line));
            offset += line.len() as u64;
        }
        let sizes = [size(0, 40, 10)];
        let mut whole = Drawing::new(&terminal());
        whole.begin(sizes.to_vec());
        let frames = whole.draw(&mut records.clone().into(), later());
        assert_eq!(frames.len() as u64, offset / KEYFRAME_EVERY);
        let frame = frames.last().cloned();
        let mut again = Drawing::new(&terminal());
        again.begin(sizes.to_vec());
        let cursor = again.begin_behind(frame);
        let behind = |r: &StoredRecord| Some((r.incarnation, r.sequence)) > cursor;
        let rest: Vec<_> = records.into_iter().filter(behind).collect();
        assert!(rest.len() < 100);
        again.draw(&mut rest.into(), later());
        assert_eq!(again.look(), whole.look());
        assert_eq!(again.dump(), whole.dump());
        assert_eq!(again.shown(), whole.shown());
    }

    #[test]
    fn what_is_not_drawn_in_time_is_drawn_later_and_nothing_twice() {
        let mut drawing = Drawing::new(&terminal());
        drawing.begin(Vec::new());
        let text = "0123456789abcdefghijklmnopqrstuvwxyz\r\n".repeat(1000);
        let mut page: Page = vec![chunk(1, 0, &text), chunk(2, text.len() as u64, "end")].into();
        drawing.draw(&mut page, Instant::now());
        assert_eq!(page.len(), 2, "there was no time");
        while !page.is_empty() {
            drawing.draw(&mut page, Instant::now() + std::time::Duration::from_micros(200));
        }
        let once = drawn(&[], vec![chunk(1, 0, &text), chunk(2, text.len() as u64, "end")]);
        assert_eq!((drawing.look(), drawing.shown()), (once.look(), once.shown()));

        let of_a_pipe = || -> Page { vec![chunk(1, 0, &text), chunk(2, 0, "end")].into() };
        let (mut parts, mut whole) =
            (Drawing::new(&CommandId::new("c")), Drawing::new(&CommandId::new("c")));
        whole.draw(&mut of_a_pipe(), later());
        let mut page = of_a_pipe();
        while !page.is_empty() {
            parts.draw(&mut page, Instant::now() + std::time::Duration::from_micros(200));
        }
        assert_eq!((parts.look(), parts.shown()), (whole.look(), whole.shown()));
    }

    #[test]
    fn what_pipes_write_is_drawn_line_by_line() {
        let command = CommandId::new("c");
        let mut drawing = Drawing::new(&command);
        drawing.begin(Vec::new());
        let records = vec![chunk(1, 0, "one\ntwo\n"), chunk(2, 0, "three")];
        drawing.draw(&mut records.into(), later());
        assert_eq!(drawing.look().text(), "one\ntwo\nthree\n");
        assert_eq!(drawing.stream(&command), None);
    }

    #[test]
    fn another_run_begins_with_an_empty_screen() {
        let mut other = chunk(1, 0, "new");
        other.incarnation = Incarnation(2);
        let drawing = drawn(&[size(0, 30, 4)], vec![chunk(1, 0, "old"), other]);
        assert_eq!(drawing.look().text(), "new\n");
        assert_eq!(drawing.shown().size, TerminalSize::DEFAULT, "nothing is known of that run");
    }
}
