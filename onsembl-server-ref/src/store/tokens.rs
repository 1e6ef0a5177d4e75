//! Tokens: what is known of each, and which are not accepted any more. Which agents their lineages hold is
//! beside this, in `claims.rs`.

use super::Tokens;
use super::columns::{time, time_or_none};
use super::error::StoreError;
use super::line::{Needs, Routing};
use super::reader::Asker;
use onsembl_protocol::fleet::TokenScope;
use onsembl_protocol::id::{AgentId, LineageId, TokenId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Random tokens that are kept of one user: 1,024, more than a person looks after. Revoked ones make room for
/// one more; without any it is refused. Of signed tokens as many are listed; the one that was not shown for the
/// longest time makes room, since only its place in the list is lost.
pub(crate) const TOKENS_OF_USER: usize = 1024;
/// Sessions of a token that are listed: the latest 200.
const SESSIONS: usize = 200;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct TokenRow {
    pub token: TokenId,
    pub user: UserId,
    /// What its bearer may be: `agent` or `dashboard`.
    pub kind: String,
    pub lineage: LineageId,
    pub form: TokenForm,
    /// The name of the one agent that its lineage is made for.
    pub made_for: Option<String>,
    /// That agent, once there is one.
    pub agent: Option<AgentId>,
    /// The first session of that agent with the lineage.
    pub bound_at: Option<WallTime>,
    pub made_at: WallTime,
    pub expires_at: Option<WallTime>,
    /// When it was last shown to a server.
    pub shown_at: Option<WallTime>,
    /// From where.
    pub shown_from: Option<String>,
    /// When it was revoked, and why.
    pub revoked: Option<(WallTime, String)>,
}

/// How a server knows that a token is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// By this hash of it.
    Random(Vec<u8>),
    /// By its signature.
    Signed,
}

/// A token was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct TokenUse {
    /// The token as it is listed if it is not known yet: only signed ones are not.
    pub token: TokenRow,
    pub at: WallTime,
    pub from: Option<String>,
}

/// A session that a token opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct TokenSession {
    pub agent: AgentId,
    pub name: String,
    pub peer: String,
    pub opened_at: WallTime,
    pub closed_at: Option<WallTime>,
    pub because: Option<String>,
}

/// What came of keeping a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TokenKept {
    Kept,
    /// Its user has as many as one may have, and none of them is revoked.
    Full,
    /// There is one of this id.
    Exists,
}

impl TokenRow {
    /// What it may speak for.
    pub fn scope(&self) -> TokenScope {
        match (&self.made_for, &self.agent, self.bound_at) {
            (_, Some(agent), Some(_)) => TokenScope::Bound(agent.clone()),
            (Some(_), Some(agent), None) => TokenScope::Heir(agent.clone()),
            (Some(name), None, _) => TokenScope::New(name.clone()),
            (None, _, _) => TokenScope::Any,
        }
    }
}

const COLUMNS: &str = "SELECT tokens.*, revoked_at, note
                       FROM tokens LEFT JOIN revoked_tokens USING (token_id)";

