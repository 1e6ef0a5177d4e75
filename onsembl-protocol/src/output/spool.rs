//! The words between the outbox and what keeps its records: bounds, policies, and what is to be done.
//! Nothing here touches a disk.

use super::backlog::RecoveredRun;
use super::record::{Record, Run};
use crate::id::{ChunkSequence, CommandId};
use crate::model::SizeRecord;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What happens to the output of a command when the spool is at its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolPolicy {
    /// Its process waits: nothing is read from it until there is room. Loses nothing.
    #[default]
    Block,
    /// Its own oldest unsent output makes room, and a gap says so.
    DropOldest,
    /// What it writes is not taken, and a gap says so.
    DropNewest,
}

impl SpoolPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Block, Self::DropOldest, Self::DropNewest];

    /// Its word in options and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
        }
    }

    /// The policy of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word)
    }
}

impl fmt::Display for SpoolPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much an outbox may hold. Both count bytes of output and [`RECORD_COST`] for each record.
///
/// What was read already when the bound is reached is still taken, so both can be overrun by what
/// waits between the processes and the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolBounds {
    /// Most bytes in memory.
    pub memory: u64,
    /// In memory and on disk together. 0: there is no disk, and `memory` is the bound.
    pub disk: u64,
}

impl SpoolBounds {
    /// 4 MiB in memory, and no disk.
    pub const MEMORY_ONLY: Self = Self { memory: 4 << 20, disk: 0 };
    /// 4 MiB in memory, 256 MiB in all.
    pub const DEFAULT: Self = Self { memory: 4 << 20, disk: 256 << 20 };
}

/// What a record counts besides its bytes, so that a process that writes byte by byte is bounded too.
pub const RECORD_COST: u64 = 64;

/// What the owner of an [`Outbox`](super::Outbox) has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) enum SpoolAction {
    /// Append the record to the spool of its run, then say
    /// [`on_appended`](super::Outbox::on_appended) or
    /// [`on_append_failed`](super::Outbox::on_append_failed). Gaps may come with lower numbers than
    /// what was appended before them.
    Append { run: Run, record: Record },
    /// Read these records back and hand them to [`on_page`](super::Outbox::on_page); what cannot be
    /// read is left out.
    Read { run: Run, from: ChunkSequence, through: ChunkSequence },
    /// These records are not needed any more.
    Forget {
        run: Run,
        from: ChunkSequence,
        /// The first that is needed again.
        before: ChunkSequence,
    },
    /// Its process ended, and everything of it that is not stored was handed over to be appended: say so
    /// behind it. Without that a successor of this agent does not know how much there was.
    End { run: Run },
    /// Nothing of this run is needed any more.
    Close { run: Run },
    /// Read nothing from the process of this command.
    PauseReading(CommandId),
    /// Read from it again.
    ResumeReading(CommandId),
}

/// What a spool is asked to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum SpoolRequest {
    Open(Run, SpoolPolicy),
    Append(Run, Record),
    /// These are the sizes of its terminal that may not be stored by a server, instead of those before.
    Sizes(Run, Vec<SizeRecord>),
    /// After a failure: what follows is to be tried again. Until then no record may be kept, since it
    /// would stand behind one that is missing.
    Retry,
    /// Read these records back, the first and the last.
    Read(Run, ChunkSequence, ChunkSequence),
    /// These are not needed any more: from the first, up to the first that is needed again.
    Forget(Run, ChunkSequence, ChunkSequence),
    /// The process ended, and all that it wrote was handed in.
    End(Run),
    /// Nothing of this run is needed any more.
    Close(Run),
}

impl SpoolRequest {
    /// What it holds while it waits, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Append(_, record) => record.byte_count().saturating_add(RECORD_COST),
            Self::Open(..)
            | Self::Sizes(..)
            | Self::Retry
            | Self::Read(..)
            | Self::Forget(..)
            | Self::End(_)
            | Self::Close(_) => 0,
        }
    }
}

