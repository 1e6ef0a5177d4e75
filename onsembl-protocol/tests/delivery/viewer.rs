//! Viewers of a command: they begin at its beginning, at some position, or with what comes next; are slow,
//! lose their links and continue where they were. Each sees every byte of every stream once.

use super::database::Database;
use super::server::Server;
use super::truth::Process;
use onsembl_protocol::fleet::{
    Cursor, Fetch, LogRecord, OutputFollower, OutputPosition, StoredBody,
};
use onsembl_protocol::id::ByteOffset;
use onsembl_protocol::model::{GapCause, Keeping, PerStream, Stream};
use onsembl_protocol::worker::Run;

/// What is at a position, as far as a viewer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Bytes(u64),
    Gap(u64, GapCause),
}

impl Seen {
    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Bytes(length) | Self::Gap(length, _) => *length,
        }
    }

    fn add(all: &mut Vec<Self>, piece: Self) {
        match (all.last_mut(), piece) {
            (_, piece) if piece.length() == 0 => {}
            (Some(Self::Bytes(before)), Self::Bytes(length)) => *before += length,
            (Some(Self::Gap(before, why)), Self::Gap(length, because)) if *why == because => {
                *before += length;
            }
            (_, piece) => all.push(piece),
        }
    }
}

/// From where it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A dashboard: what is stored, then what comes.
    FleetView,
    /// Who reads over HTTP: only what is stored, of one stream perhaps.
    Store(Option<Stream>),
}

/// What it has of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Where it began; unknown until it sees something.
    pub(super) from: Option<u64>,
    /// Everything before it was seen.
    pub(super) at: u64,
    pub(super) seen: Vec<Seen>,
    pub(super) open: Option<GapCause>,
    /// What it knows may come once more.
    may_repeat: bool,
}

#[derive(Debug)]
pub(super) struct Viewer {
    run: Run,
    streams: &'static [Stream],
    pub(super) n: usize,
    pub(super) source: Source,
    keeping: Keeping,
    pub(super) cursor: Cursor,
    /// What it has of each stream, or does not want. Nobody else knows that of output that is not stored.
    had: PerStream<ByteOffset>,
    pub(super) views: PerStream<View>,
    /// The last byte that it has of any stream.
    last: Option<(Stream, u64)>,
    follower: OutputFollower,
    /// It does not know what was said before it came.
    pub(super) came_late: bool,
}

impl Viewer {
    /// One that begins at the beginning.
    pub(super) fn new(process: &Process, source: Source) -> Self {
        let (run, n, streams) = (process.run.clone(), process.n, process.streams());
        let view = View { from: Some(0), ..View::default() };
        let views = PerStream { stdout: view.clone(), stderr: view.clone(), terminal: view };
        Self {
            run,
            streams,
            n,
            source,
            keeping: process.keeping,
            cursor: None,
            had: PerStream::default(),
            views,
            last: None,
            follower: OutputFollower::new(),
            came_late: false,
        }
    }

    /// A dashboard that asks for a stream from a position on. What comes of others tells its position.
    pub(super) fn from_position(
        process: &Process,
        stream: Stream,
        from: u64,
        server: &Server,
        database: &Database,
    ) -> Self {
        let mut viewer = Self::new(process, Source::FleetView);
        if from > 0 {
            viewer.views = PerStream::default();
            viewer.views.get_mut(stream).begin(from);
            match viewer.keeping {
                Keeping::Stored => viewer.cursor = database.cursor(&viewer.run, stream, from),
                Keeping::Unstored => viewer.seek(server, stream, ByteOffset(from)),
            }
            viewer.views.get_mut(stream).may_repeat = true;
        }
        viewer
    }

