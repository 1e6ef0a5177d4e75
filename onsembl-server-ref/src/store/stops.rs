//! Emergency stops: which are in force, and which were.

use super::Store;
use super::columns::time;
use super::error::StoreError;
use super::queue::Lane;
use onsembl_protocol::id::{AgentId, StopId, UserId};
use onsembl_protocol::stop::{StopOrder, StopScope};
use onsembl_protocol::time::WallTime;
use rusqlite::{Row, params};

impl Store {
    /// Stores an order of this user. Storing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if its agent is unknown, [`StoreError::Closed`].
    pub async fn insert_stop(&self, user: &UserId, order: StopOrder) -> Result<(), StoreError> {
        let user = user.clone();
        self.write(Lane::Control, "stop", order.reason.len(), move |db| {
            db.prepare_cached(
                "INSERT INTO stops (user_id, stop_id, agent_id, reason, by, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                user.as_str(),
                order.id.as_str(),
                order.scope.agent().map(AgentId::as_str),
                order.reason,
                order.by.as_str(),
                order.at.unix_millis(),
            ])
            .map(drop)
        })
        .await
    }

    /// Says that these orders of this user are not in force any more.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn release_stops(
        &self,
        user: &UserId,
        stops: Vec<StopId>,
        by: &UserId,
        at: WallTime,
    ) -> Result<(), StoreError> {
        let (user, by) = (user.clone(), by.clone());
        self.write(Lane::Control, "release", 64 * stops.len(), move |db| {
            let mut update = db.prepare_cached(
                "UPDATE stops SET released_at = ?3, released_by = ?4
                 WHERE user_id = ?1 AND stop_id = ?2 AND released_at IS NULL",
            )?;
            for stop in &stops {
                let _ = update.execute(params![
                    user.as_str(),
                    stop.as_str(),
                    at.unix_millis(),
                    by.as_str()
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// The orders of all users that are in force, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn stops_in_force(&self) -> Result<Vec<(UserId, StopOrder)>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT * FROM stops WHERE released_at IS NULL ORDER BY at")?
                .query_map([], from_row)?
                .collect()
        })
        .await
    }
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