impl SpoolRequest {
    /// What it counts as if what keeps the records does not take it, for this reason. What cannot be read is asked for
    /// again; of all else nothing later may be kept, since it would stand behind what is missing.
    #[must_use]
    pub fn not_taken(self, why: impl Into<String>) -> SpoolEvent {
        match self {
            Self::Read(run, from, _) => SpoolEvent::NotRead(run, from, why.into()),
            Self::Open(..)
            | Self::Append(..)
            | Self::Sizes(..)
            | Self::Retry
            | Self::Forget(..)
            | Self::End(_)
            | Self::Close(_) => SpoolEvent::Failed(why.into()),
        }
    }
}

/// Whether what keeps records may append. After a failure it appends nothing until a retry is requested: what follows
/// would stand behind what is missing, as if that were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Appending {
    /// It may.
    #[default]
    Works,
    /// A record was not kept, and no retry has been requested yet.
    Failed,
}

impl Appending {
    /// Whether this request is carried out. What is not needs no answer: the failure was one.
    pub fn takes(&mut self, request: &SpoolRequest) -> bool {
        match request {
            SpoolRequest::Retry => *self = Self::Works,
            // Behind an end what is missing would not be found to be missing.
            SpoolRequest::Append(..) | SpoolRequest::End(_) => return self.works(),
            // Sizes stand beside the records, behind nothing.
            SpoolRequest::Open(..)
            | SpoolRequest::Sizes(..)
            | SpoolRequest::Read(..)
            | SpoolRequest::Forget(..)
            | SpoolRequest::Close(_) => {}
        }
        true
    }

    /// Whether records are appended.
    pub fn works(self) -> bool {
        self == Self::Works
    }

    /// A record was not kept.
    pub fn on_failed(&mut self) {
        *self = Self::Failed;
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolEvent {
    /// Everything of the run up to this is kept.
    Appended(Run, ChunkSequence),
    /// A record could not be kept, for this reason. No other is kept before [`SpoolRequest::Retry`].
    Failed(String),
    /// What is there of a page that begins here: what is missing of it is lost.
    Page(Run, ChunkSequence, Vec<Record>),
    /// The page that begins here could not be read, for this reason. It is asked for again each second, and given
    /// up after a minute.
    NotRead(Run, ChunkSequence, String),
}

/// A run that an earlier process of the agent left in the spool.
#[derive(Debug)]
pub struct LeftRun {
    /// What is there of it.
    pub recovered: RecoveredRun,
    /// Whether its process had ended, and all that it wrote is there.
    pub ended: bool,
    /// The sizes that its terminal had, as far as they were kept.
    pub sizes: Vec<SizeRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;

    #[test]
    fn what_is_not_taken_is_a_failed_write_unless_it_was_to_be_read() {
        let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
        let (from, through) = (ChunkSequence(3), ChunkSequence(5));
        let read = SpoolRequest::Read(run.clone(), from, through);
        let failed = SpoolEvent::Failed("full".into());
        assert_eq!(read.not_taken("full"), SpoolEvent::NotRead(run.clone(), from, "full".into()));
        assert_eq!(SpoolRequest::Retry.not_taken("full"), failed);
        assert_eq!(SpoolRequest::End(run).not_taken("full"), failed);
    }

    #[test]
    fn behind_what_is_missing_nothing_is_appended_before_a_retry() {
        let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
        let end = SpoolRequest::End(run.clone());
        let mut appending = Appending::default();
        assert!(appending.takes(&end));
        appending.on_failed();
        assert!(!appending.takes(&end) && !appending.works());
        let sizes = SpoolRequest::Sizes(run.clone(), Vec::new());
        assert!(appending.takes(&sizes), "they stand beside the records");
        assert!(appending.takes(&SpoolRequest::Close(run)), "it keeps nothing");
        assert!(appending.takes(&SpoolRequest::Retry) && appending.takes(&end));
    }
}