impl Tokens<'_> {
    /// Keeps a new token. One that passes an agent on and is not used yet replaces those of its
    /// kind that were made before.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn insert(self, row: TokenRow) -> Result<TokenKept, StoreError> {
        let routing = Routing::control(&row.user, Needs::New);
        // A clock that is ahead takes good tokens for expired.
        let observed = row.made_at.min(self.store.retention().ages_by());
        self.store.write(routing, "keep token", 256, move |db| insert(db, &row, observed)).await
    }

    /// What is known of a token.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn get(self, token: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        self.get_for(Asker::Server, token).await
    }

    /// The same, in the line of who shows it.
    pub(crate) async fn get_for(
        self,
        asker: Asker,
        token: &TokenId,
    ) -> Result<Option<TokenRow>, StoreError> {
        let token = token.clone();
        self.store
            .0
            .readers
            .read(asker, token.as_str().len(), move |db| {
                db.prepare_cached(&format!("{COLUMNS} WHERE token_id = ?1"))?
                    .query_row([token.as_str()], TokenRow::from_row)
                    .optional()
            })
            .await
    }

    /// The tokens of `user` (`None`: of all users), the newest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn list(self, user: Option<&UserId>) -> Result<Vec<TokenRow>, StoreError> {
        let user = user.cloned();
        self.store
            .read(move |db| match &user {
                Some(user) => db
                    .prepare_cached(&format!("{COLUMNS} WHERE user_id = ?1 ORDER BY made_at DESC"))?
                    .query_map([user.as_str()], TokenRow::from_row)?
                    .collect(),
                None => db
                    .prepare_cached(&format!("{COLUMNS} ORDER BY user_id, made_at DESC"))?
                    .query_map([], TokenRow::from_row)?
                    .collect(),
            })
            .await
    }

    /// The tokens of a user, the newest first, in the line of that user: at most twice [`TOKENS_OF_USER`].
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`], [`StoreError::Crowded`].
    pub(crate) async fn list_of(self, user: &UserId) -> Result<Vec<TokenRow>, StoreError> {
        let of = user.clone();
        self.store
            .read_for(user, move |db| {
                db.prepare_cached(&format!("{COLUMNS} WHERE user_id = ?1 ORDER BY made_at DESC"))?
                    .query_map([of.as_str()], TokenRow::from_row)?
                    .collect()
            })
            .await
    }

    /// A token of a user, in the line of that user.
    ///
    /// # Errors
    /// As of [`list_of`](Self::list_of).
    pub(crate) async fn get_of(
        self,
        user: &UserId,
        token: &TokenId,
    ) -> Result<Option<TokenRow>, StoreError> {
        let (of, token) = (user.clone(), token.clone());
        self.store.read_for(user, move |db| one_of(db, &of, &token)).await
    }

    /// Revokes a listed token of this user permanently. What it was before; `None` if none of theirs has this id, and
    /// then nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) async fn revoke_of(
        self,
        user: &UserId,
        token: &TokenId,
        at: WallTime,
        note: &'static str,
    ) -> Result<Option<TokenRow>, StoreError> {
        let (of, token) = (user.clone(), token.clone());
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "revoke own token", token.as_str().len(), move |db| {
                let known = one_of(db, &of, &token)?;
                if known.is_some() {
                    let _is_new = revoke(db, token.as_str(), at, note)?;
                }
                Ok(known)
            })
            .await
    }

    /// The sessions that a token opened, the latest first.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn sessions_of(self, token: &TokenId) -> Result<Vec<TokenSession>, StoreError> {
        let token = token.clone();
        self.store
            .read(move |db| {
                db.prepare_cached(
                    "SELECT agent_id, name, peer, opened_at, closed_at, closed_because
                 FROM sessions JOIN agents USING (agent_id)
                 WHERE token_id = ?1 ORDER BY opened_at DESC LIMIT ?2",
                )?
                .query_map(params![token.as_str(), SESSIONS as i64], |row| {
                    Ok(TokenSession {
                        agent: row.get::<_, String>("agent_id")?.into(),
                        name: row.get("name")?,
                        peer: row.get("peer")?,
                        opened_at: time(row, "opened_at")?,
                        closed_at: time_or_none(row, "closed_at")?,
                        because: row.get("closed_because")?,
                    })
                })?
                .collect()
            })
            .await
    }

    /// Notes when tokens were shown. Of a signed one this is when it gets its place in the list.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn note_uses(self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        let bytes = uses.len() * 256;
        self.store
            .write(Routing::upkeep(), "note uses of tokens", bytes, move |db| {
                uses.iter().try_for_each(|shown| note_use(db, shown))
            })
            .await
    }

    /// Revokes a token permanently. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn revoke(self, token_id: &str, at: WallTime, note: &str) -> Result<(), StoreError> {
        let (token_id, note) = (token_id.to_owned(), note.to_owned());
        let routing = Routing::order(Asker::Server);
        self.store
            .write(routing, "revoke token", token_id.len() + note.len(), move |db| {
                revoke(db, &token_id, at, &note).map(drop)
            })
            .await
    }

    /// Revokes all tokens of a lineage. Returns how many were good until then, as far as they are listed.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn revoke_lineage(
        self,
        user: &UserId,
        lineage: &LineageId,
        at: WallTime,
        note: &str,
    ) -> Result<usize, StoreError> {
        let (user, lineage, note) = (user.clone(), lineage.clone(), note.to_owned());
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "revoke lineage", note.len(), move |db| {
                revoke_lineage(db, user.as_str(), lineage.as_str(), at, &note)
            })
            .await
    }

    /// Revokes all tokens of a user that were made until now, those included that were never shown here.
    /// Returns how many of the listed ones were good until then.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn revoke_user(
        self,
        user: &UserId,
        at: WallTime,
        note: &str,
    ) -> Result<usize, StoreError> {
        let (user, note) = (user.clone(), note.to_owned());
        let routing = Routing::order(Asker::User(user.clone()));
        self.store
            .write(routing, "revoke user", note.len(), move |db| {
                db.prepare_cached(
                    "INSERT INTO revoked_users (user_id, made_until, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT (user_id) DO UPDATE
                 SET made_until = max(made_until, excluded.made_until), note = excluded.note",
                )?
                .execute(params![user.as_str(), at.unix_millis(), note])?;
                db.prepare_cached(
                    "INSERT INTO revoked_tokens (token_id, revoked_at, note)
                 SELECT token_id, ?2, ?3 FROM tokens WHERE user_id = ?1
                 ON CONFLICT (token_id) DO NOTHING",
                )?
                .execute(params![user.as_str(), at.unix_millis(), note])
            })
            .await
    }

    /// Until when the tokens of a user that were made are revoked, all together.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub async fn user_revoked_until(self, user: &UserId) -> Result<Option<WallTime>, StoreError> {
        let user = user.clone();
        self.store
            .read_for(&user.clone(), move |db| {
                db.prepare_cached("SELECT made_until FROM revoked_users WHERE user_id = ?1")?
                    .query_row([user.as_str()], |row| time(row, "made_until"))
                    .optional()
            })
            .await
    }

    /// Forgets the tokens of `user` (`None`: of all users) that had expired by then. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn forget_expired(
        self,
        user: Option<&UserId>,
        at: WallTime,
    ) -> Result<usize, StoreError> {
        let user = user.cloned();
        self.store
            .write(Routing::upkeep(), "forget tokens", 0, move |db| {
                db.prepare_cached(
                    "DELETE FROM tokens WHERE expires_at <= ?1 AND (?2 IS NULL OR user_id = ?2)",
                )?
                .execute(params![at.unix_millis(), user.as_ref().map(UserId::as_str)])
            })
            .await
    }

    /// Whether a token was revoked.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Closed`]; neither says that the token is good.
    pub async fn is_revoked(self, token_id: &str) -> Result<bool, StoreError> {
        self.is_revoked_for(Asker::Server, token_id).await
    }

    /// The same, in the line of whose it is.
    pub(crate) async fn is_revoked_for(
        self,
        asker: Asker,
        token_id: &str,
    ) -> Result<bool, StoreError> {
        let token_id = token_id.to_owned();
        self.store
            .0
            .readers
            .read(asker, token_id.len(), move |db| {
                db.prepare_cached("SELECT 1 FROM revoked_tokens WHERE token_id = ?1")?
                    .exists([token_id])
            })
            .await
    }
}

