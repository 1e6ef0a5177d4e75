//! Sessions of browsers. What a revoked token opened is removed by triggers (`migrations/0017_page_sessions.sql`), in the
//! transaction that revokes it; how long a session lasts is the core's to say ([`SessionTimes`]).

use super::PageSessions;
use super::columns::{time, time_or_none};
use super::error::StoreError;
use super::line::{Needs, Routing};
use super::reader::Asker;
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::model::Access;
use onsembl_protocol::sign_in::{SecretHash, SessionTimes};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A session of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PageSessionRow {
    /// Names it. Not secret.
    pub id: String,
    pub user: UserId,
    /// The token that opened it; `None`: the operator of the server.
    pub opened_by: Option<TokenId>,
    /// Which secret of this server signed that token, if one did.
    pub signed_by: Option<Vec<u8>>,
    pub access: Access,
    pub times: SessionTimes,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// From where it was signed in to.
    pub address: Option<String>,
}

/// What came of keeping a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKept {
    /// It is there; these of its user made room.
    Kept(Vec<String>),
    /// What it was to be opened with has been revoked since.
    Revoked,
}

const COLUMNS: &str =
    "SELECT session_id, user_id, opened_by, signed_by, read_only, created_at, last_used_at, until,
                              user_agent, address FROM page_sessions";

impl PageSessions<'_> {
    /// Keeps a new session, unless what it was granted for at `granted_at` was revoked since. Of the sessions of its user
    /// those make room that are over or were not used for the longest time.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn insert(
        self,
        hash: SecretHash,
        row: PageSessionRow,
        granted_at: WallTime,
    ) -> Result<SessionKept, StoreError> {
        // Also on a full disk: people are to see what is wrong.
        let routing = Routing::control(&row.user, Needs::Little);
        self.store
            .write(routing, "keep page session", 1024, move |db| {
                insert(db, &hash, &row, granted_at)
            })
            .await
    }

    /// The session whose cookie has this hash, in the line of who shows it.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub(crate) async fn of_cookie(
        self,
        asker: Asker,
        hash: SecretHash,
    ) -> Result<Option<PageSessionRow>, StoreError> {
        let readers = &self.store.0.readers;
        readers
            .read(asker, hash.0.len(), move |db| {
                db.prepare_cached(&format!("{COLUMNS} WHERE hash = ?1"))?
                    .query_row([hash.0.as_slice()], PageSessionRow::from_row)
                    .optional()
            })
            .await
    }

    /// The session of this id.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn get(self, id: &str) -> Result<Option<PageSessionRow>, StoreError> {
        let id = id.to_owned();
        self.store
            .read(move |db| {
                db.prepare_cached(&format!("{COLUMNS} WHERE session_id = ?1"))?
                    .query_row([id], PageSessionRow::from_row)
                    .optional()
            })
            .await
    }

    /// The sessions of this user, at most [`SessionTimes::OF_USER`], that which was used last first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Crowded`], [`StoreError::Closed`].
    pub async fn list(self, user: &UserId) -> Result<Vec<PageSessionRow>, StoreError> {
        let of = user.clone();
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(&format!(
                    "{COLUMNS} WHERE user_id = ?1 ORDER BY last_used_at DESC, session_id"
                ))?
                .query_map([of.as_str()], PageSessionRow::from_row)?
                .collect()
            })
            .await
    }

    /// The ids of the sessions that a token of this user opened.
    ///
    /// # Errors
    /// As of [`list`](Self::list).
    pub async fn of_token(self, user: &UserId, token: &TokenId) -> Result<Vec<String>, StoreError> {
        let (of, token) = (user.clone(), token.clone());
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(
                    "SELECT session_id FROM page_sessions WHERE opened_by = ?1 AND user_id = ?2",
                )?
                .query_map([token.as_str(), of.as_str()], |row| row.get(0))?
                .collect()
            })
            .await
    }

    /// Removes a session of this user. Whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn remove(self, user: &UserId, id: &str) -> Result<bool, StoreError> {
        let (of, id) = (user.clone(), id.to_owned());
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "end page session", id.len(), move |db| {
                db.prepare_cached(
                    "DELETE FROM page_sessions WHERE session_id = ?1 AND user_id = ?2",
                )?
                .execute([id.as_str(), of.as_str()])
                .map(|removed| removed > 0)
            })
            .await
    }

    /// Notes that a session of this user was used then.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn note_use(self, user: &UserId, id: &str, at: WallTime) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.store
            .write(Routing::record(user), "note use of page session", id.len(), move |db| {
                db.prepare_cached(
                    "UPDATE page_sessions SET last_used_at = max(last_used_at, ?2)
                     WHERE session_id = ?1",
                )?
                .execute(params![id, at.unix_millis()])
                .map(drop)
            })
            .await
    }

    /// Some users that have agents or tokens, at most this many.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub async fn users(self, most: usize) -> Result<Vec<UserId>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.store
            .read(move |db| {
                db.prepare_cached(
                    "SELECT user_id FROM agents WHERE deleted_at IS NULL
                     UNION SELECT user_id FROM tokens LIMIT ?1",
                )?
                .query_map([most], |row| row.get::<_, String>(0).map(UserId::from))?
                .collect()
            })
            .await
    }
}

