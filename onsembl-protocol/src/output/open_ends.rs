//! Runs that an earlier process of an agent left behind: their streams end with a gap of unknown
//! length, because nobody knows what their processes wrote after it had died.
//!
//! Such an end is said once all that is known of the run is stored, once a session, until the server
//! has stored it too.

use super::outbox::Outbox;
use super::record::Run;
use super::stream::Stream;
use crate::id::{ByteOffset, CommandId, Incarnation};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The runs whose ends are not known.
#[derive(Debug, Default)]
pub struct OpenEnds {
    runs: BTreeMap<CommandId, Left>,
}

#[derive(Debug)]
struct Left {
    run: Run,
    /// Its streams whose ends nobody knows, and that the server has not stored as such.
    open: BTreeSet<Stream>,
    /// The server of this session was told.
    told: bool,
}

impl OpenEnds {
    /// An earlier process left this run. If it had `ended`, and all that it wrote was kept, then its
    /// ends are known; they may be reported all the same only when its output is stored.
    pub fn leave(&mut self, run: Run, ended: bool) {
        let open = if ended { BTreeSet::new() } else { [Stream::Stdout, Stream::Stderr].into() };
        let _ = self.runs.insert(run.command.clone(), Left { run, open, told: false });
    }

    /// Whether an earlier process left this run, and it is not closed yet.
    pub fn has(&self, command: &CommandId) -> bool {
        self.runs.contains_key(command)
    }

    /// All that are not closed yet.
    pub fn commands(&self) -> Vec<CommandId> {
        self.runs.keys().cloned().collect()
    }

    /// A session begins: what was said in another may have been lost.
    pub fn on_session(&mut self) {
        self.runs.values_mut().for_each(|left| left.told = false);
    }

    /// The ends that are to be said now. Nothing while `outbox` has output of the run that is not
    /// stored, and nothing twice in a session.
    pub fn tell(&mut self, command: &CommandId, outbox: &Outbox) -> Vec<(Run, Stream, ByteOffset)> {
        let Some(left) = self.runs.get_mut(command) else { return Vec::new() };
        if left.told || !outbox.is_settled(command) {
            return Vec::new();
        }
        left.told = true;
        let end = |stream| outbox.written(command, stream).unwrap_or_default();
        left.open.iter().map(|stream| (left.run.clone(), *stream, end(*stream))).collect()
    }

    /// The server has stored everything of this stream before `offset`.
    pub fn on_stored(
        &mut self,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
        offset: ByteOffset,
        outbox: &Outbox,
    ) {
        if let Some(left) = self.runs.get_mut(command)
            && left.told
            && left.run.incarnation == incarnation
            // The server may know of more than the disk took in its time.
            && outbox.written(command, stream).is_some_and(|end| offset >= end)
        {
            let _ = left.open.remove(&stream);
        }
    }

    /// Whether an end of this run is not known to be stored.
    pub fn is_open(&self, command: &CommandId) -> bool {
        self.runs.get(command).is_some_and(|left| !left.open.is_empty())
    }

    /// The server knows no such command: nobody is to be told.
    pub fn give_up(&mut self, command: &CommandId) {
        if let Some(left) = self.runs.get_mut(command) {
            left.open.clear();
        }
    }

    /// The run is reported.
    pub fn close(&mut self, command: &CommandId) {
        let _ = self.runs.remove(command);
    }
}
