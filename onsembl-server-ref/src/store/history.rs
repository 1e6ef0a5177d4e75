//! The history of commands: each change of status with its time and its cause.

use super::columns::time;
use super::commands::CommandUpdate;
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, params};

/// Changes kept of one command. A link that comes and goes makes many; beyond this only the end is
/// added.
const KEPT: i64 = 256;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct CommandChange {
    pub at: WallTime,
    /// What it was from then on.
    pub status: String,
    pub cause: Option<String>,
}

/// How a command came where it is, the oldest change first.
pub(super) fn of(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<Vec<CommandChange>> {
    db.prepare_cached(
        "SELECT at, status, cause FROM command_events
         WHERE user_id = ?1 AND command_id = ?2 ORDER BY number",
    )?
    .query_map([user.as_str(), command.as_str()], |row| {
        Ok(CommandChange {
            at: time(row, "at")?,
            status: row.get("status")?,
            cause: row.get("cause")?,
        })
    })?
    .collect()
}

/// Removes all changes of a command but the last.
pub(super) fn keep_last(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM command_events
         WHERE user_id = ?1 AND command_id = ?2 AND number <
             (SELECT max(number) FROM command_events WHERE user_id = ?1 AND command_id = ?2)",
    )?
    .execute([user.as_str(), command.as_str()])
    .map(drop)
}

/// Adds a change, in the transaction that makes it.
pub(super) fn append(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    to: &CommandUpdate,
) -> rusqlite::Result<()> {
    let _ = db
        .prepare_cached(
            "INSERT INTO command_events (user_id, command_id, number, at, status, cause)
             SELECT ?1, ?2, n, ?3, ?4, ?5
             FROM (SELECT coalesce(max(number), 0) + 1 AS n FROM command_events
                   WHERE user_id = ?1 AND command_id = ?2)
             WHERE n <= ?6 OR ?7",
        )?
        .execute(params![
            user.as_str(),
            command.as_str(),
            to.at.unix_millis(),
            to.status,
            to.cause,
            KEPT,
            to.ended,
        ])?;
    Ok(())
}