fn insert(
    db: &Connection,
    hash: &SecretHash,
    row: &PageSessionRow,
    granted_at: WallTime,
) -> rusqlite::Result<SessionKept> {
    let PageSessionRow { id, user, opened_by, signed_by, access, times, user_agent, address } = row;
    let opened_by = opened_by.as_ref().map(TokenId::as_str);
    let kept = db
        .prepare_cached(
            "INSERT INTO page_sessions (session_id, hash, user_id, opened_by, signed_by, read_only,
                                        created_at, last_used_at, until, user_agent, address)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
             WHERE NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE token_id = ?4)
               AND NOT EXISTS (SELECT 1 FROM revoked_users WHERE user_id = ?3 AND made_until >= ?12)",
        )?
        .execute(params![
            id,
            hash.0.as_slice(),
            user.as_str(),
            opened_by,
            signed_by,
            match access {
                Access::Full => 0,
                Access::ReadOnly => 1,
            },
            times.created.unix_millis(),
            times.last_used.unix_millis(),
            times.until.map(WallTime::unix_millis),
            user_agent,
            address,
            granted_at.unix_millis(),
        ])?;
    if kept == 0 {
        return Ok(SessionKept::Revoked);
    }
    let others: Vec<PageSessionRow> = db
        .prepare_cached(&format!(
            "{COLUMNS} WHERE user_id = ?1 AND session_id <> ?2 ORDER BY last_used_at DESC, session_id"
        ))?
        .query_map([user.as_str(), id.as_str()], PageSessionRow::from_row)?
        .collect::<rusqlite::Result<_>>()?;
    let mut stay = SessionTimes::OF_USER.saturating_sub(1);
    let mut ended = Vec::new();
    for other in others {
        if other.times.check(times.created).is_ok() && stay > 0 {
            stay -= 1;
            continue;
        }
        let _ = db
            .prepare_cached("DELETE FROM page_sessions WHERE session_id = ?1")?
            .execute([other.id.as_str()])?;
        ended.push(other.id);
    }
    Ok(SessionKept::Kept(ended))
}

