//! How much output may be held, in memory and on disk, and whether the disk does its part. By that it is decided what becomes
//! of output for which there is no room.

use super::backlog::Backlog;
use super::runs::Runs;
use super::spool::{SpoolBounds, SpoolPolicy};
use crate::model::GapCause;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// Attempts to use a disk that failed are so far apart.
const RETRY: Duration = Duration::from_secs(1);

/// The bounds, and the state of the disk.
#[derive(Debug)]
pub(super) struct Capacity {
    bounds: SpoolBounds,
    disk: Disk,
    reads: Reads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    None,
    Works,
    Failed { retry_at: Timestamp },
}

/// Whether pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Allowed,
    /// One could not be read.
    Waiting {
        until: Timestamp,
    },
}

impl Capacity {
    pub(super) const fn new(bounds: SpoolBounds) -> Self {
        let disk = if bounds.disk == 0 { Disk::None } else { Disk::Works };
        Self { bounds, disk, reads: Reads::Allowed }
    }

    pub(super) const fn bounds(&self) -> SpoolBounds {
        self.bounds
    }

    pub(super) fn has_disk(&self) -> bool {
        self.disk != Disk::None
    }

    /// Whether there is a disk that takes records, for all that is known.
    pub(super) const fn disk_works(&self) -> bool {
        matches!(self.disk, Disk::Works)
    }

    /// Why output of a run with this policy is missing, if it is not taken now.
    pub(super) const fn cause(&self, policy: SpoolPolicy) -> GapCause {
        match (self.disk, policy) {
            (Disk::Failed { .. }, _) => GapCause::SpoolFailed,
            (Disk::None | Disk::Works, SpoolPolicy::Block) => GapCause::Stopped,
            (Disk::None | Disk::Works, SpoolPolicy::DropOldest | SpoolPolicy::DropNewest) => {
                GapCause::SpoolFull
            }
        }
    }

    /// Whether a policy must decide what becomes of more output.
    pub(super) const fn is_full(&self, runs: &Runs) -> bool {
        let by_disk = match self.disk {
            Disk::Works => runs.total() >= self.bounds.disk,
            // What is new is kept in memory then.
            Disk::None | Disk::Failed { .. } => false,
        };
        by_disk || runs.memory() >= self.bounds.memory
    }

    /// Whether processes that wait may write again.
    pub(super) fn has_room(&self, runs: &Runs) -> bool {
        let on_disk = match self.disk {
            // Below the bound by a margin, so that a process is not paused and read again with each record.
            Disk::Works => runs.total() < self.bounds.disk / 10 * 9,
            Disk::None | Disk::Failed { .. } => true,
        };
        on_disk && runs.memory() < self.bounds.memory / 4 * 3
    }

    /// Whether a new record may stay in memory until it is sent.
    pub(super) const fn has_memory(&self, runs: &Runs) -> bool {
        match self.disk {
            Disk::None => true,
            Disk::Works | Disk::Failed { .. } => runs.memory() < self.bounds.memory / 2,
        }
    }

    /// Whether to drop the oldest of this run makes room.
    pub(super) fn is_helped_by_dropping(&self, runs: &Runs, of: Option<&Backlog>) -> bool {
        match self.disk {
            // Where only memory is short, giving up what is on disk would not help.
            Disk::Works => runs.total() >= self.bounds.disk,
            Disk::None => true,
            Disk::Failed { .. } => of.is_some_and(Backlog::has_ready),
        }
    }

    pub(super) fn may_read(&self) -> bool {
        self.reads == Reads::Allowed
    }

    /// A record was not taken. Whether that is news.
    pub(super) fn on_append_failed(&mut self, now: Timestamp) -> bool {
        let is_news = self.disk_works();
        if is_news {
            self.disk = Disk::Failed { retry_at: now.saturating_add(RETRY) };
        }
        is_news
    }

    /// A page could not be read.
    pub(super) fn on_not_read(&mut self, now: Timestamp) {
        self.reads = Reads::Waiting { until: now.saturating_add(RETRY) };
    }

    pub(super) fn deadline(&self) -> Deadline {
        let disk = match self.disk {
            Disk::Failed { retry_at } => Deadline::At(retry_at),
            Disk::None | Disk::Works => Deadline::Never,
        };
        let reads = match self.reads {
            Reads::Waiting { until } => Deadline::At(until),
            Reads::Allowed => Deadline::Never,
        };
        disk.min(reads)
    }

    /// Time has passed. Whether the disk is to be tried again.
    #[must_use = "a disk that is not given what it missed has a hole"]
    pub(super) fn on_time(&mut self, now: Timestamp) -> bool {
        if let Reads::Waiting { until } = self.reads
            && until <= now
        {
            self.reads = Reads::Allowed;
        }
        match self.disk {
            Disk::Failed { retry_at } if retry_at <= now => {
                self.disk = Disk::Works;
                true
            }
            Disk::Failed { .. } | Disk::None | Disk::Works => false,
        }
    }
}
