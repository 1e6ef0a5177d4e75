//! Runs whose streams end with a gap of unknown length: those that an earlier process of an agent left behind,
//! because it is unknown what their processes wrote after it had died; and those whose command ended while a
//! process of it had its output open.
//!
//! Such an end is said once all that is known of the run is stored, once a session, until the server
//! has stored it too.

use super::outbox::Outbox;
use super::record::Run;
use crate::id::{ByteOffset, CommandId, Incarnation};
use crate::model::{GapCause, Stream};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The runs whose ends are unknown.
#[derive(Debug, Default)]
pub(crate) struct OpenEnds {
    runs: BTreeMap<CommandId, Left>,
}

#[derive(Debug)]
struct Left {
    run: Run,
    /// Its streams with open ends.
    ends: BTreeSet<Stream>,
    /// Those that the server of this session has not said it has stored as such.
    open: BTreeSet<Stream>,
    declaration: Declaration,
    because: GapCause,
}

/// Whether they were declared to the server of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declaration {
    Due,
    Made,
}

/// A stream that ends with a gap of unknown length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEnd {
    pub(crate) run: Run,
    pub(crate) stream: Stream,
    /// Where the gap begins.
    pub(crate) at: ByteOffset,
    pub(crate) because: GapCause,
}

impl OpenEnds {
    /// An earlier process left this run. If it had `ended`, and all that it wrote was kept, then its
    /// ends are known; they may be reported anyway only when its output is stored.
    pub(crate) fn leave(&mut self, run: Run, ended: bool) {
        // What was read and not yet handed to the spool died with that process.
        let unknown: &[Stream] = if ended { &[] } else { Stream::of(&run.command) };
        let ends: BTreeSet<Stream> = unknown.iter().copied().collect();
        self.insert(run, ends, GapCause::AgentDied);
    }

    /// Its command ended, and something that outlives it has these streams open.
    pub(crate) fn outlive(&mut self, run: Run, streams: &[Stream]) {
        self.insert(run, streams.iter().copied().collect(), GapCause::Background);
    }

    fn insert(&mut self, run: Run, ends: BTreeSet<Stream>, because: GapCause) {
        let left = Left { open: ends.clone(), ends, run, declaration: Declaration::Due, because };
        let _ = self.runs.insert(left.run.command.clone(), left);
    }

    /// Whether it has such an end, or an earlier process left it, and it is not closed yet.
    pub(crate) fn has(&self, command: &CommandId) -> bool {
        self.runs.contains_key(command)
    }

    /// Whether an earlier process left this run, and it is not closed yet.
    pub(crate) fn is_of_earlier(&self, command: &CommandId) -> bool {
        self.runs.get(command).is_some_and(|left| left.because == GapCause::AgentDied)
    }

    /// All that are not closed yet.
    pub(crate) fn commands(&self) -> Vec<CommandId> {
        self.runs.keys().cloned().collect()
    }

    /// A session begins: what was said in another may have been lost, also what was stored, if an
    /// older database was put back.
    pub(crate) fn on_session(&mut self) {
        for left in self.runs.values_mut() {
            left.declaration = Declaration::Due;
            left.open.clone_from(&left.ends);
        }
    }

    /// The ends that are to be said now. Nothing while `outbox` has output of the run that is not
    /// stored, and nothing twice in a session.
    pub(crate) fn declare(&mut self, command: &CommandId, outbox: &Outbox) -> Vec<UnknownEnd> {
        let Some(left) = self.runs.get_mut(command) else { return Vec::new() };
        if left.declaration == Declaration::Made || !outbox.is_settled(command) {
            return Vec::new();
        }
        left.declaration = Declaration::Made;
        let end = |stream| outbox.written(command, stream).unwrap_or_default();
        let end = |stream: &Stream| UnknownEnd {
            run: left.run.clone(),
            stream: *stream,
            at: end(*stream),
            because: left.because,
        };
        left.open.iter().map(end).collect()
    }

    /// The server has stored that the end of this stream is unknown. That everything before it is
    /// stored says nothing of that: such an acknowledgement may be an old one.
    pub(crate) fn on_stored(
        &mut self,
        command: &CommandId,
        incarnation: Incarnation,
        stream: Stream,
    ) {
        if let Some(left) = self.runs.get_mut(command)
            && left.run.incarnation == incarnation
        {
            let _ = left.open.remove(&stream);
        }
    }

    /// Whether an end of this run is not known to be stored.
    pub(crate) fn is_open(&self, command: &CommandId) -> bool {
        self.runs.get(command).is_some_and(|left| !left.open.is_empty())
    }

    /// The server knows no such command: there is nothing to report.
    pub(crate) fn give_up(&mut self, command: &CommandId) {
        if let Some(left) = self.runs.get_mut(command) {
            left.open.clear();
            left.ends.clear();
        }
    }

    /// The run is reported.
    pub(crate) fn close(&mut self, command: &CommandId) {
        let _ = self.runs.remove(command);
    }
}

#[cfg(test)]
mod tests {
    use super::super::backlog::RecoveredRun;
    use super::super::spool::{SpoolBounds, SpoolPolicy};
    use super::*;
    use crate::model::PerStream;

    #[test]
    fn an_end_is_said_once_a_session_until_the_server_of_that_session_has_stored_it() {
        let id = CommandId::new("c");
        let run = Run { command: id.clone(), incarnation: Incarnation(1) };
        let mut outbox = Outbox::new(SpoolBounds::DEFAULT);
        let starts = PerStream::default();
        outbox.recover(RecoveredRun::new(run.clone(), SpoolPolicy::Block, starts));
        let mut ends = OpenEnds::default();
        ends.leave(run, false);
        assert_eq!(ends.declare(&id, &outbox).len(), 2);
        assert!(ends.declare(&id, &outbox).is_empty());
        for stream in [Stream::Stdout, Stream::Stderr] {
            assert!(ends.is_open(&id));
            ends.on_stored(&id, Incarnation(2), stream);
            ends.on_stored(&id, Incarnation(1), stream);
        }
        assert!(!ends.is_open(&id));
        ends.on_session();
        assert!(ends.is_open(&id), "this server may have an older database");
        ends.give_up(&id);
        ends.on_session();
        assert!(!ends.is_open(&id));
    }

    #[test]
    fn what_a_background_process_has_open_is_said_to_be_unknown_for_that_reason() {
        let id = CommandId::new("c");
        let run = Run { command: id.clone(), incarnation: Incarnation(1) };
        let mut outbox = Outbox::new(SpoolBounds::DEFAULT);
        outbox.open(run.clone(), SpoolPolicy::Block);
        outbox.push(&id, Stream::Stderr, bytes::Bytes::from_static(b"ab"));
        let mut ends = OpenEnds::default();
        ends.outlive(run.clone(), &[Stream::Stderr]);
        assert!(ends.has(&id) && !ends.is_of_earlier(&id));
        assert_eq!(ends.declare(&id, &outbox), [], "the bytes before it are not stored");
        outbox.on_stored(&id, run.incarnation, Stream::Stderr, ByteOffset(2));
        let (stream, at, because) = (Stream::Stderr, ByteOffset(2), GapCause::Background);
        assert_eq!(ends.declare(&id, &outbox), [UnknownEnd { run, stream, at, because }]);
    }
}
