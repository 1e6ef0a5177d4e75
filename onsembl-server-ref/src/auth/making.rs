//! Making tokens: for whom, for which agent, in which lineage.

use super::random::{NoRandom, make};
use super::tokens::Signed;
use super::{TokenKind, Tokens};
use crate::store::{AgentRow, Store, StoreError, TOKENS_OF_USER, TokenForm, TokenKept, TokenRow};
use onsembl_protocol::id::{AgentId, LineageId, TokenId, UserId};
use onsembl_protocol::time::WallTime;
use std::time::Duration;
use thiserror::Error;

/// Ids are random, so that the second one is new.
const ATTEMPTS: usize = 4;

/// What a new token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct TokenOrder {
    pub user: UserId,
    /// What its bearer may be.
    pub kind: TokenKind,
    /// The one agent that it is for, by name or id; `None`: any number of agents, or no agent.
    pub agent: Option<String>,
    /// How long it is good.
    pub ttl: Duration,
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewToken {
    /// What its bearer shows. The server cannot tell it again.
    pub text: String,
    /// Names it. Not secret.
    pub id: TokenId,
    /// The agent that it takes over with its first use.
    pub takes: Option<AgentId>,
    /// The token that holds that agent until then.
    pub from: Option<TokenId>,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why no token was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MakeError {
    /// There are too many.
    #[error(
        "the user {0:?} has {TOKENS_OF_USER} tokens, which is the limit, and none of them has expired; revoke some (`onsembl-server revoke ID`)"
    )]
    Full(String),
    /// Several agents have the name.
    #[error("{1} agents of the user are called {0:?}; name one by its id")]
    Ambiguous(String, usize),
    /// There is no such token to renew.
    #[error("unknown token {0:?}; `onsembl-server tokens` lists them")]
    NoToken(String),
    /// A dashboard is no agent.
    #[error("a token for an agent is of the kind agent, not {0}")]
    NotForAgents(TokenKind),
    /// No randomness.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a token.
///
/// # Errors
/// [`MakeError`]: none was made.
pub async fn make_token(
    store: &Store,
    order: TokenOrder,
    now: WallTime,
) -> Result<NewToken, MakeError> {
    let TokenOrder { user, kind, agent, ttl } = order;
    if agent.is_some() && kind != TokenKind::Agent {
        return Err(MakeError::NotForAgents(kind));
    }
    let found = match &agent {
        Some(wanted) => find(store, &user, wanted).await?,
        None => None,
    };
    let known = found.as_ref();
    let row = TokenRow {
        token: TokenId::new(""),
        user,
        kind: kind.as_str().to_owned(),
        // That of its id.
        lineage: LineageId::new(""),
        form: TokenForm::Signed,
        made_for: known.map(|agent| agent.name.clone()).or(agent),
        agent: known.map(|agent| agent.agent.clone()),
        bound_at: None,
        made_at: now,
        expires_at: Some(after(now, ttl)),
        shown_at: None,
        shown_from: None,
        revoked: None,
    };
    let from = known.and_then(|agent| Some(agent.claim.as_ref()?.token.clone()));
    let made = keep(store, kind, row, None).await?;
    Ok(NewToken { takes: found.map(|agent| agent.agent), from, ..made })
}

/// Makes a newer token of the same lineage, for the same. It is named by its id, or shown itself.
///
/// # Errors
/// [`MakeError`]: none was made.
pub async fn renew_token(
    store: &Store,
    signed: &Tokens,
    wanted: &str,
    ttl: Option<Duration>,
    now: WallTime,
) -> Result<NewToken, MakeError> {
    let id = super::random::parse(wanted).map_or_else(|| TokenId::new(wanted), |shown| shown.id);
    let known = match store.tokens().get(&id).await? {
        Some(row) => Some(row),
        // One that no server has seen yet.
        None => signed.read(wanted).map(Signed::row),
    };
    let Some(row) = known else { return Err(MakeError::NoToken(wanted.to_owned())) };
    let Some(kind) = TokenKind::parse(&row.kind) else {
        return Err(MakeError::NoToken(wanted.to_owned()));
    };
    let lineage = row.lineage.clone();
    let expires_at = Some(after(now, ttl.unwrap_or(kind.lifetime())));
    let row = TokenRow {
        made_at: now,
        expires_at,
        shown_at: None,
        shown_from: None,
        revoked: None,
        ..row
    };
    keep(store, kind, row, Some(lineage)).await
}

impl TokenKind {
    /// How long a token is good, unless something else is asked for: 365 days for agents, 24 hours for
    /// dashboards.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match self {
            Self::Agent | Self::Metrics => DAY.saturating_mul(365),
            Self::Dashboard => DAY,
        }
    }
}

fn after(now: WallTime, ttl: Duration) -> WallTime {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(now.unix_millis().saturating_add(ttl))
}

/// The agent of this id or, if there is one only, of this name.
async fn find(store: &Store, user: &UserId, wanted: &str) -> Result<Option<AgentRow>, MakeError> {
    let mut agents = store.agents().list(Some(user)).await?;
    if let Some(at) = agents.iter().position(|agent| agent.agent.as_str() == wanted) {
        return Ok(Some(agents.swap_remove(at)));
    }
    agents.retain(|agent| agent.name == wanted);
    match agents.len() {
        0 | 1 => Ok(agents.pop()),
        several => Err(MakeError::Ambiguous(wanted.to_owned(), several)),
    }
}

async fn keep(
    store: &Store,
    kind: TokenKind,
    row: TokenRow,
    lineage: Option<LineageId>,
) -> Result<NewToken, MakeError> {
    for _ in 0..ATTEMPTS {
        let made = make(kind)?;
        let row = TokenRow {
            token: made.id.clone(),
            lineage: lineage.clone().unwrap_or_else(|| LineageId::new(made.id.as_str())),
            form: TokenForm::Random(made.hash),
            ..row.clone()
        };
        match store.tokens().insert(row).await? {
            TokenKept::Kept => {
                return Ok(NewToken { text: made.text, id: made.id, takes: None, from: None });
            }
            TokenKept::Full => break,
            TokenKept::Exists => {}
        }
    }
    Err(MakeError::Full(row.user.to_string()))
}
