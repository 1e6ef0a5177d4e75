//! What must hold: at each step that every byte is somewhere and every bound is kept, with each
//! commit that it is true and each gap has its cause, and at the end that nothing is missing.

use super::agent::Agent;
use super::database::Database;
use super::passing::{self, Passing};
use super::truth::{Process, ProcessState};
use super::viewer::{Seen, Source, View, Viewer, stored};
use onsembl_protocol::fleet::{LogRecord, StoredBody};
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::model::{GapCause, Stream, TerminalSize};
use onsembl_protocol::worker::{RECORD_COST, SpoolBounds, SpoolPolicy, WriterState};
use std::collections::{BTreeMap, BTreeSet};

/// What really went wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The disk took or gave something not, or was too slow.
    pub(super) disk: bool,
    /// Something on the disk was damaged.
    pub(super) damage: bool,
    /// An older database was put back.
    pub(super) restored: bool,
    /// Some agent was at its bound.
    pub(super) full: bool,
    pub(super) server_died: bool,
    /// Some agent ended or died.
    pub(super) ended: bool,
    /// Runs that were open when their agent was told to end.
    pub(super) wound_up: BTreeSet<CommandId>,
    /// Runs whose agent died before it had noted on the disk that they had ended whole.
    pub(super) broken: BTreeSet<CommandId>,
    /// Runs that an agent had taken leave of when an older database was put back.
    pub(super) closed_before: BTreeSet<CommandId>,
    /// Terminals that the server gave up, because too many were open.
    pub(super) given_up: BTreeSet<CommandId>,
    /// Commands that the agent was told that it is unknown.
    pub(super) dropped: BTreeSet<CommandId>,
    /// What an agent that died had on its disk, which must not be lost.
    pub(super) kept: BTreeMap<(CommandId, Stream), ByteOffset>,
    /// Which gaps were met.
    pub(super) met: BTreeSet<GapCause>,
    /// What became of output that is not to be stored.
    pub(super) passing: Passing,
}

impl Faults {
    /// A new agent has found this on the disk.
    pub(super) fn on_found(&mut self, agent: &Agent) {
        self.ended = true;
        for (state, run) in agent.held().streams {
            if run == WriterState::LeftOpen {
                self.broken.insert(state.run.command.clone());
            }
            self.kept.insert((state.run.command, state.stream), state.produced);
        }
    }

    /// A record is committed.
    pub(super) fn on_commit(&mut self, process: &Process, record: &LogRecord) {
        let (stream, at) = (record.stream, record.offset.0);
        let id = &process.run.command;
        assert!(!process.keeping.is_unstored(), "{id} is stored, which was not asked for");
        match &record.body {
            StoredBody::Chunk(bytes) => {
                assert!(
                    process.wrote_there(stream, at, bytes),
                    "stored at {at} of {stream} of {}: {} bytes that were not written there",
                    process.run.command,
                    bytes.len()
                );
            }
            StoredBody::Gap { length, because } => {
                let id = &process.run.command;
                let is_justified = match because {
                    GapCause::SpoolFull => process.policy != SpoolPolicy::Block && self.full,
                    GapCause::SpoolFailed => self.disk || self.damage,
                    GapCause::AgentDied => {
                        let died =
                            process.state == ProcessState::Orphaned || self.broken.contains(id);
                        (died || self.given_up.contains(id)) && length.is_none()
                    }
                    GapCause::Stopped => self.wound_up.contains(id),
                    GapCause::NeverCame => {
                        // An agent that is back may know only how much there was.
                        let is_tail = record.end().0 == *process.wrote.get(stream);
                        let forgot = self.ended && (is_tail || self.disk);
                        self.restored || self.damage || forgot
                    }
                    GapCause::NotStorable
                    | GapCause::Retention
                    | GapCause::Background
                    | GapCause::NotKept => false,
                };
                assert!(is_justified, "{id} has no reason for {record:?} ({self:?})");
                let end = at + length.unwrap_or(0);
                assert!(end <= *process.wrote.get(stream), "{record:?} is behind the end of {id}");
                self.met.insert(*because);
            }
        }
    }
}

