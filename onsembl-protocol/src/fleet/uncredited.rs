//! Relayed output for which agents have no credit yet, because of viewers: how much there is of each command, and until
//! when it waits. Nothing is decided here.

use super::collections::{Map, Set};
use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};

/// What waits for viewers, of all commands.
#[derive(Debug)]
pub(super) struct Uncredited {
    of: Map<CommandId, Waiting>,
    due: Set<(Timestamp, CommandId)>,
    bytes: u64,
}

/// What of one command does.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    until: Timestamp,
    bytes: u64,
}

impl Uncredited {
    pub(super) const fn new() -> Self {
        Self { of: Map::new(), due: Set::new(), bytes: 0 }
    }

    /// Bytes of all commands.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.due.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// So much of a command waits until then, instead of what did before.
    pub(super) fn note(&mut self, id: &CommandId, deadline: Deadline, bytes: u64) {
        if let Some(before) = self.of.remove(id) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
            let _ = self.due.remove(&(before.until, id.clone()));
        }
        if let Deadline::At(until) = deadline {
            self.bytes = self.bytes.saturating_add(bytes);
            let _ = self.due.insert((until, id.clone()));
            let _ = self.of.insert(id.clone(), Waiting { until, bytes });
        }
    }

    /// Takes out a command that waits no longer.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<CommandId> {
        let (_, id) = self.due.first().filter(|(at, _)| *at <= now)?;
        let id = id.clone();
        self.note(&id, Deadline::Never, 0);
        Some(id)
    }
}
