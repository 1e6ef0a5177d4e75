//! Commands: what was asked of which agent, and how far it is. Unique per user and command id.

use super::budget::{self, Terms};
use super::columns::{json, time, time_or_none};
use super::error::StoreError;
use super::history::{self, CommandChange};
use super::json_columns::SPEC;
use super::line::{Needs, Routing};
use super::{Commands, Submitted};
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

/// Part of a list of commands.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// With no more of their `spec` than that they were adopted.
    pub rows: Vec<CommandRow>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// What is left of a `spec` where it is not needed to run the command, because it may be large: that the command
/// was adopted. The `spec` of an adopted command is short; a long one is not read at all.
macro_rules! short_spec {
    () => {
        r#"CASE WHEN octet_length(spec) >= 4096 OR NOT json_valid(spec) THEN 'null'
                WHEN json_extract(spec, '$.adopted') THEN '{"adopted":true}' ELSE 'null' END"#
    };
}
pub(super) const SHORT_SPEC: &str = short_spec!();

/// What is shown of a command.
const SHOWN: &str = concat!(
    "user_id, command_id, agent_id, text, status, cause, exit_code, signal, created_at, updated_at, ended_at, ",
    short_spec!(),
    " AS spec"
);

/// The outcome of inserting a command.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Inserted {
    New,
    /// The user has a command of this id, namely this one; it is unchanged.
    Existing(CommandRow),
}

impl Commands<'_> {
    /// Stores a new command, unless the user has one of this id already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the agent is unknown, [`StoreError::OverBudget`] if the user may not have more
    /// on the disk, [`StoreError::NoRoom`] if it is full, [`StoreError::Crowded`], [`StoreError::Closed`].
    pub async fn insert(self, new: CommandRow) -> Result<Inserted, StoreError> {
        let spec = new.spec.to_string();
        let bytes = 2 * (new.text.len() + spec.len());
        let (routing, terms) = (Routing::control(&new.user, Needs::New), self.store.terms());
        self.store
            .write(routing, "insert command", bytes, move |db| match known(db, &new)? {
                Some(existing) => Ok(Ok(Inserted::Existing(existing))),
                None => {
                    match budget::make_room(db, &new.user, budget::of_command(&new, &spec), terms)?
                    {
                        Ok(()) => insert(db, &new, &spec, terms).map(Ok),
                        Err(over) => Ok(Err(over)),
                    }
                }
            })
            .await?
            .map_err(StoreError::OverBudget)
    }

    /// The first half of [`insert`](Self::insert) for one that may write before it is
    /// known to be stored: in front of the output that is handed in later.
    pub(crate) fn put_terminal(self, new: CommandRow) -> Result<Submitted<Inserted>, StoreError> {
        let spec = new.spec.to_string();
        let (routing, terms) =
            (Routing::data(&new.user, Needs::Room(new.command.clone())), self.store.terms());
        self.store.put(routing, "insert terminal", move |db| match known(db, &new)? {
            Some(existing) => Ok(Inserted::Existing(existing)),
            None => insert(db, &new, &spec, terms),
        })
    }

    /// Sets the state of a command that is not over; of one that is nothing changes. Takes its turn behind the
    /// output that was handed in before, so
    /// a reader that sees the end of a command stored finds its output stored too. Returns whether there
    /// is such a command that was not over.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn update(
        self,
        user: &UserId,
        command: &CommandId,
        to: CommandUpdate,
    ) -> Result<bool, StoreError> {
        self.put_update(user, command, to)?.committed().await
    }

    /// The first half of [`update`](Self::update).
    pub(crate) fn put_update(
        self,
        user: &UserId,
        command: &CommandId,
        to: CommandUpdate,
    ) -> Result<Submitted<bool>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        let (routing, terms) =
            (Routing::data(&user, Needs::Behind(command.clone())), self.store.terms());
        self.store.put(routing, "update command", move |db| {
            let updated = db
                .prepare_cached(
                    "UPDATE commands
                     SET status = ?3, cause = ?4, exit_code = ?5, signal = ?6, updated_at = ?7,
                         ended_at = ?8, kept_from = ?9
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
                    terms.kept_from.unix_millis(),
                ])?;
            if updated > 0 {
                history::append(db, &user, &command, &to)?;
            }
            Ok(updated > 0)
        })
    }

    /// The commands of all users that have not ended, in the order they were asked for.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn open(self) -> Result<Vec<CommandRow>, StoreError> {
        self.store
            .read(|db| {
                db.prepare_cached(
                    "SELECT * FROM commands WHERE ended_at IS NULL ORDER BY created_at",
                )?
                .query_map([], CommandRow::from_row)?
                .collect()
            })
            .await
    }

    /// The commands of a user, the newest first, of one agent if it is named; at most `limit`. Without their
    /// `spec`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub async fn list(
        self,
        user: &UserId,
        agent: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<CommandRow>, StoreError> {
        Ok(self.list_behind(user, agent, None, limit, usize::MAX).await?.rows)
    }

    /// The same, only those behind this one, and only as many as hold this many bytes of text, but one if there
    /// is one.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_behind(
        self,
        user: &UserId,
        agent: Option<&AgentId>,
        after: Option<(WallTime, CommandId)>,
        limit: usize,
        bytes: usize,
    ) -> Result<Listed, StoreError> {
        let (of, agent) = (user.clone(), agent.cloned());
        self.store
            .read_for(user, move |db| list(db, &of, agent.as_ref(), after.as_ref(), limit, bytes))
            .await
    }

    /// The commands of all users that ended at or after a time, the newest first; at most `limit` of each. Without
    /// their `spec`.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn ended_since(
        self,
        at: WallTime,
        limit: usize,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store
            .read(move |db| {
                db.prepare_cached(&format!(
                    "SELECT {SHOWN} FROM
                     (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY ended_at DESC)
                                AS place
                      FROM commands WHERE ended_at >= ?1)
                 WHERE place <= ?2 ORDER BY ended_at DESC"
                ))?
                .query_map(params![at.unix_millis(), limit], CommandRow::from_row)?
                .collect()
            })
            .await
    }

    /// A command, as it is stored.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn get(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Option<CommandRow>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store.read_for(&user.clone(), move |db| select(db, &user, &command)).await
    }

    /// How a command came where it is, the oldest change first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn history(
        self,
        user: &UserId,
        command: &CommandId,
    ) -> Result<Vec<CommandChange>, StoreError> {
        let (user, command) = (user.clone(), command.clone());
        self.store.read_for(&user.clone(), move |db| history::of(db, &user, &command)).await
    }
}

