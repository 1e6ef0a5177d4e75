//! Commands: what was asked of which agent, and how far it is. Unique per user and command id.

use super::columns::{json, time, time_or_none};
use super::error::StoreError;
use super::history;
use super::queue::Lane;
use super::{Store, Submitted};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRow {
    /// Who asked for it.
    pub user: UserId,
    /// Its id, as given by the client.
    pub command: CommandId,
    /// The agent that is to run it.
    pub agent: AgentId,
    /// What to run.
    pub text: String,
    /// How to run it: arguments, directory, environment, time limit, priority.
    pub spec: Value,
    /// How far it is.
    pub status: String,
    /// Why it is there, if that needs saying.
    pub cause: Option<String>,
    /// The exit code of its process.
    pub exit_code: Option<i32>,
    /// The signal that ended its process.
    pub signal: Option<i32>,
    /// When it was asked for.
    pub created_at: WallTime,
    /// When the status was set.
    pub updated_at: WallTime,
    /// When it ended; `None` while it may still run.
    pub ended_at: Option<WallTime>,
}

/// The new state of a command; all of it replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandUpdate {
    /// How far it is.
    pub status: String,
    /// Why it is there, if that needs saying.
    pub cause: Option<String>,
    /// The exit code of its process.
    pub exit_code: Option<i32>,
    /// The signal that ended its process.
    pub signal: Option<i32>,
    pub at: WallTime,
    /// Whether that is its end.
    pub ended: bool,
}

/// What came of inserting a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Inserted {
    /// It is new.
    New,
    /// The user has a command of this id, namely this one; it is unchanged.
    Existing(CommandRow),
}

impl Store {
    /// Stores a new command, unless the user has one of this id already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the agent is unknown, [`StoreError::Closed`].
    pub async fn insert_command(&self, new: CommandRow) -> Result<Inserted, StoreError> {
        let spec = new.spec.to_string();
        let bytes = 2 * (new.text.len() + spec.len());
        let place = Lane::Control.of(&new.user);
        self.write(place, "insert command", bytes, move |db| insert(db, &new, &spec)).await
    }

    /// The first half of [`insert_command`](Self::insert_command) for one that may write before it is
    /// known to be stored: in front of the output that is handed in later.
    pub(crate) async fn submit_terminal(
        &self,
        new: CommandRow,
    ) -> Result<Submitted<Inserted>, StoreError> {
        let spec = new.spec.to_string();
        let bytes = 2 * (new.text.len() + spec.len());
        let place = Lane::Data.of(&new.user);
        self.submit(place, "insert terminal", bytes, move |db| insert(db, &new, &spec)).await
    }

    /// Sets the state of a command that is not over; of one that is nothing changes. Takes its turn behind the output that was handed in before, so
    /// a reader that sees the end of a command stored finds its output stored too. Returns whether there
    /// is such a command that was not over.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn update_command(
        &self,
        user: &UserId,
        command: &CommandId,
        to: CommandUpdate,
    ) -> Result<bool, StoreError> {
        self.submit_command_update(user, command, to).await?.committed().await
    }

    /// The first half of [`update_command`](Self::update_command).
    pub(crate) async fn submit_command_update(
        &self,
        user: &UserId,
        command: &CommandId,
        to: CommandUpdate,
    ) -> Result<Submitted<bool>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        let bytes = to.status.len() + to.cause.as_ref().map_or(0, String::len);
        self.submit(Lane::Data.of(&user), "update command", bytes, move |db| {
            let updated = db
                .prepare_cached(
                    "UPDATE commands
                     SET status = ?3, cause = ?4, exit_code = ?5, signal = ?6, updated_at = ?7,
                         ended_at = ?8
                     WHERE user_id = ?1 AND command_id = ?2 AND ended_at IS NULL",
                )?
                .execute(params![
                    user.as_str(),
                    command.as_str(),
                    to.status,
                    to.cause,
                    to.exit_code,
                    to.signal,
                    to.at.unix_millis(),
                    to.ended.then_some(to.at.unix_millis()),
                ])?;
            if updated > 0 {
                history::append(db, &user, &command, &to)?;
            }
            Ok(updated > 0)
        })
        .await
    }

    /// The commands of all users that have not ended, in the order they were asked for.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn open_commands(&self) -> Result<Vec<CommandRow>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT * FROM commands WHERE ended_at IS NULL ORDER BY created_at")?
                .query_map([], CommandRow::from_row)?
                .collect()
        })
        .await
    }

    /// The commands of a user, the newest first, of one agent if it is named; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn commands(
        &self,
        user: &UserId,
        agent: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let (user, agent) = (user.clone(), agent.cloned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |db| {
            db.prepare_cached(
                "SELECT * FROM commands
                 WHERE user_id = ?1 AND (?2 IS NULL OR agent_id = ?2)
                 ORDER BY created_at DESC, command_id DESC LIMIT ?3",
            )?
            .query_map(
                params![user.as_str(), agent.as_ref().map(AgentId::as_str), limit],
                CommandRow::from_row,
            )?
            .collect()
        })
        .await
    }

    /// The commands of all users that ended at or after a time, the newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn commands_ended_since(
        &self,
        at: WallTime,
        limit: usize,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |db| {
            db.prepare_cached(
                "SELECT * FROM commands WHERE ended_at >= ?1 ORDER BY ended_at DESC LIMIT ?2",
            )?
            .query_map(params![at.unix_millis(), limit], CommandRow::from_row)?
            .collect()
        })
        .await
    }

    /// A command, as it is stored.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn command(
        &self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Option<CommandRow>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.read(move |db| select(db, &user, &command)).await
    }
}

fn insert(db: &Connection, new: &CommandRow, spec: &str) -> rusqlite::Result<Inserted> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, cause,
                                   exit_code, signal, created_at, updated_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (user_id, command_id) DO NOTHING",
        )?
        .execute(params![
            new.user.as_str(),
            new.command.as_str(),
            new.agent.as_str(),
            new.text,
            spec,
            new.status,
            new.cause,
            new.exit_code,
            new.signal,
            new.created_at.unix_millis(),
            new.updated_at.unix_millis(),
            new.ended_at.map(WallTime::unix_millis),
        ])?;
    if inserted > 0 {
        let first = CommandUpdate {
            status: new.status.clone(),
            cause: new.cause.clone(),
            exit_code: new.exit_code,
            signal: new.signal,
            at: new.updated_at,
            ended: new.ended_at.is_some(),
        };
        history::append(db, &new.user, &new.command, &first)?;
        return Ok(Inserted::New);
    }
    let existing = select(db, &new.user, &new.command)?;
    existing.map(Inserted::Existing).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn select(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
) -> rusqlite::Result<Option<CommandRow>> {
    db.prepare_cached("SELECT * FROM commands WHERE user_id = ?1 AND command_id = ?2")?
        .query_row([user.as_str(), command.as_str()], CommandRow::from_row)
        .optional()
}

impl CommandRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |column: &str| row.get::<_, String>(column);
        Ok(Self {
            user: text("user_id")?.into(),
            command: text("command_id")?.into(),
            agent: text("agent_id")?.into(),
            text: text("text")?,
            spec: json(row, "spec")?,
            status: text("status")?,
            cause: row.get("cause")?,
            exit_code: row.get("exit_code")?,
            signal: row.get("signal")?,
            created_at: time(row, "created_at")?,
            updated_at: time(row, "updated_at")?,
            ended_at: time_or_none(row, "ended_at")?,
        })
    }
}
