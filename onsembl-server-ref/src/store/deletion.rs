//! Deleted agents: what stays of one, so that it does not come back as a new one, and for how long.

use super::error::StoreError;
use super::line::{Needs, Routing};
use super::{Deletion, claims};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, params};

/// Deleted agents of one user that are remembered: those deleted last. A user's agents are bounded in memory by far
/// fewer, so that this many are deleted on purpose, and rows of 500 bytes take 2 MiB.
pub(crate) const REMEMBERED: usize = 4096;

/// Agents that one deletion forgets at most: more than the one that it adds, so that a database of an earlier
/// version comes under the bound.
const FORGOTTEN_BY_ONE: i64 = 4;

impl Deletion<'_> {
    /// Deletes an agent: it is not listed any more and can open no session. Its key stays taken, so
    /// that it does not come back as a new agent, and a lineage of tokens that holds no other ends with it.
    /// Returns whether there was such an agent.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn delete_agent(
        self,
        user: &UserId,
        agent: &AgentId,
        at: WallTime,
    ) -> Result<bool, StoreError> {
        let (user, agent, kept_from) =
            (user.clone(), agent.clone(), self.store.retention().ages_by());
        let routing = Routing::control(&user, Needs::Little);
        self.store
            .write(routing, "delete agent", 0, move |db| {
                let deleted = db
                    .prepare_cached(
                        "UPDATE agents SET deleted_at = ?3, kept_from = ?4
                     WHERE agent_id = ?2 AND user_id = ?1 AND deleted_at IS NULL",
                    )?
                    .execute(params![
                        user.as_str(),
                        agent.as_str(),
                        at.unix_millis(),
                        kept_from.unix_millis()
                    ])?;
                if deleted > 0 {
                    claims::deleted(db, user.as_str(), &agent, at)?;
                    forget_beyond(db, &user, REMEMBERED as i64)?;
                }
                // A stop for an agent that was deleted could never be released.
                db.prepare_cached(
                    "UPDATE stops SET released_by = ?1, released_at = ?3
                 WHERE user_id = ?1 AND agent_id = ?2 AND released_at IS NULL",
                )?
                .execute(params![
                    user.as_str(),
                    agent.as_str(),
                    at.unix_millis()
                ])?;
                Ok(deleted > 0)
            })
            .await
    }

    /// Forgets agents that were deleted and began to age before a time, with all that is stored of them, once
    /// none of their commands is stored: a few, to be called again while there are more. Whether there are. One
    /// that connects again then is a new agent.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn forget_agents(self, before: WallTime) -> Result<bool, StoreError> {
        self.store
            .write(Routing::upkeep(), "forget agents", 0, move |db| {
                let agents = of_query(
                    db,
                    "SELECT agent_id FROM agents
                 WHERE deleted_at IS NOT NULL AND coalesce(kept_from, deleted_at) < ?1
                   AND NOT EXISTS (SELECT 1 FROM commands
                                   WHERE commands.user_id = agents.user_id
                                     AND commands.agent_id = agents.agent_id)
                 ORDER BY coalesce(kept_from, deleted_at) LIMIT ?2",
                    params![before.unix_millis(), FORGOTTEN_AT_ONCE],
                )?;
                agents.iter().try_for_each(|agent| forget(db, agent))?;
                Ok(agents.len() as i64 == FORGOTTEN_AT_ONCE)
            })
            .await
    }
}

/// Agents that one transaction forgets: each has up to some hundred rows.
const FORGOTTEN_AT_ONCE: i64 = 8;

/// Forgets the deleted agents of a user that are more than this many, the oldest first, unless a command of theirs is
/// stored: commands have a bound of their own.
fn forget_beyond(db: &Connection, user: &UserId, most: i64) -> rusqlite::Result<()> {
    let oldest = of_query(
        db,
        "SELECT agent_id FROM agents
         WHERE user_id = ?1 AND deleted_at IS NOT NULL
           AND (SELECT count(*) FROM agents WHERE user_id = ?1 AND deleted_at IS NOT NULL) > ?2
           AND NOT EXISTS (SELECT 1 FROM commands
                           WHERE commands.user_id = ?1 AND commands.agent_id = agents.agent_id)
         ORDER BY coalesce(kept_from, deleted_at) LIMIT ?3",
        params![user.as_str(), most, FORGOTTEN_BY_ONE],
    )?;
    oldest.iter().try_for_each(|agent| forget(db, agent))
}

fn of_query(
    db: &Connection,
    query: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<AgentId>> {
    db.prepare_cached(query)?
        .query_map(values, |row| row.get::<_, String>(0).map(AgentId::new))?
        .collect()
}

/// Removes a deleted agent and all that is stored of it. None of its commands is.
fn forget(db: &Connection, agent: &AgentId) -> rusqlite::Result<()> {
    for table in [
        "DELETE FROM agent_aliases WHERE agent_id = ?1",
        "DELETE FROM presence_events WHERE agent_id = ?1",
        "DELETE FROM findings WHERE agent_id = ?1",
        "DELETE FROM sessions WHERE agent_id = ?1",
        "DELETE FROM stops WHERE agent_id = ?1",
        "DELETE FROM agents WHERE agent_id = ?1",
    ] {
        db.prepare_cached(table)?.execute([agent.as_str()])?;
    }
    Ok(())
}
