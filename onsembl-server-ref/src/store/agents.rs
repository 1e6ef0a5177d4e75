//! Agents as they are stored, for the start of the server and for listings.

use super::beat_log::LastBeat;
use super::columns::{json, number_at, time_or_none};
use super::error::StoreError;
use super::json_columns::{CAPABILITIES, LAST_METRICS};
use super::line::{Needs, Routing};
use super::{Agents, Submitted};
use onsembl_protocol::fleet::{ALIASES, Claim, EPHEMERAL};
use onsembl_protocol::id::{
    AgentId, AgentKey, Epoch, InstanceId, JournalId, LineageId, PresenceVersion, TokenId, UserId,
};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// An agent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
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
    /// The epoch of its latest session, or of the run of the server that awaited it since.
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

/// Agents of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgentCount {
    /// How many there are.
    pub(crate) agents: usize,
    /// Whether any of them was not offline, as far as is stored.
    pub(crate) is_awaited: bool,
}

/// What an [`AgentRow`] is made of, in the order in which it is read: to find each column by its name took half of the
/// time.
const ROWS: &str = "SELECT agent_id, user_id, agent_key, name, agent_type, version, host, epoch, status, since, because,
                           presence_version, last_heartbeat, created_at, journal, lineage, held_by,
                           (SELECT instance FROM sessions WHERE sessions.agent_id = agents.agent_id
                            ORDER BY sessions.epoch DESC LIMIT 1),
                           capabilities, last_metrics
                    FROM agents";

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

