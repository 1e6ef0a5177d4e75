//! A viewer of one stream: it comes late, is slow, loses its link and goes on where it was. It sees
//! each byte once.

use super::server::{Database, Server};
use super::truth::Process;
use onsembl_protocol::id::ByteOffset;
use onsembl_protocol::output::{Cursor, GapCause, LogRecord, Run, StoredBody, Stream};

/// What is at a place, as far as a viewer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Bytes(u64),
    Gap(u64, GapCause),
}

#[derive(Debug)]
pub(super) struct Viewer {
    run: Run,
    pub(super) n: usize,
    pub(super) stream: Stream,
    cursor: Cursor,
    /// Everything before it was seen.
    pub(super) at: u64,
    pub(super) seen: Vec<Seen>,
    pub(super) open: Option<GapCause>,
    /// It has just begun anew: what it knows may come once more.
    resumed: bool,
}

impl Viewer {
    pub(super) fn new(process: &Process, stream: Stream) -> Self {
        let (run, n) = (process.run.clone(), process.n);
        Self { run, n, stream, cursor: None, at: 0, seen: Vec::new(), open: None, resumed: false }
    }

    /// It has lost its link, and comes back.
    pub(super) fn resume(&mut self, database: &Database) {
        // Who has seen nothing knows of no run.
        let place = (self.at > 0).then(|| Server::seek(database, &self.run, self.stream, self.at));
        self.cursor = place.flatten();
        self.resumed = true;
    }

    /// Takes what there is. Whether there was anything.
    pub(super) fn look(
        &mut self,
        server: &Server,
        database: &Database,
        process: &Process,
        most: usize,
    ) -> bool {
        let (cursor, records) = server.show(database, &self.run.command, self.cursor, most);
        let moved = cursor != self.cursor;
        self.cursor = cursor;
        let stream = self.stream;
        for record in records.into_iter().filter(|r| r.stream == stream) {
            self.see(record, process);
        }
        moved
    }

    fn see(&mut self, record: LogRecord, process: &Process) {
        if record.incarnation != self.run.incarnation {
            // Said of a command of which nothing came.
            assert!(record.body.is_open(), "{record:?}");
            self.open = Some(GapCause::AgentDied);
            return;
        }
        let place = record.offset.0;
        if self.resumed && record.end() <= ByteOffset(self.at) {
            if !record.body.is_open() {
                return;
            }
        } else if self.resumed && place < self.at {
            // The first bytes of the record that holds its place.
        } else {
            assert_eq!(place, self.at, "a viewer of {} sees {record:?}", self.stream);
        }
        let body = record.body.without_first(self.at.saturating_sub(place));
        match body {
            StoredBody::Chunk(bytes) => {
                let (at, length) = (self.at, bytes.len() as u64);
                assert!(process.wrote_there(self.stream, at, &bytes), "false bytes at {at}");
                self.open = None;
                self.at += length;
                match self.seen.last_mut() {
                    Some(Seen::Bytes(before)) => *before += length,
                    _ => self.seen.push(Seen::Bytes(length)),
                }
            }
            StoredBody::Gap { length: Some(length), because } => {
                self.at += length;
                match self.seen.last_mut() {
                    Some(Seen::Gap(before, why)) if *why == because => *before += length,
                    _ => self.seen.push(Seen::Gap(length, because)),
                }
            }
            StoredBody::Gap { length: None, because } => {
                assert!(self.open.is_none() || self.resumed, "an open end is shown twice");
                self.open = Some(because);
            }
        }
        self.resumed = false;
    }
}

/// The same of what is stored.
pub(super) fn stored(database: &Database, run: &Run, stream: Stream) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let rows = database.records.get(&run.command).map_or(&[][..], Vec::as_slice);
    for row in rows.iter().filter(|r| r.stream == stream && r.incarnation == run.incarnation) {
        match (&row.body, all.last_mut()) {
            (StoredBody::Chunk(bytes), Some(Seen::Bytes(before))) => *before += bytes.len() as u64,
            (StoredBody::Chunk(bytes), _) => all.push(Seen::Bytes(bytes.len() as u64)),
            (StoredBody::Gap { length: None, .. }, _) => {}
            (StoredBody::Gap { length: Some(length), because }, Some(Seen::Gap(before, why)))
                if why == because =>
            {
                *before += length;
            }
            (StoredBody::Gap { length: Some(length), because }, _) => {
                all.push(Seen::Gap(*length, *because));
            }
        }
    }
    all
}
