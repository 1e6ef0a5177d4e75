//! Sessions: which agent a peer is, its next epoch, and when its sessions began and ended.

use super::agents::{free_name, note_alias};
use super::budget::{self, OverBudget};
use super::claims;
use super::columns::{int, number};
use super::error::{OpenError, StoreError};
use super::line::{Needs, Routing};
use super::presence;
use super::reader::Asker;
use super::{Sessions, Submitted, stops};
use onsembl_protocol::fleet;
use onsembl_protocol::id::{
    AgentId, Epoch, InstanceId, PresenceVersion, SessionId, StopId, UserId,
};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use std::cmp::Reverse;
use std::collections::HashMap;
use uuid::Uuid;

/// Sessions kept of one agent, the latest: those of an hour of an agent that comes back all the time.
pub(crate) const KEPT: usize = 256;
/// The number of sessions after which an agent's presence is trimmed too: a restart starts a new range of versions.
const TRIMMED_EVERY: u64 = 16;

/// The session that is to be opened for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The `sub` of its token. Nothing of another user is ever looked at.
    pub user: UserId,
    /// The liveness of the peer. An alias is remembered for the agent.
    pub known: fleet::NewSession,
}

impl NewSession {
    /// A first session of an agent of this user, for tests.
    #[cfg(test)]
    pub(crate) fn first(user: &UserId) -> Self {
        use onsembl_protocol::id::AgentKey;
        let known = fleet::NewSession {
            key: AgentKey::new("k"),
            candidate: None,
            alias: None,
            bearer: None,
            name: "n".into(),
            agent_type: "custom".into(),
            version: None,
            host: None,
            capabilities: Vec::new(),
            instance: None,
            stop: None,
            peer: "p".into(),
            session: SessionId::new("s"),
            at: WallTime::from_unix_millis(0),
            presence_floor: PresenceVersion(0),
        };
        Self { user: user.clone(), known }
    }

    fn bytes(&self) -> usize {
        let texts = self.known.alias.iter().chain(&self.known.capabilities);
        texts.map(String::len).sum::<usize>() + self.known.name.len() + self.known.peer.len()
    }
}

/// A session that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct OpenedSession {
    pub agent: AgentId,
    /// The epoch of this session: larger than that of every earlier one of the agent.
    pub epoch: Epoch,
    /// The version to continue from: that of the agent's latest presence event, or the floor of the
    /// caller if that is greater.
    pub presence_version: PresenceVersion,
    /// The stop that is in force on the agent, if it is unknown.
    pub unknown_stop: Option<StopId>,
    /// Whether the agent was never seen before.
    pub created: bool,
}