fn list(
    db: &Connection,
    user: &UserId,
    agent: Option<&AgentId>,
    after: Option<&(WallTime, CommandId)>,
    limit: usize,
    most: usize,
) -> rusqlite::Result<Listed> {
    // Two texts, because each has an index of its own.
    let of_agent = if agent.is_some() { "AND agent_id = ?5" } else { "AND ?5 IS NULL" };
    let (at, id) = match after {
        Some((at, id)) => (at.unix_millis(), id.as_str()),
        None => (i64::MAX, ""),
    };
    let mut query = db.prepare_cached(&format!(
        "SELECT {SHOWN} FROM commands
         WHERE user_id = ?1 {of_agent} AND created_at <= ?2
           AND (created_at, command_id) < (?2, ?3)
         ORDER BY created_at DESC, command_id DESC LIMIT ?4"
    ))?;
    let count = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut rows =
        query.query(params![user.as_str(), at, id, count, agent.map(AgentId::as_str)])?;
    let (mut listed, mut bytes) = (Listed { rows: Vec::new(), more: false }, 0_usize);
    while let Some(row) = rows.next()? {
        let row = CommandRow::from_row(row)?;
        bytes += row.text.len() + row.cause.as_ref().map_or(0, String::len);
        if listed.rows.len() >= limit || (!listed.rows.is_empty() && bytes > most) {
            listed.more = true;
            break;
        }
        listed.rows.push(row);
    }
    Ok(listed)
}

/// The command of this user that has the id of a new one.
fn known(db: &Connection, new: &CommandRow) -> rusqlite::Result<Option<CommandRow>> {
    select(db, &new.user, &new.command)
}

fn insert(
    db: &Connection,
    new: &CommandRow,
    spec: &str,
    terms: Terms,
) -> rusqlite::Result<Inserted> {
    let _ = db
        .prepare_cached(
            "INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, cause,
                                   exit_code, signal, created_at, updated_at, ended_at, kept_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
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
            terms.kept_from.unix_millis(),
        ])?;
    let first = CommandUpdate {
        status: new.status.clone(),
        cause: new.cause.clone(),
        exit_code: new.exit_code,
        signal: new.signal,
        at: new.updated_at,
        ended: new.ended_at.is_some(),
    };
    history::append(db, &new.user, &new.command, &first)?;
    Ok(Inserted::New)
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
            // Of one that is open the text is left, and that is said.
            spec: json(row, &SPEC)?.unwrap_or_default(),
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