fn one_of(db: &Connection, user: &UserId, token: &TokenId) -> rusqlite::Result<Option<TokenRow>> {
    db.prepare_cached(&format!("{COLUMNS} WHERE token_id = ?1 AND user_id = ?2"))?
        .query_row([token.as_str(), user.as_str()], TokenRow::from_row)
        .optional()
}

/// `observed` is the time by which tokens are known to have expired.
fn insert(db: &Connection, row: &TokenRow, observed: WallTime) -> rusqlite::Result<TokenKept> {
    let exists = db
        .prepare_cached("SELECT 1 FROM tokens WHERE token_id = ?1")?
        .exists([row.token.as_str()])?;
    if exists {
        return Ok(TokenKept::Exists);
    }
    if let (Some(agent), None) = (&row.agent, row.bound_at) {
        db.prepare_cached(
            "INSERT INTO revoked_tokens (token_id, revoked_at, note)
             SELECT token_id, ?3, 'a newer one for the agent was made' FROM tokens
             WHERE user_id = ?1 AND agent_id = ?2 AND bound_at IS NULL
             ON CONFLICT (token_id) DO NOTHING",
        )?
        .execute(params![row.user.as_str(), agent.as_str(), row.made_at.unix_millis()])?;
    }
    if count(db, row)? >= TOKENS_OF_USER && !make_room(db, row, observed)? {
        return Ok(TokenKept::Full);
    }
    put(db, row)?;
    Ok(TokenKept::Kept)
}

