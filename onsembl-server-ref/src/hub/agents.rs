//! Agents coming, living and going: what the shard asks, and what the boards and the store get.

use super::ledger::Entry;
use super::request::{BeatHop, NoRecording};
use super::run::{Answer, Hub, Joining, Known, Live};
use crate::auth::Identity;
use crate::board::{AgentEntry, ShownPresence, awaits_its_agent};
use crate::store::{HeartbeatRow, NewSession, OpenError, OpenedSession, PresenceRow, Recorded};
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::command::{CommandEvent, DEFAULT_PLACES, Returned};
use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, CommandId, Epoch, JournalId, LinkId, PresenceVersion,
    SessionId, UserId,
};
use onsembl_protocol::record::{Excerpt, Retired};
use onsembl_protocol::session::{Claimant, Dialect, Presence, PresenceStatus, ServerView};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{AgentConnect, Feature, HealthMetrics};
use onsembl_transport::server::{Admission, HelloClaim};
use serde_json::json;
use std::collections::BTreeSet;
use tracing::{debug, info, warn};

impl Hub {
    pub(super) fn on_hello(&mut self, claim: HelloClaim<Identity>) {
        let HelloClaim { link, auth: identity, hello, peer } = claim;
        let user = identity.user.clone();
        let session = SessionId::new(uuid::Uuid::now_v7().to_string());
        if hello.extensions.as_ref().is_some_and(|e| e.probe) {
            debug!(%link, %user, "a diagnosis connection");
            let agent = AgentId::new("probe");
            let admission = Admission { agent, session, epoch: Epoch(0), stopped: None };
            return self.shard.welcome_probe(link, &admission);
        }
        let key = self.resolve_key(&user, &hello);
        let instance = hello.extensions.as_ref().map(|e| e.instance.clone());
        let (machine, claimant) = match self.machine_of(&user, &key) {
            Some(machine) => {
                let claimant = match self.live.get(&machine) {
                    Some(held) => {
                        let same_id = held.claimed_id == hello.agent_id
                            || held.agent.as_ref().is_some_and(|a| a.as_str() == hello.agent_id);
                        Claimant::judge(held.instance.as_ref(), instance.as_ref(), same_id)
                    }
                    None => Claimant::OtherProcess,
                };
                (machine, claimant)
            }
            None => (self.new_machine(&user, &key), Claimant::SameProcess),
        };
        info!(%link, %user, name = hello.name.as_deref().unwrap_or("-"), %peer, "an agent says hello");
        let _ = self.joining.insert(link, Joining { hello, identity, session, peer });
        self.shard.join(link, machine, claimant);
    }

    /// What makes this agent the same in every session. A legacy wrapper has no key: the id that a
    /// server taught it stands in for one, then its name, then the id it made for itself.
    fn resolve_key(&self, user: &UserId, hello: &AgentConnect) -> AgentKey {
        if let Some(extensions) = &hello.extensions {
            return extensions.agent_key.clone();
        }
        let taught = AgentId::new(&hello.agent_id);
        if self.known.get(&taught).is_some_and(|k| k.user == *user)
            && let Some(((_, key), _)) = self.by_key.iter().find(|(_, agent)| **agent == taught)
        {
            return key.clone();
        }
        match hello.name.as_deref().filter(|n| !n.is_empty()) {
            Some(name) => AgentKey::new(format!("name:{name}")),
            None => AgentKey::new(format!("id:{}", hello.agent_id)),
        }
    }

    fn machine_of(&self, user: &UserId, key: &AgentKey) -> Option<Key> {
        let index = (user.clone(), key.clone());
        let known = self.by_key.get(&index).and_then(|agent| self.known.get(agent)?.machine);
        known.or_else(|| self.newcomers.get(&index).copied())
    }

