//! What is durable on the server's side: rows of agents, commands and stops. What is asked and written is
//! answered here as the server's store does it.

use onsembl_protocol::fleet::{
    AgentRecord, CommandRecord, FleetEvent, Inserted, NewSession, OpenFault, OpenedSession,
    Question, Receipt, RecordOutcome, StopOrder, StoreAnswer, StoreFault, TokenScope, Write,
};
use onsembl_protocol::id::{AgentId, CommandId, Epoch, PresenceVersion, StopId};
use onsembl_protocol::session::PresenceStatus;
use std::collections::{BTreeMap, BTreeSet};

/// Whether the store takes what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Works,
    Fails,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) commands: BTreeMap<CommandId, CommandRecord>,
    pub(super) agents: BTreeMap<AgentId, AgentRecord>,
    pub(super) deleted: BTreeSet<AgentId>,
    pub(super) stops: BTreeMap<StopId, StopOrder>,
    released: BTreeSet<StopId>,
    aliases: BTreeMap<String, AgentId>,
}

fn fault() -> StoreFault {
    StoreFault::Unavailable("it is busy".to_owned())
}

impl Store {
    pub(super) fn answer(&mut self, question: Question, health: Health) -> StoreAnswer {
        let works = match health {
            Health::Works => Ok(()),
            Health::Fails => Err(fault()),
        };
        match question {
            Question::Session { seat, link, new } => {
                let session = new.session.clone();
                let opened = works.map_err(OpenFault::from).and_then(|()| self.open(&new));
                StoreAnswer::Session { seat, link, session, opened }
            }
            Question::Insert(record) => {
                let command = record.command.clone();
                StoreAnswer::Inserted { command, inserted: works.map(|()| self.insert(*record)) }
            }
            Question::Positions { ticket, .. } => {
                StoreAnswer::Positions { ticket, positions: works.map(|()| Vec::new()) }
            }
            Question::LogPosition(command) => {
                StoreAnswer::LogPosition { command, position: works.map(|()| (None, Vec::new())) }
            }
            Question::Balance { query, .. } => {
                StoreAnswer::Balance { query, positions: works.map(|()| Vec::new()) }
            }
            Question::KeepFindings(record) => StoreAnswer::FindingsKept {
                agent: record.agent,
                number: record.number,
                kept: works,
            },
            Question::DeleteAgent { token, agent } => {
                let deleted = works.map(|()| {
                    self.stops.retain(|_, order| order.scope.agent() != Some(&agent));
                    self.agents.contains_key(&agent) && self.deleted.insert(agent.clone())
                });
                StoreAnswer::Deleted { token, agent, deleted }
            }
            Question::Stop(order) => {
                let stop = order.id.clone();
                let stored = works.map(|()| drop(self.stops.insert(stop.clone(), order)));
                StoreAnswer::Stopped { stop, stored }
            }
            Question::Release { token, orders } => {
                let stored = works.map(|()| {
                    for order in orders {
                        let _ = self.stops.remove(&order.id);
                        let _ = self.released.insert(order.id);
                    }
                });
                StoreAnswer::Released { token, stored }
            }
        }
    }

