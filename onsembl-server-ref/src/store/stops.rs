//! Emergency stops: which are in force, and which were.

use super::Stops;
use super::columns::time;
use super::error::StoreError;
use super::line::Routing;
use super::reader::Asker;
use onsembl_protocol::fleet::StopOrder;
use onsembl_protocol::id::{AgentId, StopId, UserId};
use onsembl_protocol::model::StopScope;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, Row, params};

/// Released stops kept of one user: a person orders few, and asks after the latest.
pub(crate) const RELEASED: usize = 1024;

impl Stops<'_> {
    /// Stores an order of this user. Storing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if its agent is unknown, [`StoreError::Closed`].
    pub async fn insert(self, user: &UserId, order: StopOrder) -> Result<(), StoreError> {
        let user = user.clone();
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "stop", order.reason.len(), move |db| write(db, &user, &order, None))
            .await
    }

    /// Says that these orders of this user are not in force any more, also if they come to be stored
    /// only later.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an agent is unknown, [`StoreError::Closed`].
    pub async fn release(
        self,
        user: &UserId,
        orders: Vec<StopOrder>,
        by: &UserId,
        at: WallTime,
    ) -> Result<(), StoreError> {
        let (user, by) = (user.clone(), by.clone());
        let bytes = orders.iter().map(|order| order.reason.len()).sum();
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "release", bytes, move |db| {
                orders.iter().try_for_each(|order| write(db, &user, order, Some((&by, at))))
            })
            .await
    }

    /// The orders of all users that are in force, the oldest first. None is for an agent that is deleted.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn in_force(self) -> Result<Vec<(UserId, StopOrder)>, StoreError> {
        self.store
            .read(|db| {
                db.prepare_cached(
                    "SELECT stops.* FROM stops LEFT JOIN agents USING (agent_id)
                 WHERE released_at IS NULL AND deleted_at IS NULL ORDER BY at",
                )?
                .query_map([], from_row)?
                .collect()
            })
            .await
    }
}

/// Whether there is this stop for this agent, in force or released.
pub(super) fn has(
    db: &Connection,
    user: &UserId,
    stop: &StopId,
    agent: &AgentId,
) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM stops
             WHERE user_id = ?1 AND stop_id IN (?2, ?3) AND coalesce(agent_id, ?4) = ?4",
    )?
    .exists([user.as_str(), stop.as_str(), stop.adopted_for(agent).as_str(), agent.as_str()])
}

fn write(
    db: &Connection,
    user: &UserId,
    order: &StopOrder,
    released: Option<(&UserId, WallTime)>,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO stops (user_id, stop_id, agent_id, reason, by, at, released_by, released_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (user_id, stop_id) DO UPDATE
         SET released_by = coalesce(released_by, excluded.released_by),
             released_at = coalesce(released_at, excluded.released_at)",
    )?
    .execute(params![
        user.as_str(),
        order.id.as_str(),
        order.scope.agent().map(AgentId::as_str),
        order.reason,
        order.by.as_str(),
        order.at.unix_millis(),
        released.map(|(by, _)| by.as_str()),
        released.map(|(_, at)| at.unix_millis()),
    ])?;
    if released.is_some() { forget_released(db, user) } else { Ok(()) }
}

/// Keeps the latest released orders of a user only.
fn forget_released(db: &Connection, user: &UserId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM stops WHERE user_id = ?1 AND stop_id IN
             (SELECT stop_id FROM stops WHERE user_id = ?1 AND released_at IS NOT NULL
              ORDER BY released_at DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user.as_str(), RELEASED as i64])
    .map(drop)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(UserId, StopOrder)> {
    let text = |column: &str| row.get::<_, String>(column);
    let agent: Option<String> = row.get("agent_id")?;
    let order = StopOrder {
        id: text("stop_id")?.into(),
        scope: agent.map_or(StopScope::All, |agent| StopScope::Agent(agent.into())),
        reason: text("reason")?,
        by: text("by")?.into(),
        at: time(row, "at")?,
    };
    Ok((text("user_id")?.into(), order))
}
