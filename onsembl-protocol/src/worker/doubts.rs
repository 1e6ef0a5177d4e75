//! What an agent does not believe of a server that does not adopt commands. Such a server cancels, without grace
//! and once at the beginning of a session, every command that is not in its database, and says of output that
//! it does not know its command. Either may mean only that its database was lost; *not known* is not *over*.

use crate::id::{ByteOffset, CommandId};
use crate::model::Capabilities;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

/// How long a server may report a command as unknown before it is believed: as long as
/// the commands of an agent that is away stay open.
const DOUBTED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Most commands whose output is kept although the server reports them as unknown. Of one more it is believed.
const MOST_DOUBTED: usize = 4096;

/// What is not believed.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Whether the server of the session says only what it knows.
    reports: UnknownReport,
    /// Commands from before the session that were not cancelled in it: of these a cancellation without grace
    /// counts when it is repeated, as one of a user is every 5 s.
    brought: BTreeSet<CommandId>,
    /// Since when a server says that it does not know these.
    unknown: BTreeMap<CommandId, Timestamp>,
}

/// What a report of an unknown command proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnknownReport {
    /// What it does not know, it adopts.
    #[default]
    Proves,
    /// What it does not know, it calls over.
    Doubtful,
}

impl Doubts {
    /// A session began, to which these commands were brought.
    pub(super) fn on_session(&mut self, capabilities: Capabilities, unfinished: &[CommandId]) {
        let adopts = capabilities.adopts_commands() || !capabilities.is_extended();
        self.reports = if adopts { UnknownReport::Proves } else { UnknownReport::Doubtful };
        self.brought = match self.reports {
            UnknownReport::Proves => BTreeSet::new(),
            UnknownReport::Doubtful => unfinished.iter().cloned().collect(),
        };
    }

    /// The server has output of this command, so its database has the command: what it says of it counts at once.
    pub(super) fn on_known(&mut self, id: &CommandId) {
        let _ = self.brought.remove(id);
    }

    /// The server says how far it is with a stream.
    pub(super) fn on_position(&mut self, id: &CommandId, stored: ByteOffset) {
        if stored > ByteOffset(0) {
            self.on_known(id);
        }
    }

    /// A cancellation without grace came. Whether to wait until it is repeated.
    pub(super) fn doubts_cancel(&mut self, id: &CommandId) -> bool {
        self.brought.remove(id)
    }

    /// The server says that it does not know this command. Whether to keep it anyway. A terminal that is
    /// not known was given up.
    pub(super) fn doubts_unknown(&mut self, id: &CommandId, now: Timestamp) -> bool {
        if self.reports == UnknownReport::Proves || id.is_terminal() {
            return false;
        }
        let is_full = self.unknown.len() >= MOST_DOUBTED && !self.unknown.contains_key(id);
        let since = *self.unknown.get(id).unwrap_or(&now);
        if is_full || now.saturating_since(since) >= DOUBTED_FOR {
            return false;
        }
        let _ = self.unknown.insert(id.clone(), since);
        true
    }

    /// Nothing is kept of this command any more.
    pub(super) fn forget(&mut self, id: &CommandId) {
        let _ = self.brought.remove(id);
        let _ = self.unknown.remove(id);
    }
}
