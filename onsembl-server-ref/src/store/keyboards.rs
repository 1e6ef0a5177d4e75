//! Who held the keyboards of terminals. A hold is written when it begins, while something is typed under it, and
//! when it
//! has ended; they go with their terminal. What a run of the server left open, the next one ends.

use super::columns::{int, number, time, time_or_none};
use super::error::StoreError;
use super::line::{Needs, Routing};
use super::reader::Asker;
use super::{Keyboards, Submitted};
use onsembl_protocol::fleet::KeyboardRecord;
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_protocol::terminal::{HoldEnd, HoldRecord};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, params};

/// Holds that are kept of one terminal: the latest.
pub(crate) const HOLDS_KEPT: i64 = 256;
/// Bytes that are kept of why one ended.
const BECAUSE_BYTES: usize = 512;

/// One hold, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredHold {
    /// Who had it, in the words of that dashboard.
    pub(crate) name: String,
    pub(crate) since: WallTime,
    /// `None` while it lasts, or where the server ended with it.
    pub(crate) ended_at: Option<WallTime>,
    /// When it had ended at the latest, where the server ended with it.
    pub(crate) ended_by: Option<WallTime>,
    pub(crate) because: Option<String>,
    /// Bytes that were passed to the agent; where the server ended with it, at least.
    pub(crate) bytes: u64,
    /// Of how many of them it is unknown that they came into the terminal.
    pub(crate) unconfirmed: u64,
}

impl Keyboards<'_> {
    /// A hold of a keyboard began, or ended.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_hold(
        self,
        user: &UserId,
        record: KeyboardRecord,
    ) -> Result<Submitted<()>, StoreError> {
        let of = user.clone();
        self.store.put(Routing::data(user, Needs::BehindAll), "hold of a keyboard", move |db| {
            note(db, &of, &record)
        })
    }

    /// Each hold that is open ended with an earlier run of the server, at the latest at `at`. To be handed in before
    /// anything of this run.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) fn put_end_of_left(self, at: WallTime) -> Result<Submitted<usize>, StoreError> {
        self.store.put(Routing::order(Asker::Server), "end left holds", move |db| end_left(db, at))
    }

    /// The holds of a terminal's keyboard, in the order in which they began: at most [`HOLDS_KEPT`].
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn holds(
        self,
        user: &UserId,
        terminal: &CommandId,
    ) -> Result<Vec<StoredHold>, StoreError> {
        let (of, terminal) = (user.clone(), terminal.clone());
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(
                    "SELECT name, since, ended_at, ended_by, because, bytes, unconfirmed FROM keyboard_holds
                 WHERE user_id = ?1 AND command_id = ?2 ORDER BY since, hold",
                )?
                .query_map([of.as_str(), terminal.as_str()], |row| {
                    Ok(StoredHold {
                        name: row.get("name")?,
                        since: time(row, "since")?,
                        ended_at: time_or_none(row, "ended_at")?,
                        ended_by: time_or_none(row, "ended_by")?,
                        because: row.get("because")?,
                        bytes: number(row, "bytes")?,
                        unconfirmed: number(row, "unconfirmed")?,
                    })
                })?
                .collect()
            })
            .await
    }
}

fn end_left(db: &Connection, at: WallTime) -> rusqlite::Result<usize> {
    // A clock may step back between two runs.
    db.prepare_cached(
        "UPDATE keyboard_holds SET ended_by = max(?1, since), because = ?2
         WHERE ended_at IS NULL AND ended_by IS NULL",
    )?
    .execute(params![at.unix_millis(), HoldEnd::ServerEnded.to_string()])
}