impl PageSessionRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("session_id")?,
            user: row.get::<_, String>("user_id")?.into(),
            opened_by: row.get::<_, Option<String>>("opened_by")?.map(TokenId::from),
            signed_by: row.get("signed_by")?,
            access: if row.get("read_only")? { Access::ReadOnly } else { Access::Full },
            times: SessionTimes {
                created: time(row, "created_at")?,
                last_used: time(row, "last_used_at")?,
                until: time_or_none(row, "until")?,
            },
            user_agent: row.get("user_agent")?,
            address: row.get("address")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::wall_now;
    use super::*;

    fn row(id: usize, user: &str, token: Option<&str>, now: WallTime) -> PageSessionRow {
        PageSessionRow {
            id: format!("{user}-{id}"),
            user: UserId::new(user),
            opened_by: token.map(TokenId::new),
            signed_by: None,
            access: Access::ReadOnly,
            times: SessionTimes::new(now, None),
            user_agent: Some("a browser".to_owned()),
            address: None,
        }
    }

    fn hash(row: &PageSessionRow) -> SecretHash {
        let mut hash = [0; 32];
        hash.iter_mut().zip(row.id.bytes()).for_each(|(to, from)| *to = from);
        SecretHash(hash)
    }

    async fn keep(store: &Store, row: &PageSessionRow) -> SessionKept {
        let at = row.times.created;
        store.page_sessions().insert(hash(row), row.clone(), at).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_is_found_by_its_cookie_and_the_unused_ones_of_its_user_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _receipts) = Store::open(dir.path(), wall_now()).await.unwrap();
        let now = wall_now();
        let other = row(0, "bob", None, now);
        assert_eq!(keep(&store, &other).await, SessionKept::Kept(Vec::new()));
        for n in 0..SessionTimes::OF_USER {
            let at = WallTime::from_unix_millis(now.unix_millis() + n as i64);
            let _ = keep(&store, &row(n, "ann", None, at)).await;
        }
        let later = WallTime::from_unix_millis(now.unix_millis() + 100_000);
        let ann = UserId::new("ann");
        store.page_sessions().note_use(&ann, "ann-0", later).await.unwrap();
        let newest = row(99, "ann", None, later);
        assert_eq!(keep(&store, &newest).await, SessionKept::Kept(vec!["ann-1".to_owned()]));
        let kept = store.page_sessions().list(&ann).await.unwrap();
        assert_eq!(kept.len(), SessionTimes::OF_USER);
        let asker = || Asker::User(UserId::new("bob"));
        let found = store.page_sessions().of_cookie(asker(), hash(&newest)).await.unwrap();
        assert_eq!(found, Some(newest));
        assert!(!store.page_sessions().remove(&ann, &other.id).await.unwrap(), "not hers");
        assert!(store.page_sessions().remove(&other.user, &other.id).await.unwrap());
        assert_eq!(store.page_sessions().of_cookie(asker(), hash(&other)).await.unwrap(), None);
        let idle = later.after(SessionTimes::IDLE);
        let SessionKept::Kept(ended) = keep(&store, &row(100, "ann", None, idle)).await else {
            panic!("it was refused")
        };
        assert_eq!(ended.len(), SessionTimes::OF_USER, "all others were over");
    }

    #[tokio::test]
    async fn what_a_revoked_token_or_user_opened_is_gone_and_cannot_be_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _receipts) = Store::open(dir.path(), wall_now()).await.unwrap();
        let (now, ann, bob) = (wall_now(), UserId::new("ann"), UserId::new("bob"));
        let (good, bad) = (row(1, "ann", Some("good"), now), row(2, "ann", Some("bad"), now));
        let of_operator = row(3, "bob", None, now);
        for row in [&good, &bad, &of_operator] {
            assert_eq!(keep(&store, row).await, SessionKept::Kept(Vec::new()));
        }
        let of_token = store.page_sessions().of_token(&ann, &TokenId::new("bad")).await.unwrap();
        assert_eq!(of_token, std::slice::from_ref(&bad.id));
        store.tokens().revoke("bad", now, "test").await.unwrap();
        let _ = store.tokens().revoke_user(&bob, now, "test").await.unwrap();
        assert_eq!(store.page_sessions().list(&ann).await.unwrap(), [good]);
        assert!(store.page_sessions().list(&bob).await.unwrap().is_empty());
        for row in [&bad, &of_operator] {
            assert_eq!(keep(&store, row).await, SessionKept::Revoked, "{row:?}");
        }
        let later = WallTime::from_unix_millis(now.unix_millis() + 1);
        assert_eq!(keep(&store, &row(4, "bob", None, later)).await, SessionKept::Kept(Vec::new()));
        let _ = store.tokens().revoke_user(&bob, later, "test").await.unwrap();
        assert!(store.page_sessions().list(&bob).await.unwrap().is_empty(), "revoked again");
        let users = store.page_sessions().users(8).await.unwrap();
        assert!(users.is_empty(), "{users:?}");
    }
}
