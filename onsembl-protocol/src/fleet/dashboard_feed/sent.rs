//! What a dashboard was sent about one agent, and about one command.

use super::super::agent_view::{AgentContest, AgentView};
use super::super::report::StopState;
use super::super::view::{CommandEntry, Revision};
use super::Seek;
use super::legacy::tail_of;
use super::relayed::RelayedSent;
use crate::diagnosis::Sleep;
use crate::id::{PresenceVersion, StopId};
use crate::model::{Activity, Capabilities, Dialect, Pausing};
use crate::output::{Cursor, OutputTail};

use crate::session::PresenceStatus;

/// What was sent about one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) version: PresenceVersion,
    pub(super) status: PresenceStatus,
    pub(super) stopped: Option<(StopId, StopState)>,
    pub(super) pausing: Pausing,
    pub(super) contest: Option<AgentContest>,
    pub(super) slept: Option<Sleep>,
    pub(super) activity: Option<Activity>,
}

/// What was sent about one command.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) revision: Revision,
    /// The last that was said of who types into it.
    pub(super) keyboard: Revision,
    pub(super) end: End,
    pub(super) cursor: Cursor,
    /// Where to begin, if that must be looked up first.
    pub(super) seek: Option<Seek>,
    /// How often its output was restarted.
    pub(super) generation: u32,
    /// The number of the last size that was sent, if it is a terminal.
    pub(super) sizes: u64,
    /// If its output is not stored.
    pub(super) relayed: RelayedSent,
}

/// Whether the end of a command was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Unsent,
    Sent,
}

impl Sent {
    /// Of one who was sent nothing, and wants what comes from now on.
    pub(super) fn behind(entry: &CommandEntry, end: End, capabilities: Capabilities) -> Self {
        Self {
            revision: match end {
                End::Sent => entry.revision,
                End::Unsent => 0,
            },
            keyboard: 0,
            end,
            cursor: entry.tail.end(),
            seek: match capabilities.dialect() {
                Dialect::Extended => None,
                Dialect::Legacy => tail_of(entry),
            },
            generation: 0,
            sizes: 0,
            relayed: RelayedSent::behind(&entry.tail),
        }
    }

    /// Restarts its output there.
    pub(super) fn begin_at(&mut self, cursor: Cursor) {
        self.seek = None;
        self.cursor = cursor;
        self.generation = self.generation.wrapping_add(1);
        self.relayed.begin(Default::default());
    }

    /// Restarts it where its output that is not stored has what is sought.
    pub(super) fn begin_relayed(&mut self, tail: &OutputTail, seek: &Seek) {
        let (cursor, had) = match *seek {
            Seek::Tail(_) => (tail.begin(), tail.begins()),
            Seek::Offset { incarnation, stream, offset } => {
                tail.seek(Some(incarnation), stream, offset)
            }
            Seek::OffsetOfFirst { stream, offset } => tail.seek(None, stream, offset),
        };
        self.begin_at(cursor);
        self.relayed.begin(had);
    }

    pub(super) fn has_all_of(&self, tail: &OutputTail) -> bool {
        self.seek.is_none() && self.cursor >= tail.end()
    }
}

impl Shown {
    pub(super) fn of(agent: &AgentView, capabilities: Capabilities) -> Self {
        let stopped = agent.stopped.as_deref().filter(|_| capabilities.latches_stops());
        Self {
            version: agent.presence.version,
            status: agent.presence.status,
            stopped: stopped.map(|stop| (stop.order.id.clone(), stop.state)),
            pausing: agent.pausing,
            contest: agent.contest.clone(),
            slept: agent.slept,
            activity: agent.activity.as_deref().cloned().filter(|_| capabilities.tells_activity()),
        }
    }

    /// Whether nothing differs that has no version of its own.
    pub(super) fn is_same_beside_presence(&self, other: &Self) -> bool {
        (&self.stopped, self.pausing, &self.contest, &self.activity)
            == (&other.stopped, other.pausing, &other.contest, &other.activity)
    }
}
