//! One agent, as its fleet knows it: with or without a machine, with or without a session. Together with
//! its commands this is all that another server would need to take it over.

use super::action::{Flow, SeatId};
use super::limits::FleetLimits;
use super::report::StopState;
use super::row::{AgentRecord, OpenedSession};
use super::view::{AgentView, ShownPresence};
use crate::command::{CommandQueue, DEFAULT_SLOTS};
use crate::id::{
    AgentId, AgentKey, CommandId, Epoch, InstanceId, JournalId, LinkId, PresenceVersion, SessionId,
    StopId,
};
use crate::model::Capabilities;
use crate::replay::Retired;
use crate::session::PresenceStatus;
use crate::time::WallTime;
use crate::wire::payload::AgentConnect;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// Unknown commands that an agent is told of once only in a session. With more it may be told twice.
const MOST_REPORTED: usize = 1024;
/// Ids of its own making that are remembered of a legacy wrapper, which makes itself one at each start.
pub const ALIASES: usize = 8;

/// An agent.
#[derive(Debug)]
pub(super) struct Agent {
    /// The key that its latest session showed.
    pub(super) key: AgentKey,
    /// No presence of it has a greater version.
    pub(super) version: PresenceVersion,
    pub(super) epoch: Epoch,
    /// Its machine.
    pub(super) seat: Option<SeatId>,
    /// Where its recording is while it has no machine.
    pub(super) history: Option<Retired>,
    /// The journal that it kept in its last session.
    pub(super) journal: Option<JournalId>,
    /// The one that the store has of it, or was given.
    pub(super) stored_journal: Option<JournalId>,
    /// How many commands it runs at once.
    pub(super) slots: usize,
    pub(super) queue: CommandQueue<CommandId>,
    pub(super) throttle: Throttle,
    pub(super) listing: Listing,
    pub(super) shown: AgentView,
}

/// Whether the user sees an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    Listed,
    /// It is kept until its machine is gone.
    Deleted,
}

impl Agent {
    /// One that was not known before.
    pub(super) fn new(
        key: AgentKey,
        opened: &OpenedSession,
        at: WallTime,
        limits: &FleetLimits,
    ) -> Self {
        let presence = ShownPresence {
            status: PresenceStatus::Connecting,
            since: at,
            because: "hello received, session being opened".to_owned(),
            version: opened.presence_version,
        };
        Self {
            key,
            version: opened.presence_version,
            epoch: opened.epoch,
            seat: None,
            history: None,
            journal: None,
            stored_journal: None,
            slots: DEFAULT_SLOTS,
            queue: CommandQueue::default(),
            throttle: Throttle::new(limits.unstored_output),
            listing: Listing::Listed,
            shown: AgentView {
                name: String::new(),
                agent_type: String::new(),
                version: String::new(),
                host: String::new(),
                capabilities: Vec::new(),
                aliases: Vec::new(),
                presence,
                last_heard: None,
                metrics: None,
                paused: false,
                stopped: None,
                takes_links: true,
                contest: None,
            },
        }
    }

    /// One that the store has.
    pub(super) fn recovered(record: AgentRecord, limits: &FleetLimits) -> Self {
        let presence = ShownPresence {
            status: record.status,
            since: record.since,
            because: record.because,
            version: record.presence_version,
        };
        Self {
            key: record.key,
            version: record.presence_version,
            epoch: record.epoch,
            seat: None,
            history: None,
            stored_journal: record.journal.clone(),
            journal: record.journal,
            slots: DEFAULT_SLOTS,
            queue: CommandQueue::default(),
            throttle: Throttle::new(limits.unstored_output),
            listing: Listing::Listed,
            shown: AgentView {
                name: record.name,
                agent_type: record.agent_type,
                version: record.version,
                host: record.host,
                capabilities: record.capabilities,
                aliases: record.aliases,
                presence,
                last_heard: record.last_heard,
                metrics: record.metrics,
                paused: false,
                stopped: None,
                takes_links: true,
                contest: None,
            },
        }
    }

