//! Agents as they are stored, for the start of the server and for listings.

use super::columns::{json, json_or_none, number, time, time_or_none};
use super::error::StoreError;
use super::line::{Needs, Routing};
use super::{Store, Submitted};
use onsembl_protocol::fleet::{ALIASES, Claim};
use onsembl_protocol::id::{
    AgentId, AgentKey, Epoch, InstanceId, JournalId, LineageId, PresenceVersion, TokenId, UserId,
};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::HashMap;

/// An agent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentRow {
    pub agent: AgentId,
    pub user: UserId,
    /// What makes it the same agent in every session.
    pub key: AgentKey,
    /// Its name, as it said last. Not unique.
    pub name: String,
    /// Its type, as it said last.
    pub agent_type: String,
    /// Its version, if it said one.
    pub version: Option<String>,
    /// Its host, if it said one.
    pub host: Option<String>,
    /// Its capabilities, as it said last.
    pub capabilities: Vec<String>,
    /// The epoch of its latest session.
    pub epoch: Epoch,
    /// The process of its latest session, if it said one.
    pub instance: Option<InstanceId>,
    /// The status of the latest presence event.
    pub status: String,
    /// Since when it has that status.
    pub since: WallTime,
    pub because: String,
    /// The version of the latest presence event; 0 if there was none.
    pub presence_version: PresenceVersion,
    /// When the latest recorded heartbeat was received.
    pub last_heartbeat: Option<WallTime>,
    /// The latest metrics it sent.
    pub last_metrics: Option<Value>,
    /// When it was first seen.
    pub created_at: WallTime,
    /// The journal that it kept in its last session.
    pub journal: Option<JournalId>,
    /// Who holds it.
    pub claim: Option<Claim>,
}

/// The recorded heartbeat of an agent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentHeartbeat {
    pub agent: AgentId,
    /// When the latest recorded heartbeat was received.
    pub at: Option<WallTime>,
    /// The latest metrics it sent.
    pub metrics: Option<Value>,
}

impl Store {
    /// The agents of `user` (`None`: of all users) that are not deleted, in the order of their
    /// first session.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn agents(&self, user: Option<&UserId>) -> Result<Vec<AgentRow>, StoreError> {
        const COLUMNS: &str = "SELECT agents.*, instance
                               FROM agents LEFT JOIN sessions USING (agent_id, epoch)";
        let user = user.cloned();
        self.read(move |db| list(db, COLUMNS, user.as_ref(), AgentRow::from_row)).await
    }

    /// The ids that agents went by as legacy wrappers: the latest `most` of each, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn aliases(
        &self,
        most: usize,
    ) -> Result<HashMap<AgentId, Vec<AgentId>>, StoreError> {
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT agent_id, alias FROM agent_aliases ORDER BY rowid")?;
            let mut rows = query.query([])?;
            let mut of_agents: HashMap<AgentId, Vec<AgentId>> = HashMap::new();
            while let Some(row) = rows.next()? {
                let (agent, alias): (String, String) = (row.get(0)?, row.get(1)?);
                let aliases = of_agents.entry(agent.into()).or_default();
                if aliases.len() >= most {
                    let _ = aliases.remove(0);
                }
                aliases.push(alias.into());
            }
            Ok(of_agents)
        })
        .await
    }

    /// Notes an id that an agent goes by; nothing changes if another of the user goes by it.
    pub(crate) fn put_alias(
        &self,
        user: &UserId,
        agent: &AgentId,
        alias: &AgentId,
    ) -> Result<Submitted<()>, StoreError> {
        let (user, agent, alias) = (user.clone(), agent.clone(), alias.clone());
        let routing = Routing::data(&user, Needs::BehindAll);
        self.put(routing, "note alias", move |db| {
            note_alias(db, user.as_str(), alias.as_str(), agent.as_str())
        })
    }

    /// Whether the user has deleted the agent with this id.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn is_deleted(&self, user: &UserId, agent: &AgentId) -> Result<bool, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        self.read_for(&user.clone(), move |db| {
            db.prepare_cached(
                "SELECT 1 FROM agents
                 WHERE agent_id = ?2 AND user_id = ?1 AND deleted_at IS NOT NULL",
            )?
            .exists([user.as_str(), agent.as_str()])
        })
        .await
    }

    /// The recorded heartbeats of the agents of `user` (`None`: of all users), read from the
    /// database, also while it takes no writes.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn agent_heartbeats(
        &self,
        user: Option<&UserId>,
    ) -> Result<Vec<AgentHeartbeat>, StoreError> {
        const COLUMNS: &str = "SELECT agent_id, last_heartbeat, last_metrics FROM agents";
        let user = user.cloned();
        self.read(move |db| list(db, COLUMNS, user.as_ref(), AgentHeartbeat::from_row)).await
    }

    /// The recorded heartbeats of these agents of `user`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub(crate) async fn heartbeats_of(
        &self,
        user: &UserId,
        agents: Vec<AgentId>,
    ) -> Result<Vec<AgentHeartbeat>, StoreError> {
        let of = user.clone();
        self.read_for(user, move |db| {
            let mut query = db.prepare_cached(
                "SELECT agent_id, last_heartbeat, last_metrics FROM agents
                 WHERE agent_id = ?1 AND user_id = ?2 AND deleted_at IS NULL",
            )?;
            let mut found = Vec::new();
            for agent in agents {
                let params = [agent.as_str(), of.as_str()];
                found.extend(query.query_row(params, AgentHeartbeat::from_row).optional()?);
            }
            Ok(found)
        })
        .await
    }

    /// Notes which journal an agent keeps. Takes its turn behind the updates of commands that were
    /// handed in before: what could not be proven under another journal is decided by then.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_journal(
        &self,
        user: &UserId,
        agent: &AgentId,
        journal: Option<JournalId>,
    ) -> Result<Submitted<()>, StoreError> {
        let agent = agent.clone();
        self.put(Routing::data(user, Needs::BehindAll), "set journal", move |db| {
            let _ = db
                .prepare_cached("UPDATE agents SET journal = ?2 WHERE agent_id = ?1")?
                .execute(params![agent.as_str(), journal.as_ref().map(JournalId::as_str)])?;
            Ok(())
        })
    }
}