impl Sessions<'_> {
    /// Finds out which agent a peer is and gives it the next epoch, in one transaction.
    ///
    /// It is the user's agent with this key; else one whose id it claims; else one that is known
    /// by one of its aliases (a claimed id counts as an alias too), unless another lineage holds that; else a
    /// new one. An agent found by a claim or an alias has the new key from then on. What the peer says of
    /// itself replaces what was known, and the lineage of its token holds the agent.
    ///
    /// # Errors
    /// [`OpenError::Deleted`] if that agent was deleted, [`OpenError::Held`] if another lineage holds it;
    /// [`OpenError::Store`] otherwise, which never means that the agent is unknown.
    pub async fn open(self, new: NewSession) -> Result<OpenedSession, OpenError> {
        // Outside of the request, so that a repeated attempt does not change the id.
        let minted = AgentId::new(Uuid::now_v7().to_string());
        let bytes = new.bytes();
        let needs = self.needs_of(&new).await?;
        let routing = Routing::control(&new.user, needs);
        let budget = self.store.terms().budget;
        let open = move |db: &Connection| open(db, &new, &minted, budget);
        self.store.write(routing, "open session", bytes, open).await?.map_err(|not| match not {
            NotOpened::Deleted(agent) => OpenError::Deleted(agent),
            NotOpened::Held(why) => OpenError::Held(why),
            NotOpened::Full(full) => OpenError::Store(StoreError::OverBudget(full)),
        })
    }

    /// What the session of a peer needs of the disk. The reserve is for what is there already: out of it, one token
    /// could
    /// have new agents written until nothing is left for the stops and ends of all others.
    async fn needs_of(self, new: &NewSession) -> Result<Needs, OpenError> {
        if self.store.0.health.borrow().has_room() {
            return Ok(Needs::Little);
        }
        let wanted = new.clone();
        let found = self.store.read_for(&new.user, move |db| find(db, &wanted)).await?;
        Ok(if found.is_some() { Needs::Little } else { Needs::New })
    }

    /// From where agents came whose sessions were open at or after a time: of each address the newest session, and of
    /// those the newest ones, at most `limit`, by the time that they began.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn agents_came_from(
        self,
        at: WallTime,
        limit: usize,
    ) -> Result<Vec<(UserId, String)>, StoreError> {
        self.store.read(move |db| agents_came_from(db, at, limit)).await
    }

    /// Notes the end of a session. Returns whether it was open.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn close(
        self,
        session: &SessionId,
        at: WallTime,
        because: &str,
    ) -> Result<bool, StoreError> {
        let (session, because) = (session.clone(), because.to_owned());
        let close = move |db: &Connection| close(db, &session, at, &because);
        self.store.put(Routing::upkeep(), "close session", close)?.committed().await
    }

    /// The first half of [`close`](Self::close), of an agent of this user.
    pub(crate) fn put_end(
        self,
        user: &UserId,
        session: SessionId,
        at: WallTime,
        because: String,
    ) -> Result<Submitted<bool>, StoreError> {
        self.store.put(Routing::record(user), "close session", move |db| {
            close(db, &session, at, &because)
        })
    }

    /// Notes the end of all sessions that are still open: those of a server that died. To be called
    /// once, by a server, before it takes peers. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn close_left(self, at: WallTime, because: &str) -> Result<usize, StoreError> {
        self.put_end_of_left(at, because)?.committed().await
    }

    /// The first half of [`close_left`](Self::close_left).
    pub(crate) fn put_end_of_left(
        self,
        at: WallTime,
        because: &str,
    ) -> Result<Submitted<usize>, StoreError> {
        let because = because.to_owned();
        self.store.put(Routing::order(Asker::Server), "close left sessions", move |db| {
            db.prepare_cached(
                "UPDATE sessions SET closed_at = ?1, closed_because = ?2 WHERE closed_at IS NULL",
            )?
            .execute(params![at.unix_millis(), because])
        })
    }

    /// Raises the presence versions of all agents of these users to those that a new run of the server continues from,
    /// before anything is published under them (PROTOCOL.md, P-62): written before anything that is handed in later.
    pub(crate) fn put_presence_versions(
        self,
        users: Vec<UserId>,
    ) -> Result<Submitted<()>, StoreError> {
        self.store.put(Routing::order(Asker::Server), "raise presence versions", move |db| {
            let by = raised_by();
            let mut raise = db.prepare_cached(
                "UPDATE agents SET presence_version = presence_version + ?1 WHERE user_id = ?2",
            )?;
            for user in &users {
                let _ = raise.execute(params![by, user.as_str()])?;
            }
            Ok(())
        })
    }

    /// The same of some agents of a user, in turn with what others write.
    pub(crate) fn put_presence_versions_of(
        self,
        user: &UserId,
        agents: Vec<AgentId>,
    ) -> Result<Submitted<()>, StoreError> {
        let routing = Routing::control(user, Needs::Little);
        self.store.put(routing, "raise presence versions", move |db| {
            let by = raised_by();
            let mut raise = db.prepare_cached(
                "UPDATE agents SET presence_version = presence_version + ?1 WHERE agent_id = ?2",
            )?;
            for agent in &agents {
                let _ = raise.execute(params![by, agent.as_str()])?;
            }
            Ok(())
        })
    }
}

/// The newest session of an address.
struct CameFrom {
    opened_at: i64,
    peer: String,
    agent: String,
}

