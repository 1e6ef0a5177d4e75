//! One agent, as its fleet knows it: with or without a machine, with or without a session. Together with
//! its commands this is all that another server would need to take it over.

use super::action::SeatId;
use super::agent_view::{AgentFacts, AgentView, PauseOrder, ShownPresence};
use super::claims::{Bearer, Claim, Known};
use super::directory::Standing;
use super::forgetting::EPHEMERAL;
use super::limits::FleetLimits;
use super::report::StopState;
use super::row::{AgentRecord, NewSession, OpenedSession};
use crate::command::{CommandQueue, DEFAULT_SLOTS};
use crate::diagnosis::BeatVerdict;
use crate::id::{
    AgentId, AgentKey, CommandId, Epoch, InstanceId, JournalId, LinkId, PresenceVersion, SessionId,
    StopId,
};
use crate::model::{Capabilities, Dialect, Feature, Pausing};
use crate::replay::Retired;
use crate::session::{Claimant, PresenceStatus};
use crate::time::WallTime;
use crate::wire::payload::AgentConnect;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of words for what it can do that are shown of an agent. Real ones say a few.
const MOST_WORDS: usize = 4096;
/// What an entry of a list in a hello counts besides its text.
const ENTRY_COST: usize = 32;
/// What a hello counts besides its texts.
const HELLO_COST: usize = 1024;
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
    /// The order to pause that it obeys, or is to; it outlives a link.
    pub(super) pause: Option<PauseOrder>,
    pub(super) listing: Listing,
    /// What readers are shown of it, which they hold too.
    pub(super) shown: Arc<AgentFacts>,
    /// When a frame of it last came.
    pub(super) last_heard: Option<WallTime>,
    /// What the hop tracker says of its session.
    pub(super) beats: Option<BeatVerdict>,
    /// What it counts, as it stands in the roster's sum.
    pub(super) cost: usize,
    /// How it stands in the directory.
    pub(super) standing: Standing,
}

/// Whether the user sees an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    Listed,
    /// It is kept until its machine is removed.
    Deleted,
}

impl Agent {
    /// How it stands in the directory, if it takes commands or does not.
    pub(super) fn stands(&self, available: bool) -> Standing {
        let listed = match self.listing {
            Listing::Listed => {
                let lineage = self.shown.claim.as_ref().map(|claim| claim.lineage.clone());
                Some((AgentId::new(&self.shown.name), lineage))
            }
            Listing::Deleted => None,
        };
        Standing { listed, available }
    }

    /// One that was not known before.
    pub(super) fn new(
        key: AgentKey,
        opened: &OpenedSession,
        link_room: usize,
        at: WallTime,
    ) -> Self {
        let version = PresenceVersion::base_of(opened.epoch);
        let presence = ShownPresence {
            status: PresenceStatus::Connecting,
            since: at,
            because: "hello received, session being opened".to_owned(),
            version,
            track: None,
            ended_with: None,
        };
        Self {
            key,
            version,
            epoch: opened.epoch,
            seat: None,
            history: None,
            journal: None,
            stored_journal: None,
            slots: DEFAULT_SLOTS,
            queue: CommandQueue::default(),
            pause: None,
            listing: Listing::Listed,
            shown: Arc::new(AgentFacts {
                name: String::new(),
                agent_type: String::new(),
                version: String::new(),
                host: String::new(),
                capabilities: Vec::new(),
                aliases: Vec::new(),
                presence,
                pausing: Pausing::Running,
                paused: None,
                program_fault: None,
                activity: None,
                stopped: None,
                link_room,
                claim: None,
                contest: None,
                slept: None,
            }),
            last_heard: None,
            beats: None,
            cost: 0,
            standing: Standing::default(),
        }
    }