fn put(db: &Connection, row: &TokenRow) -> rusqlite::Result<()> {
    let hash = match &row.form {
        TokenForm::Random(hash) => Some(hash.as_slice()),
        TokenForm::Signed => None,
    };
    db.prepare_cached(
        "INSERT INTO tokens (token_id, user_id, kind, lineage, hash, agent_name, agent_id,
                             bound_at, made_at, expires_at, shown_at, shown_from)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        row.token.as_str(),
        row.user.as_str(),
        row.kind,
        row.lineage.as_str(),
        hash,
        row.made_for,
        row.agent.as_ref().map(AgentId::as_str),
        row.bound_at.map(WallTime::unix_millis),
        row.made_at.unix_millis(),
        row.expires_at.map(WallTime::unix_millis),
        row.shown_at.map(WallTime::unix_millis),
        row.shown_from,
    ])
    .map(drop)
}

/// Tokens of its user and of its form.
fn count(db: &Connection, row: &TokenRow) -> rusqlite::Result<usize> {
    let is_signed = row.form == TokenForm::Signed;
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM tokens WHERE user_id = ?1 AND (hash IS NULL) = ?2")?
        .query_row(params![row.user.as_str(), is_signed], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// A revoked or expired random token goes with its revocation: one that is unknown is not accepted either. A signed
/// one only leaves the list.
fn make_room(db: &Connection, row: &TokenRow, observed: WallTime) -> rusqlite::Result<bool> {
    let going = match row.form {
        TokenForm::Random(_) => {
            "SELECT token_id FROM tokens LEFT JOIN revoked_tokens USING (token_id)
             WHERE user_id = ?1 AND hash IS NOT NULL
               AND (revoked_at IS NOT NULL OR expires_at <= ?2)
             ORDER BY coalesce(revoked_at, expires_at) LIMIT 1"
        }
        TokenForm::Signed => {
            "SELECT token_id FROM tokens
             WHERE user_id = ?1 AND hash IS NULL AND made_at <= max(?2, made_at) ORDER BY shown_at LIMIT 1"
        }
    };
    let going: Option<String> = db
        .prepare_cached(going)?
        .query_row(params![row.user.as_str(), observed.unix_millis()], |row| row.get(0))
        .optional()?;
    let Some(going) = going else { return Ok(false) };
    db.prepare_cached("DELETE FROM tokens WHERE token_id = ?1")?.execute([&going])?;
    match row.form {
        TokenForm::Random(_) => drop(
            db.prepare_cached("DELETE FROM revoked_tokens WHERE token_id = ?1")?
                .execute([&going])?,
        ),
        TokenForm::Signed => {}
    }
    Ok(true)
}

fn note_use(db: &Connection, shown: &TokenUse) -> rusqlite::Result<()> {
    let TokenUse { token, at, from } = shown;
    let known = db
        .prepare_cached(
            "UPDATE tokens SET shown_at = ?2, shown_from = coalesce(?3, shown_from)
             WHERE token_id = ?1",
        )?
        .execute(params![token.token.as_str(), at.unix_millis(), from])?;
    match token.form {
        TokenForm::Signed if known == 0 => {
            let row = TokenRow { shown_at: Some(*at), shown_from: from.clone(), ..token.clone() };
            insert(db, &row, *at).map(drop)
        }
        // A random one that is not there any more has no place to be noted at.
        TokenForm::Signed | TokenForm::Random(_) => Ok(()),
    }
}

/// Returns whether it was good until then.
fn revoke(db: &Connection, token: &str, at: WallTime, note: &str) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "INSERT INTO revoked_tokens (token_id, revoked_at, note) VALUES (?1, ?2, ?3)
         ON CONFLICT (token_id) DO NOTHING",
    )?
    .execute(params![token, at.unix_millis(), note])
    .map(|revoked| revoked > 0)
}