/// Looks at sessions in the order of the table, and only of those that remain for whose they are: a fleet comes from few
/// addresses.
fn agents_came_from(
    db: &Connection,
    at: WallTime,
    limit: usize,
) -> rusqlite::Result<Vec<(UserId, String)>> {
    let mut sessions = db.prepare_cached(
        "SELECT opened_at, peer, agent_id FROM sessions WHERE closed_at IS NULL OR closed_at >= ?1",
    )?;
    let mut rows = sessions.query([at.unix_millis()])?;
    let mut newest: HashMap<String, CameFrom> = HashMap::new();
    while let Some(row) = rows.next()? {
        let opened_at: i64 = row.get(0)?;
        let peer = row.get_ref(1)?.as_str()?;
        let address = peer.rsplit_once(':').map_or(peer, |(address, _)| address);
        match newest.get_mut(address) {
            Some(known) if known.opened_at > opened_at => {}
            Some(known) => {
                known.opened_at = opened_at;
                peer.clone_into(&mut known.peer);
                known.agent = row.get(2)?;
            }
            None => {
                let from = CameFrom { opened_at, peer: peer.to_owned(), agent: row.get(2)? };
                let _ = newest.insert(address.to_owned(), from);
            }
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by_key(|from| Reverse(from.opened_at));
    newest.truncate(limit);
    let mut owner =
        db.prepare_cached("SELECT user_id FROM agents WHERE agent_id = ?1 AND deleted_at IS NULL")?;
    let mut found = Vec::with_capacity(newest.len());
    for from in newest.into_iter().rev() {
        let user: Option<String> = owner.query_row([from.agent], |row| row.get(0)).optional()?;
        found.extend(user.map(|user| (UserId::new(user), from.peer)));
    }
    Ok(found)
}

/// By how much a new run of the server raises presence versions.
fn raised_by() -> i64 {
    let floor = PresenceVersion(0);
    i64::try_from(floor.after_restart().0 - floor.0).unwrap_or(i64::MAX)
}

fn close(
    db: &Connection,
    session: &SessionId,
    at: WallTime,
    because: &str,
) -> rusqlite::Result<bool> {
    let closed = db
        .prepare_cached(
            "UPDATE sessions SET closed_at = ?2, closed_because = ?3
             WHERE session_id = ?1 AND closed_at IS NULL",
        )?
        .execute(params![session.as_str(), at.unix_millis(), because])?;
    Ok(closed > 0)
}

/// Removes all but the latest sessions and presence events of an agent that begins this one.
fn trim(db: &Connection, opened: &OpenedSession) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE agent_id = ?1 AND epoch <= ?2")?.execute(
        params![opened.agent.as_str(), int(opened.epoch.0.saturating_sub(KEPT as u64))?],
    )?;
    if opened.epoch.0.is_multiple_of(TRIMMED_EVERY) {
        presence::trim(db, &opened.agent)?;
    }
    Ok(())
}

/// Removes all but the latest sessions of an agent, this many of them, and those that are open.
pub(super) fn keep(db: &Connection, agent: &AgentId, sessions: usize) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM sessions WHERE agent_id = ?1 AND closed_at IS NOT NULL AND epoch <=
             (SELECT epoch - ?2 FROM agents WHERE agent_id = ?1)",
    )?
    .execute(params![agent.as_str(), i64::try_from(sessions).unwrap_or(i64::MAX)])
    .map(drop)
}

/// Why there is no session.
enum NotOpened {
    /// This agent was deleted.
    Deleted(AgentId),
    /// Its token may not speak for the agent.
    Held(String),
    /// The user may not have one more agent.
    Full(OverBudget),
}

fn open(
    db: &Connection,
    new: &NewSession,
    minted: &AgentId,
    budget: u64,
) -> rusqlite::Result<Result<OpenedSession, NotOpened>> {
    let found = match find(db, new)? {
        Some(Found { agent, deleted: true }) if is_free(db, new, &agent)? => {
            free_key(db, &agent)?;
            None
        }
        Some(Found { agent, deleted: true }) => return Ok(Err(NotOpened::Deleted(agent))),
        Some(Found { agent, deleted: false }) => Some(agent),
        None => None,
    };
    if let Some(why) = claims::refusal(db, new, found.as_ref())? {
        return Ok(Err(NotOpened::Held(why)));
    }
    let created = found.is_none();
    if created && let Err(full) = budget::room_for_agent(db, &new.user, budget)? {
        return Ok(Err(NotOpened::Full(full)));
    }
    let opened = match found {
        Some(agent) => refresh(db, new, agent)?,
        None => create(db, new, minted)?,
    };
    claims::take(db, new, &opened.agent)?;
    free_name(db, new.user.as_str(), &new.known.name, opened.agent.as_str())?;
    if let Some(alias) = &new.known.alias {
        note_alias(db, new.user.as_str(), alias, opened.agent.as_str())?;
    }
    db.prepare_cached(
        "INSERT INTO sessions (session_id, agent_id, epoch, instance, peer, opened_at, token_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        new.known.session.as_str(),
        opened.agent.as_str(),
        int(opened.epoch.0)?,
        new.known.instance.as_ref().map(InstanceId::as_str),
        new.known.peer,
        new.known.at.unix_millis(),
        new.known.bearer.as_ref().map(|bearer| bearer.token.as_str()),
    ])?;
    trim(db, &opened)?;
    let unknown_stop = match &new.known.stop {
        Some(stop) if !stops::has(db, &new.user, stop, &opened.agent)? => Some(stop.clone()),
        Some(_) | None => None,
    };
    Ok(Ok(OpenedSession { created, unknown_stop, ..opened }))
}

/// Whether a deleted agent was only called as this one: a wrapper, which has no key, of another lineage.
fn is_free(db: &Connection, new: &NewSession, agent: &AgentId) -> rusqlite::Result<bool> {
    let Some(bearer) = &new.known.bearer else { return Ok(false) };
    let is_wrapper = new.known.instance.is_none();
    let is_claimed = new.known.candidate.as_ref() == Some(agent);
    let of_another = db
        .prepare_cached("SELECT 1 FROM agents WHERE agent_id = ?1 AND lineage <> ?2")?
        .exists(params![agent.as_str(), bearer.lineage.as_str()])?;
    Ok(is_wrapper && !is_claimed && of_another)
}