    fn new_machine(&mut self, user: &UserId, key: &AgentKey) -> Key {
        let index = (user.clone(), key.clone());
        let agent = self.by_key.get(&index).cloned();
        let known = agent.as_ref().and_then(|a| self.known.get_mut(a));
        let mut floor = PresenceVersion(0);
        let machine = match known {
            Some(known) => {
                let machine = self.shard.insert(known.version, known.epoch, known.history.take());
                known.machine = Some(machine);
                machine
            }
            None => {
                // The store may find that this is an agent which is known by another key. Whichever it
                // is, no reader may go back (PROTOCOL.md, P-62).
                let newest = self.newest.entry(user.clone()).or_default();
                *newest = newest.after_restart();
                floor = *newest;
                let machine = self.shard.insert(floor, Epoch(0), None);
                let _ = self.newcomers.insert(index, machine);
                machine
            }
        };
        let live = Live { floor, ..Live::new(user.clone(), key.clone(), agent) };
        let _ = self.live.insert(machine, live);
        machine
    }

    pub(super) fn on_admit(&mut self, key: Key, link: LinkId) {
        let (Some(joining), Some(live)) = (self.joining.get(&link), self.live.get(&key)) else {
            self.counters.count("admissions_without_hello");
            return;
        };
        let hello = &joining.hello;
        let new = NewSession {
            user: live.user.clone(),
            key: live.key.clone(),
            candidates: live.agent.iter().cloned().collect(),
            aliases: match &hello.extensions {
                Some(_) => Vec::new(),
                None => vec![hello.agent_id.clone()],
            },
            name: hello.name.clone().filter(|n| !n.is_empty()).unwrap_or(hello.agent_id.clone()),
            agent_type: hello.agent_type.as_str().to_ascii_lowercase(),
            version: hello.version.clone(),
            host: hello.host_machine.clone(),
            capabilities: hello.capabilities.to_words(),
            instance: hello.extensions.as_ref().map(|e| e.instance.clone()),
            peer: joining.peer.clone(),
            session: joining.session.clone(),
            at: self.now().wall,
            presence_floor: live.floor,
        };
        let store = self.store.clone();
        self.answers.spawn(async move {
            Answer::Session { key, link, opened: store.open_session(new).await }
        });
    }

    pub(super) fn on_session(
        &mut self,
        key: Key,
        link: LinkId,
        opened: Result<OpenedSession, OpenError>,
    ) {
        let Some(joining) = self.joining.get(&link) else {
            self.counters.count("sessions_nobody_waits_for");
            return;
        };
        match opened {
            Ok(opened) => {
                let session = joining.session.clone();
                self.bind(key, link, &opened);
                let OpenedSession { agent, epoch, .. } = opened;
                let user = self.live.get(&key).map(|live| live.user.clone());
                let stopped = user.and_then(|user| Some(self.stop_of(&user, &agent)?.id));
                self.shard.admitted(key, link, Admission { agent, session, epoch, stopped });
            }
            Err(error) => {
                self.counters.count("sessions_refused");
                warn!(%link, %error, "no session for an agent");
                let cause = match error {
                    OpenError::Deleted(_) => CloseCause::Deleted,
                    OpenError::Store(_) => CloseCause::TryLater,
                };
                let _ = self.joining.remove(&link);
                self.shard.rejected(key, link, cause, &error.to_string());
            }
        }
    }