impl Agents<'_> {
    /// The agents of `user` (`None`: of all users) that are not deleted, in the order of their
    /// first session.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn list(self, user: Option<&UserId>) -> Result<Vec<AgentRow>, StoreError> {
        let user = user.cloned();
        // Before the rows are read: what goes from the log into a row meanwhile is in both.
        let mut last = self.store.0.beats.of(None);
        let mut rows =
            self.store.read(move |db| list(db, ROWS, user.as_ref(), AgentRow::from_row)).await?;
        for row in &mut rows {
            if let Some(last) = last.remove(&row.agent) {
                show(last, &mut row.last_heartbeat, &mut row.last_metrics);
            }
        }
        Ok(rows)
    }

    /// How many agents each user has that are not deleted, and whether any of them is awaited: its last status is not
    /// `offline`. Users without agents are not there.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn counts(self) -> Result<BTreeMap<UserId, AgentCount>, StoreError> {
        self.store
            .read(|db| {
                // In the order of the table: grouped by the database, each row would be looked for by an index.
                let mut query = db.prepare_cached(
                    "SELECT user_id, status <> 'offline' FROM agents WHERE deleted_at IS NULL",
                )?;
                let mut rows = query.query([])?;
                let mut counts: HashMap<String, AgentCount> = HashMap::new();
                while let Some(row) = rows.next()? {
                    let user = row.get_ref(0)?.as_str()?;
                    let is_awaited: bool = row.get(1)?;
                    match counts.get_mut(user) {
                        Some(count) => {
                            count.agents += 1;
                            count.is_awaited |= is_awaited;
                        }
                        None => {
                            let _ = counts
                                .insert(user.to_owned(), AgentCount { agents: 1, is_awaited });
                        }
                    }
                }
                Ok(counts.into_iter().map(|(user, count)| (user.into(), count)).collect())
            })
            .await
    }

    /// The agents of these users that are not deleted, of each in the order of their first session, and the latest
    /// `most` ids that each went by as a legacy wrapper, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub(crate) async fn of_users(
        self,
        users: Vec<UserId>,
        most: usize,
    ) -> Result<Vec<(AgentRow, Vec<AgentId>)>, StoreError> {
        let mut last = self.store.0.beats.of(None);
        self.store
            .read(move |db| {
                let mut found = Vec::new();
                // The database would write whole rows to sort them.
                let mut query = db
                    .prepare_cached(&format!("{ROWS} WHERE user_id = ?1 AND deleted_at IS NULL"))?;
                for user in &users {
                    let mut aliases = aliases(db, user, most)?;
                    let mut rows: Vec<_> = query
                        .query_map([user.as_str()], AgentRow::from_row)?
                        .collect::<rusqlite::Result<_>>()?;
                    rows.sort_by(|a, b| (a.created_at, &a.agent).cmp(&(b.created_at, &b.agent)));
                    found.extend(rows.into_iter().map(|mut row| {
                        if let Some(last) = last.remove(&row.agent) {
                            show(last, &mut row.last_heartbeat, &mut row.last_metrics);
                        }
                        let aliases = aliases.remove(&row.agent).unwrap_or_default();
                        (row, aliases)
                    }));
                }
                Ok(found)
            })
            .await
    }

    /// Agents of all users that are offline, since before `others`, or, of those that are ephemeral, since before
    /// `ephemeral`: the oldest first, and at most `most`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn away_since(
        self,
        ephemeral: WallTime,
        others: Option<WallTime>,
        most: usize,
    ) -> Result<Vec<(UserId, AgentId)>, StoreError> {
        let is_ephemeral = format!("\"{EPHEMERAL}\"");
        self.store
            .read(move |db| {
                db.prepare_cached(
                    "SELECT user_id, agent_id FROM agents
                     WHERE deleted_at IS NULL AND status = 'offline'
                       AND (since < ?2 OR since < ?1 AND instr(capabilities, ?3) > 0)
                     ORDER BY since LIMIT ?4",
                )?
                .query_map(
                    params![
                        ephemeral.unix_millis(),
                        others.map(WallTime::unix_millis),
                        is_ephemeral,
                        most as i64
                    ],
                    |row| Ok((row.get::<_, String>(0)?.into(), row.get::<_, String>(1)?.into())),
                )?
                .collect()
            })
            .await
    }

    /// Notes an id that an agent goes by; nothing changes if another of the user goes by it.
    pub(crate) fn put_alias(
        self,
        user: &UserId,
        agent: &AgentId,
        alias: &AgentId,
    ) -> Result<Submitted<()>, StoreError> {
        let (user, agent, alias) = (user.clone(), agent.clone(), alias.clone());
        let routing = Routing::data(&user, Needs::BehindAll);
        self.store.put(routing, "note alias", move |db| {
            note_alias(db, user.as_str(), alias.as_str(), agent.as_str())
        })
    }

    /// Whether the user has deleted the agent with this id.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn is_deleted(self, user: &UserId, agent: &AgentId) -> Result<bool, StoreError> {
        let (user, agent) = (user.clone(), agent.clone());
        self.store
            .read_for(&user.clone(), move |db| {
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
    pub async fn heartbeats(
        self,
        user: Option<&UserId>,
    ) -> Result<Vec<AgentHeartbeat>, StoreError> {
        const COLUMNS: &str = "SELECT agent_id, last_heartbeat, last_metrics FROM agents";
        let user = user.cloned();
        let last = self.store.0.beats.of(None);
        let list =
            move |db: &Connection| list(db, COLUMNS, user.as_ref(), AgentHeartbeat::from_row);
        Ok(AgentHeartbeat::all_with(self.store.read(list).await?, last))
    }

    /// The recorded heartbeats of these agents of `user`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub(crate) async fn heartbeats_of(
        self,
        user: &UserId,
        agents: Vec<AgentId>,
    ) -> Result<Vec<AgentHeartbeat>, StoreError> {
        let (of, last) = (user.clone(), self.store.0.beats.of(Some(&agents)));
        let rows = self
            .store
            .read_for(user, move |db| {
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
            .await?;
        Ok(AgentHeartbeat::all_with(rows, last))
    }

    /// Notes which journal an agent keeps. Takes its turn behind the updates of commands that were
    /// handed in before: what could not be proven under another journal is decided by then.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_journal(
        self,
        user: &UserId,
        agent: &AgentId,
        journal: Option<JournalId>,
    ) -> Result<Submitted<()>, StoreError> {
        let agent = agent.clone();
        self.store.put(Routing::data(user, Needs::BehindAll), "set journal", move |db| {
            let _ = db
                .prepare_cached("UPDATE agents SET journal = ?2 WHERE agent_id = ?1")?
                .execute(params![agent.as_str(), journal.as_ref().map(JournalId::as_str)])?;
            Ok(())
        })
    }
}

/// The ids that the agents of a user went by as legacy wrappers: the latest `most` of each, oldest first.
fn aliases(
    db: &Connection,
    user: &UserId,
    most: usize,
) -> rusqlite::Result<HashMap<AgentId, Vec<AgentId>>> {
    let mut query = db.prepare_cached(
        "SELECT agent_id, alias FROM agent_aliases WHERE user_id = ?1 ORDER BY rowid",
    )?;
    let mut rows = query.query([user.as_str()])?;
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
    /// Of a row of [`ROWS`].
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |place: usize| row.get::<_, String>(place);
        let time = |place: usize| row.get(place).map(WallTime::from_unix_millis);
        let lineage: Option<String> = row.get(15)?;
        let held_by: Option<String> = row.get(16)?;
        Ok(Self {
            agent: text(0)?.into(),
            user: text(1)?.into(),
            key: text(2)?.into(),
            name: text(3)?,
            agent_type: text(4)?,
            version: row.get(5)?,
            host: row.get(6)?,
            epoch: Epoch(number_at(row, 7, "epoch")?),
            status: text(8)?,
            since: time(9)?,
            because: text(10)?,
            presence_version: PresenceVersion(number_at(row, 11, "presence_version")?),
            last_heartbeat: row.get::<_, Option<i64>>(12)?.map(WallTime::from_unix_millis),
            created_at: time(13)?,
            journal: row.get::<_, Option<String>>(14)?.map(JournalId::from),
            claim: lineage.zip(held_by).map(|(lineage, token)| Claim {
                lineage: LineageId::new(lineage),
                token: TokenId::new(token),
            }),
            instance: row.get::<_, Option<String>>(17)?.map(InstanceId::from),
            capabilities: json(row, &CAPABILITIES)?.unwrap_or_default(),
            last_metrics: json(row, &LAST_METRICS)?,
        })
    }
}

/// A heartbeat of the log is newer than what a row says.
fn show(last: LastBeat, at: &mut Option<WallTime>, metrics: &mut Option<Value>) {
    *at = Some(last.at);
    let Some(text) = last.metrics else { return };
    match serde_json::from_str(&text) {
        Ok(value) => *metrics = Some(value),
        Err(error) => tracing::warn!(%error, "metrics that were recorded are no JSON"),
    }
}

impl AgentHeartbeat {
    fn all_with(mut rows: Vec<Self>, mut last: HashMap<AgentId, LastBeat>) -> Vec<Self> {
        for row in &mut rows {
            if let Some(last) = last.remove(&row.agent) {
                show(last, &mut row.at, &mut row.metrics);
            }
        }
        rows
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            agent: row.get::<_, String>("agent_id")?.into(),
            at: time_or_none(row, "last_heartbeat")?,
            metrics: json(row, &LAST_METRICS)?,
        })
    }
}
