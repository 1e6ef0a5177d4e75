//! What one user may have on the disk. The sums are kept by the transactions that change them (`usage`, by
//! triggers), so looking costs one row. At the bound the oldest history of the same user is cut; never that of
//! another, and never what is not over.

use super::Budget;
use super::columns::number;
use super::commands::{CommandRow, SHORT_SPEC};
use super::error::StoreError;
use super::retention::{self, Part};
use super::{history, presence, sessions};
use onsembl_protocol::fleet::FleetLimits;
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt;

/// How much the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// Bytes of one user's commands, their steps and their output, and of what is stored of the user's agents: 2 GiB, a
    /// fifth of the output that is kept of all users. The oldest of that user goes first. Agents have a quarter of it.
    pub user_bytes: u64,
    /// How large the database may become; as large as the disk allows unless set. At it everything is as on a
    /// full disk.
    pub database: Option<u64>,
}

impl StoreLimits {
    /// The values above.
    pub const DEFAULT: Self = Self { user_bytes: 2 << 30, database: None };
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a user has on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of commands and their steps, with what their rows cost.
    pub commands: u64,
    /// Bytes of output.
    pub kept: u64,
    /// Chunks and gaps of output.
    pub records: u64,
    /// Bytes of agents, their sessions and their presence events, with what their rows cost.
    pub agents: u64,
}

impl Usage {
    /// What counts against the bound.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        let output = of_output(self.kept, self.records);
        self.commands.saturating_add(output).saturating_add(self.agents)
    }
}

/// Under which terms something is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Bytes that a user may have.
    pub(super) budget: u64,
    /// What the clock of retention shows: from then on it ages.
    pub(super) kept_from: WallTime,
}

/// A user has all that one may have, and nothing of it can go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Of what that is.
    pub(super) of: Charged,
    /// What the user has.
    pub has: u64,
    /// What one may have.
    pub limit: u64,
}

/// What counts against a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charged {
    /// Everything.
    All,
    /// Agents, with their sessions and presence events.
    Agents,
}

impl std::error::Error for OverBudget {}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, has, limit } = self;
        match of {
            Charged::All => write!(
                f,
                "your commands and their output take {has} bytes on the server's disk, and the limit is {limit} (--user-bytes); older ones are being deleted, or none has ended: try again later"
            ),
            Charged::Agents => write!(
                f,
                "your agents and their history take {has} bytes on the server's disk, and the limit is {limit} (a quarter of --user-bytes); no new agent is accepted: delete unused ones"
            ),
        }
    }
}

/// What a chunk or gap costs besides its bytes: the row, and its place in the index with the ids in both.
const RECORD: u64 = 256;
/// What a command costs besides its texts, with its first and its last step.
const COMMAND: u64 = 1024;
/// Steps of cutting that one request pays for itself. Others wait for its transaction, and the keeper of the
/// house does the rest.
const STEPS: usize = 16;
/// A new command is refused when its user has more than this part beyond the limit: so far cutting may be
/// behind.
const SLACK_PART: u64 = 16;
/// Streams that one user may have open at a time: two of each command.
const OPEN_STREAMS: u64 = 2 * FleetLimits::DEFAULT.open_commands as u64;
/// Agents, with their sessions and presence events, have this part of what a user may have: as many as a fleet may hold
/// take a quarter of that, each with the history that stays at the bound.
const AGENTS_PART: u64 = 4;
/// Presence events and sessions that stay of each agent of a user whose agents have more than that: first this many, and
/// if that is not enough, this many. The latest stay, which say where each agent is and why.
const KEPT_AT_BOUND: [(usize, usize); 2] = [(64, 16), (8, 2)];
/// Agents that one transaction trims.
const AGENTS_AT_ONCE: usize = 64;
/// How long a command that was cut stays known, so that a request that is repeated is not run again: far
/// longer than any client keeps asking.
const REMEMBERED_MS: i64 = 24 * 3600 * 1000;
/// What stays of the text of a command that is cut, in characters.
const TEXT_KEPT: i64 = 256;

/// What storing this command takes.
pub(super) fn of_command(new: &CommandRow, spec: &str) -> u64 {
    COMMAND + (new.text.len() + spec.len()) as u64
}

/// Makes room for what a user is about to add to commands.
///
/// # Errors
/// Trouble of the database. In the inner result: there is none.
pub(super) fn make_room(
    db: &Connection,
    user: &UserId,
    adds: u64,
    terms: Terms,
) -> rusqlite::Result<Result<(), OverBudget>> {
    let has = shrink(db, user, adds, STEPS, terms)?;
    let most = terms.budget.saturating_add(terms.budget / SLACK_PART);
    // At first nothing is kept that could go.
    let fits = has.saturating_add(adds) <= terms.budget;
    let is_near = has <= most && is_over(db, user)?;
    Ok(if fits || is_near {
        Ok(())
    } else {
        Err(OverBudget { of: Charged::All, has, limit: terms.budget })
    })
}