    /// The store said which agent this is.
    fn bind(&mut self, key: Key, link: LinkId, opened: &OpenedSession) {
        let (Some(live), Some(joining)) = (self.live.get_mut(&key), self.joining.get(&link)) else {
            return;
        };
        let agent = opened.agent.clone();
        live.agent = Some(agent.clone());
        let index = (live.user.clone(), live.key.clone());
        let _ = self.newcomers.remove(&index);
        let _ = self.by_key.insert(index, agent.clone());
        let known = self.known.entry(agent.clone()).or_insert_with(|| Known {
            user: live.user.clone(),
            version: opened.presence_version,
            epoch: opened.epoch,
            machine: None,
            journal: None,
            places: DEFAULT_PLACES,
            history: None,
        });
        known.epoch = opened.epoch;
        let other = known.machine.replace(key).filter(|other| *other != key);
        let hello = &joining.hello;
        let board = self.boards.of(&live.user);
        let wall = self.clock.now().wall;
        board.change(|content, revision| {
            let entry = content.agents.entry(agent).or_insert_with(|| AgentEntry {
                name: String::new(),
                agent_type: String::new(),
                version: String::new(),
                host: String::new(),
                capabilities: Vec::new(),
                aliases: Vec::new(),
                presence: ShownPresence {
                    status: PresenceStatus::Connecting,
                    since: wall,
                    because: "hello received, session being opened".to_owned(),
                    version: opened.presence_version,
                },
                last_heard: None,
                metrics: None,
                paused: false,
                revision,
            });
            entry.name =
                hello.name.clone().filter(|n| !n.is_empty()).unwrap_or(hello.agent_id.clone());
            entry.agent_type = hello.agent_type.as_str().to_ascii_lowercase();
            entry.version = hello.version.clone().unwrap_or_default();
            entry.host = hello.host_machine.clone().unwrap_or_default();
            entry.capabilities = hello.capabilities.to_words();
            entry.last_heard = Some(wall);
            entry.presence.version = entry.presence.version.max(opened.presence_version);
            let alias = AgentId::new(&hello.agent_id);
            if hello.extensions.is_none() && !entry.aliases.contains(&alias) {
                // An agent that makes itself a new id at each start keeps only the last few.
                if entry.aliases.len() >= 8 {
                    let _ = entry.aliases.remove(0);
                }
                entry.aliases.push(alias);
            }
        });
        if let Some(other) = other {
            // Two keys turned out to be one agent: the machine of the other one is superseded.
            self.shard.evict(other, CloseCause::Superseded);
        }
    }

    pub(super) fn on_welcomed(&mut self, key: Key, link: LinkId, dialect: Dialect) {
        let Some(joining) = self.joining.remove(&link) else { return };
        let Some(live) = self.live.get_mut(&key) else { return };
        let instance = joining.hello.extensions.as_ref().map(|e| e.instance.clone());
        let same_id = live.claimed_id == joining.hello.agent_id
            || live.agent.as_ref().is_some_and(|a| a.as_str() == joining.hello.agent_id);
        let claimant = Claimant::judge(live.instance.as_ref(), instance.as_ref(), same_id);
        live.instance = instance;
        live.claimed_id = joining.hello.agent_id.clone();
        live.identity = Some(joining.identity);
        live.held_back = false;
        live.stop_receipt = None;
        let features = joining.hello.extensions.as_ref().map(|e| &e.features);
        live.latches_stops = features.is_some_and(|f| f.contains(&Feature::StopLatch));
        live.knows_terminals = features.is_some_and(|f| f.contains(&Feature::Terminal));
        live.attached = None;
        live.told_unknown.clear();
        let (user, agent) = (live.user.clone(), live.agent.clone());
        let Some(agent) = agent else { return };
        let (commands, journal, places) = match joining.hello.extensions {
            Some(e) => (e.commands, e.journal, e.max_parallel),
            None => (Vec::new(), None, None),
        };
        let mut same_process = claimant == Claimant::SameProcess;
        let mut remembers = false;
        if let Some(known) = self.known.get_mut(&agent) {
            remembers = journal.is_some() && known.journal == journal;
            // That it is the process of the last session does not say that it is the one of the session
            // before: what was decided when it came may have died with the server that decided it.
            // Which journal it keeps was stored behind those decisions.
            same_process &= journal.is_none() || remembers;
            known.places = places
                .map_or(DEFAULT_PLACES, |places| usize::try_from(places).unwrap_or(usize::MAX));
        }
        // Until this session says so.
        self.show_paused(&user, &agent, false);
        self.repeat_stop(&user, &agent, key);
        let returned = Returned { dialect, same_process, remembers, known: false };
        self.reconcile(&user, &agent, key, returned, &commands);
        self.note_journal(&agent, journal);
        let _ = self.lines_changed.insert(agent);
    }

    fn note_journal(&mut self, agent: &AgentId, journal: Option<JournalId>) {
        let Some(known) = self.known.get_mut(agent) else { return };
        if known.journal == journal {
            return;
        }
        known.journal.clone_from(&journal);
        self.ledger.write(Entry::Journal { agent: agent.clone(), journal });
    }