    /// One that the store has.
    pub(super) fn recovered(record: AgentRecord) -> Self {
        let presence = ShownPresence {
            status: record.status,
            since: record.since,
            because: record.because,
            version: record.presence_version,
            track: None,
            ended_with: None,
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
            pause: None,
            listing: Listing::Listed,
            shown: Arc::new(AgentFacts {
                name: record.name,
                agent_type: record.agent_type,
                version: record.version,
                host: record.host,
                capabilities: record.capabilities,
                aliases: record.aliases,
                presence,
                pausing: Pausing::Running,
                paused: None,
                program_fault: None,
                activity: None,
                stopped: None,
                link_room: 0,
                claim: record.claim,
                contest: None,
                slept: None,
            }),
            last_heard: record.last_heard,
            beats: None,
            cost: 0,
            standing: Standing::default(),
        }
    }

    /// What readers are shown of it.
    pub(super) fn view(&self) -> Box<AgentView> {
        let mut view = AgentView::from(Arc::clone(&self.shown));
        (view.last_heard, view.beats) = (self.last_heard, self.beats);
        Box::new(view)
    }

    /// What is to change of what readers are shown; copied if they hold it.
    pub(super) fn facts(&mut self) -> &mut AgentFacts {
        Arc::make_mut(&mut self.shown)
    }

    /// What its hello says of it replaces what was known.
    pub(super) fn introduce(&mut self, hello: &AgentConnect, opened: &OpenedSession, at: WallTime) {
        self.epoch = opened.epoch;
        self.last_heard = Some(at);
        let shown = self.facts();
        shown.name = name(hello, Some((&opened.agent, &shown.name)));
        shown.agent_type = hello.agent_type.as_str().to_ascii_lowercase();
        shown.version = hello.version.clone().unwrap_or_default();
        shown.host = hello.host_machine.clone().unwrap_or_default();
        shown.capabilities = capability_names(hello);
    }

    /// What its new machine says is to be shown, and nothing that another one says after it: from now on its versions
    /// are greater than this one.
    pub(super) fn continue_above(&mut self, base: PresenceVersion) {
        self.version = self.version.max(base);
        if self.shown.presence.version < base {
            self.facts().presence.version = base;
        }
    }

    /// What its claim is judged by.
    pub(super) fn known_as<'a>(&'a self, id: &'a AgentId) -> Known<'a> {
        let (name, claim) = (&self.shown.name, self.shown.claim.as_ref());
        Known { id, key: &self.key, name, claim }
    }

    /// Whether it would count more with what this hello says.
    pub(super) fn grows_by(&self, hello: &AgentConnect) -> bool {
        let said = [Some(hello.agent_type.as_str().len()), hello.version.as_ref().map(String::len)];
        let said = said.into_iter().chain([hello.host_machine.as_ref().map(String::len)]).flatten();
        let name = hello.name.as_ref().map_or(hello.agent_id.len(), String::len);
        let said = said
            .chain(capability_names(hello).iter().map(String::len))
            .fold(name, usize::saturating_add);
        let shown = &self.shown;
        let known = [&shown.name, &shown.agent_type, &shown.version, &shown.host].map(String::len);
        let known = known.into_iter().chain(shown.capabilities.iter().map(String::len));
        let is_alias = |alias: &AgentId| alias.as_str() == hello.agent_id;
        let adds_alias = hello.extensions.is_none() && !shown.aliases.iter().any(is_alias);
        said > known.fold(0, usize::saturating_add) || adds_alias
    }

    /// It goes by this id too. Whether that was not known.
    pub(super) fn remember(&mut self, alias: AgentId) -> bool {
        let is_new = !self.shown.aliases.contains(&alias);
        if is_new {
            let aliases = &mut self.facts().aliases;
            if aliases.len() >= ALIASES {
                let _ = aliases.remove(0);
            }
            aliases.push(alias);
        }
        is_new
    }
}

