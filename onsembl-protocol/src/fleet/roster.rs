//! Who the agents of a user are: which key, id or name is which agent, which machine speaks for it, and
//! what a session of it means. Commands are not known here.
//!
//! A legacy wrapper has no key: the id that a server taught it stands in for one, then its name, then the
//! id that it made for itself.

mod outcome;

pub(super) use outcome::{Began, Lost, LostAgent, SessionCourse};

use super::action::{Admission, FleetAction, Question, SeatId, SeatOrigin, Write};
use super::agent::{Agent, FoundBy, Health, Joining, Listing, Seat, Session, UsedId, name};
use super::aliases::Aliases;
use super::collections::Map;
use super::event::OpenFault;
use super::limits::FleetLimits;
use super::note::FleetNote;
use super::out::Out;
use super::row::{AgentRecord, NewSession, OpenedSession, PresenceRecord};
use super::view::{Change, ShownPresence};
use crate::close::{CloseCause, CloseReason};
use crate::command::{DEFAULT_SLOTS, Returned};
use crate::id::{AgentId, AgentKey, Epoch, LinkId, PresenceVersion, SessionId, StopId};
use crate::model::{Capabilities, Dialect};
use crate::replay::Retired;
use crate::session::{Claimant, Presence, PresenceStatus};
use crate::time::{Now, WallTime};
use crate::wire::payload::{AgentConnect, ErrorCode, ErrorReply, HealthMetrics};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The agents of a user, by everything that names them.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) agents: Map<AgentId, Agent>,
    pub(super) seats: Map<SeatId, Seat>,
    by_key: Map<AgentKey, AgentId>,
    pub(super) aliases: Aliases,
    /// Machines whose agent has no id yet.
    newcomers: Map<AgentKey, SeatId>,
    /// Links that are kept beside the session of a machine.
    pub(super) parked: Map<LinkId, SeatId>,
    /// No presence of any agent of the user has a greater version.
    newest: PresenceVersion,
    next_seat: SeatId,
    pub(super) limits: FleetLimits,
}

impl Roster {
    pub(super) const fn new(first_seat: SeatId, limits: FleetLimits) -> Self {
        Self {
            agents: Map::new(),
            seats: Map::new(),
            by_key: Map::new(),
            aliases: Aliases::new(),
            newcomers: Map::new(),
            parked: Map::new(),
            newest: PresenceVersion(0),
            next_seat: first_seat,
            limits,
        }
    }

    pub(super) const fn agents(&self) -> &Map<AgentId, Agent> {
        &self.agents
    }

