//! Presence events: every published change of an agent's status, and why. Events are only ever
//! added and, when there are many, removed from the old end; the latest one is projected onto the agent in the
//! same transaction.

use super::columns::{int, json, number, time};
use super::error::StoreError;
use super::json_columns::EVIDENCE;
use super::line::Routing;
use super::{Presences, Submitted, findings};
use onsembl_protocol::diagnosis::{BeatVerdict, ToldAt, Transition};
use onsembl_protocol::id::{AgentId, Epoch, InstanceId, PresenceVersion, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, Row, params};
use serde::Deserialize as _;
use serde_json::Value;
use std::borrow::Cow;

/// Events kept of one agent, the latest: with two for each lost link, those of a bad week.
pub(crate) const KEPT: usize = 1024;
/// So often the older ones are removed: it costs as much as adding some.
const TRIMMED_EVERY: u64 = 64;

/// One presence event.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PresenceRow {
    pub agent: AgentId,
    /// Its number among the events of this agent.
    pub version: PresenceVersion,
    /// The epoch of the session it is about.
    pub epoch: Epoch,
    /// The status from now on.
    pub status: String,
    /// The reason, shown to people.
    pub because: String,
    /// What the decision was made from.
    pub evidence: Value,
    pub at: WallTime,
}

/// A presence event that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewPresence {
    pub(crate) agent: AgentId,
    pub(crate) version: PresenceVersion,
    pub(crate) epoch: Epoch,
    pub(crate) status: Cow<'static, str>,
    pub(crate) because: String,
    /// As JSON.
    pub(crate) evidence: String,
    pub(crate) at: WallTime,
}

impl From<PresenceRow> for NewPresence {
    fn from(row: PresenceRow) -> Self {
        let PresenceRow { agent, version, epoch, status, because, evidence, at } = row;
        let (status, evidence) = (status.into(), evidence.to_string());
        Self { agent, version, epoch, status, because, evidence, at }
    }
}

/// What is recorded of the absences of one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// The transitions of its presence, the oldest first.
    pub(crate) log: Vec<Transition>,
    /// What it told of its absences, in the order in which it did.
    pub(crate) told: Vec<ToldAt>,
}

impl PresenceRow {
    /// The name of the published presence in the evidence, as the core writes it.
    pub(crate) const TYPED: &str = "presence";

    /// The name of what the hop tracker said, as the core writes it.
    pub(crate) const BEATS: &str = "beats";

    fn from_row(row: &Row<'_>, agent: &AgentId) -> rusqlite::Result<Self> {
        Ok(Self {
            agent: agent.clone(),
            version: PresenceVersion(number(row, "version")?),
            epoch: Epoch(number(row, "epoch")?),
            status: row.get("status")?,
            because: row.get("because")?,
            evidence: json(row, &EVIDENCE)?.unwrap_or_default(),
            at: time(row, "at")?,
        })
    }

    /// The event as the core knows it; `None` of one that an earlier version wrote.
    pub(crate) fn transition(&self) -> Option<Transition> {
        let presence = serde_json::from_value(self.evidence.get(Self::TYPED)?.clone()).ok()?;
        let heard = self.evidence.get("last_heard").and_then(Value::as_i64);
        let instance = self.evidence.get("instance").and_then(Value::as_str);
        Some(Transition {
            at: self.at,
            presence,
            heard: heard.map(WallTime::from_unix_millis),
            instance: instance.map(InstanceId::new),
            // Earlier versions wrote none.
            beats: self.evidence.get(Self::BEATS).and_then(|b| BeatVerdict::deserialize(b).ok()),
        })
    }
}