/// What an agent says that it can do, as far as it is kept.
pub(super) fn capability_names(hello: &AgentConnect) -> Vec<String> {
    let mut words = hello.capabilities.to_words();
    let mut features = hello.extensions.iter().flat_map(|extensions| &extensions.features);
    if features.any(|feature| *feature == Feature::Ephemeral) {
        // First, so that it is kept whatever else it can do.
        words.retain(|word| word != EPHEMERAL);
        words.insert(0, EPHEMERAL.to_owned());
    }
    let mut bytes = 0;
    words.retain(|word| {
        bytes += word.len();
        bytes <= MOST_WORDS
    });
    words.shrink_to_fit();
    words
}

/// What an agent counts: while it changes, it stands here and in the view.
pub(super) fn cost_of(shown: &AgentFacts) -> usize {
    let words = shown.capabilities.iter().map(String::len);
    let aliases = shown.aliases.iter().map(|alias| alias.as_str().len());
    let texts = [&shown.name, &shown.agent_type, &shown.version, &shown.host].map(String::len);
    let texts = words.chain(aliases).chain(texts).fold(0, usize::saturating_add);
    texts.saturating_mul(2).saturating_add(FleetLimits::AGENT_COST)
}

/// What a hello counts while its session is being opened.
pub(super) fn cost_of_hello(hello: &AgentConnect) -> usize {
    let texts = [&hello.name, &hello.version, &hello.host_machine];
    let texts = texts.map(|text| text.as_ref().map_or(0, String::len));
    let words = hello.capabilities.words.iter();
    let words = words.map(|word| word.len().saturating_add(ENTRY_COST));
    let extensions = hello.extensions.as_ref();
    let commands = extensions.into_iter().flat_map(|e| &e.commands);
    let commands = commands.map(|id| id.as_str().len().saturating_add(ENTRY_COST));
    let features = extensions.map_or(0, |e| e.features.len().saturating_mul(ENTRY_COST));
    let all = words.chain(commands).chain(texts).fold(features, usize::saturating_add);
    all.saturating_add(hello.agent_id.len()).saturating_add(HELLO_COST)
}

/// What people know the agent by: its id if it says no name. One that says the id that it was taught keeps
/// the name that it is `known` by under it.
fn name(hello: &AgentConnect, known: Option<(&AgentId, &String)>) -> String {
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
    /// Of a machine that began while its agent was not known: the base of the epoch in which that became known.
    pub(super) base: PresenceVersion,
    /// The process of the latest session.
    pub(super) instance: Option<InstanceId>,
    /// The id that the latest session claimed.
    pub(super) claimed: String,
    /// The id that its process uses.
    pub(super) uses: UsedId,
    /// By what the store may find its agent.
    pub(super) found: FoundBy,
    /// By whom an agent is claimed that is not stored yet.
    pub(super) taken_in_by: Option<Claim>,
    /// Hellos whose session is being opened. At most one a link, and a link's end takes it out.
    pub(super) joining: BTreeMap<LinkId, Joining>,
    /// Links that are open beside the one of the session.
    pub(super) parked: BTreeSet<LinkId>,
    pub(super) session: Option<Session>,
}