/// Every byte is somewhere, and the bounds are kept.
pub(super) fn check_step(
    agent: &Agent,
    processes: &[Process],
    database: &Database,
    faults: &Faults,
    bounds: SpoolBounds,
    most_read: u64,
) {
    let held = agent.held();
    for (state, run) in &held.streams {
        let process = processes.iter().find(|p| p.run == state.run).unwrap();
        let id = &state.run.command;
        let sums = database.sums(&state.run, state.stream);
        assert_eq!(sums.next.0, sums.delivered + sums.gaps, "{state:?}");
        assert!(
            state.stored <= sums.next
                || faults.restored
                || faults.damage
                || faults.dropped.contains(id)
                || faults.disk && faults.ended,
            "the agent threw away what is not stored: {state:?}, {sums:?}"
        );
        let (read, produced) = (*process.read.get(state.stream), state.produced.0);
        if *run == WriterState::Muted
            || faults.dropped.contains(id) && process.state == ProcessState::Done
        {
            // What is thrown away is not counted.
        } else if *run == WriterState::Running {
            assert!((read.saturating_sub(3)..=read).contains(&produced), "{state:?}, read {read}");
        } else if process.state == ProcessState::Done && *run == WriterState::Ended {
            assert_eq!(read, produced, "{state:?}");
        }
        assert!(produced <= read && state.stored.0 <= produced, "{state:?}, read {read}");
    }
    passing::check_step(agent, processes, bounds, most_read);
    // One push of each process, with the gap that ends before it, may come when all is full.
    let late = agent.runs() * (most_read + 6 * RECORD_COST);
    let pages: u64 = agent.pages.values().sum();
    let (memory, unstored) = (held.memory, held.unstored);
    // What was dropped of a run is a record in memory, however many runs there are.
    let dropped = agent.runs() * 3 * RECORD_COST;
    assert!(
        memory <= bounds.memory + late + pages + dropped,
        "{memory} bytes in memory, more than {} and {late} and {pages} and {dropped}",
        bounds.memory
    );
    // An agent that is back counts what is dead in pieces of the spool that are not all dead.
    let found = if faults.ended { agent.runs() * bounds.memory } else { 0 };
    let by_failure = if faults.disk || bounds.disk == 0 { bounds.memory + pages } else { 0 };
    assert!(
        unstored <= bounds.disk + late + found + by_failure,
        "{unstored} bytes held, more than {} and {late} and {by_failure}",
        bounds.disk
    );
}

/// Everything is healed and has come to rest.
pub(super) fn check_end(
    processes: &[Process],
    database: &Database,
    faults: &Faults,
    viewers: &[Viewer],
) {
    let (relayed, processes_stored): (Vec<_>, Vec<_>) =
        processes.iter().partition(|p| p.keeping.is_unstored());
    for process in relayed {
        assert!(!database.records.contains_key(&process.run.command), "{:?}", process.run);
    }
    for process in processes_stored {
        for stream in process.streams() {
            check_stream(process, *stream, database, faults);
        }
    }
    for viewer in viewers {
        let process = &processes[viewer.n];
        for stream in process.streams() {
            let view = viewer.views.get(*stream);
            if process.keeping.is_unstored() {
                passing::check_view(view, viewer, process, *stream, faults);
                continue;
            }
            let is_seen = match viewer.source {
                Source::FleetView => true,
                Source::Store(only) => only.is_none_or(|only| only == *stream),
            };
            if is_seen && !faults.closed_before.contains(&process.run.command) {
                check_view(view, viewer, process, *stream, database, faults);
            }
        }
    }
}

/// Each size that is stored is one that the terminal had there, and the last one of each is stored.
pub(super) fn check_sizes(processes: &[Process], database: &Database, faults: &Faults) {
    for ((command, offset), size) in &database.sizes {
        let process = processes.iter().find(|p| p.run.command == *command).unwrap();
        // The first bytes of a character wait for the others.
        let had = |(at, had): &(u64, TerminalSize)| {
            had == size && (at.saturating_sub(3)..=*at).contains(&offset.0)
        };
        assert!(process.sizes.iter().any(had), "{command} was never {size} at {offset}");
    }
    for process in processes.iter().filter(|p| p.run.command.is_terminal()) {
        let id = &process.run.command;
        // An agent that died did not say what it had not said.
        let is_lost = faults.ended
            || faults.restored
            || faults.given_up.contains(id)
            || faults.dropped.contains(id)
            || !database.commands.contains_key(id);
        let last = database.sizes.iter().rfind(|((of, _), _)| of == id);
        let last = last.map(|(_, size)| *size);
        let truth = process.sizes.last().map(|(_, size)| *size);
        assert!(is_lost || last == truth, "{id} is {truth:?}, and {last:?} is stored");
    }
}