/// Another agent takes what stood in for the key of one that was deleted.
fn free_key(db: &Connection, agent: &AgentId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE agents SET agent_key = agent_key || ' of ' || agent_id WHERE agent_id = ?1",
    )?
    .execute([agent.as_str()])
    .map(drop)
}

struct Found {
    agent: AgentId,
    deleted: bool,
}

fn find(db: &Connection, new: &NewSession) -> rusqlite::Result<Option<Found>> {
    const BY_KEY: &str = "SELECT agent_id, deleted_at IS NOT NULL FROM agents
                          WHERE user_id = ?1 AND agent_key = ?2";
    const BY_ID: &str = "SELECT agent_id, deleted_at IS NOT NULL FROM agents
                         WHERE user_id = ?1 AND agent_id = ?2";
    const BY_ALIAS: &str = "SELECT agent_id, deleted_at IS NOT NULL
                            FROM agent_aliases JOIN agents USING (agent_id)
                            WHERE agent_aliases.user_id = ?1 AND alias = ?2
                              AND (?3 IS NULL OR lineage IS NULL OR lineage = ?3)";
    let lineage = new.known.bearer.as_ref().map(|bearer| bearer.lineage.as_str());
    let claimed = new.known.candidate.as_ref().map(AgentId::as_str);
    let look = |query: &str, values: &[Option<&str>]| {
        db.prepare_cached(query)?
            .query_row(params_from_iter(values), |row| {
                Ok(Found { agent: row.get::<_, String>(0)?.into(), deleted: row.get(1)? })
            })
            .optional()
    };
    let user = Some(new.user.as_str());
    let by_id = claimed.map(|id| (BY_ID, id));
    for (query, value) in [(BY_KEY, new.known.key.as_str())].into_iter().chain(by_id) {
        if let Some(found) = look(query, &[user, Some(value)])? {
            return Ok(Some(found));
        }
    }
    for alias in new.known.alias.as_deref().into_iter().chain(claimed) {
        if let Some(found) = look(BY_ALIAS, &[user, Some(alias), lineage])? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn refresh(db: &Connection, new: &NewSession, agent: AgentId) -> rusqlite::Result<OpenedSession> {
    let mut update = db.prepare_cached(
        "UPDATE agents
         SET epoch = epoch + 1, agent_key = ?2, name = ?3, agent_type = ?4, version = ?5,
             host = ?6, capabilities = ?7, presence_version = MAX(presence_version, ?8),
             journal = CASE WHEN ?9 THEN journal END
         WHERE agent_id = ?1
         RETURNING epoch, presence_version",
    )?;
    let mut rows = update.query(params![
        agent.as_str(),
        new.known.key.as_str(),
        new.known.name,
        new.known.agent_type,
        new.known.version,
        new.known.host,
        capabilities(new)?,
        int(new.known.presence_floor.0)?,
        // What a legacy wrapper does stands in no journal, so none proves any more what was not begun. A
        // server that dies before it has said so must not believe the one of the session before.
        new.known.instance.is_some(),
    ])?;
    let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    opened(row, agent)
}

fn opened(row: &Row<'_>, agent: AgentId) -> rusqlite::Result<OpenedSession> {
    Ok(OpenedSession {
        agent,
        epoch: Epoch(number(row, "epoch")?),
        presence_version: PresenceVersion(number(row, "presence_version")?),
        unknown_stop: None,
        created: false,
    })
}

fn create(db: &Connection, new: &NewSession, minted: &AgentId) -> rusqlite::Result<OpenedSession> {
    let first = Epoch(1);
    db.prepare_cached(
        "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, version, host,
                             capabilities, epoch, status, since, because, presence_version,
                             created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'connecting', ?10, 'first session', ?11, ?10)",
    )?
    .execute(params![
        minted.as_str(),
        new.user.as_str(),
        new.known.key.as_str(),
        new.known.name,
        new.known.agent_type,
        new.known.version,
        new.known.host,
        capabilities(new)?,
        int(first.0)?,
        new.known.at.unix_millis(),
        int(new.known.presence_floor.0)?,
    ])?;
    Ok(OpenedSession {
        agent: minted.clone(),
        epoch: first,
        presence_version: new.known.presence_floor,
        unknown_stop: None,
        created: true,
    })
}

fn capabilities(new: &NewSession) -> rusqlite::Result<String> {
    serde_json::to_string(&new.known.capabilities)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}