impl Seat {
    pub(super) const fn new(key: AgentKey, agent: Option<AgentId>) -> Self {
        Self {
            key,
            agent,
            base: PresenceVersion(0),
            instance: None,
            claimed: String::new(),
            uses: UsedId::Own,
            found: FoundBy::Anything,
            taken_in_by: None,
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

impl Seat {
    /// Whether it has a session, and that is with a legacy wrapper.
    pub(super) fn is_of_wrapper(&self) -> bool {
        let dialect = self.session.as_ref().map(|session| session.capabilities.dialect());
        dialect == Some(Dialect::Legacy)
    }

    /// How a hello relates to the latest session. `aliases` as in [`is_same`](Self::is_same).
    pub(super) fn judge(&self, hello: &AgentConnect, aliases: &[AgentId]) -> Claimant {
        let instance = hello.extensions.as_ref().map(|extensions| &extensions.instance);
        let same_id = self.is_same(&hello.agent_id, aliases);
        Claimant::judge(self.instance.as_ref(), instance, same_id)
    }

    /// The session of this hello begins. How it related to the one before.
    pub(super) fn begin(&mut self, hello: &AgentConnect, aliases: &[AgentId]) -> Claimant {
        let claimant = self.judge(hello, aliases);
        self.instance = hello.extensions.as_ref().map(|e| e.instance.clone());
        self.claimed.clone_from(&hello.agent_id);
        // A new process begins with the id of its configuration again (P-237).
        if claimant == Claimant::OtherProcess {
            self.uses = UsedId::Own;
        }
        if self.agent.as_ref().is_some_and(|agent| agent.as_str() == self.claimed) {
            self.uses = UsedId::Taught;
        }
        claimant
    }

    /// What the store is asked for a hello. `known` is its agent and the name of that.
    pub(super) fn new_session(
        &self,
        joining: &Joining,
        known: Option<(&AgentId, &String)>,
        at: WallTime,
    ) -> NewSession {
        let hello = &joining.hello;
        let is_legacy = hello.extensions.is_none();
        // Of an agent that was deleted only the store remembers which id it was taught.
        let claimed = AgentId::new(&hello.agent_id);
        let is_own = self.found != FoundBy::Key || self.agent.as_ref() == Some(&claimed);
        let claimed = Some(claimed).filter(|_| is_legacy && is_own);
        let heir_of = match &self.found {
            FoundBy::Heir(agent) => Some(agent.clone()),
            FoundBy::Anything | FoundBy::Key => None,
        };
        NewSession {
            key: self.key.clone(),
            candidate: self.agent.clone().or(heir_of).or_else(|| claimed.clone()),
            alias: claimed.map(String::from),
            bearer: joining.bearer.clone(),
            name: name(hello, known),
            agent_type: hello.agent_type.as_str().to_ascii_lowercase(),
            version: hello.version.clone(),
            host: hello.host_machine.clone(),
            capabilities: capability_names(hello),
            instance: hello.extensions.as_ref().map(|e| e.instance.clone()),
            stop: hello.extensions.as_ref().and_then(|e| e.stop_id.clone()),
            peer: joining.peer.clone(),
            session: joining.session.clone(),
            at,
        }
    }

    /// Its presence has this status now. Gives what the agent spoke if its session is over with that.
    pub(super) fn lose_or_keep(&mut self, status: PresenceStatus) -> Option<Dialect> {
        let health = match status {
            PresenceStatus::Online | PresenceStatus::Stale => Health::Well,
            PresenceStatus::Error => Health::Faulted,
            // A session that is being opened beside this one changes nothing about this one.
            PresenceStatus::Connecting => return None,
            PresenceStatus::TimedOut | PresenceStatus::Reconnecting | PresenceStatus::Offline => {
                return self.session.take().map(|session| session.capabilities.dialect());
            }
        };
        if let Some(session) = &mut self.session {
            session.health = health;
        }
        None
    }
}

/// By what the store may find the agent of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundBy {
    /// Its key, or any id that it claims.
    Anything,
    /// Its key alone: the id that it claims is one by which another agent goes, which is in session or not
    /// for its token to speak for.
    Key,
    /// Its key, which is new: its token passes this agent on to it.
    Heir(AgentId),
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
    pub(super) hello: Box<AgentConnect>,
    pub(super) bearer: Option<Bearer>,
    pub(super) session: SessionId,
    pub(super) peer: String,
    /// Bytes that its hello takes of the user's share.
    pub(super) cost: usize,
}

/// What holds in one session of an agent.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) link: LinkId,
    /// The capabilities that both ends share.
    pub(super) capabilities: Capabilities,
    pub(super) health: Health,
    /// Its terminal that is shown on its own machine, whose size is not for others to say.
    pub(super) attached: Option<CommandId>,
    pub(super) stop_receipt: Option<(StopId, StopState)>,
}

/// Whether an agent in session can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// It reported that it cannot continue.
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
            stop_receipt: None,
        }
    }

    pub(super) const fn takes_commands(&self) -> bool {
        match self.health {
            Health::Well => true,
            Health::Faulted => false,
        }
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