    /// What its hello says of it replaces what was known.
    pub(super) fn introduce(&mut self, hello: &AgentConnect, opened: &OpenedSession, at: WallTime) {
        self.epoch = opened.epoch;
        let shown = &mut self.shown;
        shown.name = name(hello, Some((&opened.agent, &shown.name)));
        shown.agent_type = hello.agent_type.as_str().to_ascii_lowercase();
        shown.version = hello.version.clone().unwrap_or_default();
        shown.host = hello.host_machine.clone().unwrap_or_default();
        shown.capabilities = hello.capabilities.to_words();
        shown.last_heard = Some(at);
        shown.presence.version = shown.presence.version.max(opened.presence_version);
        if hello.extensions.is_none() {
            self.remember(AgentId::new(&hello.agent_id));
        }
    }

    /// It goes by this id too. Whether that was not known.
    pub(super) fn remember(&mut self, alias: AgentId) -> bool {
        let aliases = &mut self.shown.aliases;
        let is_new = !aliases.contains(&alias);
        if is_new {
            if aliases.len() >= ALIASES {
                let _ = aliases.remove(0);
            }
            aliases.push(alias);
        }
        is_new
    }
}

/// What people know the agent by: its id if it says no name. One that says the id that it was taught keeps
/// the name that it is `known` by under it.
pub(super) fn name(hello: &AgentConnect, known: Option<(&AgentId, &String)>) -> String {
    if let Some(name) = hello.name.as_ref().filter(|name| !name.is_empty()) {
        return name.clone();
    }
    let taught = known.filter(|(id, name)| id.as_str() == hello.agent_id && !name.is_empty());
    taught.map_or(&hello.agent_id, |(_, name)| name).clone()
}

/// The machine of an agent, from its first hello on.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) key: AgentKey,
    /// Unknown until the store has said it.
    pub(super) agent: Option<AgentId>,
    /// The presence version that the machine began with while its agent was not known.
    pub(super) floor: PresenceVersion,
    /// The process of the latest session.
    pub(super) instance: Option<InstanceId>,
    /// The id that the latest session claimed.
    pub(super) claimed: String,
    /// The id that its process uses.
    pub(super) uses: UsedId,
    /// By what the store may find its agent.
    pub(super) found: FoundBy,
    /// Hellos whose session is being opened. At most one a link, and a link's end takes it out.
    pub(super) joining: BTreeMap<LinkId, Joining>,
    /// Links that are open beside the one of the session.
    pub(super) parked: BTreeSet<LinkId>,
    pub(super) session: Option<Session>,
}

impl Seat {
    pub(super) const fn new(key: AgentKey, agent: Option<AgentId>, floor: PresenceVersion) -> Self {
        Self {
            key,
            agent,
            floor,
            instance: None,
            claimed: String::new(),
            uses: UsedId::Own,
            found: FoundBy::Anything,
            joining: BTreeMap::new(),
            parked: BTreeSet::new(),
            session: None,
        }
    }

    /// Whether a hello that claims this id comes from the process of the latest session. A process that took
    /// the id that it was taught says that one; the id of its configuration is that of another process.
    /// `aliases` are the ids that earlier sessions claimed.
    pub(super) fn is_same(&self, id: &str, aliases: &[AgentId]) -> bool {
        if self.agent.as_ref().is_some_and(|agent| agent.as_str() == id) {
            return true;
        }
        let is_known = match self.claimed.as_str() {
            // Its latest session was with an earlier run of this server.
            "" => aliases.iter().any(|alias| alias.as_str() == id),
            claimed => claimed == id,
        };
        self.uses == UsedId::Own && is_known
    }
}

/// By what the store may find the agent of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundBy {
    /// Its key, or any id that it claims.
    Anything,
    /// Its key alone: the id that it claims is one by which another agent, which is in session, goes.
    Key,
}

/// Which id a legacy wrapper uses of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsedId {
    /// One that it made.
    Own,
    /// The one that it was taught.
    Taught,
}

/// A hello whose session is being opened.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) hello: alloc::boxed::Box<AgentConnect>,
    pub(super) session: SessionId,
    pub(super) peer: String,
}

