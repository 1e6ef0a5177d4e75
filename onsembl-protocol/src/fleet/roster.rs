//! Who the agents of a user are: which agent a hello is of, which machine is its end here, and what a session of
//! it means. By what they are found stands in [`directory`](super::directory), whose tokens may speak for them
//! in [`claims`](super::claims). Commands are unknown here.

mod outcome;

pub(super) use outcome::{Began, LossCourse, Lost, LostAgent, SessionCourse};

use super::action::{Admission, FleetAction, Question, SeatId, SeatOrigin, Write};
use super::agent::{Agent, Joining, Listing, Seat, Session, UsedId, cost_of};
use super::backpressure::Backpressure;
use super::claims::Bearer;
use super::collections::Map;
use super::directory::Directory;
use super::event::OpenFault;
use super::limits::FleetLimits;
use super::note::FleetNote;
use super::out::Out;
use super::row::{AgentRecord, OpenedSession, PresenceRecord};
use super::view::Change;
use crate::close::{CloseCause, CloseReason};
use crate::command::{DEFAULT_SLOTS, Returned};
use crate::diagnosis::BeatVerdict;
use crate::id::{AgentId, AgentKey, Epoch, InstanceId, LinkId, PresenceVersion, SessionId, StopId};
use crate::model::Capabilities;
use crate::replay::Retired;
use crate::session::{Claimant, Presence, PresenceCause, PresenceStatus};
use crate::time::{Now, WallTime};
use crate::wire::payload::HealthMetrics;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The agents of a user, by everything that names them.
#[derive(Debug)]
pub(super) struct Roster {
    /// Each in a place of its own, as each seat: a node of a tree has room for twice as many as are in it.
    pub(super) agents: Map<AgentId, Box<Agent>>,
    pub(super) seats: Map<SeatId, Box<Seat>>,
    pub(super) directory: Directory,
    /// Machines whose agent has no id yet.
    pub(super) newcomers: Map<AgentKey, SeatId>,
    /// Links that are kept beside the session of a machine.
    pub(super) parked: Map<LinkId, SeatId>,
    next_seat: SeatId,
    /// What all agents count.
    pub(super) bytes: usize,
    /// What hellos count whose session is being opened.
    pub(super) joining_bytes: usize,
    pub(super) backpressure: Backpressure,
    pub(super) limits: FleetLimits,
}