/// What agents, their sessions and their presence events may have of what a user may.
pub(crate) const fn of_agents(budget: u64) -> u64 {
    budget / AGENTS_PART
}

/// Whether a user may have one more agent: at the bound, history is trimmed, and may be behind by a part of it.
///
/// # Errors
/// Trouble of the database. In the inner result: there is no room.
pub(super) fn room_for_agent(
    db: &Connection,
    user: &UserId,
    budget: u64,
) -> rusqlite::Result<Result<(), OverBudget>> {
    let (has, limit) = (usage(db, user)?.agents, of_agents(budget));
    let fits = has <= limit.saturating_add(limit / SLACK_PART);
    Ok(if fits { Ok(()) } else { Err(OverBudget { of: Charged::Agents, has, limit }) })
}

/// Trims the history of some agents of a user behind the one of this key. The key of the last one; `None` if there
/// are no
/// more.
fn trim_some(
    db: &Connection,
    user: &UserId,
    behind: &str,
    (events, sessions): (usize, usize),
) -> rusqlite::Result<Option<String>> {
    let agents: Vec<(String, AgentId)> = db
        .prepare_cached(
            "SELECT agent_key, agent_id FROM agents WHERE user_id = ?1 AND agent_key > ?2
             ORDER BY agent_key LIMIT ?3",
        )?
        .query_map(params![user.as_str(), behind, AGENTS_AT_ONCE as i64], |row| {
            Ok((row.get(0)?, AgentId::new(row.get::<_, String>(1)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (_, agent) in &agents {
        presence::keep(db, agent, events)?;
        sessions::keep(db, agent, sessions)?;
    }
    let is_last = agents.len() < AGENTS_AT_ONCE;
    Ok(agents.into_iter().next_back().map(|(key, _)| key).filter(|_| !is_last))
}

/// What output of this many bytes in this many records counts.
pub(super) const fn of_output(kept: u64, records: u64) -> u64 {
    kept.saturating_add(records.saturating_mul(RECORD))
}

/// Whether room is looked for after a stream grew so: each time that it passes another piece. All streams that one user
/// may have open at a time are together behind by a part that cutting may be behind anyway.
pub(super) const fn is_looked_at(before: u64, now: u64, terms: Terms) -> bool {
    let piece = terms.budget / SLACK_PART / OPEN_STREAMS;
    match (before.checked_div(piece), now.checked_div(piece)) {
        (Some(before), Some(now)) => before != now,
        // So small a bound is looked at each time.
        (None, _) | (_, None) => true,
    }
}

/// Makes room for output that was just added, `records` records of it. There may be none: what is on its way
/// then is bounded by the agents' windows.
pub(super) fn make_room_for_output(
    db: &Connection,
    user: &UserId,
    added: usize,
    terms: Terms,
) -> rusqlite::Result<()> {
    let steps = STEPS.saturating_add(added.saturating_mul(2));
    let has = shrink(db, user, 0, steps, terms)?;
    if has > terms.budget {
        // Nothing that is over is left: then the oldest of what still continues.
        let _ = retention::cut_of_user(db, user, has - terms.budget, steps)?;
    }
    Ok(())
}

/// Cuts the oldest history of a user that is over, until the user has room for this much, in at most this many
/// steps (about
/// as many records) at most. What the user has then.
fn shrink(
    db: &Connection,
    user: &UserId,
    adds: u64,
    steps: usize,
    terms: Terms,
) -> rusqlite::Result<u64> {
    let mut left = steps;
    loop {
        let has = usage(db, user)?.bytes();
        if has.saturating_add(adds) <= terms.budget || left == 0 {
            return Ok(has);
        }
        let done = match oldest_whole(db, user)? {
            Some(command) => cut_command(db, user, &command, left, terms)?,
            None => forget_cut(db, user, left, terms)?,
        };
        if done == 0 {
            return Ok(has);
        }
        left = left.saturating_sub(done);
    }
}

/// Whether anything of this user is over that could still be cut.
fn is_over(db: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    Ok(oldest_whole(db, user)?.is_some())
}

fn oldest_whole(db: &Connection, user: &UserId) -> rusqlite::Result<Option<CommandId>> {
    db.prepare_cached(
        "SELECT command_id FROM commands
         WHERE user_id = ?1 AND ended_at IS NOT NULL AND cut_at IS NULL
         ORDER BY coalesce(kept_from, ended_at) LIMIT 1",
    )?
    .query_row([user.as_str()], |row| row.get::<_, String>(0))
    .optional()
    .map(|found| found.map(CommandId::new))
}

/// Cuts the output of a command that is over, and then its text and its steps. How many steps that took.
pub(super) fn cut_command(
    db: &Connection,
    user: &UserId,
    command: &CommandId,
    most: usize,
    terms: Terms,
) -> rusqlite::Result<usize> {
    let cut = retention::cut_of_command(db, user, command, most)?;
    if cut.left == Part::More {
        return Ok(cut.records.max(1));
    }
    db.prepare_cached(&format!(
        "UPDATE commands SET text = substr(text, 1, ?3), spec = {SHORT_SPEC}, cut_at = ?4
         WHERE user_id = ?1 AND command_id = ?2",
    ))?
    .execute(params![
        user.as_str(),
        command.as_str(),
        TEXT_KEPT,
        terms.kept_from.unix_millis()
    ])?;
    history::keep_last(db, user, command)?;
    Ok(cut.records + 1)
}

/// Forgets commands that were cut and are not asked for again any more. How many.
fn forget_cut(
    db: &Connection,
    user: &UserId,
    most: usize,
    terms: Terms,
) -> rusqlite::Result<usize> {
    let before = terms.kept_from.unix_millis().saturating_sub(REMEMBERED_MS);
    let commands: Vec<String> = db
        .prepare_cached(
            "SELECT command_id FROM commands
             WHERE user_id = ?1 AND cut_at IS NOT NULL AND coalesce(kept_from, ended_at) < ?2
             ORDER BY coalesce(kept_from, ended_at) LIMIT ?3",
        )?
        .query_map(params![user.as_str(), before, most.min(STEPS) as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for command in &commands {
        retention::remove_command(db, user, &CommandId::new(command.as_str()))?;
    }
    Ok(commands.len())
}

pub(super) fn usage(db: &Connection, user: &UserId) -> rusqlite::Result<Usage> {
    let found = db
        .prepare_cached("SELECT commands, kept, records, agents FROM usage WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| {
            let measured = |column| number(row, column).or(Ok::<_, rusqlite::Error>(0));
            Ok(Usage {
                commands: measured("commands")?,
                kept: measured("kept")?,
                records: measured("records")?,
                agents: measured("agents")?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// The users that have more than this.
fn users_over(db: &Connection, budget: u64) -> rusqlite::Result<Vec<UserId>> {
    db.prepare_cached(
        "SELECT user_id FROM usage WHERE commands + kept + records * ?2 + agents > ?1",
    )?
    .query_map(params![i64::try_from(budget).unwrap_or(i64::MAX), RECORD as i64], |row| {
        row.get::<_, String>(0)
    })?
    .map(|user| user.map(UserId::new))
    .collect()
}

/// The users whose agents have more than this.
fn users_with_agents_over(db: &Connection, most: u64) -> rusqlite::Result<Vec<UserId>> {
    db.prepare_cached("SELECT user_id FROM usage WHERE agents > ?1")?
        .query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get::<_, String>(0))?
        .map(|user| user.map(UserId::new))
        .collect()
}

impl Budget<'_> {
    /// Brings the agents of every user under their part of the bound, by the oldest of their sessions and presence
    /// events.
    async fn trim_agents(self) -> Result<(), StoreError> {
        let most = of_agents(self.store.0.limits.user_bytes);
        for user in self.store.read(move |db| users_with_agents_over(db, most)).await? {
            for kept in KEPT_AT_BOUND {
                if self.usage(&user).await?.agents <= most {
                    break;
                }
                let mut behind = Some(String::new());
                while let Some(last) = behind {
                    let of = user.clone();
                    let trim = move |db: &Connection| trim_some(db, &of, &last, kept);
                    behind = self
                        .store
                        .write(super::line::Routing::upkeep(), "trim agents", 0, trim)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// What a user has on the disk.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub async fn usage(self, user: &UserId) -> Result<Usage, StoreError> {
        let of = user.clone();
        self.store.read_for(user, move |db| usage(db, &of)).await
    }

    /// Brings every user under the bound, as far as one transaction each goes. Whether there is more to do.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Closed`].
    pub async fn cut_what_is_over(self) -> Result<bool, StoreError> {
        self.trim_agents().await?;
        let budget = self.store.0.limits.user_bytes;
        let users = self.store.read(move |db| users_over(db, budget)).await?;
        let mut more = false;
        for user in users {
            let terms = self.store.terms();
            let routing = super::line::Routing::upkeep();
            more |= self
                .store
                .write(routing, "cut over budget", 0, move |db| {
                    let before = usage(db, &user)?.bytes();
                    let after = shrink(db, &user, 0, retention::BATCH, terms)?;
                    Ok(after > budget && after < before)
                })
                .await?;
        }
        Ok(more)
    }
}