/// What holds in one session of an agent.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) link: LinkId,
    /// What both ends may rely on.
    pub(super) capabilities: Capabilities,
    pub(super) health: Health,
    /// Its terminal that is shown on its own machine, whose size is not for others to say.
    pub(super) attached: Option<CommandId>,
    /// Commands that it was told in this session are not known here.
    pub(super) reported_unknown: BTreeSet<CommandId>,
    /// Commands that this session could not take up: nothing of them is heard in it.
    pub(super) left_out: BTreeSet<CommandId>,
    pub(super) stop_receipt: Option<(StopId, StopState)>,
}

/// Whether an agent in session can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// It reported that it cannot go on.
    Faulted,
}

impl Session {
    pub(super) fn new(link: LinkId, capabilities: Capabilities, joining: &Joining) -> Self {
        Self {
            id: joining.session.clone(),
            link,
            capabilities,
            health: Health::Well,
            attached: None,
            reported_unknown: BTreeSet::new(),
            left_out: BTreeSet::new(),
            stop_receipt: None,
        }
    }

    /// Notes that the agent is told that this command is not known here. Whether it was not told before.
    pub(super) fn report_unknown(&mut self, command: &CommandId) -> bool {
        note_once(&mut self.reported_unknown, command)
    }

    /// Notes that this command is not taken up in this session. Whether that was not noted before.
    pub(super) fn leave_out(&mut self, command: &CommandId) -> bool {
        note_once(&mut self.left_out, command)
    }

    /// How far the agent is with this stop.
    pub(super) fn stop_state(&self, stop: &StopId) -> StopState {
        match &self.stop_receipt {
            _ if !self.capabilities.latches_stops() => StopState::NotConfirmed,
            Some((of, state)) if of == stop => *state,
            Some(_) | None => StopState::Told,
        }
    }
}

fn note_once(noted: &mut BTreeSet<CommandId>, command: &CommandId) -> bool {
    if noted.contains(command) {
        return false;
    }
    if noted.len() >= MOST_REPORTED {
        noted.clear();
    }
    noted.insert(command.clone())
}

/// Back-pressure with hysteresis: an agent whose output the store does not take fast enough is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throttle {
    /// What may wait.
    most: usize,
    waiting: usize,
    flow: Flow,
}

impl Throttle {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, waiting: 0, flow: Flow::Resumed }
    }

    /// So much more waits. What changes.
    pub(super) const fn add(&mut self, cost: usize) -> Option<Flow> {
        self.waiting = self.waiting.saturating_add(cost);
        self.pause()
    }

    /// So much less waits. What changes: half of the bound is free before the link is read again, or it
    /// would be paused and resumed with each record.
    pub(super) const fn free(&mut self, cost: usize) -> Option<Flow> {
        self.waiting = self.waiting.saturating_sub(cost);
        match self.flow {
            Flow::Paused if self.waiting < self.most / 2 => {
                self.flow = Flow::Resumed;
                Some(Flow::Resumed)
            }
            Flow::Paused | Flow::Resumed => None,
        }
    }

    /// A link begins, which is read. What changes.
    pub(super) const fn begin(&mut self) -> Option<Flow> {
        self.flow = Flow::Resumed;
        self.pause()
    }

    const fn pause(&mut self) -> Option<Flow> {
        match self.flow {
            Flow::Resumed if self.waiting >= self.most => {
                self.flow = Flow::Paused;
                Some(Flow::Paused)
            }
            Flow::Resumed | Flow::Paused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_pauses_at_the_bound_and_resumes_at_half_of_it() {
        const THROTTLE_AT: usize = 1000;
        let mut throttle = Throttle::new(THROTTLE_AT);
        assert_eq!(throttle.add(THROTTLE_AT - 1), None);
        assert_eq!(throttle.add(1), Some(Flow::Paused));
        assert_eq!(throttle.add(1), None);
        assert_eq!(throttle.begin(), Some(Flow::Paused), "a new link is paused at once");
        assert_eq!(throttle.free(THROTTLE_AT / 2), None);
        assert_eq!(throttle.free(2), Some(Flow::Resumed));
        assert_eq!(throttle.begin(), None);
    }
}
