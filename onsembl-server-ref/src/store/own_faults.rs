//! When this server itself did not run, or could not record: what absences are for that were no agent's.

use super::columns::time;
use super::error::StoreError;
use super::line::Place;
use super::{Store, Submitted};
use onsembl_protocol::diagnosis::OwnFault;
use onsembl_protocol::model::Cause;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};

/// Faults kept, the latest: with one each minute, those of a bad day.
const KEPT: i64 = 1024;

/// Two of one cause that are no further apart are one: a stall is noticed by each agent's machine.
const ONE_FAULT_MS: i64 = 1000;

impl Store {
    /// Adds a fault of this server, or makes the latest one of its cause longer.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_own_fault(&self, fault: OwnFault) -> Result<Submitted<()>, StoreError> {
        self.put(Place::house(), "record a fault of this server", move |db| record(db, &fault))
    }

    /// The faults of this server that had not ended by then, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn own_faults(&self, since: WallTime) -> Result<Vec<OwnFault>, StoreError> {
        self.read(move |db| {
            db.prepare_cached(
                "SELECT cause, from_time, until FROM own_faults WHERE until >= ?1 ORDER BY id",
            )?
            .query_map([since.unix_millis()], |row| {
                let cause: String = row.get("cause")?;
                let (from, until) = (time(row, "from_time")?, time(row, "until")?);
                Ok(OwnFault { from, until, cause: Cause::parse(&cause) })
            })?
            .collect()
        })
        .await
    }

    /// When this server last wrote of an agent, in an earlier run.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn last_recorded(&self) -> Result<Option<WallTime>, StoreError> {
        self.read(|db| {
            let latest: Option<i64> = db.query_row(
                "SELECT max(max(coalesce(last_heartbeat, 0), since)) FROM agents",
                [],
                |row| row.get(0),
            )?;
            Ok(latest.map(WallTime::from_unix_millis))
        })
        .await
    }
}

fn record(db: &Connection, fault: &OwnFault) -> rusqlite::Result<()> {
    let (from, until) = (fault.from.unix_millis(), fault.until.unix_millis());
    let latest: Option<(i64, i64)> = db
        .prepare_cached(
            "SELECT id, until FROM own_faults WHERE cause = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([fault.cause.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, ended)) = latest.filter(|(_, ended)| {
        (from.saturating_sub(ONE_FAULT_MS)..=until.saturating_add(ONE_FAULT_MS)).contains(ended)
    }) {
        return db
            .prepare_cached(
                "UPDATE own_faults SET from_time = min(from_time, ?2), until = ?3 WHERE id = ?1",
            )?
            .execute(params![id, from, until.max(ended)])
            .map(drop);
    }
    let _ = db
        .prepare_cached("INSERT INTO own_faults (cause, from_time, until) VALUES (?1, ?2, ?3)")?
        .execute(params![fault.cause.as_str(), from, until])?;
    db.prepare_cached(
        "DELETE FROM own_faults WHERE id <=
             (SELECT id FROM own_faults ORDER BY id DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([KEPT])
    .map(drop)
}