/// Revokes all tokens of a lineage, and the first one also if it is not listed.
pub(super) fn revoke_lineage(
    db: &Connection,
    user: &str,
    lineage: &str,
    at: WallTime,
    note: &str,
) -> rusqlite::Result<usize> {
    let revoked = db
        .prepare_cached(
            "INSERT INTO revoked_tokens (token_id, revoked_at, note)
             SELECT token_id, ?3, ?4 FROM tokens WHERE user_id = ?1 AND lineage = ?2
             ON CONFLICT (token_id) DO NOTHING",
        )?
        .execute(params![user, lineage, at.unix_millis(), note])?;
    Ok(revoked + usize::from(revoke(db, lineage, at, note)?))
}

impl TokenRow {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |column: &str| row.get::<_, String>(column);
        let hash: Option<Vec<u8>> = row.get("hash")?;
        let revoked_at = time_or_none(row, "revoked_at")?;
        let note: Option<String> = row.get("note")?;
        Ok(Self {
            token: text("token_id")?.into(),
            user: text("user_id")?.into(),
            kind: text("kind")?,
            lineage: text("lineage")?.into(),
            form: hash.map_or(TokenForm::Signed, TokenForm::Random),
            made_for: row.get("agent_name")?,
            agent: row.get::<_, Option<String>>("agent_id")?.map(AgentId::from),
            bound_at: time_or_none(row, "bound_at")?,
            made_at: time(row, "made_at")?,
            expires_at: time_or_none(row, "expires_at")?,
            shown_at: time_or_none(row, "shown_at")?,
            shown_from: row.get("shown_from")?,
            revoked: revoked_at.zip(note),
        })
    }
}

#[cfg(test)]
mod look_ups {
    use super::super::Store;
    use super::super::wall_now;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Whatever ids a peer makes up, all that it asks for stands in one line.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_tokens_that_are_made_up_cost_another_user_no_more_than_what_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _receipts) = Store::open(dir.path(), wall_now()).await.unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let flood: Vec<_> = (0..3000)
            .map(|n| {
                let (store, done) = (store.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let (asker, token) =
                        (Asker::User(UserId::new("a")), TokenId::new(n.to_string()));
                    assert!(store.tokens().get_for(asker, &token).await.unwrap().is_none());
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        while done.load(Ordering::SeqCst) < 4 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            let before = done.load(Ordering::SeqCst);
            let asker = Asker::User(UserId::new("b"));
            let _ = store.tokens().get_for(asker, &TokenId::new("b")).await.unwrap();
            let passed = done.load(Ordering::SeqCst) - before;
            assert!(passed < 100, "{passed} look-ups of another user went first");
        }
        for look_up in flood {
            look_up.await.unwrap();
        }
    }
}