    /// A dashboard that wants what comes next. Nothing, if the server does not show this command.
    pub(super) fn live(process: &Process, server: &Server) -> Option<Self> {
        let entry = server.view().command(&process.run.command)?;
        let mut viewer = Self::new(process, Source::FleetView);
        viewer.views = PerStream::default();
        viewer.cursor = entry.tail.end();
        viewer.came_late = true;
        if viewer.keeping.is_unstored() {
            viewer.had = entry.tail.ends();
            for stream in Stream::ALL {
                let had = viewer.had.get(stream).0;
                viewer.views.get_mut(stream).begin(had);
            }
            return Some(viewer);
        }
        // What is shown last of a stream is what is behind it next.
        if let Fetch::Records(shown) = entry.tail.after(entry.tail.begin(), usize::MAX) {
            for record in shown.iter().filter(|r| r.incarnation == process.run.incarnation) {
                viewer.views.get_mut(record.stream).begin(record.end().0);
            }
        }
        Some(viewer)
    }

    pub(super) fn is_dashboard(&self) -> bool {
        self.source == Source::FleetView
    }

    /// Asks for a stream from there on whose output is not stored.
    fn seek(&mut self, server: &Server, stream: Stream, offset: ByteOffset) {
        let entry = server.view().command(&self.run.command);
        let incarnation = Some(self.run.incarnation);
        (self.cursor, self.had) =
            entry.map_or_else(Default::default, |e| e.tail.seek(incarnation, stream, offset));
    }

    /// It has lost its link, and comes back.
    pub(super) fn resume(&mut self, server: &Server, database: &Database) {
        for stream in Stream::ALL {
            self.views.get_mut(stream).may_repeat = true;
        }
        if self.keeping.is_unstored() {
            match self.follower.resume() {
                Some(position) => self.seek(server, position.stream, position.offset),
                None => {
                    let view = View { from: Some(0), may_repeat: true, ..View::default() };
                    self.views =
                        PerStream { stdout: view.clone(), stderr: view.clone(), terminal: view };
                    (self.cursor, self.had) = Default::default();
                    self.came_late = false;
                }
            }
            return;
        }
        match (self.source, self.last) {
            // The last one again: it may be one of two records of its number.
            (Source::Store(_), _) => {
                if let Some((_, sequence)) = &mut self.cursor {
                    sequence.0 = sequence.0.saturating_sub(1);
                }
            }
            // Some ask once, as the core says; others for each stream that they watch, from its last byte.
            (Source::FleetView, Some(_)) if self.n.is_multiple_of(2) => {
                let position = self.follower.resume();
                self.cursor =
                    position.and_then(|p| database.cursor(&self.run, p.stream, p.offset.0));
            }
            (Source::FleetView, Some(_)) => {
                let watched = self.streams.iter().filter(|s| self.views.get(**s).from.is_some());
                let position = |s: &Stream| {
                    let byte = self.views.get(*s).at.checked_sub(1)?;
                    database.cursor(&self.run, *s, byte)
                };
                self.cursor = watched.map(position).min().flatten();
            }
            // Who waited for what comes next, and saw nothing, has nowhere to continue.
            (Source::FleetView, None) if self.came_late => {
                let view = View { from: Some(0), ..View::default() };
                self.views =
                    PerStream { stdout: view.clone(), stderr: view.clone(), terminal: view };
                (self.cursor, self.came_late) = (None, false);
            }
            // Who has seen nothing knows of no run.
            (Source::FleetView, None) => {
                let asked = Stream::ALL.into_iter().find(|s| self.views.get(*s).from.is_some());
                let position = asked.map(|s| (s, self.views.get(s).at)).filter(|(_, at)| *at > 0);
                self.cursor = position.and_then(|(s, at)| database.cursor(&self.run, s, at));
            }
        }
    }