/// An agent of this user goes by this id too. As many are kept as are looked at, the latest.
pub(super) fn note_alias(
    db: &Connection,
    user: &str,
    alias: &str,
    agent: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO agent_aliases (user_id, alias, agent_id) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id, alias) DO NOTHING",
    )?
    .execute(params![user, alias, agent])?;
    db.prepare_cached(
        "DELETE FROM agent_aliases WHERE agent_id = ?1 AND rowid NOT IN (
             SELECT rowid FROM agent_aliases WHERE agent_id = ?1 ORDER BY rowid DESC LIMIT ?2)",
    )?
    .execute(params![agent, ALIASES as i64])
    .map(drop)
}

/// A name is this agent's: no other goes by it as an id of its own making any more.
pub(super) fn free_name(
    db: &Connection,
    user: &str,
    name: &str,
    agent: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM agent_aliases WHERE user_id = ?1 AND alias = ?2 AND agent_id <> ?3",
    )?
    .execute(params![user, name, agent])
    .map(drop)
}

/// Runs `select` over the agents that are not deleted. Two texts instead of `?1 IS NULL OR …`,
/// because only then the index on the owner is used.
fn list<T>(
    db: &Connection,
    select: &str,
    user: Option<&UserId>,
    from_row: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    match user {
        Some(user) => db
            .prepare_cached(&format!(
                "{select} WHERE user_id = ?1 AND deleted_at IS NULL ORDER BY created_at, agent_id"
            ))?
            .query_map([user.as_str()], from_row)?
            .collect(),
        None => db
            .prepare_cached(&format!(
                "{select} WHERE deleted_at IS NULL ORDER BY created_at, agent_id"
            ))?
            .query_map([], from_row)?
            .collect(),
    }
}

impl AgentRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |column: &str| row.get::<_, String>(column);
        Ok(Self {
            agent: text("agent_id")?.into(),
            user: text("user_id")?.into(),
            key: text("agent_key")?.into(),
            name: text("name")?,
            agent_type: text("agent_type")?,
            version: row.get("version")?,
            host: row.get("host")?,
            capabilities: json(row, "capabilities")?,
            epoch: Epoch(number(row, "epoch")?),
            instance: row.get::<_, Option<String>>("instance")?.map(InstanceId::from),
            status: text("status")?,
            since: time(row, "since")?,
            because: text("because")?,
            presence_version: PresenceVersion(number(row, "presence_version")?),
            last_heartbeat: time_or_none(row, "last_heartbeat")?,
            last_metrics: json_or_none(row, "last_metrics")?,
            created_at: time(row, "created_at")?,
            journal: row.get::<_, Option<String>>("journal")?.map(JournalId::from),
            claim: claim(row)?,
        })
    }
}

fn claim(row: &Row<'_>) -> rusqlite::Result<Option<Claim>> {
    let lineage: Option<String> = row.get("lineage")?;
    let token: Option<String> = row.get("held_by")?;
    Ok(lineage.zip(token).map(|(lineage, token)| Claim {
        lineage: LineageId::new(lineage),
        token: TokenId::new(token),
    }))
}

impl AgentHeartbeat {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            agent: row.get::<_, String>("agent_id")?.into(),
            at: time_or_none(row, "last_heartbeat")?,
            metrics: json_or_none(row, "last_metrics")?,
        })
    }
}