    /// Both sides say what they know of the commands of this agent.
    fn reconcile(
        &mut self,
        user: &UserId,
        agent: &AgentId,
        key: Key,
        returned: Returned,
        known: &[CommandId],
    ) {
        for command in self.commands_of(agent) {
            if let Some(open) = self.commands.get_mut(&command) {
                open.dialect = returned.dialect;
            }
            let returned = Returned { known: known.contains(&command.1), ..returned };
            self.feed_command(&command, CommandEvent::LinkBack(returned));
        }
        if returned.dialect == Dialect::Extended {
            for command in known {
                // Of its terminals it speaks by itself.
                let asked_for = !command.is_terminal();
                if asked_for && !self.commands.contains_key(&(user.clone(), command.clone())) {
                    // It is over here, so it must not go on there.
                    self.cancel_at(key, command, true);
                }
            }
        }
    }

    pub(super) fn on_beat(
        &mut self,
        key: Key,
        epoch: Epoch,
        sequence: BeatSequence,
        at: WallTime,
        metrics: Option<HealthMetrics>,
    ) {
        let Some((user, agent)) = self.who(key) else { return };
        self.observe(&agent, sequence, BeatHop::Received, at);
        if let Some(metrics) = metrics {
            self.boards.of(&user).touch(|content| {
                if let Some(entry) = content.agents.get_mut(&agent) {
                    entry.metrics = Some(metrics);
                }
            });
        }
        let metrics = metrics.and_then(|m| serde_json::to_value(m).ok());
        self.store.record_heartbeat(HeartbeatRow { agent, epoch, sequence, at, metrics });
    }

    pub(super) fn on_recorded(&mut self, recorded: Vec<Recorded>) {
        for beat in recorded {
            self.observe(&beat.agent, beat.sequence, BeatHop::Recorded, beat.committed_at);
            let machine = self.known.get(&beat.agent).and_then(|k| k.machine);
            match machine {
                Some(key) => self.shard.recorded(key, beat.epoch, beat.sequence, beat.at),
                None => {
                    debug!(agent = %beat.agent, "recorded a heartbeat of an agent that is gone");
                }
            }
        }
    }

    pub(super) fn on_heard(&mut self, key: Key, at: WallTime) {
        if let Some((user, agent)) = self.who(key) {
            self.boards.of(&user).touch(|content| {
                if let Some(entry) = content.agents.get_mut(&agent) {
                    entry.last_heard = entry.last_heard.max(Some(at));
                }
            });
        }
    }

    pub(super) fn on_paused(&mut self, key: Key, paused: bool) {
        let Some((user, agent)) = self.who(key) else { return };
        info!(%agent, paused, "the agent says whether it is paused");
        self.show_paused(&user, &agent, paused);
    }

    /// Shows it, and with it why those of its commands wait that it could start.
    fn show_paused(&self, user: &UserId, agent: &AgentId, paused: bool) {
        let board = self.boards.of(user);
        if board.look().agents.get(agent).is_none_or(|entry| entry.paused == paused) {
            return;
        }
        board.change(|content, revision| {
            if let Some(entry) = content.agents.get_mut(agent) {
                entry.paused = paused;
            }
            for command in content.commands.values_mut().filter(|c| c.agent == *agent) {
                if command.view.is_some_and(|view| awaits_its_agent(view.status)) {
                    command.revision = revision;
                }
            }
        });
    }