    /// Takes what there is. Whether there was anything.
    pub(super) fn look(
        &mut self,
        server: &Server,
        database: &Database,
        process: &Process,
        most: usize,
    ) -> bool {
        let command = &self.run.command;
        let (cursor, records) = match self.source {
            Source::FleetView if server.view().command(command).is_none() => {
                // The server has forgotten what it told, too.
                self.resume(server, database);
                self.cursor = None;
                return false;
            }
            Source::FleetView => server.show(database, command, self.cursor, &self.had, most),
            Source::Store(only) => {
                let page = database.page(command, only, self.cursor, most);
                (page.last().map_or(self.cursor, |last| Some(last.position())), page)
            }
        };
        let moved = cursor != self.cursor;
        self.cursor = cursor;
        for record in records {
            if record.incarnation == self.run.incarnation {
                let had = self.had.get_mut(record.stream);
                *had = (*had).max(record.end());
                self.see(record, process);
            } else {
                // Said of a command of which nothing came.
                let StoredBody::Gap { length: None, because } = record.body else {
                    panic!("{record:?}")
                };
                self.views.get_mut(record.stream).open = Some(because);
            }
        }
        moved
    }

    fn see(&mut self, record: LogRecord, process: &Process) {
        let stream = record.stream;
        let view = self.views.get_mut(stream);
        let (position, end) = (record.offset.0, record.end().0);
        let (incarnation, offset) = (record.incarnation, record.offset);
        let at = OutputPosition { incarnation, stream, offset };
        let news = self.follower.take(at, record.body.clone()).map(|body| body.length());
        if view.from.is_none() {
            view.begin(position);
        }
        // What stands for what was cut begins at the beginning of its stream.
        let is_cut = matches!(
            record.body,
            StoredBody::Gap { because: GapCause::Retention, .. } if position == 0
        );
        if end <= view.at && !record.body.is_open() {
            assert!(view.may_repeat || is_cut, "repeated: {record:?}, and {view:?}");
            return;
        }
        let continues = position == view.at || position < view.at && (view.may_repeat || is_cut);
        let who = (&self.source, &self.run.command);
        assert!(continues, "a viewer {who:?} sees {record:?}, and has {view:?}");
        let at = view.at;
        if view.from == Some(0) && !record.body.is_open() {
            assert_eq!(news, Some(end - at), "what is new of {record:?} for {view:?}");
        }
        match record.body.without_first(at.saturating_sub(position)) {
            StoredBody::Chunk(bytes) => {
                assert!(process.wrote_there(stream, at, &bytes), "false bytes at {at}");
                view.open = None;
                view.take(Seen::Bytes(bytes.len() as u64));
            }
            StoredBody::Gap { length: Some(length), because } => {
                view.open = None;
                view.take(Seen::Gap(length, because));
            }
            StoredBody::Gap { length: None, because } => {
                let is_new = view.open.is_none() || view.may_repeat;
                assert!(is_new, "an open end is shown twice: {stream} of {who:?}");
                view.open = Some(because);
            }
        }
        view.may_repeat = false;
        self.last = view.at.checked_sub(1).map(|byte| (stream, byte)).or(self.last);
    }
}

impl View {
    const fn begin(&mut self, from: u64) {
        (self.from, self.at) = (Some(from), from);
    }

    fn take(&mut self, piece: Seen) {
        self.at += piece.length();
        Seen::add(&mut self.seen, piece);
    }
}

/// The same of what is stored, from a position on.
pub(super) fn stored(database: &Database, run: &Run, stream: Stream, from: u64) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let rows = database.records.get(&run.command).map_or(&[][..], Vec::as_slice);
    for row in rows.iter().filter(|r| r.stream == stream && r.incarnation == run.incarnation) {
        match row.body.clone().without_first(from.saturating_sub(row.offset.0)) {
            StoredBody::Chunk(bytes) => Seen::add(&mut all, Seen::Bytes(bytes.len() as u64)),
            StoredBody::Gap { length: Some(length), because } => {
                Seen::add(&mut all, Seen::Gap(length, because));
            }
            StoredBody::Gap { length: None, .. } => {}
        }
    }
    all
}