impl Presences<'_> {
    /// The presence events of an agent of this user that are kept, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn log(
        self,
        user: &UserId,
        agent: &AgentId,
    ) -> Result<Vec<PresenceRow>, StoreError> {
        let (of, agent) = (user.clone(), agent.clone());
        self.store.read_for(user, move |db| {
            db.prepare_cached(
                "SELECT agent_id, version, epoch, status, because, evidence, at FROM presence_events
                 WHERE agent_id = ?1
                     AND agent_id IN (SELECT agent_id FROM agents WHERE agent_id = ?1 AND user_id = ?2)
                 ORDER BY version",
            )?
            .query_map([agent.as_str(), of.as_str()], |row| PresenceRow::from_row(row, &agent))?
            .collect()
        })
        .await
    }

    /// The latest transitions of each of these agents of this user, the oldest first: those since `from`, and in
    /// front of them as far as the session that they begin with, but at most `each`. An agent that has none is there
    /// anyway, one of another user is not.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub(crate) async fn latest(
        self,
        user: &UserId,
        agents: Vec<AgentId>,
        from: WallTime,
        each: usize,
    ) -> Result<Vec<(AgentId, History)>, StoreError> {
        let of = user.clone();
        self.store
            .read_for(user, move |db| {
                let mut owned = db.prepare_cached(
                "SELECT 1 FROM agents WHERE agent_id = ?1 AND user_id = ?2 AND deleted_at IS NULL",
            )?;
                let mut found = Vec::with_capacity(agents.len());
                for agent in agents {
                    if owned.exists([agent.as_str(), of.as_str()])? {
                        let log = latest(db, &agent, from, each)?;
                        let told = findings::of(db, &agent, log.first().map(|first| first.at))?;
                        found.push((agent, History { log, told }));
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Adds a presence event and shows the agent as it says. `since` of the agent moves only when
    /// the status changes; an event older than the one shown is added, but not shown.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the agent is unknown or has an event of this version already,
    /// [`StoreError::Closed`].
    pub async fn append(self, event: PresenceRow) -> Result<(), StoreError> {
        let event = NewPresence::from(event);
        self.store
            .put(Routing::upkeep(), "append presence", move |db| append(db, &event))?
            .committed()
            .await
    }

    /// The first half of [`append`](Self::append), of an agent of this user.
    pub(crate) fn put(
        self,
        user: &UserId,
        event: NewPresence,
    ) -> Result<Submitted<()>, StoreError> {
        let routing = Routing::record(user);
        self.store.put(routing, "append presence", move |db| append(db, &event))
    }
}

fn latest(
    db: &Connection,
    agent: &AgentId,
    from: WallTime,
    each: usize,
) -> rusqlite::Result<Vec<Transition>> {
    let mut query = db.prepare_cached(
        "SELECT agent_id, version, epoch, status, because, evidence, at FROM presence_events
         WHERE agent_id = ?1 ORDER BY version DESC LIMIT ?2",
    )?;
    let most = i64::try_from(each).unwrap_or(i64::MAX);
    let mut rows = query.query(params![agent.as_str(), most])?;
    let mut log = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(transition) = PresenceRow::from_row(row, agent)?.transition() else { continue };
        let is_begin = transition.at < from && transition.presence.status.is_in_session();
        log.push(transition);
        if is_begin {
            break;
        }
    }
    log.reverse();
    Ok(log)
}

/// Removes all but the latest events of an agent.
pub(super) fn trim(db: &Connection, agent: &AgentId) -> rusqlite::Result<()> {
    keep(db, agent, KEPT)
}

/// Removes all but the latest events of an agent, this many of them.
pub(super) fn keep(db: &Connection, agent: &AgentId, events: usize) -> rusqlite::Result<()> {
    let behind = i64::try_from(events).unwrap_or(i64::MAX).saturating_sub(1);
    db.prepare_cached(
        "DELETE FROM presence_events WHERE agent_id = ?1 AND version <
             (SELECT version FROM presence_events WHERE agent_id = ?1
              ORDER BY version DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![agent.as_str(), behind])
    .map(drop)
}

fn append(db: &Connection, event: &NewPresence) -> rusqlite::Result<()> {
    let (version, epoch) = (int(event.version.0)?, int(event.epoch.0)?);
    db.prepare_cached(
        "INSERT INTO presence_events (agent_id, version, epoch, status, because, evidence, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        event.agent.as_str(),
        version,
        epoch,
        event.status,
        event.because,
        event.evidence,
        event.at.unix_millis(),
    ])?;
    if event.version.0.is_multiple_of(TRIMMED_EVERY) {
        trim(db, &event.agent)?;
    }
    db.prepare_cached(
        "UPDATE agents
         SET since = CASE WHEN status = ?3 THEN since ELSE ?5 END,
             status = ?3, because = ?4, presence_version = ?2
         WHERE agent_id = ?1 AND presence_version < ?2",
    )?
    .execute(params![
        event.agent.as_str(),
        version,
        event.status,
        event.because,
        event.at.unix_millis(),
    ])?;
    Ok(())
}
