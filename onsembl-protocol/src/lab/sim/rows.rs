//! The rows of the store: what it holds of each agent, found by what the agent shows.

use crate::fleet::{AgentRecord, NewSession, OpenedSession, PresenceRecord};
use crate::id::{AgentId, AgentKey, Epoch, JournalId, PresenceVersion, SessionId};
use crate::session::PresenceStatus;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the store holds of one agent.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) record: AgentRecord,
    /// Whose row it is by the truth of the world.
    agent: u32,
    /// Sessions that were opened and not ended.
    pub(super) open: Vec<SessionId>,
}

/// The rows, in the order of first sessions.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    by_key: BTreeMap<AgentKey, usize>,
    by_id: BTreeMap<AgentId, usize>,
    by_agent: Vec<Option<usize>>,
}

impl Rows {
    pub(super) fn new(agents: usize) -> Self {
        Self {
            rows: Vec::new(),
            by_key: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_agent: alloc::vec![None; agents],
        }
    }

    pub(super) fn of_agent(&self, agent: u32) -> Option<&Row> {
        Some(&self.rows[self.by_agent[agent as usize]?])
    }

    pub(super) fn agent_of(&self, id: &AgentId) -> Option<u32> {
        Some(self.rows[*self.by_id.get(id)?].agent)
    }

    /// What a new run of the server continues from, and whose it is. The epochs are raised permanently
    /// before anything is published under them.
    pub(super) fn recover(&mut self) -> Vec<(u32, AgentRecord)> {
        let raise = |row: &mut Row| {
            row.open.clear();
            let record = row.record.clone().of_next_run();
            row.record.epoch = record.epoch;
            (row.agent, record)
        };
        self.rows.iter_mut().map(raise).collect()
    }

    /// Opens the next session of whichever agent this is: by its key, else by the id that it claims, else
    /// a new one. `None` if that is another one than `agent`, or `agent` has a row already.
    pub(super) fn open(&mut self, agent: u32, new: &NewSession) -> Option<OpenedSession> {
        let claimed = || self.by_id.get(new.candidate.as_ref()?).copied();
        let at = match self.by_key.get(&new.key).copied().or_else(claimed) {
            Some(at) => at,
            None if self.by_agent[agent as usize].is_some() => return None,
            None => self.create(agent, new),
        };
        let row = &mut self.rows[at];
        if row.agent != agent {
            return None;
        }
        let _ = self.by_key.remove(&row.record.key);
        let _ = self.by_key.insert(new.key.clone(), at);
        let record = &mut row.record;
        record.key = new.key.clone();
        record.epoch = record.epoch.next_above(record.presence_version);
        record.instance.clone_from(&new.instance);
        if let Some(bearer) = &new.bearer {
            record.claim = Some(bearer.claim());
        }
        if let Some(alias) = new.alias.as_ref().map(AgentId::new) {
            note_alias(record, alias);
        }
        if new.instance.is_none() {
            record.journal = None;
        }
        // Who has a session is awaited after a restart, whatever was last stored of its presence.
        if record.status == PresenceStatus::Offline {
            record.status = PresenceStatus::Connecting;
        }
        row.open.push(new.session.clone());
        let (agent, epoch) = (record.agent.clone(), record.epoch);
        Some(OpenedSession { agent, epoch, unknown_stop: None })
    }

    fn create(&mut self, agent: u32, new: &NewSession) -> usize {
        let at = self.rows.len();
        let id = AgentId::new(format!("row-{at}"));
        let record = AgentRecord {
            agent: id.clone(),
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
        };
        self.rows.push(Row { record, agent, open: Vec::new() });
        let _ = self.by_id.insert(id, at);
        self.by_agent[agent as usize] = Some(at);
        at
    }

    pub(super) fn present(&mut self, new: &PresenceRecord) {
        let Some(at) = self.by_id.get(&new.agent) else { return };
        let record = &mut self.rows[*at].record;
        if record.presence_version < new.presence.version {
            record.presence_version = new.presence.version;
            record.status = new.presence.status;
            record.since = new.at;
        }
    }

    pub(super) fn end(&mut self, session: &SessionId) {
        for row in &mut self.rows {
            row.open.retain(|open| open != session);
        }
    }

    pub(super) fn note_alias(&mut self, agent: &AgentId, alias: &AgentId) {
        if let Some(at) = self.by_id.get(agent) {
            note_alias(&mut self.rows[*at].record, alias.clone());
        }
    }

    pub(super) fn note_journal(&mut self, agent: &AgentId, journal: &Option<JournalId>) {
        if let Some(at) = self.by_id.get(agent) {
            self.rows[*at].record.journal.clone_from(journal);
        }
    }
}

fn note_alias(record: &mut AgentRecord, alias: AgentId) {
    if !record.aliases.contains(&alias) {
        record.aliases.push(alias);
    }
}
