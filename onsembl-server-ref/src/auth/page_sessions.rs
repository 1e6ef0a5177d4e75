//! Sessions of browsers: opened with a one-time code or a token, and named by a cookie (P-490 to P-499). How long codes
//! and sessions last, and how often an address may try, the core decides ([`onsembl_protocol::sign_in`]); here are the
//! random numbers, the hashes and the database.

use super::random::{NoRandom, bytes, hex};
use super::signing::Signing;
use super::{Authenticator, Identity, LookupError, TokenKind};
use crate::store::{Asker, PageSessionRow, SessionKept, Store, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::model::Access;
use onsembl_protocol::sign_in::{CodeFault, Codes, SecretHash, SessionEnd, SessionTimes, Throttle};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};

/// Bytes of a code: it cannot be guessed in the minutes that it lasts.
const CODE_BYTES: usize = 16;
/// Bytes of a cookie.
const COOKIE_BYTES: usize = 32;
/// Bytes of an id of a session.
const ID_BYTES: usize = 8;
/// Longest wait for the database, as for accounts.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of what a browser calls itself.
const USER_AGENT_BYTES: usize = 256;
/// What the id of a session begins with where ids of tokens are.
const PREFIX: &str = "page-session/";

/// What signing in gives.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    user: UserId,
    /// The token behind it; `None`: the operator.
    opened_by: Option<TokenId>,
    signed_by: Option<Vec<u8>>,
    /// When that token ends.
    until: Option<WallTime>,
    access: Access,
    /// When it was granted.
    at: WallTime,
}

/// Who signs in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
}

/// A session that was just opened.
#[derive(Debug)]
pub(crate) struct OpenedSession {
    /// The cookie. The server cannot tell it again.
    pub(crate) cookie: String,
    pub(crate) row: PageSessionRow,
    /// The sessions of the user that made room.
    pub(crate) ended: Vec<String>,
}

/// Why nobody is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignInFault {
    Code(CodeFault),
    /// What was shown was revoked meanwhile.
    Revoked,
    /// That is not known now.
    Unavailable,
}

/// Why a cookie names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionFault {
    Unknown,
    Over(SessionEnd),
    /// That is not known now.
    Unavailable,
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct PageSessions(Arc<Shared>);

struct Shared {
    store: Store,
    /// The accounts themselves: it knows no sessions.
    auth: Authenticator,
    signing: Option<Signing>,
    clock: SystemClock,
    counters: Counters,
    codes: Mutex<Codes<Grant>>,
    attempts: Mutex<Throttle<IpAddr>>,
    /// Sessions whose use is being recorded: one write of each at a time.
    noting: Mutex<BTreeSet<String>>,
}