    pub(super) fn on_presence(&mut self, key: Key, presence: Presence) {
        let Some((user, agent)) = self.who(key) else { return };
        info!(
            %agent, status = presence.status.as_str(), because = %presence.because,
            epoch = %presence.epoch, version = %presence.version, "presence"
        );
        let newest = self.newest.entry(user.clone()).or_default();
        *newest = presence.version.max(*newest);
        if let Some(known) = self.known.get_mut(&agent) {
            // One that is superseded says so after the newer one was put in.
            known.version = known.version.max(presence.version);
            known.epoch = known.epoch.max(presence.epoch);
        }
        let shown = ShownPresence::from(presence);
        let (last_heard, was) = match self.boards.of(&user).look().agents.get(&agent) {
            Some(entry) => (entry.last_heard, Some(entry.presence.status)),
            None => (None, None),
        };
        // The database takes the time of a change of status for `since`.
        let changed = was != Some(shown.status);
        let at = if changed { shown.since } else { self.now().wall };
        let evidence = json!({
            "since": shown.since.unix_millis(),
            "last_heard": last_heard.map(WallTime::unix_millis),
            "impairment": presence.because.impairment.map(|i| i.to_string()),
            "store": presence.because.trouble.map(|t| t.to_string()),
            "link": self.shard.machine(key).and_then(ServerView::link).map(|l| l.0),
        });
        self.ledger.write(Entry::Presence(PresenceRow {
            agent: agent.clone(),
            version: presence.version,
            epoch: presence.epoch,
            status: shown.status.as_str().to_owned(),
            because: shown.because.clone(),
            evidence,
            at,
        }));
        self.boards.of(&user).change(|content, revision| {
            if let Some(entry) = content.agents.get_mut(&agent)
                && entry.presence.version < shown.version
            {
                entry.presence = shown;
                entry.revision = revision;
            }
        });
    }

    pub(super) fn on_link_ended(
        &mut self,
        key: Key,
        session: Option<SessionId>,
        reason: CloseReason,
    ) {
        if let Some(session) = session {
            let at = self.now().wall;
            let because = reason.to_string();
            self.ledger.write(Entry::SessionEnd { session, at, because });
        }
        let in_session = self.shard.machine(key).is_some_and(|m| m.link().is_some());
        if let Some((user, agent)) = self.who(key).filter(|_| !in_session) {
            for command in self.commands_of(&agent) {
                self.feed_command(&command, CommandEvent::LinkLost);
            }
            self.show_paused(&user, &agent, false);
            self.show_stop(&user, &agent);
        }
    }

    pub(super) fn on_forgotten(&mut self, key: Key, history: Option<Retired>) {
        let Some(live) = self.live.remove(&key) else { return };
        let _ = self.newcomers.remove(&(live.user.clone(), live.key.clone()));
        let Some(agent) = live.agent else { return };
        if let Some(known) = self.known.get_mut(&agent)
            && known.machine == Some(key)
        {
            let user = known.user.clone();
            known.machine = None;
            known.history = history;
            let journals = known.journal.is_some();
            self.show_paused(&user, &agent, false);
            for command in self.commands_of(&agent) {
                self.feed_command(&command, CommandEvent::AgentGone { journals });
            }
        }
    }

    /// What is recorded of an agent of this user, as far as it can be replayed.
    pub(super) fn recording(&self, user: &UserId, agent: &AgentId) -> Result<Excerpt, NoRecording> {
        // A deleted agent is on no board.
        let listed = self.boards.of(user).look().agents.contains_key(agent);
        let known = self.known.get(agent).filter(|known| listed && known.user == *user);
        let known = known.ok_or(NoRecording::NoAgent)?;
        let excerpt = match (known.machine, known.history) {
            (Some(key), _) => self.shard.recording(key),
            (None, Some(history)) => self.shard.recording_of(history),
            (None, None) => None,
        };
        excerpt.ok_or(NoRecording::Nothing)
    }

    /// Whose machine this is, if the store has said.
    pub(super) fn who(&self, key: Key) -> Option<(UserId, AgentId)> {
        let live = self.live.get(&key)?;
        Some((live.user.clone(), live.agent.clone()?))
    }
}

impl Live {
    pub(super) fn new(user: UserId, key: AgentKey, agent: Option<AgentId>) -> Self {
        Self {
            user,
            key,
            agent,
            floor: PresenceVersion(0),
            instance: None,
            claimed_id: String::new(),
            identity: None,
            latches_stops: false,
            knows_terminals: false,
            attached: None,
            told_unknown: BTreeSet::new(),
            stop_receipt: None,
            output_waiting: 0,
            held_back: false,
        }
    }
}