fn note(db: &Connection, user: &UserId, record: &KeyboardRecord) -> rusqlite::Result<()> {
    let KeyboardRecord { terminal, agent: _, hold } = record;
    let HoldRecord { hold, name, since, ended, bytes, unconfirmed } = hold;
    let because = ended.as_ref().map(|(_, why)| {
        let mut text = why.to_string();
        text.truncate(text.floor_char_boundary(BECAUSE_BYTES));
        text
    });
    let ended_at = ended.as_ref().map(|(at, _)| at.unix_millis());
    let changed = db
        .prepare_cached(
            "INSERT INTO keyboard_holds
                 (user_id, command_id, hold, name, since, ended_at, because, bytes, unconfirmed)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
             WHERE EXISTS (SELECT 1 FROM commands WHERE user_id = ?1 AND command_id = ?2)
             ON CONFLICT (user_id, command_id, hold)
             DO UPDATE SET ended_at = excluded.ended_at, because = excluded.because,
                           bytes = excluded.bytes, unconfirmed = excluded.unconfirmed",
        )?
        .execute(params![
            user.as_str(),
            terminal.as_str(),
            hold.as_str(),
            name,
            since.unix_millis(),
            ended_at,
            because,
            int(*bytes)?,
            int(*unconfirmed)?,
        ])?;
    if changed == 0 {
        return Ok(());
    }
    db.prepare_cached(
        "DELETE FROM keyboard_holds
         WHERE user_id = ?1 AND command_id = ?2 AND hold IN (
             SELECT hold FROM keyboard_holds WHERE user_id = ?1 AND command_id = ?2
             ORDER BY since DESC, hold DESC LIMIT -1 OFFSET ?3)",
    )?
    .execute(params![user.as_str(), terminal.as_str(), HOLDS_KEPT])
    .map(drop)
}

/// A terminal is forgotten, and so is who typed there.
pub(super) fn remove(db: &Connection, user: &UserId, terminal: &CommandId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM keyboard_holds WHERE user_id = ?1 AND command_id = ?2")?
        .execute([user.as_str(), terminal.as_str()])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::super::wall_now;
    use super::*;
    use onsembl_protocol::id::{AgentId, HoldId};

    fn record(n: i64, ended: Option<HoldEnd>) -> KeyboardRecord {
        let since = WallTime::from_unix_millis(n);
        KeyboardRecord {
            terminal: CommandId::of_terminal("1"),
            agent: AgentId::new("a"),
            hold: HoldRecord {
                hold: HoldId::new(format!("h-{n}")),
                name: "ann".to_owned(),
                since,
                ended: ended.map(|why| (since, why)),
                bytes: 7,
                unconfirmed: 0,
            },
        }
    }

    fn with_a_terminal(db: &Connection) {
        db.execute_batch(
            "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities,
                 epoch, status, since, because, presence_version, created_at)
             VALUES ('a', 'u', 'k', 'n', 't', '[]', 1, 'online', 0, '', 1, 0);
             INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at,
                 updated_at)
             VALUES ('u', 'terminal-1', 'a', '', '{}', 'running', 0, 0);",
        )
        .unwrap();
    }

    #[test]
    fn what_an_earlier_run_left_open_ended_at_the_latest_when_this_one_began() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let user = UserId::new("u");
        with_a_terminal(&db);
        note(&db, &user, &record(10, Some(HoldEnd::Released))).unwrap();
        note(&db, &user, &record(20, None)).unwrap();
        note(&db, &user, &record(90, None)).unwrap();
        assert_eq!(end_left(&db, WallTime::from_unix_millis(50)).unwrap(), 2);
        let rows: Vec<(Option<i64>, Option<i64>, String)> = db
            .prepare("SELECT ended_at, ended_by, because FROM keyboard_holds ORDER BY since")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let why = HoldEnd::ServerEnded.to_string();
        let expected = [
            (Some(10), None, "released".to_owned()),
            (None, Some(50), why.clone()),
            (None, Some(90), why),
        ];
        assert_eq!(rows, expected, "not before it began, whatever the clock says");
        assert_eq!(end_left(&db, WallTime::from_unix_millis(99)).unwrap(), 0, "once");
    }

    #[test]
    fn a_hold_is_one_row_and_the_latest_of_a_terminal_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let user = UserId::new("u");
        let count = || -> i64 {
            db.query_row("SELECT count(*) FROM keyboard_holds", [], |row| row.get(0)).unwrap()
        };
        note(&db, &user, &record(1, None)).unwrap();
        assert_eq!(count(), 0, "no such terminal");
        with_a_terminal(&db);
        let used =
            || -> i64 { db.query_row("SELECT commands FROM usage", [], |r| r.get(0)).unwrap() };
        let before = used();
        note(&db, &user, &record(1, None)).unwrap();
        note(&db, &user, &record(1, Some(HoldEnd::Released))).unwrap();
        let because: String =
            db.query_row("SELECT because FROM keyboard_holds", [], |row| row.get(0)).unwrap();
        assert_eq!((count(), because.as_str()), (1, "released"));
        for n in 2..HOLDS_KEPT + 10 {
            note(&db, &user, &record(n, None)).unwrap();
        }
        assert_eq!(count(), HOLDS_KEPT);
        remove(&db, &user, &CommandId::of_terminal("1")).unwrap();
        assert_eq!((count(), used()), (0, before));
    }
}