impl PageSessions {
    /// `signing` has the secret of the tokens, unless another service has the accounts.
    pub(crate) fn new(
        store: Store,
        auth: Authenticator,
        signing: Option<Signing>,
        counters: Counters,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            auth,
            signing,
            clock: SystemClock::new(),
            counters,
            codes: Mutex::default(),
            attempts: Mutex::default(),
            noting: Mutex::default(),
        }))
    }

    /// The id of the session by which something is open, if its token is one.
    pub(crate) fn id_in(token_id: &str) -> Option<&str> {
        token_id.strip_prefix(PREFIX)
    }

    /// What stands for this session where ids of tokens are.
    pub(crate) fn token_id(id: &str) -> TokenId {
        TokenId::new(format!("{PREFIX}{id}"))
    }

    /// What the bearer of a token, or of a session, may give on: never more than it has, and never for longer.
    pub(crate) fn grant(&self, identity: &Identity, access: Access) -> Grant {
        let at = self.0.clock.now().wall;
        let user = identity.user.clone();
        match &identity.session {
            Some(row) => Grant {
                user,
                opened_by: row.opened_by.clone(),
                signed_by: row.signed_by.clone(),
                until: Some(row.times.expires()),
                access: match row.access {
                    Access::Full => access,
                    Access::ReadOnly => Access::ReadOnly,
                },
                at,
            },
            None => Grant {
                user,
                opened_by: Some(TokenId::new(&identity.token_id)),
                signed_by: identity
                    .signed_by
                    .zip(self.0.signing.as_ref())
                    .map(|(number, signing)| signing.mark_of(number)),
                until: identity.expires,
                access,
                at,
            },
        }
    }

    /// What the operator of the server gives.
    pub(crate) fn grant_of_operator(&self, user: UserId) -> Grant {
        let at = self.0.clock.now().wall;
        let access = Access::Full;
        Grant { user, opened_by: None, signed_by: None, until: None, access, at }
    }

    /// A one-time code for this, and when it is good no longer.
    pub(crate) fn make_code(&self, grant: Grant) -> Result<(String, WallTime), NoRandom> {
        let code = URL_SAFE_NO_PAD.encode(bytes::<CODE_BYTES>()?);
        let now = self.0.clock.now();
        let user = grant.user.clone();
        lock(&self.0.codes).make(hash(&code), user, grant, now);
        Ok((code, now.wall.after(Codes::<Grant>::LIFE)))
    }

    /// Somebody at this address tries to sign in.
    ///
    /// # Errors
    /// That is to be tried again after this time.
    pub(crate) fn attempt(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let Some(address) = address else { return Ok(()) };
        let tried = lock(&self.0.attempts).attempt(&address, self.0.clock.now().boot);
        if tried.is_err() {
            self.0.counters.count("page_sign_ins_throttled");
        }
        tried
    }

    /// Opens a session with a one-time code.
    pub(crate) async fn open_with_code(
        &self,
        code: &str,
        wanted: Access,
        visitor: Visitor,
    ) -> Result<OpenedSession, SignInFault> {
        let taken = lock(&self.0.codes).take(&hash(code), self.0.clock.now());
        let mut grant = taken.map_err(|fault| {
            self.0.counters.count("page_sign_ins_refused");
            SignInFault::Code(fault)
        })?;
        if wanted == Access::ReadOnly {
            grant.access = wanted;
        }
        self.open(grant, visitor).await
    }

    /// Opens a session of what was granted.
    pub(crate) async fn open(
        &self,
        grant: Grant,
        visitor: Visitor,
    ) -> Result<OpenedSession, SignInFault> {
        let Grant { user, opened_by, signed_by, until, access, at } = grant;
        if signed_by.is_some() && signed_by != self.mark() {
            return Err(SignInFault::Revoked);
        }
        if let Some(token) = &opened_by {
            match self.0.auth.is_token_revoked(&user, token).await {
                Ok(false) => {}
                Ok(true) => return Err(SignInFault::Revoked),
                Err(error) => {
                    warn!(%user, %error, "cannot look up whether the token behind a sign-in was revoked");
                    return Err(SignInFault::Unavailable);
                }
            }
        }
        let made = bytes::<COOKIE_BYTES>().and_then(|cookie| Ok((cookie, bytes::<ID_BYTES>()?)));
        let Ok((cookie, id)) = made else {
            warn!("the system provides no random numbers; nobody can sign in");
            return Err(SignInFault::Unavailable);
        };
        let (cookie, id) = (URL_SAFE_NO_PAD.encode(cookie), hex(&id));
        let Visitor { address, user_agent } = visitor;
        let row = PageSessionRow {
            id,
            user,
            opened_by,
            signed_by,
            access,
            times: SessionTimes::new(self.0.clock.now().wall, until),
            user_agent: user_agent.map(|text| cut(text, USER_AGENT_BYTES)),
            address: address.map(|address| address.to_string()),
        };
        let kept = self.0.store.page_sessions().insert(hash(&cookie), row.clone(), at);
        match timeout(PATIENCE, kept).await {
            Ok(Ok(SessionKept::Kept(ended))) => {
                if let Some(address) = address {
                    lock(&self.0.attempts).succeeded(&address);
                }
                self.0.counters.count("page_sign_ins");
                let (user, session, from) = (&row.user, &row.id, row.address.as_deref());
                info!(%user, session, from, access = ?row.access, "a browser signed in");
                Ok(OpenedSession { cookie, row, ended })
            }
            Ok(Ok(SessionKept::Revoked)) => Err(SignInFault::Revoked),
            Ok(Err(error)) => {
                warn!(user = %row.user, %error, "a session of a browser cannot be stored");
                Err(SignInFault::Unavailable)
            }
            Err(_) => Err(SignInFault::Unavailable),
        }
    }

    /// Who shows this cookie, in the line of that peer.
    pub(crate) async fn look_up(
        &self,
        cookie: &str,
        asker: Asker,
    ) -> Result<Identity, SessionFault> {
        let found = self.0.store.page_sessions().of_cookie(asker, hash(cookie));
        let row = self.in_time(found).await?.ok_or(SessionFault::Unknown)?;
        self.check(&row).await?;
        let mut identity =
            Identity::new(row.user.clone(), TokenKind::Dashboard, Self::token_id(&row.id).as_str());
        identity.expires = Some(row.times.expires());
        identity.signed_by = row.signed_by.as_ref().and(self.0.signing.as_ref().map(|s| s.now().1));
        identity.session = Some(Arc::new(row));
        Ok(identity)
    }

    /// Whether the session is over by which something is open. What is open counts as use.
    pub(crate) async fn is_over(&self, id: &str) -> Result<bool, LookupError> {
        let found = self.0.store.page_sessions().get(id).await.map_err(LookupError::new)?;
        let Some(row) = found else { return Ok(true) };
        match self.check(&row).await {
            Ok(()) => Ok(false),
            Err(SessionFault::Unknown | SessionFault::Over(_)) => Ok(true),
            Err(SessionFault::Unavailable) => Err(LookupError::new("cannot be looked up now")),
        }
    }

    /// The sessions of a user that are good.
    pub(crate) async fn list(&self, user: &UserId) -> Result<Vec<PageSessionRow>, StoreError> {
        let now = self.0.clock.now().wall;
        let mut rows = self.0.store.page_sessions().list(user).await?;
        rows.retain(|row| row.times.check(now).is_ok());
        Ok(rows)
    }

    /// Ends a session of this user. Whether there was one.
    pub(crate) async fn end(&self, user: &UserId, id: &str) -> Result<bool, StoreError> {
        let was = self.0.store.page_sessions().remove(user, id).await?;
        if was {
            info!(%user, session = id, "a session of a browser was ended");
        }
        Ok(was)
    }

    async fn check(&self, row: &PageSessionRow) -> Result<(), SessionFault> {
        let now = self.0.clock.now().wall;
        let fault = match row.times.check(now) {
            Err(end) => Some(SessionFault::Over(end)),
            Ok(()) if row.signed_by.is_some() && row.signed_by != self.mark() => {
                Some(SessionFault::Unknown)
            }
            Ok(()) => match &row.opened_by {
                // A database of tokens removes such sessions itself; another service does not know them.
                Some(token) => match self.0.auth.is_token_revoked(&row.user, token).await {
                    Ok(false) => None,
                    Ok(true) => Some(SessionFault::Unknown),
                    Err(error) => {
                        warn!(user = %row.user, %error, "cannot look up the token behind a session");
                        return Err(SessionFault::Unavailable);
                    }
                },
                None => None,
            },
        };
        if let Some(fault) = fault {
            let ended = self.in_time(self.0.store.page_sessions().remove(&row.user, &row.id));
            // It is refused again if it stays.
            let _ = ended.await;
            return Err(fault);
        }
        if row.times.is_news(now) {
            self.note_use(row, now);
        }
        Ok(())
    }

    fn note_use(&self, row: &PageSessionRow, now: WallTime) {
        if !lock(&self.0.noting).insert(row.id.clone()) {
            return;
        }
        let (it, user, id) = (self.clone(), row.user.clone(), row.id.clone());
        drop(tokio::spawn(async move {
            if let Err(error) = it.0.store.page_sessions().note_use(&user, &id, now).await {
                it.0.counters.count("uses_of_page_sessions_not_noted");
                warn!(%user, session = id, %error, "the use of a session is not recorded; it may end too early");
            }
            let _ = lock(&it.0.noting).remove(&id);
        }));
    }

    /// Which secret signs tokens now.
    fn mark(&self) -> Option<Vec<u8>> {
        self.0.signing.as_ref().map(Signing::mark)
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, SessionFault> {
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.0.counters.count("store_reads_failed");
                warn!(%error, "sessions of browsers cannot be looked up");
                Err(SessionFault::Unavailable)
            }
            Err(_) => Err(SessionFault::Unavailable),
        }
    }
}

impl fmt::Debug for PageSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageSessions")
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(secret: &str) -> SecretHash {
    let digest = digest(&SHA256, secret.as_bytes());
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    SecretHash(hash)
}

fn cut(mut text: String, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}