    pub(super) fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    pub(super) fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.agents.get_mut(id)
    }

    /// The agent of a machine, if the store has said.
    pub(super) fn who(&self, seat: SeatId) -> Option<AgentId> {
        self.seats.get(&seat)?.agent.clone()
    }

    pub(super) fn session(&self, agent: &AgentId) -> Option<(SeatId, &Session)> {
        let seat = self.agents.get(agent)?.seat?;
        Some((seat, self.seats.get(&seat)?.session.as_ref()?))
    }

    pub(super) fn session_mut(&mut self, agent: &AgentId) -> Option<(SeatId, &mut Session)> {
        let seat = self.agents.get(agent)?.seat?;
        Some((seat, self.seats.get_mut(&seat)?.session.as_mut()?))
    }

    /// Machines, with and without a session.
    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    /// An agent as an earlier run of this server left it. It is awaited if it was not offline.
    pub(super) fn recover(&mut self, record: AgentRecord, out: &mut Out) {
        let id = record.agent.clone();
        let (key, instance) = (record.key.clone(), record.instance.clone());
        self.newest = self.newest.max(record.presence_version);
        let mut agent = Agent::recovered(record, &self.limits);
        let is_awaited = match agent.shown.presence.status {
            PresenceStatus::Offline => false,
            PresenceStatus::Connecting
            | PresenceStatus::Online
            | PresenceStatus::Stale
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Error => true,
        };
        if is_awaited {
            let seat = self.mint_seat();
            let mut entry = Seat::new(key.clone(), Some(id.clone()), PresenceVersion(0));
            entry.instance = instance;
            if agent.shown.aliases.contains(&id) {
                entry.uses = UsedId::Taught;
            }
            let _ = self.seats.insert(seat, entry);
            agent.seat = Some(seat);
            let origin = SeatOrigin::Recovered { version: agent.version, epoch: agent.epoch };
            out.act(FleetAction::Install { seat, origin });
        }
        out.show(Change::Agent(id.clone(), Box::new(agent.shown.clone())));
        let _ = self.by_key.insert(key, id.clone());
        self.aliases.replace(&id, &[], &agent.shown.aliases);
        let _ = self.agents.insert(id, agent);
    }

    /// An agent says hello: which machine it is for, and whose link this is.
    pub(super) fn hello(
        &mut self,
        link: LinkId,
        hello: Box<AgentConnect>,
        peer: String,
        session: SessionId,
        out: &mut Out,
    ) {
        if hello.extensions.as_ref().is_some_and(|extensions| extensions.probe) {
            out.note(FleetNote::Probe { link });
            let agent = AgentId::new("probe");
            let admission = Admission { agent, session, epoch: Epoch(0), stopped: None };
            return out.act(FleetAction::WelcomeProbe { link, admission });
        }
        let key = self.key_of(&hello);
        self.unpark(link, out);
        let instance = hello.extensions.as_ref().map(|extensions| &extensions.instance);
        let (seat, claimant) = match self.seat_of(&key) {
            Some(seat) if hello.extensions.is_none() && self.is_crowded(seat) => {
                return self.refuse_crowded(link, seat, out);
            }
            Some(seat) => {
                let claimant = self.seats.get(&seat).map_or(Claimant::OtherProcess, |entry| {
                    let same_id = entry.is_same(&hello.agent_id, self.aliases_of(entry));
                    Claimant::judge(entry.instance.as_ref(), instance, same_id)
                });
                (seat, claimant)
            }
            None if self.is_full(&key) => {
                out.note(FleetNote::TooManyAgents { link });
                let why = format!(
                    "this user has {} agents, which is the most; delete some, or use the state directory of one of them",
                    self.limits.agents
                );
                let error = ErrorReply::new(ErrorCode::QueueFull, why);
                return out.act(FleetAction::RefuseHello {
                    link,
                    error,
                    cause: CloseCause::TryLater,
                });
            }
            None => {
                let is_anothers = self.is_anothers(&key, &hello);
                let seat = self.seat_down(&key, out);
                if let Some(entry) = self.seats.get_mut(&seat).filter(|_| is_anothers) {
                    entry.found = FoundBy::Key;
                }
                (seat, Claimant::SameProcess)
            }
        };
        out.note(FleetNote::Hello { link, name: hello.name.clone(), peer: peer.clone() });
        if let Some(entry) = self.seats.get_mut(&seat) {
            let _ = entry.joining.insert(link, Joining { hello, session, peer });
        }
        out.act(FleetAction::Join { link, seat, claimant });
    }

    fn aliases_of(&self, entry: &Seat) -> &[AgentId] {
        let agent = entry.agent.as_ref().and_then(|id| self.agents.get(id));
        agent.map_or(&[], |agent| &agent.shown.aliases)
    }

    /// A legacy wrapper says which id it goes by. One that took the id it was taught is told by that from
    /// the next process, which begins with its own again; also after a restart of this server.
    pub(super) fn goes_by(&mut self, seat: SeatId, said: &AgentId, out: &mut Out) {
        let Some(entry) = self.seats.get_mut(&seat) else { return };
        let Some(id) = entry.agent.clone().filter(|id| id == said) else { return };
        let session = entry.session.as_ref().map(|session| session.capabilities.dialect());
        if session != Some(Dialect::Legacy) {
            return;
        }
        entry.uses = UsedId::Taught;
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let before = agent.shown.aliases.clone();
        if agent.remember(id.clone()) {
            self.aliases.replace(&id, &before, &agent.shown.aliases);
            self.show(&id, out);
            out.write(Write::Alias { agent: id.clone(), alias: id });
        }
    }

    fn key_of(&self, hello: &AgentConnect) -> AgentKey {
        if let Some(extensions) = &hello.extensions {
            return extensions.agent_key.clone();
        }
        if let Some(taught) = self.agents.get(&AgentId::new(&hello.agent_id)) {
            return taught.key.clone();
        }
        match hello.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => AgentKey::new(format!("name:{name}")),
            None => AgentKey::new(format!("id:{}", hello.agent_id)),
        }
    }

    /// Whether a legacy wrapper whose key is not known claims an id by which an agent of another key goes that
    /// is in session: two wrappers of one machine share the id of one configuration file, and are two agents
    /// by their names. One that comes when the other is gone was renamed.
    fn is_anothers(&self, key: &AgentKey, hello: &AgentConnect) -> bool {
        if hello.extensions.is_some() || self.by_key.contains_key(key) {
            return false;
        }
        let claimed = AgentId::new(&hello.agent_id);
        self.aliases.of(&claimed).any(|agent| self.session(agent).is_some())
    }

    fn seat_of(&self, key: &AgentKey) -> Option<SeatId> {
        let known = self.by_key.get(key).and_then(|agent| self.agents.get(agent)?.seat);
        known.or_else(|| self.newcomers.get(key).copied())
    }

    fn is_full(&self, key: &AgentKey) -> bool {
        !self.by_key.contains_key(key)
            && self.agents.len().saturating_add(self.newcomers.len()) >= self.limits.agents
    }

    fn remove(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        self.aliases.replace(id, &agent.shown.aliases, &[]);
        if self.by_key.get(&agent.key) == Some(id) {
            let _ = self.by_key.remove(&agent.key);
        }
    }

    /// How many keys are known.
    pub(super) fn keys(&self) -> usize {
        self.by_key.len()
    }

    fn mint_seat(&mut self) -> SeatId {
        let seat = self.next_seat;
        self.next_seat = SeatId(seat.0.saturating_add(1));
        seat
    }

    /// Puts a machine in for an agent that has none.
    fn seat_down(&mut self, key: &AgentKey, out: &mut Out) -> SeatId {
        let seat = self.mint_seat();
        let id = self.by_key.get(key).cloned();
        let known = id.as_ref().and_then(|id| self.agents.get_mut(id));
        let (floor, origin) = match known {
            Some(agent) => {
                agent.seat = Some(seat);
                let history = agent.history.take();
                let (version, epoch) = (agent.version, agent.epoch);
                (PresenceVersion(0), SeatOrigin::New { version, epoch, history })
            }
            None => {
                // The store may find that this is an agent which is known by another key. Whichever it is,
                // no reader may go back (P-62).
                self.newest = self.newest.after_restart();
                let _ = self.newcomers.insert(key.clone(), seat);
                let (version, epoch) = (self.newest, Epoch(0));
                (version, SeatOrigin::New { version, epoch, history: None })
            }
        };
        let _ = self.seats.insert(seat, Seat::new(key.clone(), id, floor));
        out.act(FleetAction::Install { seat, origin });
        seat
    }

    /// A machine wants a session for a link.
    pub(super) fn admit(&self, seat: SeatId, link: LinkId, at: WallTime, out: &mut Out) {
        let entry = self.seats.get(&seat);
        let Some((entry, joining)) =
            entry.and_then(|entry| Some((entry, entry.joining.get(&link)?)))
        else {
            return out.note(FleetNote::AdmissionWithoutHello { link });
        };
        let hello = &joining.hello;
        let is_legacy = hello.extensions.is_none();
        // Of an agent that was deleted only the store remembers which id it was taught.
        let claimed = AgentId::new(&hello.agent_id);
        let is_own = entry.found == FoundBy::Anything || entry.agent.as_ref() == Some(&claimed);
        let claimed = Some(claimed).filter(|_| is_legacy && is_own);
        let known = entry.agent.as_ref().and_then(|id| Some((id, self.agents.get(id)?)));
        let known = known.map(|(id, agent)| (id, &agent.shown.name));
        let new = NewSession {
            key: entry.key.clone(),
            candidate: entry.agent.clone().or_else(|| claimed.clone()),
            alias: claimed.map(|claimed| claimed.to_string()),
            name: name(hello, known),
            agent_type: hello.agent_type.as_str().to_ascii_lowercase(),
            version: hello.version.clone(),
            host: hello.host_machine.clone(),
            capabilities: hello.capabilities.to_words(),
            instance: hello.extensions.as_ref().map(|e| e.instance.clone()),
            peer: joining.peer.clone(),
            session: joining.session.clone(),
            at,
            presence_floor: entry.floor,
        };
        out.ask(Question::Session { seat, link, new: Box::new(new) });
    }

    /// The store opened a session, or did not. An agent whose other machine had a session is in session no
    /// more.
    pub(super) fn opened(
        &mut self,
        (seat, link): (SeatId, LinkId),
        session: SessionId,
        opened: Result<OpenedSession, OpenFault>,
        stop_of: impl Fn(&AgentId) -> Option<StopId>,
        now: Now,
        out: &mut Out,
    ) -> Option<Lost> {
        let waits = self.seats.get(&seat).is_some_and(|entry| entry.joining.contains_key(&link));
        match opened {
            Ok(opened) if waits => {
                let lost = self.bind(seat, link, &opened, now.wall, out);
                let OpenedSession { agent, epoch, .. } = opened;
                let stopped = stop_of(&agent);
                let admission = Admission { agent, session, epoch, stopped };
                out.act(FleetAction::Admit { seat, link, admission });
                lost
            }
            Ok(_) => {
                // The link ended while the store opened its session, so nothing else will end that.
                out.note(FleetNote::SessionWithoutLink { link });
                let because = "the link ended before its session was opened".to_owned();
                out.write(Write::SessionEnd { session, at: now.wall, because });
                None
            }
            Err(fault) => {
                let why = fault.to_string();
                out.note(FleetNote::SessionRefused { link, why: why.clone() });
                if let Some(entry) = self.seats.get_mut(&seat) {
                    let _ = entry.joining.remove(&link);
                }
                let cause = match fault {
                    OpenFault::Deleted(_) => CloseCause::Deleted,
                    OpenFault::Store(_) => CloseCause::TryLater,
                };
                out.act(FleetAction::Reject { seat, link, cause, why });
                None
            }
        }
    }

    /// The store said which agent this machine is of.
    fn bind(
        &mut self,
        seat: SeatId,
        link: LinkId,
        opened: &OpenedSession,
        at: WallTime,
        out: &mut Out,
    ) -> Option<Lost> {
        let entry = self.seats.get_mut(&seat)?;
        let id = opened.agent.clone();
        entry.agent = Some(id.clone());
        let _ = self.newcomers.remove(&entry.key);
        let _ = self.by_key.insert(entry.key.clone(), id.clone());
        let new = || Agent::new(entry.key.clone(), opened, at, &self.limits);
        let agent = self.agents.entry(id.clone()).or_insert_with(new);
        let before = core::mem::replace(&mut agent.key, entry.key.clone());
        if before != agent.key && self.by_key.get(&before) == Some(&id) {
            // It was renamed; who comes under the former name is another.
            let _ = self.by_key.remove(&before);
        }
        agent.listing = Listing::Listed;
        if let Some(joining) = entry.joining.get(&link) {
            let known = agent.shown.aliases.clone();
            agent.introduce(&joining.hello, opened, at);
            self.aliases.replace(&id, &known, &agent.shown.aliases);
        }
        out.show(Change::Agent(id.clone(), Box::new(agent.shown.clone())));
        let other = agent.seat.replace(seat).filter(|other| *other != seat)?;
        // Two keys turned out to be one agent: the machine of the other one is superseded.
        out.act(FleetAction::Evict { seat: other, cause: CloseCause::Superseded });
        let session = self.seats.get_mut(&other).and_then(|other| other.session.take())?;
        Some(Lost { agent: id, dialect: session.capabilities.dialect() })
    }

    /// A session began.
    pub(super) fn welcomed(
        &mut self,
        seat: SeatId,
        link: LinkId,
        capabilities: Capabilities,
        out: &mut Out,
    ) -> Option<Began> {
        let entry = self.seats.get_mut(&seat)?;
        let joining = entry.joining.remove(&link)?;
        let instance = joining.hello.extensions.as_ref().map(|e| e.instance.clone());
        let known = entry.agent.as_ref().and_then(|id| self.agents.get(id));
        let aliases = known.map_or(&[][..], |agent| &agent.shown.aliases);
        let same_id = entry.is_same(&joining.hello.agent_id, aliases);
        let claimant = Claimant::judge(entry.instance.as_ref(), instance.as_ref(), same_id);
        entry.instance = instance;
        entry.claimed.clone_from(&joining.hello.agent_id);
        if claimant == Claimant::OtherProcess {
            entry.uses = UsedId::Own;
        }
        if entry.agent.as_ref().is_some_and(|agent| agent.as_str() == entry.claimed) {
            entry.uses = UsedId::Taught;
        }
        let before = entry.session.replace(Session::new(link, capabilities, &joining));
        let course = match before {
            Some(_) => SessionCourse::Unbroken,
            None => SessionCourse::Resumed,
        };
        let id = entry.agent.clone()?;
        let agent = self.agents.get_mut(&id)?;
        let (commands, journal, slots) = match joining.hello.extensions {
            Some(e) => (e.commands, e.journal, e.max_parallel),
            None => (Vec::new(), None, None),
        };
        let remembers = journal.is_some() && agent.journal == journal;
        // That it is the process of the last session does not say that it is the one of the session before:
        // what was decided when it came may have died with the server that decided it. Which journal it
        // keeps was stored behind those decisions.
        let same_process = claimant == Claimant::SameProcess && (journal.is_none() || remembers);
        agent.slots =
            slots.map_or(DEFAULT_SLOTS, |slots| usize::try_from(slots).unwrap_or(usize::MAX));
        if let Some(flow) = agent.throttle.begin() {
            out.act(FleetAction::Throttle { seat, flow });
        }
        let dialect = capabilities.dialect();
        let returned = Returned { dialect, same_process, remembers, known: false };
        Some(Began { agent: id, returned, commands, journal, course })
    }

    /// The presence of an agent changed.
    pub(super) fn presence(
        &mut self,
        seat: SeatId,
        presence: Presence,
        now: Now,
        out: &mut Out,
    ) -> Option<Lost> {
        let entry = self.seats.get_mut(&seat)?;
        let id = entry.agent.clone()?;
        let agent = self.agents.get_mut(&id)?;
        out.note(FleetNote::Presence {
            agent: id.clone(),
            status: presence.status,
            because: presence.because.to_string(),
            epoch: presence.epoch,
            version: presence.version,
        });
        self.newest = self.newest.max(presence.version);
        // A machine that is superseded says so after the newer one was put in.
        agent.version = agent.version.max(presence.version);
        agent.epoch = agent.epoch.max(presence.epoch);
        // The database takes the time of a change of status for `since`.
        let changed = agent.shown.presence.status != presence.status;
        let at = if changed { presence.since } else { now.wall };
        out.write(Write::Presence(PresenceRecord {
            agent: id.clone(),
            presence,
            last_heard: agent.shown.last_heard,
            link: entry.session.as_ref().map(|session| session.link),
            at,
        }));
        let is_listed = agent.listing == Listing::Listed;
        if agent.shown.presence.version < presence.version {
            agent.shown.presence = ShownPresence::from(presence);
            if is_listed {
                out.show(Change::Agent(id.clone(), Box::new(agent.shown.clone())));
            }
        }
        let health = match presence.status {
            PresenceStatus::Online | PresenceStatus::Stale => Health::Well,
            PresenceStatus::Error => Health::Faulted,
            // A session that is being opened beside this one changes nothing about this one.
            PresenceStatus::Connecting => return None,
            PresenceStatus::TimedOut | PresenceStatus::Reconnecting | PresenceStatus::Offline => {
                let session = entry.session.take()?;
                let is_current = agent.seat == Some(seat);
                let dialect = session.capabilities.dialect();
                return is_current.then_some(Lost { agent: id, dialect });
            }
        };
        if let Some(session) = &mut entry.session {
            session.health = health;
        }
        None
    }

    /// A link ended, and with it perhaps a session.
    pub(super) fn link_ended(
        &mut self,
        (seat, link): (SeatId, LinkId),
        session: Option<SessionId>,
        reason: &CloseReason,
        at: WallTime,
        out: &mut Out,
    ) -> Option<Lost> {
        let entry = self.seats.get_mut(&seat);
        let is_current = entry.as_ref().is_some_and(|entry| {
            // The end of a link that was taken over says nothing of the session that took it over.
            entry.session.as_ref().is_some_and(|current| Some(&current.id) == session.as_ref())
        });
        if let Some(session) = session {
            out.write(Write::SessionEnd { session, at, because: reason.to_string() });
        }
        let entry = entry?;
        let _ = entry.joining.remove(&link);
        if entry.parked.contains(&link) {
            self.unpark(link, out);
            return None;
        }
        if !is_current {
            return None;
        }
        let dialect = entry.session.take()?.capabilities.dialect();
        let id = entry.agent.clone()?;
        let speaks = self.agents.get(&id).is_some_and(|agent| agent.seat == Some(seat));
        speaks.then_some(Lost { agent: id, dialect })
    }

    /// A machine is gone.
    pub(super) fn forgotten(
        &mut self,
        seat: SeatId,
        history: Option<Retired>,
    ) -> Option<LostAgent> {
        let entry = self.seats.remove(&seat)?;
        for link in &entry.parked {
            let _ = self.parked.remove(link);
        }
        if self.newcomers.get(&entry.key) == Some(&seat) {
            let _ = self.newcomers.remove(&entry.key);
        }
        let id = entry.agent?;
        let agent = self.agents.get_mut(&id).filter(|agent| agent.seat == Some(seat))?;
        agent.seat = None;
        agent.history = history;
        agent.shown.takes_links = true;
        let journals = agent.journal.is_some();
        if agent.listing == Listing::Deleted {
            // The store knows that it was deleted, and says so if it comes back.
            self.remove(&id);
        }
        Some(LostAgent { agent: id, journals })
    }

    /// A frame of an agent in session came.
    pub(super) fn heard(&mut self, seat: SeatId, at: WallTime, out: &mut Out) {
        let Some(id) = self.seats.get(&seat).and_then(|entry| entry.agent.as_ref()) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.shown.last_heard = agent.shown.last_heard.max(Some(at));
        out.show(Change::Heard(id.clone(), at));
    }

    /// A heartbeat brought metrics.
    pub(super) fn measured(&mut self, seat: SeatId, metrics: HealthMetrics, out: &mut Out) {
        let Some(id) = self.seats.get(&seat).and_then(|entry| entry.agent.as_ref()) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.shown.metrics = Some(metrics);
        out.show(Change::Metrics(id.clone(), metrics));
    }

    /// Shows an agent as it is now, if it is shown.
    pub(super) fn show(&self, id: &AgentId, out: &mut Out) {
        if let Some(agent) = self.agents.get(id).filter(|a| a.listing == Listing::Listed) {
            out.show(Change::Agent(id.clone(), Box::new(agent.shown.clone())));
        }
    }

    /// The user deleted an agent: it is not shown any more, and must go.
    pub(super) fn delete(&mut self, id: &AgentId, out: &mut Out) {
        out.show(Change::AgentRemoved(id.clone()));
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.listing = Listing::Deleted;
        match agent.seat {
            Some(seat) => out.act(FleetAction::Evict { seat, cause: CloseCause::Deleted }),
            None => {
                self.remove(id);
            }
        }
    }
}
