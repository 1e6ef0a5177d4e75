//! What a store keeps for a fleet, as plain values. How it keeps them is not decided here.

use super::claims::{Bearer, Claim};
use crate::command::{CommandOrigin, CommandStage, CommandView, Exit};
use crate::diagnosis::BeatVerdict;
use crate::id::{
    AgentId, AgentKey, ByteOffset, CommandId, Epoch, Incarnation, InstanceId, JournalId, LinkId,
    PresenceVersion, SessionId, StopId,
};
use crate::model::PastFinding;
use crate::output::{CommittedState, GapCause, StoredPosition, Stream};
use crate::session::{Presence, PresenceStatus};
use crate::terminal::HoldRecord;
use crate::time::WallTime;
use crate::wire::payload::{CommandRequest, HealthMetrics};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What is known of a peer whose hello is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct NewSession {
    /// Its key, or what stands in for one.
    pub key: AgentKey,
    /// The agent that it is, if that is known.
    pub candidate: Option<AgentId>,
    /// The id of its own making, of a legacy wrapper.
    pub alias: Option<String>,
    /// Its token, whose lineage has claimed the agent from then on; `None` leaves the claim as it is. The store opens
    /// no session of an agent that another lineage has claimed, but for the heir of it, and only for the first one.
    pub bearer: Option<Bearer>,
    pub name: String,
    /// Its type, in lower case.
    pub agent_type: String,
    /// The version of its program.
    pub version: Option<String>,
    /// The name of its machine.
    pub host: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Its process. A legacy wrapper names none; then the store forgets with this session which journal
    /// the agent kept, since what the wrapper does stands in none.
    pub instance: Option<InstanceId>,
    /// The emergency stop in force on it, as it says.
    pub stop: Option<StopId>,
    pub peer: String,
    pub session: SessionId,
    /// When it was asked for.
    pub at: WallTime,
}

/// A session that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct OpenedSession {
    pub agent: AgentId,
    /// The epoch of the session: [`Epoch::next_above`] the agent's latest presence that is stored.
    pub epoch: Epoch,
    /// The stop that is in force on the agent, if the store has no order of that id for it or for all, be it
    /// released, also under the id that it has once it is [adopted](StopId::adopted_for).
    pub unknown_stop: Option<StopId>,
}

/// A presence that is to be stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PresenceRecord {
    pub agent: AgentId,
    pub presence: Presence,
    /// When a frame of the agent last came.
    pub last_heard: Option<WallTime>,
    /// The link of its session.
    pub link: Option<LinkId>,
    /// The process of its latest session.
    pub instance: Option<InstanceId>,
    /// When it was published. Of a change of the status, since when that holds.
    pub at: WallTime,
    /// What the hop tracker said of the session that was in progress, or ended with this.
    pub beats: Option<BeatVerdict>,
}

/// What an agent found while it was away, as it told it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct FindingsRecord {
    pub agent: AgentId,
    /// The session in which it was told.
    pub epoch: Epoch,
    /// The process that told it.
    pub instance: Option<InstanceId>,
    /// Its number among those of that process. The same number replaces what was told under it before.
    pub number: u64,
    pub told: Vec<PastFinding>,
    /// When it came: what the ages count from.
    pub at: WallTime,
}

/// A hold of the keyboard of a terminal, for the audit. One of the same id replaces what was stored of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct KeyboardRecord {
    pub terminal: CommandId,
    pub agent: AgentId,
    pub hold: HoldRecord,
}

/// A command that is stored or to be stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandRecord {
    /// What was asked for, with its id.
    pub request: Box<CommandRequest>,
    pub command: CommandId,
    /// The agent that is to run it.
    pub agent: AgentId,
    /// How the server came to it.
    pub origin: CommandOrigin,
    pub stage: CommandStage,
    pub cause: Option<String>,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// When it was asked for, opened, or adopted. Since then it counts as waiting for its start.
    pub created_at: WallTime,
    /// When its stage was set.
    pub updated_at: WallTime,
    pub ended_at: Option<WallTime>,
}

impl CommandRecord {
    /// How long it has waited counts as it was observed. A clock that is ahead would have it refused permanently,
    /// on one
    /// reading; the time in which no server ran is only added to what it may wait.
    pub(super) fn has_waited_as_observed(&mut self, observed: WallTime, now: WallTime) {
        let ahead = now.unix_millis().saturating_sub(observed.unix_millis()).max(0);
        let created_at = self.created_at.unix_millis().saturating_add(ahead);
        self.created_at = WallTime::from_unix_millis(created_at);
    }
}

/// Where a command is, which replaces the stored one. Of one that ended nothing changes any
/// more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandUpdate {
    pub stage: CommandStage,
    pub cause: String,
    /// How its process ended.
    pub exit: Option<Exit>,
    pub at: WallTime,
}

impl CommandUpdate {
    pub(super) fn new(view: &CommandView, cause: String, at: WallTime) -> Self {
        Self { stage: view.status, cause, exit: view.exit, at }
    }
}

/// How far a stream is stored. Always `committed = delivered + gaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StreamPosition {
    pub command: CommandId,
    pub incarnation: Incarnation,
    pub stream: Stream,
    /// Everything before it is committed, as bytes or as a gap.
    pub committed: ByteOffset,
    /// Bytes that were committed, also those that retention has cut since.
    pub delivered: u64,
    /// Bytes in declared gaps, without those of retention.
    pub gaps: u64,
    /// Why the stream ends with a gap of unknown length, if it does.
    pub open_gap: Option<GapCause>,
}

impl StreamPosition {
    pub(super) const fn stored(&self) -> StoredPosition {
        StoredPosition {
            incarnation: self.incarnation,
            stream: self.stream,
            committed: self.committed,
            open_gap: self.open_gap.is_some(),
        }
    }

    pub(super) const fn state(&self) -> CommittedState {
        CommittedState { committed: self.committed, delivered: self.delivered, gaps: self.gaps }
    }
}

/// An agent as the store has it, at the start of a server.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentRecord {
    pub agent: AgentId,
    pub key: AgentKey,
    pub name: String,
    pub agent_type: String,
    /// The version of its program.
    pub version: String,
    /// The name of its machine.
    pub host: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// The latest ids that it went by, as a legacy wrapper.
    pub aliases: Vec<AgentId>,
    /// The epoch of its latest session, or of the run of a server that awaited it since.
    pub epoch: Epoch,
    /// The process of its latest session.
    pub instance: Option<InstanceId>,
    pub status: PresenceStatus,
    pub since: WallTime,
    pub because: String,
    /// The version of its latest presence.
    pub presence_version: PresenceVersion,
    /// When its latest recorded heartbeat came.
    pub last_heard: Option<WallTime>,
    /// The latest metrics it sent.
    pub metrics: Option<HealthMetrics>,
    /// The journal that it kept in its last session.
    pub journal: Option<JournalId>,
    /// Who has claimed it; `None` for agents that only earlier versions knew.
    pub claim: Option<Claim>,
}

impl AgentRecord {
    /// The agent as a new run of the server continues it: under its next epoch, as if a session without an agent had
    /// begun, because the last run may have published more than it stored (PROTOCOL.md, P-62). The epoch is to be
    /// stored before anything is published under it, or a run that ends soon leaves the next one the same start.
    #[must_use]
    pub const fn of_next_run(mut self) -> Self {
        self.epoch = self.epoch.next_above(self.presence_version);
        self.presence_version = PresenceVersion::base_of(self.epoch);
        self
    }
}