fn check_view(
    view: &View,
    viewer: &Viewer,
    process: &Process,
    stream: Stream,
    database: &Database,
    faults: &Faults,
) {
    let source = viewer.source;
    let context = format!("{stream} of {} for {source:?}: {view:?}", process.run.command);
    let open = database.open_gap(&process.run.command, stream);
    if database.goes_back(&process.run, stream) {
        // The end of a run of which nothing had come stands behind what came of it at last: its terminal
        // was given up, and the server died before its agent had heard that. Who had read to that end
        // does not go back.
        assert!(faults.server_died && faults.given_up.contains(&process.run.command), "{context}");
        return;
    }
    // Who came behind it, or for another stream, was not told.
    let is_told = view.from.is_some() && !viewer.came_late;
    // A server that died had perhaps not stored yet that it gave up a terminal.
    let gave_up = faults.server_died && faults.given_up.contains(&process.run.command);
    let is_true = view.open == open || view.open.is_none() && !is_told || open.is_none() && gave_up;
    assert!(is_true, "{open:?}: {context}");
    let Some(from) = view.from else { return };
    // What was cut since it was seen says nothing of what was there.
    let cut = database.cut_of(&process.run, stream).max(from);
    let all = stored(database, &process.run, stream, cut);
    let seen = behind(&view.seen, cut - from);
    if faults.server_died && source == Source::FleetView {
        // It may have seen what its server had not stored when it died.
        let found = faults.ended || faults.restored;
        assert!(covers(&seen, &all, found), "{seen:?} for {all:?}, {context}");
    } else {
        assert_eq!(seen, all, "{context}");
    }
}

/// What was seen behind this many bytes.
fn behind(seen: &[Seen], mut skip: u64) -> Vec<Seen> {
    let mut rest = Vec::new();
    for piece in seen {
        let skipped = piece.length().min(skip);
        skip -= skipped;
        match piece {
            piece if piece.length() == skipped => {}
            Seen::Bytes(length) => rest.push(Seen::Bytes(length - skipped)),
            Seen::Gap(length, because) => rest.push(Seen::Gap(length - skipped, *because)),
        }
    }
    rest
}

fn check_stream(process: &Process, stream: Stream, database: &Database, faults: &Faults) {
    let id = &process.run.command;
    let sums = database.sums(&process.run, stream);
    let wrote = *process.wrote.get(stream);
    let context = format!("{stream} of {id}: wrote {wrote}, {sums:?}, {:?}", process.state);
    let rows = database.records.get(id).map_or(&[][..], Vec::as_slice);
    let mut at = 0;
    for row in rows.iter().filter(|r| r.stream == stream) {
        if row.incarnation != process.run.incarnation {
            // Said of a command of which nothing had come.
            assert!(row.body.is_open(), "{row:?}: {context}");
            continue;
        }
        assert_eq!(row.offset.0, at, "{context}");
        at = row.end().0;
    }
    assert_eq!(at, sums.next.0, "{context}");
    assert_eq!(sums.next.0, sums.delivered + sums.gaps, "{context}");
    if faults.closed_before.contains(id) {
        return;
    }
    let open_gap = database.open_gap(id, stream);
    if !database.commands.contains_key(id) {
        assert!(faults.restored || faults.given_up.contains(id), "{context}");
        return;
    }
    assert!(database.is_over(id), "{context}");
    if faults.given_up.contains(id) {
        // Its agent was told to drop the rest, or was not, and sent it.
        assert!(open_gap.is_some() || at == wrote, "{context}");
        return;
    }
    match process.state {
        ProcessState::Done if open_gap.is_none() => assert_eq!(at, wrote, "{context}"),
        ProcessState::Done => assert!(faults.broken.contains(id), "{context}"),
        ProcessState::Orphaned => assert_eq!(open_gap, Some(GapCause::AgentDied), "{context}"),
        ProcessState::Runs | ProcessState::Exited => panic!("not over: {context}"),
    }
    if let Some(kept) = faults.kept.get(&(id.clone(), stream)) {
        assert!(at >= kept.0 || faults.damage, "{kept:?} was on the disk: {context}");
    }
}

/// Whether a viewer was told all that is stored; it may know bytes that are gaps, and an agent that is
/// back may have `found` what the one before had given up.
fn covers(seen: &[Seen], all: &[Seen], found: bool) -> bool {
    let ranges = |pieces: &[Seen]| {
        let mut at = 0;
        let mut gaps = Vec::new();
        for piece in pieces {
            match piece {
                Seen::Bytes(length) => at += length,
                Seen::Gap(length, _) => {
                    gaps.push((at, at + length));
                    at += length;
                }
            }
        }
        (at, gaps)
    };
    let ((seen_end, seen_gaps), (end, gaps)) = (ranges(seen), ranges(all));
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in gaps {
        match merged.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => merged.push((from, to)),
        }
    }
    // What it saw last may be what nobody has any more.
    let within = seen_gaps.into_iter().filter(|(from, _)| *from < end);
    let mut seen_gaps = within.map(|(from, to)| (from, to.min(end)));
    seen_end >= end
        && seen_gaps.all(|(from, to)| found || merged.iter().any(|(a, b)| *a <= from && to <= *b))
}