impl Roster {
    pub(super) const fn new(first_seat: SeatId, limits: FleetLimits) -> Self {
        Self {
            agents: Map::new(),
            seats: Map::new(),
            directory: Directory::new(),
            newcomers: Map::new(),
            parked: Map::new(),
            next_seat: first_seat,
            bytes: 0,
            joining_bytes: 0,
            backpressure: Backpressure::new(&limits),
            limits,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.seats.is_empty()
    }

    pub(super) const fn agents(&self) -> &Map<AgentId, Box<Agent>> {
        &self.agents
    }

    pub(super) fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id).map(Box::as_ref)
    }

    pub(super) fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.agents.get_mut(id).map(Box::as_mut)
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

    /// The process that has the session of an agent.
    pub(super) fn process(&self, agent: &AgentId) -> Option<InstanceId> {
        self.seats.get(&self.agents.get(agent)?.seat?)?.instance.clone()
    }

    /// An agent as an earlier run of this server left it. It is awaited if it was not offline.
    pub(super) fn recover(&mut self, record: AgentRecord, out: &mut Out) {
        let id = record.agent.clone();
        let (key, instance) = (record.key.clone(), record.instance.clone());
        let metrics = record.metrics;
        let mut agent = Box::new(Agent::recovered(record));
        agent.facts().link_room = self.limits.parked_links;
        if agent.shown.presence.status != PresenceStatus::Offline {
            let seat = self.mint_seat();
            let uses = match agent.shown.aliases.contains(&id) {
                true => UsedId::Taught,
                false => UsedId::Own,
            };
            let new = Seat::new(key.clone(), Some(id.clone()));
            let _ = self.seats.insert(seat, Box::new(Seat { instance, uses, ..new }));
            agent.seat = Some(seat);
            let origin = SeatOrigin::Recovered { version: agent.version, epoch: agent.epoch };
            out.act(FleetAction::Install { seat, origin });
        }
        // Earlier versions let an agent go by what is another's name.
        let directory = &mut self.directory;
        agent.facts().aliases.retain(|alias| !directory.is_name_of_another(alias, Some(&id)));
        directory.rekey(&id, None, &key);
        directory.realias(&id, &[], &agent.shown.aliases);
        let name = AgentId::new(&agent.shown.name);
        let went_by_its_name = directory.rename(&id, "", &agent.shown.name);
        let mut view = agent.view();
        view.metrics = metrics;
        out.show(Change::Agent(id.clone(), view));
        let _ = self.agents.insert(id.clone(), agent);
        self.backpressure.admit(&id);
        self.weigh(&id);
        self.stand(&id);
        self.take_name(&name, &went_by_its_name, out);
    }

    /// Notes how an agent stands. To be called behind all that changes its name, its listing, whose it is, or its
    /// session.
    fn stand(&mut self, id: &AgentId) {
        let available = self.session(id).is_some_and(|(_, session)| session.takes_commands());
        let Some(agent) = self.agents.get_mut(id) else { return };
        let now = agent.stands(available);
        // Otherwise the texts of the directory stand here too.
        if now != agent.standing {
            self.directory.stands(id, &agent.standing, &now);
            agent.standing = now;
        }
    }

    /// An agent is what it is now: what all count changes with it.
    fn weigh(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get_mut(id) {
            let cost = cost_of(&agent.shown);
            let before = core::mem::replace(&mut agent.cost, cost);
            self.bytes = self.bytes.saturating_sub(before).saturating_add(cost);
        }
    }

    /// A legacy wrapper says which id it goes by. One that took the id it was taught differs by that from
    /// the next process, which begins with its own again; also after a restart of this server.
    pub(super) fn goes_by(&mut self, seat: SeatId, said: &AgentId, out: &mut Out) {
        let Some(entry) = self.seats.get_mut(&seat) else { return };
        let Some(id) = entry.agent.clone().filter(|id| id == said) else { return };
        if !entry.is_of_wrapper() {
            return;
        }
        entry.uses = UsedId::Taught;
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let before = agent.shown.aliases.clone();
        if agent.remember(id.clone()) {
            self.directory.realias(&id, &before, &agent.shown.aliases);
            self.weigh(&id);
            self.show(&id, out);
            out.write(Write::Alias { agent: id.clone(), alias: id });
        }
    }

    pub(super) fn seat_of(&self, key: &AgentKey) -> Option<SeatId> {
        let known = self.directory.key_owner(key).and_then(|agent| self.agents.get(agent)?.seat);
        known.or_else(|| self.newcomers.get(key).copied())
    }

    fn remove(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        self.bytes = self.bytes.saturating_sub(agent.cost);
        self.backpressure.remove(id);
        let Agent { key, shown, standing, .. } = &*agent;
        self.directory.remove(id, key, &shown.aliases, &shown.name, standing);
    }

    /// The machine of an agent that has no id yet.
    pub(super) fn newcomer(&self, key: &AgentKey) -> Option<&Seat> {
        self.seats.get(self.newcomers.get(key)?).map(Box::as_ref)
    }

    /// The session of a hello is being opened.
    pub(super) fn join(&mut self, seat: SeatId, link: LinkId, joining: Joining) {
        let _ = self.leave(seat, link);
        if let Some(entry) = self.seats.get_mut(&seat) {
            self.joining_bytes = self.joining_bytes.saturating_add(joining.cost);
            let _ = entry.joining.insert(link, joining);
        }
    }

    /// The session of a hello is not being opened any more. Gives the hello, if it was.
    pub(super) fn leave(&mut self, seat: SeatId, link: LinkId) -> Option<Joining> {
        let entry = self.seats.get_mut(&seat)?;
        let joining = entry.joining.remove(&link)?;
        if entry.joining.is_empty() {
            // An empty map keeps a node.
            entry.joining = BTreeMap::new();
        }
        self.joining_bytes = self.joining_bytes.saturating_sub(joining.cost);
        Some(joining)
    }

    fn mint_seat(&mut self) -> SeatId {
        let seat = self.next_seat;
        self.next_seat = SeatId(seat.0.saturating_add(1));
        seat
    }

    /// Puts a machine in for an agent that has none.
    pub(super) fn seat_down(&mut self, key: &AgentKey, out: &mut Out) -> SeatId {
        let seat = self.mint_seat();
        let id = self.directory.key_owner(key).cloned();
        let known = id.as_ref().and_then(|id| self.agents.get_mut(id));
        let origin = match known {
            Some(agent) => {
                agent.seat = Some(seat);
                let history = agent.history.take();
                SeatOrigin::New { version: agent.version, epoch: agent.epoch, history }
            }
            None => {
                let _ = self.newcomers.insert(key.clone(), seat);
                // Nothing of it is shown before the store has said who it is.
                let (version, epoch) = (PresenceVersion(0), Epoch(0));
                SeatOrigin::New { version, epoch, history: None }
            }
        };
        let _ = self.seats.insert(seat, Box::new(Seat::new(key.clone(), id)));
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
        let agent = entry.agent.as_ref();
        let known = agent.and_then(|id| Some((id, &self.agents.get(id)?.shown.name)));
        let mut new = entry.new_session(joining, known, at);
        let is_name = |id: &String| self.directory.is_name_of_another(&AgentId::new(id), agent);
        new.alias = new.alias.filter(|id| !is_name(id));
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
                let _ = self.leave(seat, link);
                let cause = match fault {
                    OpenFault::Deleted(_) => CloseCause::Deleted,
                    OpenFault::Claimed(_) => CloseCause::TokenExpired,
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
        if entry.agent.replace(id.clone()).is_none() {
            entry.base = PresenceVersion::base_of(opened.epoch);
        }
        let _ = self.newcomers.remove(&entry.key);
        let room = self.limits.parked_links;
        let new = || Box::new(Agent::new(entry.key.clone(), opened, room, at));
        let agent = self.agents.entry(id.clone()).or_insert_with(new);
        self.backpressure.admit(&id);
        let before = core::mem::replace(&mut agent.key, entry.key.clone());
        self.directory.rekey(&id, Some(&before), &agent.key);
        agent.listing = Listing::Listed;
        agent.continue_above(entry.base);
        let mut went_by_its_name = Vec::new();
        if let Some(joining) = entry.joining.get(&link) {
            let (aliases, name) = (agent.shown.aliases.clone(), agent.shown.name.clone());
            agent.introduce(&joining.hello, opened, at);
            let claim = joining.bearer.as_ref().map(Bearer::claim);
            if claim.is_some() {
                agent.facts().claim = claim;
            }
            went_by_its_name = self.directory.rename(&id, &name, &agent.shown.name);
            let own = AgentId::new(&joining.hello.agent_id);
            if joining.hello.extensions.is_none()
                && !self.directory.is_name_of_another(&own, Some(&id))
            {
                let _ = agent.remember(own);
            }
            self.directory.realias(&id, &aliases, &agent.shown.aliases);
        }
        let name = AgentId::new(&agent.shown.name);
        out.show(Change::Agent(id.clone(), agent.view()));
        let other = agent.seat.replace(seat).filter(|other| *other != seat);
        self.weigh(&id);
        self.stand(&id);
        self.take_name(&name, &went_by_its_name, out);
        let other = other?;
        // Two keys turned out to be one agent: the machine of the other one is superseded.
        out.act(FleetAction::Evict { seat: other, cause: CloseCause::Superseded });
        let session = self.seats.get_mut(&other).and_then(|other| other.session.take())?;
        Some(Lost { agent: id, dialect: session.capabilities.dialect(), course: LossCourse::Lost })
    }

    /// A name is an agent's. The store lets no other agent go by it from then on either.
    fn take_name(&mut self, name: &AgentId, from: &[AgentId], out: &mut Out) {
        for other in from {
            let Some(agent) = self.agents.get_mut(other) else { continue };
            let before = agent.shown.aliases.clone();
            agent.facts().aliases.retain(|alias| alias != name);
            self.directory.realias(other, &before, &agent.shown.aliases);
            self.weigh(other);
            self.show(other, out);
        }
    }

    /// A session began.
    pub(super) fn welcomed(
        &mut self,
        seat: SeatId,
        link: LinkId,
        capabilities: Capabilities,
        out: &mut Out,
    ) -> Option<Began> {
        let joining = self.leave(seat, link)?;
        let entry = self.seats.get_mut(&seat)?;
        let known = entry.agent.as_ref().and_then(|id| self.agents.get(id));
        let aliases = known.map_or(&[][..], |agent| &agent.shown.aliases);
        let claimant = entry.begin(&joining.hello, aliases);
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
        agent.beats = capabilities.is_extended().then_some(BeatVerdict::WELL);
        let remembers = journal.is_some() && agent.journal == journal;
        // That it is the process of the last session does not say that it is the one of the session before:
        // what was decided when it came may have died with the server that decided it. Which journal it
        // keeps was stored behind those decisions.
        let same_process = claimant == Claimant::SameProcess && (journal.is_none() || remembers);
        agent.slots =
            slots.map_or(DEFAULT_SLOTS, |slots| usize::try_from(slots).unwrap_or(usize::MAX));
        if let Some(flow) = self.backpressure.begin(&id) {
            out.act(FleetAction::Throttle { seat, flow });
        }
        self.stand(&id);
        let dialect = capabilities.dialect();
        let returned = Returned { dialect, same_process, remembers, known: false };
        Some(Began { agent: id, returned, commands, journal, course })
    }

    /// The presence of an agent changed.
    pub(super) fn presence(
        &mut self,
        seat: SeatId,
        (presence, beats): (Presence, Option<BeatVerdict>),
        now: Now,
        out: &mut Out,
    ) -> Option<Lost> {
        let entry = self.seats.get_mut(&seat)?;
        let id = entry.agent.clone()?;
        let agent = self.agents.get_mut(&id)?;
        // What a machine says of a hello whose session was opened and that ended before it was accepted.
        let version = presence.version.counted_above(entry.base);
        let presence = Presence { version, ..presence };
        out.note(FleetNote::Presence {
            agent: id.clone(),
            name: agent.shown.name.clone(),
            status: presence.status,
            because: presence.because.to_string(),
            epoch: presence.epoch,
            version: presence.version,
        });
        // A machine that is superseded says so after the newer one was put in.
        agent.version = agent.version.max(presence.version);
        agent.epoch = agent.epoch.max(presence.epoch);
        // The database takes the time of a change of status for `since`.
        let changed = agent.shown.presence.status != presence.status;
        let at = if changed { presence.since } else { now.wall };
        out.write(Write::Presence(PresenceRecord {
            agent: id.clone(),
            presence,
            last_heard: agent.last_heard,
            link: entry.session.as_ref().map(|session| session.link),
            instance: entry.instance.clone(),
            at,
            beats,
        }));
        if !presence.status.is_in_session() {
            agent.beats = None;
        }
        let is_listed = agent.listing == Listing::Listed;
        if agent.shown.presence.version < presence.version {
            let facts = agent.facts();
            facts.presence = facts.presence.then(presence, beats);
            if is_listed {
                out.show(Change::Agent(id.clone(), agent.view()));
            }
        }
        let dialect = entry.lose_or_keep(presence.status);
        let is_current = agent.seat == Some(seat);
        self.stand(&id);
        let dialect = dialect?;
        let course = if let PresenceCause::LinkEnded(reason) = presence.because.cause {
            LossCourse::of(reason)
        } else {
            LossCourse::Lost
        };
        // The commands of the agent are with the machine that superseded this one.
        is_current.then_some(Lost { agent: id, dialect, course })
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
        let _ = self.leave(seat, link);
        let entry = self.seats.get_mut(&seat)?;
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
        self.stand(&id);
        let course = LossCourse::of(*reason);
        speaks.then_some(Lost { agent: id, dialect, course })
    }

    /// A machine was removed.
    pub(super) fn forgotten(
        &mut self,
        seat: SeatId,
        history: Option<Retired>,
    ) -> Option<LostAgent> {
        let entry = self.seats.remove(&seat)?;
        for link in &entry.parked {
            let _ = self.parked.remove(link);
        }
        for joining in entry.joining.values() {
            self.joining_bytes = self.joining_bytes.saturating_sub(joining.cost);
        }
        if self.newcomers.get(&entry.key) == Some(&seat) {
            let _ = self.newcomers.remove(&entry.key);
        }
        let id = entry.agent?;
        // Unless another machine has the agent by now.
        let agent = self.agents.get_mut(&id).filter(|agent| agent.seat == Some(seat))?;
        agent.seat = None;
        agent.history = history;
        if agent.shown.link_room != self.limits.parked_links {
            agent.facts().link_room = self.limits.parked_links;
        }
        let journals = agent.journal.is_some();
        match agent.listing {
            // The store knows that it was deleted, and says so if it comes back.
            Listing::Deleted => self.remove(&id),
            Listing::Listed => self.stand(&id),
        }
        Some(LostAgent { agent: id, journals })
    }

    /// A frame of an agent in session was received.
    pub(super) fn heard(&mut self, seat: SeatId, at: WallTime, out: &mut Out) {
        let Some(id) = self.seats.get(&seat).and_then(|entry| entry.agent.as_ref()) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.last_heard = agent.last_heard.max(Some(at));
        out.show(Change::Heard(id.clone(), at));
    }

    /// The hop tracker of its session says something else.
    pub(super) fn beats(&mut self, seat: SeatId, verdict: BeatVerdict, out: &mut Out) {
        let Some(id) = self.seats.get(&seat).and_then(|entry| entry.agent.as_ref()) else { return };
        // A machine that was superseded, or whose session is over, has nothing more to say.
        let is_there = |agent: &&mut Box<Agent>| {
            agent.seat == Some(seat) && agent.shown.presence.status.is_in_session()
        };
        let Some(agent) = self.agents.get_mut(id).filter(is_there) else { return };
        agent.beats = Some(verdict);
        if let Some(stop) = verdict.stopped {
            out.note(FleetNote::HeartbeatsStop { agent: id.clone(), stop });
        }
        out.show(Change::Beats(id.clone(), verdict));
    }

    /// A heartbeat brought metrics.
    pub(super) fn measured(&self, seat: SeatId, metrics: HealthMetrics, out: &mut Out) {
        let Some(id) = self.seats.get(&seat).and_then(|entry| entry.agent.as_ref()) else { return };
        if self.agents.contains_key(id) {
            out.show(Change::Metrics(id.clone(), metrics));
        }
    }

    /// Shows an agent as it is now, if it is shown.
    pub(super) fn show(&self, id: &AgentId, out: &mut Out) {
        if let Some(agent) = self.agents.get(id).filter(|a| a.listing == Listing::Listed) {
            out.show(Change::Agent(id.clone(), agent.view()));
        }
    }

    /// The user deleted an agent: it is not shown any more, and must go.
    pub(super) fn delete(&mut self, id: &AgentId, out: &mut Out) {
        out.show(Change::AgentRemoved(id.clone()));
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.listing = Listing::Deleted;
        match agent.seat {
            Some(seat) => {
                out.act(FleetAction::Evict { seat, cause: CloseCause::Deleted });
                self.stand(id);
            }
            None => self.remove(id),
        }
    }
}