    /// Which agent it is: by its key, else by the id it claims, else by an id of its own making.
    fn open(&mut self, new: &NewSession) -> Result<OpenedSession, OpenFault> {
        let by_key = self.agents.values().find(|known| known.key == new.key);
        let by_id = || new.candidate.as_ref().filter(|id| self.agents.contains_key(*id));
        let claimed = new.candidate.as_ref().map(AgentId::as_str);
        let by_alias = || new.alias.as_deref().into_iter().chain(claimed);
        let found =
            by_key.map(|known| known.agent.clone()).or_else(|| by_id().cloned()).or_else(|| {
                let named = by_alias().filter_map(|alias| self.aliases.get(alias));
                named.filter(|agent| self.may_claim(new, agent)).map(AgentId::clone).next()
            });
        let agent = match found {
            Some(agent) if self.deleted.contains(&agent) => {
                return Err(OpenFault::Deleted("its user deleted it".to_owned()));
            }
            Some(agent) if !self.may_claim(new, &agent) => {
                return Err(OpenFault::Claimed("another lineage holds it".to_owned()));
            }
            Some(agent) => agent,
            None => AgentId::new(format!("agent-{}", self.agents.len())),
        };
        if let Some(alias) = &new.alias {
            self.aliases.entry(alias.clone()).or_insert_with(|| agent.clone());
        }
        let known = self.agents.entry(agent.clone()).or_insert_with(|| AgentRecord {
            agent: agent.clone(),
            key: new.key.clone(),
            name: new.name.clone(),
            agent_type: new.agent_type.clone(),
            version: String::new(),
            host: String::new(),
            capabilities: Vec::new(),
            aliases: Vec::new(),
            epoch: Epoch(0),
            instance: None,
            status: PresenceStatus::Connecting,
            since: new.at,
            because: String::new(),
            presence_version: PresenceVersion(0),
            last_heard: None,
            metrics: None,
            journal: None,
            claim: None,
        });
        known.key = new.key.clone();
        known.epoch = known.epoch.next();
        known.instance = new.instance.clone();
        if let Some(bearer) = &new.bearer {
            known.claim = Some(bearer.claim());
        }
        if let Some(alias) = new.alias.as_ref().map(AgentId::new)
            && !known.aliases.contains(&alias)
        {
            known.aliases.push(alias);
        }
        if new.instance.is_none() {
            known.journal = None;
        }
        known.presence_version = known.presence_version.max(new.presence_floor);
        let (epoch, presence_version) = (known.epoch, known.presence_version);
        let is_known =
            |stop: &StopId| self.stops.contains_key(stop) || self.released.contains(stop);
        let unknown = |stop: &&StopId| !is_known(stop) && !is_known(&stop.adopted_for(&agent));
        let unknown_stop = new.stop.as_ref().filter(unknown).cloned();
        Ok(OpenedSession { agent, epoch, presence_version, unknown_stop })
    }

    /// Whether the token of a new session may speak for this agent.
    fn may_claim(&self, new: &NewSession, agent: &AgentId) -> bool {
        let Some(bearer) = &new.bearer else { return true };
        let claim = self.agents.get(agent).and_then(|known| known.claim.as_ref());
        let is_heir = bearer.scope == TokenScope::Heir(agent.clone());
        is_heir || claim.is_none_or(|claim| claim.lineage == bearer.lineage)
    }

    fn insert(&mut self, record: CommandRecord) -> Inserted {
        match self.commands.get(&record.command) {
            Some(existing) => Inserted::Existing(Box::new(existing.clone())),
            None => {
                self.commands.insert(record.command.clone(), record);
                Inserted::New
            }
        }
    }

    /// Writes this, and says what a fleet is told of it.
    pub(super) fn write(&mut self, write: Write, health: Health) -> Option<FleetEvent> {
        let stored = match health {
            Health::Works => Ok(()),
            Health::Fails => Err(fault()),
        };
        match write {
            Write::Presence(record) => {
                if let Some(known) = self.agents.get_mut(&record.agent)
                    && known.presence_version < record.presence.version
                {
                    known.status = record.presence.status;
                    known.presence_version = record.presence.version;
                }
                None
            }
            Write::Terminal(record) => {
                let command = record.command.clone();
                let inserted = stored.map(|()| self.insert(*record));
                Some(FleetEvent::Store(StoreAnswer::Inserted { command, inserted }))
            }
            Write::Command { command, update } => {
                let ends = update.stage.is_final();
                if stored.is_ok()
                    && let Some(row) = self.commands.get_mut(&command)
                    && row.ended_at.is_none()
                {
                    (row.stage, row.exit) = (update.stage, update.exit);
                    row.ended_at = ends.then_some(update.at);
                }
                let answer = StoreAnswer::EndStored { command, stored };
                ends.then_some(FleetEvent::Store(answer))
            }
            Write::Output { command, record } => {
                let end = record.end();
                let outcome = match self.commands.contains_key(&command) {
                    true => RecordOutcome::Stored,
                    false => RecordOutcome::NoSuchCommand,
                };
                Some(FleetEvent::Receipts(vec![Receipt {
                    command,
                    incarnation: record.incarnation,
                    sequence: record.sequence,
                    stream: record.stream,
                    offset: record.offset,
                    end,
                    outcome,
                }]))
            }
            Write::Alias { agent, alias } => {
                if let Some(known) = self.agents.get_mut(&agent)
                    && !known.aliases.contains(&alias)
                {
                    known.aliases.push(alias);
                }
                None
            }
            Write::Journal { agent, journal } => {
                if let Some(known) = self.agents.get_mut(&agent) {
                    known.journal = journal;
                }
                None
            }
            Write::SessionEnd { .. } | Write::TerminalSize { .. } | Write::Keyboard(_) => None,
        }
    }
}
